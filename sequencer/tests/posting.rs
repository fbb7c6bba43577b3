//! What is sealed gets to L1 and stays as it was sealed, whatever dies or is taken back in between.
#![allow(clippy::unwrap_used)]

mod world;

use alloy_primitives::{Address, U256};
use monai_sequencer::{PostConfig, Sequencer};
use serde_json::Value;
use world::chain::{FakeL1, ROLLUP};
use world::peer::until;
use world::{Peer, World, chat, operators};

/// A network in epoch 3 that posts.
async fn posting() -> (World, FakeL1, Vec<Peer>) {
    let l1 = FakeL1::start().await;
    let nodes: Vec<(Address, u64)> =
        operators().iter().map(|k| (Address::from(k.address()), 2_000)).collect();
    l1.stake(1, &nodes);
    for epoch in 0..=3 {
        l1.mine_in(epoch);
    }
    let chain = l1.clone();
    let world = World::with(move |c| {
        let dir = c.data_dir.parent().unwrap().to_owned();
        chain.serve(c.models[0].id);
        c.rollup = monai_protocol::Address(ROLLUP);
        let mut l1 = chain.config(&dir);
        l1.post = Some(PostConfig { insecure_proofs: true });
        c.l1 = Some(l1);
    })
    .await;
    until(async || world.get("/v1/network").await["batched_epoch"] == 3).await;
    let peers = world.honest().await;
    (world, l1, peers)
}

async fn status(world: &World) -> Value {
    world.get("/health").await["l1"]["posting"].clone()
}

async fn answer(world: &World) -> String {
    world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_sealed_is_committed_proved_and_settled() {
    let (world, l1, _peers) = posting().await;
    let receipt = world.batched(&answer(&world).await).await.0;
    until(async || status(&world).await["proved"] == 1).await;
    assert_eq!(status(&world).await["insecure_proofs"], true);
    // The batch of epoch 3 is final once its beacon and its window are over; then the epochs are settled in order.
    for epoch in 4..=6 {
        l1.mine_in(epoch);
    }
    until(async || status(&world).await["next_epoch"] == 5).await;
    let ledger = l1.ledger();
    assert_eq!((ledger.batches.len(), ledger.finalised), (1, 1));
    let digest = receipt.inclusion.as_ref().unwrap().header.message.batch_digest();
    assert_eq!(ledger.batches[0].hash.0, digest.0, "what receipts name is what L1 has");
    for idle in [0, 1, 2, 4] {
        assert_eq!(ledger.settled[&idle], None, "epoch {idle} had no batch");
    }
    // One node answered its only draw: its share is that of the table, and it stands at its slot.
    let node = receipt.attestation.message.node;
    let table = &receipt.draw.table;
    let share = U256::from(10).pow(U256::from(18)) * U256::from(table.entry(&node).unwrap().weight)
        / U256::from(table.total());
    let cells = ledger.settled[&3].clone().unwrap();
    assert_eq!(cells.len(), 3);
    let slot = usize::from(table.index_of(&node).unwrap().0);
    for (i, cell) in cells.iter().enumerate() {
        let got = U256::from(cell.as_limbs()[0]);
        assert_eq!(got, if i == slot { share } else { U256::ZERO }, "slot {i}");
    }
}

#[tokio::test]
async fn a_batch_that_a_reorg_lost_is_posted_again_byte_for_byte() {
    let (world, l1, _peers) = posting().await;
    for n in 1..=2u64 {
        world.batched(&answer(&world).await).await;
        until(async || status(&world).await["proved"] == n).await;
    }
    l1.lose_batches(0);
    until(async || l1.ledger().batches.iter().filter(|b| b.proven).count() == 2).await;
    let commits = l1.ledger().commits;
    assert_eq!(commits.len(), 4);
    assert_eq!(commits[..2], commits[2..]);
    assert_eq!(status(&world).await["halted"], Value::Null);
}

#[tokio::test]
async fn what_a_crash_left_unposted_is_posted_by_the_next_run() {
    let (mut world, l1, _peers) = posting().await;
    l1.set_jammed(true);
    let id = answer(&world).await;
    let digest = world.batched(&id).await.0.inclusion.unwrap().header.message.batch_digest();
    until(async || status(&world).await["error"].as_str().is_some_and(|e| e.contains("fee too low"))).await;
    assert_eq!(l1.ledger().batches.len(), 0);
    // Gone without a word: what is there is what a crash would leave.
    let copy = world.dir.path().join("copy");
    world.sequencer.as_ref().unwrap().backup(&copy).unwrap();
    drop(world.sequencer.take());
    world.config.data_dir = copy;
    // The first run may still hold the file of marks, as no crash would let it.
    world.config.marks_dir = None;
    l1.set_jammed(false);
    world.sequencer = Some(Sequencer::start(world.config.clone()).await.unwrap());
    until(async || l1.ledger().batches.len() == 1).await;
    assert_eq!(l1.ledger().batches[0].hash.0, digest.0);
    assert_eq!(l1.ledger().commits.len(), 1, "once is enough");
}

#[tokio::test]
async fn a_batch_that_missed_its_epoch_is_told_and_never_signed_anew() {
    let (world, l1, _peers) = posting().await;
    l1.set_jammed(true);
    world.batched(&answer(&world).await).await;
    until(async || status(&world).await["sealed"] == 1).await;
    for epoch in 4..=6 {
        l1.mine_in(epoch);
    }
    until(async || {
        status(&world).await["halted"].as_str().is_some_and(|h| h.contains("not committed in time"))
    })
    .await;
    l1.set_jammed(false);
    // Answers go on, and nothing is committed.
    until(async || world.get("/v1/network").await["epoch"] == 6).await;
    world.batched(&answer(&world).await).await;
    until(async || status(&world).await["sealed"] == 2).await;
    assert_eq!(l1.ledger().commits.len(), 0);
}
