//! Nodes that are not who they say, or don't speak as they must.
#![allow(clippy::unwrap_used)]

mod world;

use futures_util::SinkExt as _;
use monai_protocol::messages::Typed as _;
use monai_protocol::wire::{Fault, FaultCode, NodeFrame, Probe, SequencerFrame, Token};
use tokio_tungstenite::tungstenite::Message;
use world::peer::{UNKNOWN_JOB, dial, hello, next, send, until};
use world::{Behaviour, World, chat, operators, secret};

/// The fault that ends a session, skipping pings.
async fn fault(socket: &mut world::peer::Socket) -> Option<FaultCode> {
    loop {
        match next(socket).await? {
            SequencerFrame::Fault(Fault { code, .. }) => return Some(code),
            SequencerFrame::Ping(_) | SequencerFrame::Welcome(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_hello_must_be_fresh_signed_and_registered() {
    let world = World::start().await;
    let key = operators().remove(0);
    for (what, code) in [
        ("replayed challenge", FaultCode::Authentication),
        ("another's signature", FaultCode::Authentication),
        ("another sequencer", FaultCode::Authentication),
        ("unsigned credit", FaultCode::Authentication),
        ("a stranger", FaultCode::UnknownNode),
        ("another version", FaultCode::Version),
        ("no hello at all", FaultCode::Protocol),
    ] {
        let (mut socket, challenge, domain, sequencer) = dial(world.addr()).await;
        let mut h = hello(&key, challenge, &domain, sequencer, &world.model, 2);
        match what {
            "replayed challenge" => {
                let mut old = challenge;
                old.0[0] ^= 1;
                h = hello(&key, old, &domain, sequencer, &world.model, 2);
            }
            "another's signature" => h.signature = h.hello.sign(&domain, &secret(2)).unwrap(),
            "another sequencer" => h = hello(&key, challenge, &domain, key.address(), &world.model, 2),
            "unsigned credit" => {
                h.models[0].signature = h.models[0].credit.sign(&domain, &secret(2)).unwrap()
            }
            "a stranger" => h = hello(&secret(77), challenge, &domain, sequencer, &world.model, 2),
            "another version" => h.version += 1,
            _ => {}
        }
        if what == "no hello at all" {
            send(&mut socket, &NodeFrame::Drain {}).await;
        } else {
            send(&mut socket, &NodeFrame::Hello(Box::new(h))).await;
        }
        assert_eq!(fault(&mut socket).await, Some(code), "{what}");
    }
    assert_eq!(world.get("/health").await["nodes"], 0);
}

#[tokio::test]
async fn forged_frames_end_the_session_and_are_counted() {
    let world = World::start().await;
    let key = operators().remove(0);
    let token = NodeFrame::Token(Token { job: UNKNOWN_JOB, index: 0, id: 5, logprobs: None });
    let frames: Vec<(&str, Message)> = vec![
        ("unknown job", Message::text(monai_protocol::wire::encode(&token).unwrap())),
        ("malformed", Message::text("{\"type\":\"token\"}")),
        ("no JSON", Message::text("hello")),
        ("binary", Message::binary(vec![1, 2, 3])),
        (
            "unasked pong",
            Message::text(monai_protocol::wire::encode(&NodeFrame::Pong(Probe { nonce: 1 })).unwrap()),
        ),
    ];
    for (what, frame) in frames {
        let (mut socket, challenge, domain, sequencer) = dial(world.addr()).await;
        let h = hello(&key, challenge, &domain, sequencer, &world.model, 2);
        send(&mut socket, &NodeFrame::Hello(Box::new(h))).await;
        assert!(matches!(next(&mut socket).await, Some(SequencerFrame::Welcome(_))));
        socket.send(frame).await.unwrap();
        assert_eq!(fault(&mut socket).await, Some(FaultCode::Protocol), "{what}");
        // And the connection closes.
        assert!(next(&mut socket).await.is_none(), "{what}");
    }
    let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for label in ["unknown_job", "malformed", "unexpected"] {
        assert!(text.contains(&format!("monai_bad_frames_total{{fault=\"{label}\"}}")), "{label} in {text}");
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_not_read() {
    let world = World::start().await;
    let (mut socket, ..) = dial(world.addr()).await;
    // Whether the send still succeeds depends on when the other side closes.
    drop(socket.send(Message::text("x".repeat(3 << 20))).await);
    assert!(!matches!(next(&mut socket).await, Some(SequencerFrame::Welcome(_))));
    world.get("/health").await;
}

#[tokio::test]
async fn the_newest_session_of_a_node_wins() {
    let world = World::start().await;
    let key = operators().remove(0);
    let mut first = world.peer(key.clone(), Behaviour::Mute).await;
    let _second = world.peer(key, Behaviour::Honest).await;
    first.over.wait_for(|over| *over).await.unwrap();
    let network = world.get("/v1/network").await;
    let connected = network["nodes"].as_array().unwrap().iter().filter(|n| n["connected"] == true).count();
    assert_eq!(connected, 1);
    assert_eq!(world.get("/health").await["nodes"], 1);
}

#[tokio::test]
async fn a_node_that_answers_no_ping_is_given_up() {
    let world = World::with(|c| c.timeouts.heartbeat_ms = 90).await;
    let key = operators().remove(0);
    let (mut socket, challenge, domain, sequencer) = dial(world.addr()).await;
    let h = hello(&key, challenge, &domain, sequencer, &world.model, 2);
    send(&mut socket, &NodeFrame::Hello(Box::new(h))).await;
    let mut pings = 0;
    while let Some(frame) = next(&mut socket).await {
        if matches!(frame, SequencerFrame::Ping(_)) {
            pings += 1;
        }
    }
    assert_eq!(pings, 3);
    until(async || world.get("/health").await["nodes"] == 0).await;
}

#[tokio::test]
async fn a_draining_node_gets_no_new_streams_once_it_is_alone() {
    let world = World::start().await;
    let key = operators().remove(0);
    let (mut socket, challenge, domain, sequencer) = dial(world.addr()).await;
    let h = hello(&key, challenge, &domain, sequencer, &world.model, 2);
    send(&mut socket, &NodeFrame::Hello(Box::new(h))).await;
    send(&mut socket, &NodeFrame::Drain {}).await;
    until(async || {
        let network = world.get("/v1/network").await;
        network["nodes"].as_array().unwrap().iter().any(|n| n["draining"] == true)
    })
    .await;
    assert_eq!(world.post("/v1/chat/completions", &chat(3)).await.status(), 503);
}
