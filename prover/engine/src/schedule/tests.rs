//! The serving engine: answers against the reference, and what it promises about order, memory and ends.

use std::sync::Arc;

use monai_model::artefact::Model;
use monai_protocol::{Finish, SelectionParams};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::engine::{Engine, EngineConfig};
use crate::error::Mismatch;
use crate::job::{Event, Finished, Job, Token, TokenStream};
use crate::program::Program;
use crate::testing::{Variant, ids, model, reference_answer, sampled};

fn tiny() -> Arc<Model> {
    model(&Variant::default(), 21)
}

fn engine(model: &Arc<Model>, config: EngineConfig) -> Engine {
    Engine::new(Arc::clone(model), config).unwrap()
}

fn config(threads: usize) -> EngineConfig {
    EngineConfig { threads, ..EngineConfig::default() }
}

/// Bytes of `blocks` blocks of a model.
fn blocks(model: &Model, blocks: usize) -> usize {
    let a = &model.arch;
    blocks * 64 * a.layers * a.kv_heads * a.head_dim * 2 * 2
}

fn collect(mut stream: TokenStream) -> (Vec<Token>, Finished) {
    let mut tokens = Vec::new();
    loop {
        match stream.blocking_next().unwrap() {
            Event::Token(token) => tokens.push(token),
            Event::Finished(end) => {
                assert_eq!(stream.blocking_next(), None, "nothing follows the end");
                return (tokens, end);
            }
            Event::Failed(e) => panic!("{e}"),
        }
    }
}

fn answer(stream: TokenStream) -> (Vec<u32>, Finish) {
    let (tokens, end) = collect(stream);
    (tokens.iter().map(|t| t.id).collect(), end.finish)
}

/// Prompts of different lengths, two of them with a long common beginning, greedy and sampled.
fn jobs(model: &Model, count: usize) -> Vec<Job> {
    (0..count)
        .map(|i| {
            let mut prompt = ids(model, 77, 70);
            prompt.extend(ids(model, i as u64, 3 + 5 * i));
            let prompt = if i % 3 == 2 { prompt.split_off(70) } else { prompt };
            let params = if i % 2 == 0 { SelectionParams::greedy(30) } else { sampled(30, i as u64) };
            Job::new(prompt, params)
        })
        .collect()
}

#[test]
fn batches_of_one_and_seven_with_and_without_prefix_reuse_answer_like_the_reference() {
    let model = tiny();
    let jobs = jobs(&model, 7);
    let expected: Vec<_> = jobs.iter().map(|j| reference_answer(&model, &j.prompt, &j.params)).collect();
    assert!(
        expected.iter().any(|(output, _)| output.iter().any(|id| *id != output[0])),
        "the answers say something"
    );
    for threads in [1, 2] {
        for prefix_reuse in [false, true] {
            for max_streams in [1, 7] {
                let engine = engine(&model, EngineConfig { prefix_reuse, max_streams, ..config(threads) });
                // Twice, so that the second time finds what the first has left.
                for _ in 0..2 {
                    let streams: Vec<_> = jobs.iter().map(|j| engine.submit(j.clone()).unwrap()).collect();
                    for (stream, expected) in streams.into_iter().zip(&expected) {
                        assert_eq!(
                            &answer(stream),
                            expected,
                            "threads {threads} reuse {prefix_reuse} {max_streams}"
                        );
                    }
                }
                let stats = engine.stats();
                assert_eq!(stats.reused_ids > 0, prefix_reuse);
                assert_eq!(stats.ended, 14);
                assert_eq!(stats.kv_used, 0, "all blocks were given back");
            }
        }
    }
}

#[test]
fn an_answer_resumed_at_any_id_goes_on_with_the_same_bits() {
    let model = tiny();
    let engine = engine(&model, config(2));
    for params in [SelectionParams::greedy(20), sampled(20, 4)] {
        let prompt = ids(&model, 5, 60);
        let (expected, finish) = reference_answer(&model, &prompt, &params);
        for cut in 0..=expected.len() {
            for verify_resume in [false, true] {
                let resume = expected[..cut].to_vec();
                let job = Job { resume, verify_resume, ..Job::new(prompt.clone(), params.clone()) };
                let (tokens, end) = collect(engine.submit(job).unwrap());
                let new: Vec<u32> = tokens.iter().map(|t| t.id).collect();
                assert_eq!((new.as_slice(), end.finish), (&expected[cut..], finish), "cut {cut}");
                assert!(tokens.iter().enumerate().all(|(i, t)| t.index == cut + i));
                assert_eq!((end.output_ids, end.timings.new_ids), (expected.len(), expected.len() - cut));
            }
        }
    }
}

#[test]
fn a_wrong_resumed_id_is_named_where_it_is_to_be_checked() {
    let model = tiny();
    let engine = engine(&model, config(1));
    let (prompt, params) = (ids(&model, 5, 80), SelectionParams::greedy(12));
    let (expected, _) = reference_answer(&model, &prompt, &params);
    for wrong in 0..8 {
        let mut resume = expected[..8].to_vec();
        resume[wrong] = if resume[wrong] == 3 { 4 } else { 3 };
        let came = resume[wrong];
        let job = Job { resume, verify_resume: true, ..Job::new(prompt.clone(), params.clone()) };
        let mut stream = engine.submit(job).unwrap();
        let mismatch = Mismatch::Id { position: 80 + wrong, expected: expected[wrong], came };
        assert_eq!(stream.blocking_next(), Some(Event::Failed(EngineError::ResumeMismatch(mismatch))));
        assert_eq!(stream.blocking_next(), None);
    }
}

#[test]
fn stop_ids_end_an_answer_with_themselves() {
    let model = tiny();
    let engine = engine(&model, config(1));
    let prompt = ids(&model, 8, 9);
    let (free, _) = reference_answer(&model, &prompt, &sampled(30, 1));
    let stop = free[7];
    let params = SelectionParams { stop_ids: vec![stop], ..sampled(30, 1) };
    let first = free.iter().position(|&id| id == stop).unwrap();
    assert_eq!(
        answer(engine.submit(Job::new(prompt.clone(), params.clone())).unwrap()),
        (free[..=first].to_vec(), Finish::Stop)
    );
    // What has ended can't be continued.
    let job = Job { resume: free[..first + 2].to_vec(), ..Job::new(prompt, params) };
    assert_eq!(engine.submit(job).unwrap_err(), EngineError::ResumeEnded { index: first });
}

#[test]
fn memory_pressure_delays_answers_and_changes_none() {
    let model = tiny();
    let jobs: Vec<Job> =
        (0..5).map(|i| Job::new(ids(&model, 100 + i, 50 + 7 * i as usize), sampled(70, i))).collect();
    let expected: Vec<_> = jobs.iter().map(|j| reference_answer(&model, &j.prompt, &j.params)).collect();
    // Each takes up to three blocks; there are four.
    let engine = engine(&model, EngineConfig { kv_bytes: blocks(&model, 4), ..config(2) });
    let streams: Vec<_> = jobs.into_iter().map(|j| engine.submit(j).unwrap()).collect();
    for (stream, expected) in streams.into_iter().zip(&expected) {
        assert_eq!(&answer(stream), expected);
    }
    let stats = engine.stats();
    assert!(stats.preemptions > 0, "the test has to run out of memory");
    assert!(stats.kv_resident <= stats.kv_limit);
}

/// A scheduler that is driven pass by pass.
struct Driven {
    scheduler: Scheduler,
    commands: Sender<Command>,
    receivers: Vec<UnboundedReceiver<Event>>,
}

impl Driven {
    fn new(model: &Arc<Model>, jobs: Vec<Job>) -> Self {
        let program = Program::new(Arc::clone(model), None).unwrap();
        let cache = KvCache::new(program.kv, blocks(model, 16), true).unwrap();
        let forward = Forward::new(program, 1).unwrap();
        let (commands, inbox) = std::sync::mpsc::channel();
        let (count, _) = watch::channel(0);
        let scheduler = Scheduler::new(forward, cache, 8, inbox, count, Arc::default());
        let mut driven = Self { scheduler, commands, receivers: Vec::new() };
        jobs.into_iter().for_each(|job| driven.submit(job));
        driven
    }

    fn submit(&mut self, job: Job) {
        let (events, receiver) = unbounded_channel();
        let submission = Submission { job, events, cancelled: Arc::default(), at: Instant::now() };
        self.scheduler.jobs.send_modify(|jobs| *jobs += 1);
        self.commands.send(Command::Submit(Box::new(submission))).unwrap();
        self.receivers.push(receiver);
    }

    /// One turn of the loop; the number of events for each job.
    fn turn(&mut self) -> Vec<usize> {
        let idle = self.scheduler.active.is_empty() && self.scheduler.waiting.is_empty();
        if !idle || !self.receivers.iter().all(UnboundedReceiver::is_closed) {
            assert!(self.scheduler.receive());
        }
        self.scheduler.sweep();
        self.scheduler.admit();
        self.scheduler.pass();
        self.receivers.iter_mut().map(|r| std::iter::from_fn(|| r.try_recv().ok()).count()).collect()
    }
}

#[test]
fn each_id_leaves_before_the_next_is_computed() {
    let model = tiny();
    let mut driven = Driven::new(&model, vec![Job::new(ids(&model, 1, 10), SelectionParams::greedy(5))]);
    // One id a pass; with the last one comes the end.
    for expected in [1, 1, 1, 1, 2] {
        assert_eq!(driven.turn(), [expected]);
    }
}

#[test]
fn a_long_prompt_does_not_stall_decoding_nor_a_short_prompt() {
    let model = tiny();
    let mut driven = Driven::new(&model, vec![Job::new(ids(&model, 1, 4), SelectionParams::greedy(40))]);
    assert_eq!(driven.turn(), [1]);
    driven.submit(Job::new(ids(&model, 2, 150), SelectionParams::greedy(5)));
    driven.submit(Job::new(ids(&model, 3, 12), SelectionParams::greedy(40)));
    let mut first = [None; 3];
    for turn in 0..20 {
        let events = driven.turn();
        assert!(events[0] >= 1, "turn {turn}: the stream that decodes gets an id in every pass");
        for (job, &count) in events.iter().enumerate() {
            if count > 0 {
                first[job].get_or_insert(turn);
            }
        }
        if first.iter().all(Option::is_some) {
            break;
        }
    }
    assert!(first[2] < first[1], "the short prompt is done first: {first:?}");
    assert!(first[1] >= Some(150 / PREFILL_BESIDE_DECODE - 1), "the long prompt came in parts: {first:?}");
}

#[test]
fn cancelled_jobs_end_and_give_back_their_memory() {
    let model = tiny();
    let engine = engine(&model, EngineConfig { max_streams: 1, ..config(1) });
    let job = || Job::new(ids(&model, 1, 10), sampled(140, 3));
    let (expected, _) = reference_answer(&model, &ids(&model, 1, 10), &sampled(140, 3));
    assert!(expected.len() > 100, "long enough to be cancelled on the way");
    let mut stream = engine.submit(job()).unwrap();
    // This one waits behind it and is cancelled before it begins.
    let waiting = engine.submit(job()).unwrap();
    waiting.cancel();
    assert!(matches!(stream.blocking_next(), Some(Event::Token(_))));
    stream.cancel();
    let (rest, end) = collect(stream);
    assert_eq!(end.finish, Finish::Cancelled);
    assert_eq!(end.output_ids, rest.len() + 1);
    let (tokens, end) = collect(waiting);
    assert_eq!((tokens.len(), end.finish), (0, Finish::Cancelled));
    // A stream that is dropped is cancelled too; the next job is not disturbed.
    drop(engine.submit(job()).unwrap());
    assert_eq!(answer(engine.submit(job()).unwrap()).0, expected);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(engine.drain());
    assert_eq!(engine.stats().kv_used, 0);
    assert_eq!(engine.stats().waiting, 0);
}

#[test]
fn log_probabilities_are_those_of_the_logits_and_change_nothing() {
    let model = tiny();
    let engine = engine(&model, config(1));
    let (prompt, params) = (ids(&model, 9, 12), sampled(6, 2));
    let (expected, _) = reference_answer(&model, &prompt, &params);
    let job = Job { logprobs: Some(4), ..Job::new(prompt, params) };
    let (tokens, _) = collect(engine.submit(job).unwrap());
    assert_eq!(tokens.iter().map(|t| t.id).collect::<Vec<_>>(), expected);
    for token in tokens {
        let logprobs = token.logprobs.unwrap();
        assert_eq!(logprobs.top.len(), 4);
        assert!(logprobs.top.is_sorted_by(|a, b| a.1 >= b.1));
        assert!(logprobs.chosen <= logprobs.top[0].1 && logprobs.top[0].1 <= 0.0);
    }
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let model = tiny();
    let config = EngineConfig { kv_bytes: blocks(&model, 2), max_streams: 1, max_queue: 1, ..config(1) };
    let engine = engine(&model, config);
    let ok = Job::new(vec![5; 10], SelectionParams::greedy(10));
    let refused = |job: Job| engine.submit(job).unwrap_err();
    let vocab = model.arch.vocab;
    assert_eq!(refused(Job { prompt: vec![], ..ok.clone() }), EngineError::EmptyPrompt);
    let unknown = EngineError::UnknownId { id: vocab as u32, position: 1, vocab };
    assert_eq!(refused(Job { prompt: vec![1, vocab as u32], ..ok.clone() }), unknown);
    let unknown = EngineError::UnknownId { id: u32::MAX, position: 10, vocab };
    assert_eq!(refused(Job { resume: vec![u32::MAX], ..ok.clone() }), unknown);
    let long = EngineError::TooLong { prompt: 10, max_tokens: 151, max_positions: 160 };
    assert_eq!(refused(Job { params: SelectionParams::greedy(151), ..ok.clone() }), long);
    let large = EngineError::KvTooSmall { needed: 3, total: 2 };
    assert_eq!(refused(Job { params: SelectionParams::greedy(150), ..ok.clone() }), large);
    let tau = SelectionParams { tau: model.arch.tau_max + 1, ..SelectionParams::greedy(1) };
    let tau_error = EngineError::TauTooLarge { came: model.arch.tau_max + 1, max: model.arch.tau_max };
    assert_eq!(refused(Job { params: tau, ..ok.clone() }), tau_error);
    assert!(matches!(
        refused(Job { params: SelectionParams::greedy(0), ..ok.clone() }),
        EngineError::Selection(_)
    ));
    assert_eq!(
        refused(Job { logprobs: Some(21), ..ok.clone() }),
        EngineError::TooManyLogprobs { came: 21, max: 20 }
    );
    assert_eq!(refused(Job { resume: vec![5; 11], ..ok.clone() }), EngineError::ResumeEnded { index: 10 });
    for bad in [
        EngineConfig { threads: 0, ..config },
        EngineConfig { max_streams: 0, ..config },
        EngineConfig { max_streams: 65, ..config },
        EngineConfig { kv_bytes: 100, ..config },
    ] {
        assert!(Engine::new(Arc::clone(&model), bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_full_queue_is_busy_and_a_draining_engine_finishes_what_it_has() {
    let model = tiny();
    let engine = engine(&model, EngineConfig { max_streams: 1, max_queue: 1, ..config(1) });
    let job = || Job::new(ids(&model, 1, 100), sampled(60, 1));
    let streams = [engine.submit(job()).unwrap(), engine.submit(job()).unwrap()];
    // Both together take hundreds of passes; this is refused long before they end.
    assert_eq!(engine.submit(job()).unwrap_err(), EngineError::Busy { queued: 1 });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.drain());
    assert_eq!(engine.submit(job()).unwrap_err(), EngineError::Draining);
    for stream in streams {
        assert!(answer(stream).0.len() > 1);
    }
}

#[test]
fn a_stopped_engine_fails_its_jobs_and_async_code_sees_it() {
    let model = tiny();
    let engine = engine(&model, config(1));
    let mut stream = engine.submit(Job::new(ids(&model, 1, 10), SelectionParams::greedy(150))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert!(matches!(runtime.block_on(stream.next()), Some(Event::Token(_))));
    drop(engine);
    let last = runtime.block_on(async {
        let mut last = None;
        while let Some(event) = stream.next().await {
            last = Some(event);
        }
        last
    });
    // It may have ended just before.
    assert!(matches!(last, Some(Event::Failed(EngineError::Stopped) | Event::Finished(_))), "{last:?}");
}

#[test]
fn reuse_stays_within_a_scope() {
    let model = tiny();
    let engine = engine(&model, config(1));
    let job = |cache_scope| Job { cache_scope, ..Job::new(ids(&model, 1, 130), SelectionParams::greedy(2)) };
    let reused = |scope| collect(engine.submit(job(scope)).unwrap()).1.timings.reused_ids;
    assert_eq!([reused(1), reused(1), reused(2), reused(2)], [0, 128, 0, 128]);
}

#[test]
fn the_candle_engine_serves_the_same_answers() {
    let model = tiny();
    let program = Program::on_device(Arc::clone(&model), &candle_core::Device::Cpu).unwrap();
    let engine = Engine::with_program(program, config(2)).unwrap();
    let jobs = jobs(&model, 7);
    let streams: Vec<_> = jobs.iter().map(|j| engine.submit(j.clone()).unwrap()).collect();
    for (stream, job) in streams.into_iter().zip(&jobs) {
        assert_eq!(answer(stream), reference_answer(&model, &job.prompt, &job.params));
    }
}
