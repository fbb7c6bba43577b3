//! What a crash leaves, and what the next start makes of it.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use monai_protocol::Finish;
use monai_protocol::receipt::check_pair;
use monai_sequencer::Sequencer;
use serde_json::Value;
use tokio::sync::Semaphore;
use world::peer::until;
use world::{Behaviour, KEY, World, chat, operators};

/// Begins a stream whose answer hangs, and returns once its slot is on disk.
async fn hanging(world: &World) -> reqwest::Response {
    let mut body = chat(50);
    body["stream"] = true.into();
    world.post("/v1/chat/completions", &body).await
}

#[tokio::test]
async fn acknowledged_receipts_survive_and_slots_go_on() {
    let (world, peers) = World::with_peers().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.ask("/v1/chat/completions", &chat(6)).await["id"].as_str().unwrap().to_owned());
    }
    let nonce = world.receipt(&ids[4]).await.request.nonce;
    let next = world.after_crash().await;
    for id in &ids {
        next.checked(id).await;
    }
    drop(peers);
    let _peers = next.honest().await;
    let after = next.ask("/v1/chat/completions", &chat(6)).await["id"].as_str().unwrap().to_owned();
    let (receipt, report) = next.batched(&after).await;
    assert_eq!(receipt.intake.message.slot.0, 5, "the next slot, none skipped, none doubled");
    assert!(receipt.request.nonce > nonce);
    assert!(report.draw_verified);
    for id in &ids {
        let (old, _) = next.batched(id).await;
        check_pair(&old, &receipt).unwrap();
    }
}

#[tokio::test]
async fn open_slots_are_answered_to_their_end() {
    // Patient with nodes, so that the slots stay open; impatient with headers, so that clients need not wait.
    let world = World::with(|c| {
        c.timeouts.first_token_ms = 60_000;
        c.timeouts.stall_ms = 60_000;
        c.timeouts.keepalive_ms = 20;
    })
    .await;
    let gate = Arc::new(Semaphore::new(8));
    let mut stuck = Vec::new();
    for key in operators() {
        stuck.push(world.peer(key, Behaviour::Gated(gate.clone())).await);
    }
    let streams = [hanging(&world).await, hanging(&world).await, hanging(&world).await];
    let next = world.after_crash().await;
    let _peers = next.honest().await;
    // The slot behind them can only be batched once they are.
    let id = next.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    let (receipt, _) = next.batched(&id).await;
    assert_eq!(receipt.intake.message.slot.0, 3);
    let text = next.http.get(next.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("monai_recovered_slots_total 3"), "{text}");
    assert!(!text.contains("finish=\"cancelled\""), "no node is led to sign another end: {text}");
    // Nobody's uptime suffered.
    let network = next.get("/v1/network").await;
    let missed: u64 =
        network["nodes"].as_array().unwrap().iter().map(|n| n["models"][0]["missed"].as_u64().unwrap()).sum();
    assert_eq!(missed, 0);
    drop(streams);
}

#[tokio::test]
async fn open_slots_whose_nodes_stay_away_are_missed_by_all() {
    let world = World::start().await;
    let _mute = {
        let mut all = Vec::new();
        for key in operators() {
            all.push(world.peer(key, Behaviour::Mute).await);
        }
        all
    };
    // Nothing is heard of a mute node, so headers wait; the slot is on disk all the same.
    let (http, url) = (world.http.clone(), world.url("/v1/chat/completions"));
    let request = tokio::spawn(async move { http.post(url).bearer_auth(KEY).json(&chat(5)).send().await });
    until(async || _mute.iter().any(|p| p.jobs.load(Ordering::SeqCst) > 0)).await;
    let next = world.after_crash().await;
    until(async || {
        let text = next.http.get(next.url("/metrics")).send().await.unwrap().text().await.unwrap();
        text.contains("monai_recovered_slots_total 1")
    })
    .await;
    let _peers = next.honest().await;
    let id = next.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    assert_eq!(next.batched(&id).await.0.intake.message.slot.0, 1);
    request.abort();
}

#[tokio::test]
async fn a_polite_end_waits_for_streams_and_batches_them() {
    let (mut world, _peers) = World::with_peers().await;
    let mut body = chat(60);
    body["stream"] = true.into();
    let response = world.post("/v1/chat/completions", &body).await;
    let reading = tokio::spawn(response.text());
    world.sequencer.take().unwrap().shutdown().await;
    let text = reading.await.unwrap().unwrap();
    let events = world::events(&text);
    assert!(events.last().unwrap().is_none(), "the stream ended with [DONE]: {text}");
    let id = events[0].as_ref().unwrap()["id"].as_str().unwrap().to_owned();
    world.sequencer = Some(Sequencer::start(world.config.clone()).await.unwrap());
    let (receipt, report) = world.checked(&id).await;
    assert!(receipt.inclusion.is_some(), "the last batch was made before the end");
    assert_ne!(report.finish, Finish::Cancelled);
}

#[tokio::test]
async fn a_stuck_stream_is_cut_at_the_deadline_and_keeps_its_receipt() {
    let mut world = World::with(|c| c.timeouts.shutdown_ms = 300).await;
    let gate = Arc::new(Semaphore::new(5));
    let mut peers = Vec::new();
    for key in operators() {
        peers.push(world.peer(key, Behaviour::Gated(gate.clone())).await);
    }
    let response = hanging(&world).await;
    let reading = tokio::spawn(response.text());
    world.sequencer.take().unwrap().shutdown().await;
    let events = world::events(&reading.await.unwrap().unwrap());
    let id = events[0].as_ref().unwrap()["id"].as_str().unwrap().to_owned();
    world.sequencer = Some(Sequencer::start(world.config.clone()).await.unwrap());
    let (_, report) = world.checked(&id).await;
    assert_eq!(report.finish, Finish::Cancelled);
}

#[tokio::test]
async fn another_network_can_not_take_the_store_over() {
    let mut world = World::start().await;
    world.sequencer.take().unwrap().shutdown().await;
    let mut config = world.config.clone();
    config.chain_id.0 += 1;
    let error = Sequencer::start(config).await.unwrap_err().to_string();
    assert!(error.contains("belongs to chain 31337"), "{error}");
    let mut config = world.config.clone();
    config.parameters.max_attempts = 2;
    assert!(Sequencer::start(config).await.is_err());
    // Backup and migration work on a store at rest, and refuse to overwrite.
    let copy = world.dir.path().join("copy");
    monai_sequencer::backup(&world.config.data_dir, &copy).unwrap();
    assert!(monai_sequencer::backup(&world.config.data_dir, &copy).is_err());
    let done = monai_sequencer::migrate(&copy).unwrap();
    assert_eq!((done.from, done.to), (monai_sequencer::SCHEMA_VERSION, monai_sequencer::SCHEMA_VERSION));
    assert!(monai_sequencer::migrate(&world.dir.path().join("nothing")).is_err());
}

#[tokio::test]
async fn many_streams_at_once_fill_consecutive_slots() {
    let (world, _peers) = World::with_peers().await;
    let mut requests = Vec::new();
    for _ in 0..24 {
        let (http, url) = (world.http.clone(), world.url("/v1/chat/completions"));
        requests.push(tokio::spawn(async move {
            let r = http.post(url).bearer_auth(KEY).json(&chat(5)).send().await.unwrap();
            r.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
        }));
    }
    let mut slots = BTreeSet::new();
    let mut receipts = Vec::new();
    for request in requests {
        let (receipt, _) = world.batched(&request.await.unwrap()).await;
        slots.insert(receipt.intake.message.slot.0);
        receipts.push(receipt);
    }
    assert_eq!(slots, (0..24).collect());
    for (i, a) in receipts.iter().enumerate() {
        for b in &receipts[i + 1..] {
            check_pair(a, b).unwrap();
        }
    }
}

#[tokio::test]
async fn a_wiped_store_does_not_sign_slots_again() {
    let (mut world, peers) = World::with_peers().await;
    world.ask("/v1/chat/completions", &chat(4)).await;
    drop(peers);
    world.sequencer.take().unwrap().shutdown().await;
    let kept = world.config.data_dir.with_extension("kept");
    std::fs::rename(&world.config.data_dir, &kept).unwrap();
    let refused = monai_sequencer::Sequencer::start(world.config.clone()).await.unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("up to 1 (") && said.contains("the store has given 0"), "{said}");
    // The store that gave the slot goes on.
    std::fs::remove_dir_all(&world.config.data_dir).unwrap();
    std::fs::rename(&kept, &world.config.data_dir).unwrap();
    monai_sequencer::Sequencer::start(world.config.clone()).await.unwrap();
}
