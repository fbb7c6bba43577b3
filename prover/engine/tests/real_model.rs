//! A real model against the reference, all bits. Long, so `make test-long` runs it, on the GGUF that
//! `node/scripts/fetch-model` puts into `${MONAI_CACHE:-~/.cache/monai}`; `MONAI_MODEL` names another artefact.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use monai_engine::{Engine, EngineConfig, Event, Job, Kernel, Program, Replay};
use monai_model::artefact::Model;
use monai_model::quantise::{ImportOptions, import};
use monai_model::reference::Reference;
use monai_model::select::select;
use monai_model::text::{Message, TextCodec};
use monai_protocol::{Finish, SelectionParams};

static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| {
    if let Some(path) = std::env::var_os("MONAI_MODEL") {
        return Arc::new(monai_model::file::load(&PathBuf::from(path), None).expect("the artefact loads"));
    }
    let cache = std::env::var_os("MONAI_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| std::env::home_dir().expect("a home").join(".cache/monai"));
    let source =
        monai_model::source::open(&cache.join("SmolLM2-135M-Instruct.Q4_1.gguf")).expect("fetch-model ran");
    Arc::new(import(source.as_ref(), &ImportOptions::default(), &()).expect("it imports"))
});

const QUESTION: &str = "Name the capital of France.";

fn prompt() -> Vec<u32> {
    TextCodec::of(&MODEL)
        .expect("the model has a tokenizer")
        .chat_ids(&[Message::new("user", QUESTION)])
        .expect("the model has a chat template")
}

/// Prompt ids, answer ids, raw logits after each position.
type Answer = (Vec<u32>, Vec<u32>, Vec<Vec<i64>>);

/// Prompt and greedy answer with the logits after each position, by the reference; computed once.
static REFERENCE: LazyLock<Answer> = LazyLock::new(|| {
    let (prompt, params) = (prompt(), SelectionParams::greedy(24));
    let mut reference = Reference::new(&MODEL);
    let (mut logits, mut output): (Vec<Vec<i64>>, Vec<u32>) = (Vec::new(), Vec::new());
    for &id in &prompt {
        let h = reference.advance(id);
        logits.push(reference.logits(&h));
    }
    while output.len() < params.max_tokens as usize {
        let id = select(logits.last().expect("a position has logits"), &params, &MODEL.tables.weight, 0)
            .expect("a vocabulary is not empty");
        output.push(id);
        if MODEL.text.eos_ids.contains(&id) {
            break;
        }
        let h = reference.advance(id);
        logits.push(reference.logits(&h));
    }
    (prompt, output, logits)
});

fn taken_in() -> Vec<u32> {
    let (prompt, output, logits) = &*REFERENCE;
    let mut ids = [prompt.as_slice(), output].concat();
    ids.truncate(logits.len());
    ids
}

fn answers(engine: &Engine, jobs: Vec<Job>) -> Vec<(Vec<u32>, Finish, usize)> {
    let streams: Vec<_> = jobs.into_iter().map(|j| engine.submit(j).expect("the job is served")).collect();
    streams
        .into_iter()
        .map(|mut stream| {
            let mut ids = Vec::new();
            loop {
                match stream.blocking_next().expect("the stream has an end") {
                    Event::Token(t) => ids.push(t.id),
                    Event::Finished(end) => return (ids, end.finish, end.timings.reused_ids),
                    Event::Failed(e) => panic!("{e}"),
                }
            }
        })
        .collect()
}

#[test]
#[ignore = "real model; make test-long"]
fn logits_equal_the_reference_on_every_kernel_with_one_and_two_threads() {
    let ids = taken_in();
    for kernel in Kernel::available() {
        let program = Program::new(Arc::clone(&MODEL), Some(kernel)).unwrap();
        for threads in [1, 2] {
            let came = Replay::new(Arc::clone(&program), threads).unwrap().logits(&ids).unwrap();
            assert!(came == REFERENCE.2, "{kernel}, {threads} threads");
        }
    }
}

#[test]
#[ignore = "real model; make test-long"]
fn candle_logits_equal_the_reference() {
    let program = Program::on_device(Arc::clone(&MODEL), &candle_core::Device::Cpu).unwrap();
    assert!(Replay::new(program, 2).unwrap().logits(&taken_in()).unwrap() == REFERENCE.2);
}

#[test]
#[ignore = "real model; make test-long"]
fn batches_of_one_and_seven_with_and_without_prefix_reuse_answer_like_the_reference() {
    let (prompt, output, _) = &*REFERENCE;
    let program = Program::new(Arc::clone(&MODEL), None).unwrap();
    // A long common beginning, so that there is something to reuse.
    let codec = TextCodec::of(&MODEL).unwrap();
    let long = codec
        .chat_ids(&[Message::new("user", format!("{} {QUESTION}", "Read this twice. ".repeat(30)))])
        .unwrap();
    let job = |i: usize| match i % 3 {
        0 => Job::new(prompt.clone(), SelectionParams::greedy(24)),
        1 => Job::new(long.clone(), SelectionParams::greedy(16)),
        _ => {
            let tau = u32::try_from(MODEL.arch.tau_one >> 32).unwrap();
            Job::new(long.clone(), SelectionParams { tau, top_k: 0, seed: 7, ..SelectionParams::greedy(16) })
        }
    };
    let mut seen: Option<Vec<Vec<u32>>> = None;
    for threads in [1, 2] {
        for prefix_reuse in [false, true] {
            for max_streams in [1, 7] {
                let config = EngineConfig { threads, prefix_reuse, max_streams, ..EngineConfig::default() };
                let engine = Engine::with_program(Arc::clone(&program), config).unwrap();
                let came = answers(&engine, (0..7).map(job).collect());
                assert_eq!(&came[0].0, output, "greedy, against the reference");
                // One after the other, the later ones find what the earlier ones have computed.
                assert!(max_streams > 1 || came.iter().any(|a| a.2 > 0) == prefix_reuse);
                let ids: Vec<Vec<u32>> = came.into_iter().map(|a| a.0).collect();
                assert_eq!(
                    *seen.get_or_insert_with(|| ids.clone()),
                    ids,
                    "{threads} {prefix_reuse} {max_streams}"
                );
            }
        }
    }
}

#[test]
#[ignore = "real model; make test-long"]
fn the_capital_of_france_is_paris() {
    let text = TextCodec::of(&MODEL).unwrap().decode(&REFERENCE.1);
    assert!(text.contains("Paris"), "{text}");
}
