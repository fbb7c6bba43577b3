//! Stakes, parameters and the calendar come from L1: tables follow it, outlive its absence, and go back with it.
#![allow(clippy::unwrap_used)]

mod world;

use alloy_primitives::Address;
use serde_json::Value;
use world::chain::{FakeL1, ROLLUP};
use world::peer::until;
use world::{World, chat, operators};

fn nodes(stakes: [u64; 3]) -> Vec<(Address, u64)> {
    operators().iter().map(|k| Address::from(k.address())).zip(stakes).collect()
}

/// A network whose nodes are staked from epoch 1 on, in epoch 3.
async fn followed() -> (World, FakeL1) {
    let l1 = FakeL1::start().await;
    l1.stake(1, &nodes([2_000, 2_000, 2_000]));
    for epoch in 0..=3 {
        l1.mine_in(epoch);
    }
    let chain = l1.clone();
    let world = World::with(move |c| {
        let dir = c.data_dir.parent().unwrap().to_owned();
        chain.serve(c.models[0].id);
        c.rollup = monai_protocol::Address(ROLLUP);
        c.l1 = Some(chain.config(&dir));
    })
    .await;
    until(async || epoch(&world).await == (3, 3)).await;
    (world, l1)
}

/// The epochs of router and state.
async fn epoch(world: &World) -> (u64, u64) {
    let network = world.get("/v1/network").await;
    (network["epoch"].as_u64().unwrap(), network["batched_epoch"].as_u64().unwrap())
}

/// A node's share of the table in use and of the next, in percent.
async fn shares(world: &World, node: Address) -> (u64, u64) {
    let network = world.get("/v1/network").await;
    let node = node.to_string().to_lowercase();
    let found = network["nodes"].as_array().unwrap().iter().find(|n| n["address"] == node.as_str()).cloned();
    let model = &found.unwrap()["models"][0];
    let percent = |v: &Value| (v.as_f64().unwrap() * 100.0).round() as u64;
    (percent(&model["probability"]), percent(&model["next_probability"]))
}

async fn metric(world: &World, name: &str) -> String {
    let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|l| l.starts_with(&format!("monai_{name} "))).unwrap().to_owned();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_delegation_moves_the_draws_at_the_next_epoch() {
    let (world, l1) = followed().await;
    let _peers = world.honest().await;
    let richer = nodes([8_000, 2_000, 2_000]);
    assert_eq!(shares(&world, richer[0].0).await, (33, 33));
    // Delegated in epoch 3, it counts from epoch 4, in its draws and in what is expected of the next.
    l1.stake(4, &richer);
    l1.mine_in(4);
    until(async || epoch(&world).await == (4, 4)).await;
    let (now, next) = shares(&world, richer[0].0).await;
    assert!(now > 66 && next == now, "{now} {next}");
    let parameters = &world.get("/v1/network").await["parameters"];
    assert_eq!(parameters["speed_ceiling"], "200000");
    assert_eq!(parameters["epoch_seconds"], "10");
    let id = world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    let (receipt, report) = world.batched(&id).await;
    assert!(report.draw_verified);
    assert_eq!(receipt.draw.beacon, l1.beacon(4), "the prevRandao of the epoch's first block");
}

#[tokio::test]
async fn the_last_table_outlives_an_absence_of_l1_and_restarts() {
    let (mut world, l1) = followed().await;
    l1.set_away(true);
    until(async || world.get("/health").await["l1"]["state"] == "away").await;
    assert_eq!(metric(&world, "l1_up").await, "0");
    world.sequencer.take().unwrap().shutdown().await;
    world.sequencer = Some(monai_sequencer::Sequencer::start(world.config.clone()).await.unwrap());
    let _peers = world.honest().await;
    let id = world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    world.batched(&id).await;
    assert_eq!(epoch(&world).await, (3, 3));
    // Three epochs pass unseen, and are caught up with.
    for epoch in 4..=6 {
        l1.mine_in(epoch);
    }
    l1.set_away(false);
    until(async || epoch(&world).await == (6, 6)).await;
    assert_eq!(world.get("/health").await["l1"]["state"], "following");
}

#[tokio::test]
async fn a_reorg_that_says_the_same_changes_nothing() {
    let (world, l1) = followed().await;
    let first = nodes([8_000, 2_000, 2_000]);
    l1.stake(4, &first);
    l1.mine_in(4);
    until(async || epoch(&world).await == (4, 4)).await;
    l1.reorg_from(3);
    l1.mine_in(3);
    l1.mine_in(4);
    until(async || metric(&world, "l1_reorgs_total").await == "1").await;
    until(async || world.get("/health").await["l1"]["state"] == "following").await;
    assert_eq!(metric(&world, "l1_conflicts_total").await, "0");
    assert!(shares(&world, first[0].0).await.0 > 66);
    // The epochs go on from there.
    l1.mine_in(5);
    until(async || epoch(&world).await == (5, 5)).await;
}

#[tokio::test]
async fn a_reorg_below_a_table_in_use_is_told() {
    let (world, l1) = followed().await;
    l1.stake(4, &nodes([8_000, 2_000, 2_000]));
    l1.mine_in(4);
    until(async || epoch(&world).await == (4, 4)).await;
    l1.reorg_from(4);
    l1.stake(4, &nodes([2_000, 2_000, 8_000]));
    l1.mine_in(4);
    until(async || metric(&world, "l1_conflicts_total").await == "1").await;
    // Draws already made stand; the next table follows L1.
    let third = nodes([0; 3])[2].0;
    assert!(shares(&world, third).await.0 < 33);
    until(async || world.get("/health").await["l1"]["state"] == "following").await;
    l1.mine_in(5);
    until(async || epoch(&world).await == (5, 5)).await;
    assert!(shares(&world, third).await.0 > 66);
}
