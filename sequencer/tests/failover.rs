//! Nodes that die, stall, refuse or lie: the client gets the same answer, and the receipt says what happened.
#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use monai_protocol::messages::RefusalReason;
use monai_protocol::receipt::Attempt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use world::peer::until;
use world::{Behaviour, Peer, World, chat, operators, streamed_text};

/// One peer that misbehaves for the first drawn, the others honest. Tries requests until the bad one was drawn
/// first, and returns that answer's text, id and the undisturbed text.
async fn disturbed(behaviour: Behaviour, body: &Value, stream: bool) -> (World, String, String, String) {
    let undisturbed = {
        let (world, _peers) = World::with_peers().await;
        world.ask("/v1/chat/completions", body).await["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for _ in 0..40 {
        let world = World::start().await;
        let keys = operators();
        let bad = world.peer(keys[0].clone(), behaviour.clone()).await;
        let good = [
            world.peer(keys[1].clone(), Behaviour::Honest).await,
            world.peer(keys[2].clone(), Behaviour::Honest).await,
        ];
        let (text, id) = answer(&world, body, stream).await;
        let drawn = bad.jobs.load(Ordering::SeqCst) > 0;
        if drawn {
            let _keep = good;
            let (_, _) = world.checked(&id).await;
            world.batched(&id).await;
            return (world, text, id, undisturbed);
        }
    }
    panic!("the bad node was never drawn");
}

async fn answer(world: &World, body: &Value, stream: bool) -> (String, String) {
    if stream {
        let mut body = body.clone();
        body["stream"] = true.into();
        let events = world.stream("/v1/chat/completions", &body).await;
        assert!(events.last().unwrap().is_none(), "{events:?}");
        let id = events[0].as_ref().unwrap()["id"].as_str().unwrap().to_owned();
        (streamed_text(&events, 0), id)
    } else {
        let v = world.ask("/v1/chat/completions", body).await;
        (
            v["choices"][0]["message"]["content"].as_str().unwrap().to_owned(),
            v["id"].as_str().unwrap().to_owned(),
        )
    }
}

fn seeded(max_tokens: u32) -> Value {
    let mut body = chat(max_tokens);
    body["temperature"] = json!(0.9);
    body["seed"] = json!(11);
    body
}

#[tokio::test]
async fn a_stream_survives_the_death_of_its_node_at_any_point() {
    // The answer's length decides what the last-but-one and the last token are.
    let (world, _peers) = World::with_peers().await;
    for body in [chat(70), seeded(70)] {
        let id = world.ask("/v1/chat/completions", &body).await["id"].as_str().unwrap().to_owned();
        let length = world.receipt(&id).await.output.len() as u32;
        for at in [1, length / 2, length - 1, length] {
            let (_world, text, id, undisturbed) = disturbed(Behaviour::DieAfter(at), &body, true).await;
            assert_eq!(text, undisturbed, "killed after {at} of {length}");
            let receipt = _world.receipt(&id).await;
            let a = &receipt.attestation.message;
            assert_eq!((a.retry.0, a.resumed_from), (1, at), "killed after {at} of {length}");
            assert!(matches!(&receipt.attempts[..], [Attempt::Missed(m)] if m.message.streamed == at));
        }
    }
}

#[tokio::test]
async fn bad_answers_are_misses_and_never_passed_on() {
    for behaviour in [Behaviour::WrongOutput, Behaviour::WrongFinish] {
        for stream in [false, true] {
            let (world, text, id, undisturbed) = disturbed(behaviour.clone(), &chat(20), stream).await;
            assert_eq!(text, undisturbed);
            assert!(matches!(&world.receipt(&id).await.attempts[..], [Attempt::Missed(_)]));
        }
    }
}

#[tokio::test]
async fn a_missing_running_hash_is_a_miss() {
    // Only answers longer than a block have one.
    let mut body = chat(150);
    body["temperature"] = json!(1.3);
    for seed in 0..50 {
        body["seed"] = json!(seed);
        let (world, _peers) = World::with_peers().await;
        let id = world.ask("/v1/chat/completions", &body).await["id"].as_str().unwrap().to_owned();
        let receipt = world.receipt(&id).await;
        if receipt.output.len() >= 64 {
            assert_eq!(receipt.progress.len(), receipt.output.len() / 64);
            break;
        }
    }
    let (world, text, id, undisturbed) = disturbed(Behaviour::NoProgress, &body, true).await;
    assert_eq!(text, undisturbed);
    assert!(matches!(&world.receipt(&id).await.attempts[..], [Attempt::Missed(_)]));
}

#[tokio::test]
async fn refusals_are_recorded_as_signed() {
    let (world, text, id, undisturbed) =
        disturbed(Behaviour::Refuse(RefusalReason::Internal), &chat(10), false).await;
    assert_eq!(text, undisturbed);
    assert!(matches!(&world.receipt(&id).await.attempts[..], [Attempt::Refused(_)]));
    let network = world.get("/v1/network").await;
    let missed: u64 =
        network["nodes"].as_array().unwrap().iter().map(|n| n["models"][0]["missed"].as_u64().unwrap()).sum();
    assert_eq!(missed, 1);
}

#[tokio::test]
async fn a_lie_in_a_whole_answer_is_overruled() {
    // The liar's tokens are refused by the next node as a prefix; nothing has reached the client yet, so the
    // answer begins again with the third.
    let (world, text, id, undisturbed) = disturbed(Behaviour::Lie, &chat(20), false).await;
    assert_eq!(text, undisturbed);
    let receipt = world.receipt(&id).await;
    assert!(matches!(&receipt.attempts[..], [Attempt::Missed(_), Attempt::Refused(_)]));
    assert_eq!(receipt.attestation.message.resumed_from, 0);
}

#[tokio::test]
async fn a_mute_node_times_out_and_is_told() {
    let (_world, text, _, undisturbed) = disturbed(Behaviour::Mute, &chat(10), true).await;
    assert_eq!(text, undisturbed);
}

#[tokio::test]
async fn when_everybody_fails_the_slot_ends_and_the_client_is_told() {
    let world = World::start().await;
    let mut peers = Vec::new();
    for key in operators() {
        peers.push(world.peer(key, Behaviour::Refuse(RefusalReason::Internal)).await);
    }
    let response = world.post("/v1/chat/completions", &chat(5)).await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "nodes_failed");
    assert!(peers.iter().all(|p| p.jobs.load(Ordering::SeqCst) == 1));
    // Its leaves are batched like any other's: the next slot's receipt is included behind them.
    drop(peers);
    until(async || world.get("/health").await["nodes"] == 0).await;
    let _honest = world.honest().await;
    let id = world.ask("/v1/chat/completions", &chat(5)).await["id"].as_str().unwrap().to_owned();
    let (receipt, _) = world.batched(&id).await;
    assert_eq!(receipt.intake.message.slot.0, 1);
}

#[tokio::test]
async fn exhausted_credit_redraws_without_harm() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let mut peers = Vec::new();
    for key in operators() {
        let behaviour = Behaviour::Gated(gate.clone());
        peers.push(Peer::join_with(world.addr(), key, world.model.clone(), behaviour, 1).await);
    }
    // Three streams fill three credits of one, whoever is drawn first for each.
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let (http, url) = (world.http.clone(), world.url("/v1/chat/completions"));
            tokio::spawn(async move {
                http.post(url)
                    .bearer_auth(world::KEY)
                    .json(&chat(6))
                    .send()
                    .await
                    .unwrap()
                    .json::<Value>()
                    .await
                    .unwrap()
            })
        })
        .collect();
    until(async || world.get("/health").await["in_flight"] == 3).await;
    until(async || {
        let network = world.get("/v1/network").await;
        network["nodes"].as_array().unwrap().iter().all(|n| n["active"] == 1)
    })
    .await;
    gate.add_permits(1_000);
    for request in requests {
        let v = request.await.unwrap();
        let (receipt, _) = world.batched(v["id"].as_str().unwrap()).await;
        assert!(receipt.attempts.iter().all(|a| matches!(a, Attempt::Busy(_))));
    }
    let network = world.get("/v1/network").await;
    let missed: u64 =
        network["nodes"].as_array().unwrap().iter().map(|n| n["models"][0]["missed"].as_u64().unwrap()).sum();
    assert_eq!(missed, 0);
}

#[tokio::test]
async fn preferred_providers_answer_in_their_own_lane() {
    let (world, peers) = World::with_peers().await;
    let wanted = peers[1].key.address();
    let mut body = chat(5);
    body["provider"] = json!({"only": [wanted]});
    for _ in 0..4 {
        let id = world.ask("/v1/chat/completions", &body).await["id"].as_str().unwrap().to_owned();
        let (receipt, report) = world.batched(&id).await;
        assert_eq!(report.node, wanted);
        assert!(receipt.intake.message.lane.by_preference());
        assert!(!report.draw_verified);
    }
    let network = world.get("/v1/network").await;
    let answered: u64 = network["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["models"][0]["answered"].as_u64().unwrap())
        .sum();
    assert_eq!(answered, 0, "answers by preference earn nothing");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_and_frees() {
    use futures_util::StreamExt as _;
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(3));
    let mut peers = Vec::new();
    for key in operators() {
        peers.push(world.peer(key, Behaviour::Gated(gate.clone())).await);
    }
    let mut body = chat(100);
    body["stream"] = true.into();
    let response = world.post("/v1/chat/completions", &body).await;
    let mut bytes = response.bytes_stream();
    let first = String::from_utf8(bytes.next().await.unwrap().unwrap().to_vec()).unwrap();
    let id = world::events(&first)[0].as_ref().unwrap()["id"].as_str().unwrap().to_owned();
    drop(bytes);
    until(async || world.get("/health").await["in_flight"] == 0).await;
    until(async || {
        let r = world.http.get(world.url(&format!("/v1/receipts/{id}"))).bearer_auth(world::KEY).send();
        r.await.unwrap().status() == 200
    })
    .await;
    let (receipt, report) = world.batched(&id).await;
    assert_eq!(report.finish, monai_protocol::Finish::Cancelled);
    assert!(receipt.cancel.is_some() && receipt.output.len() <= 3);
}
