//! A node against a sequencer that the test plays: what it signs, refuses, resumes and finishes.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use monai_node::cli::EngineKind;
use monai_node::daemon::{DaemonError, ServedModel, Service, Target, serve};
use monai_node::engine::{AnyEngine, EngineOptions};
use monai_protocol::messages::{Cancel, RefusalReason};
use monai_protocol::output::{PROGRESS_IDS, RunningHash};
use monai_protocol::types::Finish;
use monai_protocol::wire::{CancelJob, Done, Fault, FaultCode, Job, JobId, NodeFrame, Probe, SequencerFrame};
use monai_protocol::{ModelId, Request, SelectionParams, Typed as _, output_commitment};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::fake_sequencer::{FakeSequencer, NodeEnd, domain, key, now_ms, request};
use support::home::TestHome;
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Bench {
    sequencer: FakeSequencer,
    model: ModelId,
    drain: watch::Sender<bool>,
    node: JoinHandle<Result<(), DaemonError>>,
    home: TestHome,
}

impl Bench {
    async fn start(credits: u32, rate: Option<f64>) -> Self {
        Self::with(TestHome::new(), FakeSequencer::bind().await, credits, rate)
    }

    fn with(home: TestHome, sequencer: FakeSequencer, credits: u32, rate: Option<f64>) -> Self {
        let loaded = Arc::new(home.model.load().unwrap());
        let options = EngineOptions { kind: EngineKind::Cpu, threads: Some(1), kv_mib: 64, streams: 4 };
        let engine = AnyEngine::start(loaded, &options).unwrap();
        let models = BTreeMap::from([(home.model.id, ServedModel { engine, max_positions: 2048 })]);
        let service = Service::new(key(2), domain(), models, credits, rate, &home.home.slots()).unwrap();
        let target = Target::parse(&sequencer.url(), Some(sequencer.key.address())).unwrap();
        let (drain, drained) = watch::channel(false);
        let node = tokio::spawn(serve(Arc::new(service), vec![target], drained, Duration::from_secs(60)));
        Self { sequencer, model: home.model.id, drain, node, home }
    }

    /// Ends the node and starts another with the same home, key and sequencer.
    async fn restart(self) -> Self {
        self.drain.send_replace(true);
        self.node.await.unwrap().unwrap();
        Self::with(self.home, self.sequencer, 4, None)
    }

    fn request(&self, max_tokens: u32, seed: Option<u64>, nonce: u64) -> Request {
        let mut params = SelectionParams::greedy(max_tokens);
        if let Some(seed) = seed {
            params.top_k = 0;
            params.tau = 1 << 16;
            params.seed = seed;
        }
        request(self.model, &[1, 50, 60, 70], params, nonce)
    }
}

/// All ids of a job until it is done, and the signed end. Checks order and signatures of what comes.
async fn answer(node: &mut NodeEnd, job: &Job) -> (Vec<u32>, Done) {
    let r = job.request.commitment();
    let mut ids = job.resume.clone();
    let mut hash = RunningHash::new(r, job.request.blinding);
    let mut points: BTreeMap<u32, _> = ids.iter().filter_map(|&id| hash.push(id)).collect();
    points.clear();
    loop {
        match node.next().await {
            NodeFrame::Accepted { job: id } => assert_eq!((id, ids.len()), (job.job, job.resume.len())),
            NodeFrame::Token(t) => {
                assert_eq!((t.job, t.index as usize), (job.job, ids.len()));
                ids.push(t.id);
                points.extend(hash.push(t.id));
            }
            NodeFrame::Progress(p) => {
                assert_eq!(p.progress.up_to as usize, ids.len());
                assert_eq!(points.remove(&p.progress.up_to), Some(p.progress.running));
                p.progress.verify(&domain(), &p.signature, key(2).address()).unwrap();
            }
            NodeFrame::Done(done) => {
                assert!(points.is_empty(), "unsigned progress: {points:?}");
                let m = &done.response;
                m.verify(&domain(), &done.signature, key(2).address()).unwrap();
                assert_eq!((m.request, m.slot, m.n_in), (r, job.slot, 4));
                assert!(m.received_ms <= m.first_token_ms && m.first_token_ms <= m.done_ms);
                return (ids, *done);
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// A seed and length with which the tiny model's answer is long enough to be cut in the middle.
async fn long_answer(bench: &Bench, node: &mut NodeEnd, n: u32) -> (Request, Vec<u32>, Done) {
    for seed in 0..200 {
        let request = bench.request(n, Some(seed), seed);
        let job = node.job(seed, request.clone(), Vec::new());
        node.give(job.clone()).await;
        let (ids, done) = answer(node, &job).await;
        if ids.len() as u32 == n {
            return (request, ids, done);
        }
    }
    panic!("no seed gives {n} ids");
}

#[tokio::test]
async fn answers_are_signed_and_the_same_each_time() {
    let bench = Bench::start(4, None).await;
    let (mut node, hello) = bench.sequencer.accept().await;
    assert_eq!(hello.hello.node, key(2).address());
    assert_eq!(hello.hello.sequencer, bench.sequencer.key.address());
    assert_eq!(hello.models[0].credit.credits, 4);
    hello.models[0].credit.verify(&domain(), &hello.models[0].signature, key(2).address()).unwrap();

    let n = 2 * PROGRESS_IDS as u32 + 5;
    let (request, ids, done) = long_answer(&bench, &mut node, n).await;
    assert_eq!(done.response.finish, Finish::Length);
    assert_eq!(done.response.output, output_commitment(request.blinding, Finish::Length, &ids));
    let again = node.job(900, request, Vec::new());
    node.give(again.clone()).await;
    let (same, _) = answer(&mut node, &again).await;
    assert_eq!(same, ids);

    node.send(&SequencerFrame::Ping(Probe { nonce: 42 })).await;
    assert_eq!(node.next().await, NodeFrame::Pong(Probe { nonce: 42 }));
}

#[tokio::test]
async fn interrupted_answers_go_on_where_they_were() {
    let bench = Bench::start(4, None).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let n = PROGRESS_IDS as u32 + 6;
    let (request, ids, done) = long_answer(&bench, &mut node, n).await;
    // After the first id, in the middle, at a block's end, after the last but one, and after the last.
    for (i, k) in [1, 30, PROGRESS_IDS, ids.len() - 1, ids.len()].into_iter().enumerate() {
        let job = node.job(1000 + i as u64, request.clone(), ids[..k].to_vec());
        node.give(job.clone()).await;
        let (resumed, end) = answer(&mut node, &job).await;
        assert_eq!(resumed, ids, "resumed after {k}");
        assert_eq!(end.response.output, done.response.output);
    }
    // A prefix that the model does not decode is not continued.
    let mut wrong = ids[..10].to_vec();
    wrong[4] ^= 1;
    let job = node.job(2000, request, wrong);
    node.give(job.clone()).await;
    assert_eq!(refusal(&mut node, &job).await, RefusalReason::PrefixMismatch);
}

/// The reason of the refusal that has to come next for this job, perhaps after it was accepted.
async fn refusal(node: &mut NodeEnd, job: &Job) -> RefusalReason {
    loop {
        match node.next().await {
            NodeFrame::Refuse(r) if r.job == job.job => {
                r.refusal.verify(&domain(), &r.signature, key(2).address()).unwrap();
                assert_eq!(r.refusal.request, job.request.commitment());
                assert_eq!((r.refusal.slot, r.refusal.retry), (job.slot, job.retry));
                return r.refusal.reason;
            }
            NodeFrame::Accepted { .. } | NodeFrame::Token(_) | NodeFrame::Progress(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn clocks_need_not_agree() {
    let bench = Bench::start(2, None).await;
    let (mut node, _) = bench.sequencer.accept().await;
    for (nonce, apart) in [(1, -3_600_000i64), (2, 3_600_000)] {
        // The sequencer's clock, an hour behind and an hour ahead of the node's.
        let mut job = node_job(&bench, bench.request(4, None, nonce));
        job.received_ms = job.received_ms.saturating_add_signed(apart);
        job.deadline_ms = job.received_ms + 60_000;
        job.intake_signature = job.intake().sign(&domain(), &bench.sequencer.key).unwrap();
        node.give(job.clone()).await;
        assert_eq!(answer(&mut node, &job).await.1.job, job.job);
    }
}

#[tokio::test]
async fn refusals_are_signed_and_say_why() {
    let bench = Bench::start(2, None).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let good = || node_job(&bench, bench.request(4, None, 1));
    type Change = fn(&mut Job);
    let cases: [(RefusalReason, Change); 4] = [
        (RefusalReason::Deadline, |j| j.deadline_ms = j.received_ms),
        (RefusalReason::Malformed, |j| j.intake_signature.0[5] ^= 1),
        (RefusalReason::Malformed, |j| j.request.blinding.0 ^= 1),
        (RefusalReason::Malformed, |j| j.request.domain.chain_id.0 += 1),
    ];
    for (i, (reason, change)) in cases.into_iter().enumerate() {
        let mut job = good();
        job.job = JobId(100 + i as u64);
        change(&mut job);
        node.give(job.clone()).await;
        assert_eq!(refusal(&mut node, &job).await, reason, "case {i}");
    }
    let too_long = node_job(&bench, bench.request(5000, None, 2));
    node.give(too_long.clone()).await;
    assert_eq!(refusal(&mut node, &too_long).await, RefusalReason::TooLong);
    let mut unknown = bench.request(4, None, 3);
    unknown.prompt = vec![9_999_999];
    let unknown = node_job(&bench, unknown);
    node.give(unknown.clone()).await;
    assert_eq!(refusal(&mut node, &unknown).await, RefusalReason::Malformed);
    let mut other = bench.request(4, None, 4);
    other.model = ModelId([9; 32]);
    let other = node_job(&bench, other);
    node.give(other.clone()).await;
    assert_eq!(refusal(&mut node, &other).await, RefusalReason::ModelNotLoaded);
}

/// A job numbered by its nonce.
fn node_job(bench: &Bench, request: Request) -> Job {
    let intake = monai_protocol::messages::Intake {
        request: request.commitment(),
        model: request.model,
        lane: monai_protocol::types::Lane(0),
        slot: monai_protocol::types::Slot(request.nonce),
        received_ms: now_ms(),
    };
    Job {
        job: JobId(request.nonce),
        lane: intake.lane,
        slot: intake.slot,
        received_ms: intake.received_ms,
        intake_signature: intake.sign(&domain(), &bench.sequencer.key).unwrap(),
        retry: monai_protocol::types::Retry(0),
        resume: Vec::new(),
        deadline_ms: now_ms() + 120_000,
        logprobs: None,
        cache_scope: None,
        request,
    }
}

#[tokio::test]
async fn busy_shows_what_uses_the_credit() {
    // Slow streams, so that both are certain to run when the third job comes.
    let bench = Bench::start(2, Some(2.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let jobs: Vec<_> = (1..=3).map(|n| node_job(&bench, bench.request(500, Some(n), n))).collect();
    for job in &jobs {
        node.give(job.clone()).await;
    }
    loop {
        match node.next().await {
            NodeFrame::Refuse(r) => {
                assert_eq!((r.job, r.refusal.reason), (JobId(3), RefusalReason::Busy));
                let mut expected = vec![jobs[0].request.commitment(), jobs[1].request.commitment()];
                expected.sort_unstable();
                assert_eq!(r.refusal.active, expected);
                assert!(r.refusal.shows_exhausted(2));
                break;
            }
            NodeFrame::Accepted { .. } | NodeFrame::Token(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_the_requester_can_cut_an_answer_off() {
    let bench = Bench::start(2, Some(20.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let job = node_job(&bench, bench.request(1000, Some(5), 5));
    node.give(job.clone()).await;
    let mut ids = Vec::new();
    let order = |up_to, signer| {
        let cancel = Cancel { request: job.request.commitment(), up_to };
        let signature = cancel.sign(&domain(), &key(signer)).unwrap();
        SequencerFrame::Cancel(CancelJob { job: job.job, up_to, signature: Some(signature) })
    };
    loop {
        match node.next().await {
            NodeFrame::Token(t) => {
                ids.push(t.id);
                match ids.len() {
                    // Neither the sequencer's key nor ids that were never streamed end it.
                    2 => node.send(&order(1, 1)).await,
                    3 => node.send(&order(900, 3)).await,
                    6 => node.send(&order(4, 3)).await,
                    _ => {}
                }
            }
            NodeFrame::Done(done) => {
                assert!(ids.len() >= 6);
                assert_eq!((done.response.finish, done.response.n_out), (Finish::Cancelled, 4));
                let o = output_commitment(job.request.blinding, Finish::Cancelled, &ids[..4]);
                assert_eq!(done.response.output, o);
                break;
            }
            NodeFrame::Accepted { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    // An order without a signature ends the job without a word; the seat is free again.
    let silent = node_job(&bench, bench.request(1000, Some(5), 6));
    node.give(silent.clone()).await;
    while !matches!(node.next().await, NodeFrame::Token(_)) {}
    node.send(&SequencerFrame::Cancel(CancelJob { job: silent.job, up_to: 0, signature: None })).await;
    let after = node_job(&bench, bench.request(2, None, 7));
    node.give(after.clone()).await;
    loop {
        match node.next().await {
            NodeFrame::Done(done) => break assert_eq!(done.job, after.job),
            NodeFrame::Token(_) | NodeFrame::Accepted { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn draining_finishes_what_runs_and_refuses_what_comes() {
    let bench = Bench::start(2, Some(50.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let job = node_job(&bench, bench.request(30, Some(1), 1));
    node.give(job.clone()).await;
    while !matches!(node.next().await, NodeFrame::Token(_)) {}
    bench.drain.send_replace(true);
    while node.next().await != (NodeFrame::Drain {}) {}
    let late = node_job(&bench, bench.request(4, None, 2));
    node.give(late.clone()).await;
    let (mut refused, mut done) = (false, false);
    while let Some(frame) = node.try_next().await {
        match frame {
            NodeFrame::Refuse(r) => {
                refused = r.refusal.reason == RefusalReason::Draining && r.job == late.job
            }
            NodeFrame::Done(d) => done = d.job == job.job,
            NodeFrame::Token(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(refused && done);
    bench.node.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_session_is_dialled_again_and_its_jobs_are_dropped() {
    let bench = Bench::start(1, Some(2.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    node.give(node_job(&bench, bench.request(1000, Some(1), 1))).await;
    while !matches!(node.next().await, NodeFrame::Token(_)) {}
    drop(node);
    let (mut node, _) = bench.sequencer.accept().await;
    // The one seat is free: the old job did not outlive its session.
    let job = node_job(&bench, bench.request(2, None, 2));
    node.give(job.clone()).await;
    let (ids, _) = answer(&mut node, &job).await;
    assert!(!ids.is_empty());
    // What is no frame ends the session, and the node comes back.
    node.send_text("{\"type\":\"job\"}").await;
    while node.try_next().await.is_some() {}
    bench.sequencer.accept().await;
}

#[tokio::test]
async fn strangers_get_no_hello_and_a_replaced_node_stops() {
    let bench = Bench::start(1, None).await;
    // The wrong key: the node hangs up without signing anything.
    let mut node = bench.sequencer.raw().await;
    let challenge = monai_protocol::wire::Challenge {
        version: monai_protocol::wire::WIRE_VERSION,
        challenge: monai_protocol::types::Keccak([1; 32]),
        domain: domain(),
        sequencer: key(8).address(),
    };
    node.send(&SequencerFrame::Challenge(challenge)).await;
    assert_eq!(node.try_next().await, None);
    let (mut node, _) = bench.sequencer.accept().await;
    node.send(&SequencerFrame::Fault(Fault { code: FaultCode::Replaced, message: "a newer session".into() }))
        .await;
    assert!(matches!(bench.node.await.unwrap(), Err(DaemonError::Replaced { .. })));
}

/// The first token's frame leaves before the second token is computed. With one token every half second the frames
/// must come one by one: if the node gathered them, the first would come with the last.
#[tokio::test]
async fn tokens_leave_one_by_one() {
    let bench = Bench::start(1, Some(4.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    node.give(node_job(&bench, bench.request(4, Some(3), 1))).await;
    let mut times = Vec::new();
    loop {
        match node.next().await {
            NodeFrame::Token(_) => times.push(std::time::Instant::now()),
            NodeFrame::Done(_) => break,
            _ => {}
        }
    }
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(125), "{times:?}");
    }
}

/// A cancel order that the user of these tests signed.
fn cancel(job: &Job, up_to: u32) -> SequencerFrame {
    let cancel = Cancel { request: job.request.commitment(), up_to };
    let signature = cancel.sign(&domain(), &key(3)).unwrap();
    SequencerFrame::Cancel(CancelJob { job: job.job, up_to, signature: Some(signature) })
}

/// The same slot again, as another job.
fn again(job: &Job, number: u64) -> Job {
    Job { job: JobId(number), deadline_ms: now_ms() + 120_000, ..job.clone() }
}

/// Asks again for a slot whose answer is `first`, in every way that could get a second one.
async fn no_second_answer(bench: &Bench, node: &mut NodeEnd, job: &Job, first: &Done, number: u64) {
    // The same request, cut off at once: whether the order or the end comes first, nothing else is signed.
    let cut = again(job, number);
    node.give(cut.clone()).await;
    node.send(&cancel(&cut, 0)).await;
    loop {
        match node.next().await {
            NodeFrame::Done(done) => {
                let (a, b) = (&first.response, &done.response);
                assert_eq!((a.output, a.n_in, a.n_out, a.finish), (b.output, b.n_in, b.n_out, b.finish));
                break;
            }
            NodeFrame::Refuse(refuse) => break assert_eq!(refuse.refusal.reason, RefusalReason::Malformed),
            _ => {}
        }
    }
    // Another request.
    let mut other = node_job(bench, bench.request(3, None, job.request.nonce + 500));
    other.slot = job.slot;
    let intake = monai_protocol::messages::Intake {
        request: other.request.commitment(),
        model: other.request.model,
        lane: other.lane,
        slot: other.slot,
        received_ms: other.received_ms,
    };
    other.intake_signature = intake.sign(&domain(), &bench.sequencer.key).unwrap();
    node.give(other.clone()).await;
    assert_eq!(refusal(node, &other).await, RefusalReason::Malformed);
    // The same to its end: the same answer.
    let same = again(job, number + 1);
    node.give(same.clone()).await;
    let (_, done) = answer(node, &same).await;
    assert_eq!(done.response.output, first.response.output);
}

#[tokio::test]
async fn a_slot_is_signed_once_also_after_a_restart() {
    let bench = Bench::start(4, None).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let (request, _, done) = long_answer(&bench, &mut node, 40).await;
    let mut job = node_job(&bench, request);
    job.job = JobId(2000);
    no_second_answer(&bench, &mut node, &job, &done, 3000).await;
    drop(node);
    let bench = bench.restart().await;
    let (mut node, _) = bench.sequencer.accept().await;
    no_second_answer(&bench, &mut node, &job, &done, 4000).await;
}

#[tokio::test]
async fn a_cancel_order_does_not_get_forged_ids_signed() {
    let bench = Bench::start(4, None).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let (request, ids, _) = long_answer(&bench, &mut node, 40).await;
    let mut wrong = ids[..20].to_vec();
    wrong[4] ^= 1;
    for (i, up_to) in [20, 7, 0].into_iter().enumerate() {
        let forged = node.job(1000 + i as u64, request.clone(), wrong.clone());
        node.give(forged.clone()).await;
        node.send(&cancel(&forged, up_to)).await;
        assert_eq!(refusal(&mut node, &forged).await, RefusalReason::PrefixMismatch);
    }
}

#[tokio::test]
async fn a_slot_has_one_live_job() {
    let bench = Bench::start(4, Some(2.0)).await;
    let (mut node, _) = bench.sequencer.accept().await;
    let job = node_job(&bench, bench.request(500, Some(1), 1));
    node.give(job.clone()).await;
    while !matches!(node.next().await, NodeFrame::Token(_)) {}
    let second = again(&job, 2);
    node.give(second.clone()).await;
    assert_eq!(refusal(&mut node, &second).await, RefusalReason::Malformed);
}
