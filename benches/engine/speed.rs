//! Speed and memory: 512 ids of prompt, 64 of answer, on one and on two threads.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use monai_engine::{Engine, EngineConfig, Event, Job, Replay, Stage};
use monai_protocol::SelectionParams;
use serde::{Deserialize, Serialize};

use crate::children::{Answering, Input};

/// Ids of the prompt.
const PROMPT: usize = 512;
/// Ids that are decoded after the first, which ends the prefill.
const DECODE: usize = 64;
/// Thread counts that are compared; the worse ratio counts.
const THREADS: [usize; 2] = [1, 2];

/// One round of one side.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Round {
    prefill_tok_s: f64,
    decode_tok_s: f64,
}

/// What the peer's rounds give.
pub(crate) struct Peer {
    /// On two threads.
    pub(crate) decode: f64,
    /// The worse of one and two threads.
    pub(crate) decode_ratio: f64,
    /// Likewise.
    pub(crate) prefill_ratio: f64,
}

/// What all rounds give.
pub(crate) struct Speed {
    /// On two threads.
    pub(crate) decode: f64,
    pub(crate) peak_rss: u64,
    pub(crate) peer: Option<Peer>,
}

/// Medians of one thread count.
struct Medians {
    prefill: f64,
    decode: f64,
}

fn medians(rounds: &[Round]) -> Result<Medians> {
    let median = |value: fn(&Round) -> f64| -> Result<f64> {
        let mut all: Vec<f64> = rounds.iter().map(value).collect();
        ensure!(
            !all.is_empty() && all.iter().all(|v| v.is_finite() && *v > 0.0),
            "a round measured nothing: {all:?}"
        );
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        Ok(if all.len() % 2 == 1 { all[middle] } else { (all[middle - 1] + all[middle]) / 2.0 })
    };
    Ok(Medians { prefill: median(|r| r.prefill_tok_s)?, decode: median(|r| r.decode_tok_s)? })
}

/// Alternates the rounds of engine and peer at each thread count.
pub(crate) fn measure(args: &crate::Args, input: &Input, python: Option<&Path>) -> Result<Speed> {
    ensure!(input.count > PROMPT + DECODE, "the text has only {} ids", input.count);
    ensure!(args.rounds > 0, "--rounds is 0");
    let mut peak_rss = 0;
    let mut decode = None;
    let mut ratios: Option<Peer> = None;
    for threads in THREADS {
        let mut engine = Answering::start("the engine", &mut engine_command(input, threads, args.profile)?)?;
        let mut peer = match python {
            Some(python) => {
                Some(Answering::start("llama.cpp", &mut peer_command(args, input, python, threads)?)?)
            }
            None => None,
        };
        // One round of each that does not count: files are read and memory is touched.
        engine.ask::<Round>("round")?;
        if let Some(peer) = &mut peer {
            peer.ask::<Round>("round")?;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=args.rounds {
            let own: Round = engine.ask("round")?;
            println!(
                "{threads} thread(s), round {round}: engine    prefill {:7.1} decode {:6.1} tok/s",
                own.prefill_tok_s, own.decode_tok_s
            );
            ours.push(own);
            if let Some(peer) = &mut peer {
                let other: Round = peer.ask("round")?;
                println!(
                    "{threads} thread(s), round {round}: llama.cpp prefill {:7.1} decode {:6.1} tok/s",
                    other.prefill_tok_s, other.decode_tok_s
                );
                theirs.push(other);
            }
        }
        let peak: u64 = engine.ask("memory")?;
        peak_rss = peak_rss.max(peak);
        engine.end()?;
        let own = medians(&ours)?;
        decode = Some(own.decode);
        if let Some(peer) = peer {
            peer.end()?;
            let other = medians(&theirs)?;
            let (decode_ratio, prefill_ratio) = (own.decode / other.decode, own.prefill / other.prefill);
            println!("{threads} thread(s): decode ratio {decode_ratio:.2}, prefill ratio {prefill_ratio:.2}");
            let worst = ratios.get_or_insert(Peer { decode: 0.0, decode_ratio, prefill_ratio });
            worst.decode = other.decode;
            worst.decode_ratio = worst.decode_ratio.min(decode_ratio);
            worst.prefill_ratio = worst.prefill_ratio.min(prefill_ratio);
        }
    }
    println!("engine: peak resident memory {:.3} GiB", peak_rss as f64 / f64::from(1 << 30));
    Ok(Speed { decode: decode.context("no thread count was measured")?, peak_rss, peer: ratios })
}

pub(crate) fn engine_command(input: &Input, threads: usize, profile: bool) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("engine").arg("--artefact").arg(&input.artefact).arg("--ids").arg(&input.ids);
    command.arg("--threads").arg(threads.to_string());
    if profile {
        command.arg("--profile-stages");
    }
    Ok(command)
}

fn peer_command(args: &crate::Args, input: &Input, python: &Path, threads: usize) -> Result<Command> {
    let gguf = args.gguf.as_ref().context("no GGUF")?;
    let mut command = Command::new(python);
    command.arg(args.peers.join("llama_speed.py")).arg(gguf).arg(&input.ids);
    command.args([threads, PROMPT, DECODE].map(|n| n.to_string()));
    Ok(command)
}

/// What the engine child is told.
#[derive(Args)]
pub(crate) struct EngineArgs {
    #[arg(long)]
    artefact: PathBuf,
    #[arg(long)]
    ids: PathBuf,
    #[arg(long)]
    threads: usize,
    /// Report where the time goes on standard error.
    #[arg(long)]
    profile_stages: bool,
}

/// Serves rounds as a node would: through the queue, with default memory, one stream.
pub(crate) fn engine_child(args: &EngineArgs) -> Result<()> {
    let mut model = monai_model::file::load(&args.artefact, None)?;
    let ids: Vec<u32> = serde_json::from_slice(&std::fs::read(&args.ids)?)?;
    // The rounds have a fixed length on both sides.
    model.text.eos_ids.clear();
    // Every round computes its whole prompt.
    let config = EngineConfig { threads: args.threads, prefix_reuse: false, ..EngineConfig::default() };
    let engine = Engine::new(std::sync::Arc::new(model), config)?;
    eprintln!("engine: {} thread(s), kernel {}", args.threads, engine.program().kernel());
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        match line?.as_str() {
            "round" => {
                let round = round(&engine, &ids, args.profile_stages)?;
                writeln!(out, "{}", serde_json::to_string(&round)?)?;
            }
            "memory" => {
                let memory =
                    monai_engine::memory().context("this system does not tell the memory of a process")?;
                writeln!(out, "{}", memory.peak)?;
            }
            "nll" => {
                let mut replay = Replay::new(std::sync::Arc::clone(engine.program()), args.threads)?;
                writeln!(out, "{}", replay.nll(&ids)?.nll)?;
            }
            other => bail!("unknown command {other:?}"),
        }
        out.flush()?;
    }
    Ok(())
}

fn round(engine: &Engine, ids: &[u32], profile: bool) -> Result<Round> {
    if profile {
        engine.profile(true)?;
    }
    let params = SelectionParams::greedy(u32::try_from(DECODE + 1)?);
    let mut stream = engine.submit(Job::new(ids[..PROMPT].to_vec(), params))?;
    loop {
        match stream.blocking_next().context("the stream ended without an end")? {
            Event::Token(token) if profile && token.index == 0 => {
                report("prefill", engine.profile(true)?.as_ref());
            }
            Event::Token(_) => {}
            Event::Failed(e) => return Err(e.into()),
            Event::Finished(end) => {
                ensure!(end.output_ids == DECODE + 1, "the answer has {} ids", end.output_ids);
                report("decode", engine.profile(false)?.as_ref());
                return Ok(Round {
                    prefill_tok_s: PROMPT as f64 / end.timings.prefill.as_secs_f64(),
                    decode_tok_s: DECODE as f64 / end.timings.decode.as_secs_f64(),
                });
            }
        }
    }
}

fn report(what: &str, profile: Option<&monai_engine::Profile>) {
    let Some(profile) = profile else { return };
    let total: f64 = Stage::ALL.iter().map(|&s| profile.spent(s).as_secs_f64()).sum();
    let parts: Vec<String> = Stage::ALL
        .iter()
        .map(|&s| {
            let spent = profile.spent(s).as_secs_f64();
            format!("{s:?} {:.1} ms ({:.0}%)", spent * 1e3, 100.0 * spent / total)
        })
        .collect();
    eprintln!("  {what} {:.0} ms: {}", total * 1e3, parts.join(", "));
}
