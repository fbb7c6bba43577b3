//! Epochs turn, weights and tables follow, and plaintext ends.
#![allow(clippy::unwrap_used)]

mod world;

use monai_protocol::EpochId;
use serde_json::Value;
use world::peer::until;
use world::{World, chat};

#[tokio::test]
async fn epochs_follow_each_other_and_receipts_stay_valid() {
    let world = World::with(|c| {
        c.intervals.epoch_ms = 150;
        c.parameters.min_samples = 1;
    })
    .await;
    let _peers = world.honest().await;
    let mut ids = Vec::new();
    let mut epochs = std::collections::BTreeSet::new();
    while epochs.len() < 4 {
        let id = world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
        let (receipt, _) = world.checked(&id).await;
        epochs.insert(receipt.draw.table.epoch);
        ids.push(id);
    }
    for id in &ids {
        let (_, report) = world.batched(id).await;
        assert!(report.draw_verified);
    }
    // Samples have become performance: nodes that answered are known by now.
    until(async || {
        let network = world.get("/v1/network").await;
        network["batched_epoch"].as_u64().unwrap() >= 4
            && network["nodes"].as_array().unwrap().iter().any(|n| n["models"][0]["uptime"] == 1.0)
    })
    .await;
    assert!(epochs.contains(&EpochId(0)));
}

#[tokio::test]
async fn epochs_turn_without_traffic_and_after_a_restart() {
    let mut world = World::with(|c| c.intervals.epoch_ms = 50).await;
    until(async || world.get("/v1/network").await["epoch"].as_u64().unwrap() >= 3).await;
    world.sequencer.take().unwrap().shutdown().await;
    world.sequencer = Some(monai_sequencer::Sequencer::start(world.config.clone()).await.unwrap());
    let before = world.get("/v1/network").await["epoch"].as_u64().unwrap();
    assert!(before >= 3);
    until(async || world.get("/v1/network").await["epoch"].as_u64().unwrap() > before).await;
    let _peers = world.honest().await;
    let id = world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    assert!(world.batched(&id).await.1.draw_verified);
}

#[tokio::test]
async fn plaintext_ends_with_its_retention() {
    // The retention is long enough to look at the files before it ends.
    let mut world = World::with(|c| c.retention.plaintext_secs = 3).await;
    let _peers = world.honest().await;
    let mut body = chat(4);
    let needle = "a very particular secret of mine";
    body["messages"][0]["content"] = needle.into();
    let id = world.ask("/v1/chat/completions", &body).await["id"].as_str().unwrap().to_owned();
    let ids = monai_model::text::TextCodec::of(&world.model).unwrap().text_ids(needle).unwrap();
    let text: Vec<String> = ids.iter().map(u32::to_string).collect();
    let pattern = text[..12].join(",");
    let holds = |dir: &std::path::Path| {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).find(|path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(pattern.len()).any(|w| w == pattern.as_bytes())
        })
    };
    assert!(holds(&world.config.data_dir).is_some(), "the ids must be found while they are kept");
    let mut last = Value::Null;
    until(async || {
        let r = world
            .http
            .get(world.url(&format!("/v1/receipts/{id}")))
            .bearer_auth(world::KEY)
            .send()
            .await
            .unwrap();
        let status = r.status();
        last = r.json().await.unwrap();
        status == 410
    })
    .await;
    assert_eq!(last["error"]["code"], "expired");
    // The ids of the prompt are in no file any more, once the sequencer has stopped.
    world.sequencer.take().unwrap().shutdown().await;
    assert_eq!(holds(&world.config.data_dir), None, "the prompt is still there");
}

#[tokio::test]
async fn canaries_are_slots_like_others() {
    let world = World::with(|c| {
        c.canary.interval_ms = 20;
        c.canary.max_tokens = 4;
        c.api_keys[1].canary = true;
    })
    .await;
    let _peers = world.honest().await;
    until(async || {
        let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        text.contains("monai_canaries_total{model=\"tiny\",outcome=\"answered\"}")
    })
    .await;
    let id = world.ask("/v1/chat/completions", &chat(4)).await["id"].as_str().unwrap().to_owned();
    assert!(world.batched(&id).await.0.intake.message.slot.0 > 0);
}
