//! Frames survive their encoding, and nothing else decodes.
#![allow(clippy::unwrap_used)]

mod world;

use monai_protocol::messages::{Credit, NodeHello, Refusal, RefusalReason};
use monai_protocol::wire::*;
use monai_protocol::*;
use world::{Fail, LANE, MODEL, World, key, sign};

fn round<F: Frame + PartialEq + std::fmt::Debug>(frame: F, tag: &str) -> String {
    let text = encode(&frame).unwrap();
    assert_eq!(decode::<F>(text.as_bytes()).unwrap(), frame);
    assert!(text.starts_with(&format!("{{\"type\":\"{tag}\"")), "{text}");
    // A field nobody knows is a protocol error, not a silent difference of opinion.
    let extra = text.replacen('{', "{\"surprise\":1,", 1);
    assert!(decode::<F>(extra.as_bytes()).is_err(), "{extra}");
    text
}

fn job(w: &World) -> Job {
    let r = w.answer(0, &[], Finish::Stop, 70);
    Job {
        job: JobId(u64::MAX),
        request: r.request,
        lane: LANE,
        slot: Slot(0),
        received_ms: r.intake.message.received_ms,
        intake_signature: r.intake.signature,
        retry: Retry(0),
        resume: vec![1, 2],
        deadline_ms: 9,
        logprobs: Some(3),
        cache_scope: Some(u64::MAX),
    }
}

#[test]
fn every_frame_survives() {
    let w = World::new(3);
    let r = w.answer(0, &[Fail::Busy], Finish::Stop, 70);
    let credit = sign(Credit { model: MODEL, credits: 4, issued_ms: 1 }, &w.domain, &key(10));
    let offer =
        ModelOffer { credit: credit.message.clone(), signature: credit.signature, max_positions: 2048 };
    let hello = NodeHello {
        challenge: Keccak([4; 32]),
        node: key(10).address(),
        sequencer: w.sequencer.address(),
        credits: vec![credit.message],
    };
    let hello = sign(hello, &w.domain, &key(10));
    let id = JobId(7);
    round(
        NodeFrame::Hello(Box::new(Hello {
            version: WIRE_VERSION,
            hello: hello.message,
            signature: hello.signature,
            models: vec![offer.clone()],
            software: "monai 0.1".into(),
        })),
        "hello",
    );
    round(NodeFrame::Credit(offer), "credit");
    round(NodeFrame::Accepted { job: id }, "accepted");
    round(NodeFrame::Token(Token { job: id, index: 3, id: u32::MAX, logprobs: None }), "token");
    let logprobs = Some(Box::new(TokenLogprobs { chosen: -7, top: vec![(1, -7), (2, i64::MIN)] }));
    round(NodeFrame::Token(Token { job: id, index: 3, id: 1, logprobs }), "token");
    let p = &r.progress[0];
    round(
        NodeFrame::Progress(ProgressFrame { job: id, progress: p.message.clone(), signature: p.signature }),
        "progress",
    );
    round(
        NodeFrame::Done(Box::new(Done {
            job: id,
            response: r.response.message.clone(),
            signature: r.response.signature,
        })),
        "done",
    );
    let receipt::Attempt::Busy(b) = &r.attempts[0] else { panic!("busy") };
    round(
        NodeFrame::Refuse(Box::new(Refuse {
            job: id,
            refusal: b.refusal.message.clone(),
            signature: b.refusal.signature,
        })),
        "refuse",
    );
    round(NodeFrame::Pong(Probe { nonce: u64::MAX }), "pong");
    round(NodeFrame::Stats(Stats { rss_bytes: 1, milli_tokens_per_s: 2, active: 3, queued: 4 }), "stats");
    round(NodeFrame::Drain {}, "drain");
    round(NodeFrame::Fault(Fault { code: FaultCode::Protocol, message: "no".into() }), "fault");
    round(
        SequencerFrame::Challenge(Challenge {
            version: WIRE_VERSION,
            challenge: Keccak([1; 32]),
            domain: w.domain,
            sequencer: w.sequencer.address(),
        }),
        "challenge",
    );
    round(SequencerFrame::Welcome(Welcome { session: 1, ping_ms: 1000 }), "welcome");
    let job = job(&w);
    assert_eq!(job.intake().verify(&w.domain, &job.intake_signature, w.sequencer.address()), Ok(()));
    round(SequencerFrame::Job(Box::new(job)), "job");
    round(SequencerFrame::Cancel(CancelJob { job: id, up_to: 5, signature: None }), "cancel");
    round(SequencerFrame::Ping(Probe { nonce: 0 }), "ping");
}

#[test]
fn limits_hold_on_both_sides() {
    let w = World::new(3);
    let mut long = job(&w);
    long.resume = vec![0; MAX_FRAME_IDS];
    let frame = SequencerFrame::Job(Box::new(long));
    assert!(matches!(encode(&frame), Err(WireError::Limit { field: "ids", .. })));
    let text = serde_json::to_string(&frame).unwrap();
    assert!(matches!(decode::<SequencerFrame>(text.as_bytes()), Err(WireError::Limit { .. })));

    let huge = vec![b' '; MAX_FRAME_BYTES + 1];
    assert!(matches!(decode::<NodeFrame>(&huge), Err(WireError::TooLarge { .. })));
    let fault =
        NodeFrame::Fault(Fault { code: FaultCode::Protocol, message: "x".repeat(MAX_TEXT_BYTES + 1) });
    assert!(matches!(encode(&fault), Err(WireError::Limit { field: "message", .. })));

    let mut curious = job(&w);
    curious.logprobs = Some(MAX_LOGPROBS + 1);
    let e = encode(&SequencerFrame::Job(Box::new(curious)));
    assert!(matches!(e, Err(WireError::Limit { field: "logprobs", .. })));

    let mut bad = job(&w);
    bad.request.params.tau = 0;
    assert!(matches!(encode(&SequencerFrame::Job(Box::new(bad))), Err(WireError::Request(_))));

    let active = vec![RequestCommitment(Fr::from(1u64)); MAX_CREDITS as usize + 1];
    let refusal = Refusal {
        request: active[0],
        model: MODEL,
        lane: LANE,
        slot: Slot(0),
        retry: Retry(0),
        reason: RefusalReason::Busy,
        at_ms: 0,
        active,
    };
    let signed = sign(refusal, &w.domain, &key(10));
    let frame = NodeFrame::Refuse(Box::new(Refuse {
        job: JobId(1),
        refusal: signed.message,
        signature: signed.signature,
    }));
    assert!(matches!(encode(&frame), Err(WireError::Limit { field: "active", .. })));
}

#[test]
fn hostile_text_is_an_error_and_never_a_panic() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{\"type\":\"nonsense\"}",
        "{\"type\":\"token\"}",
        "{\"type\":\"token\",\"job\":1,\"index\":-1,\"id\":2}",
        "{\"type\":\"token\",\"job\":1,\"index\":1.5,\"id\":2}",
        "{\"type\":\"token\",\"job\":1,\"index\":1,\"id\":4294967296}",
        "{\"type\":\"token\",\"job\":1,\"index\":1,\"id\":2,\"id\":3}",
        "{\"type\":\"token\",\"type\":\"pong\",\"nonce\":1}",
        "\u{feff}{\"type\":\"drain\"}",
    ] {
        assert!(decode::<NodeFrame>(text.as_bytes()).is_err(), "{text}");
    }
    assert!(decode::<NodeFrame>(b"{\"type\":\"drain\",\"x\":\xff}").is_err());
    let deep = "[".repeat(100_000);
    assert!(decode::<NodeFrame>(deep.as_bytes()).is_err());
    assert!(decode::<NodeFrame>(b"{\"type\":\"drain\"}").is_ok());
    // Cut a true frame anywhere.
    let w = World::new(3);
    let text = encode(&SequencerFrame::Job(Box::new(job(&w)))).unwrap();
    for end in (0..text.len()).step_by(7) {
        assert!(decode::<SequencerFrame>(&text.as_bytes()[..end]).is_err());
    }
}
