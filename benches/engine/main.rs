//! `bench-engine`: the serving engine beside llama.cpp on the same GGUF, and the integer model beside its float original.
//!
//! The last line of standard output is JSON; all else is progress. Whatever can't be measured is an error. Engines run in
//! child processes, one at a time, and the rounds of both sides alternate, so that a busy machine slows both.

mod children;
mod loss;
mod speed;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures the engine beside llama.cpp and the integer model beside its float original")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// The model, as both sides read it.
    #[arg(long, global = true)]
    gguf: Option<PathBuf>,
    /// Python of an environment with llama-cpp-python and numpy; benches/peers/llama-env makes one.
    #[arg(long)]
    peer_python: Option<PathBuf>,
    /// Folder of the peers' scripts.
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// Text that prompts and loss are taken from.
    #[arg(long, default_value = "benches/data/text.txt")]
    text: PathBuf,
    /// Where the imported artefact is kept for the children.
    #[arg(long)]
    work: Option<PathBuf>,
    /// Alternating rounds; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Also print where the engine's time goes.
    #[arg(long)]
    profile: bool,
    /// Measure the engine only: for work on the engine. Prints no JSON.
    #[arg(long)]
    engine_only: bool,
}

#[derive(Subcommand)]
enum Role {
    /// Runs one engine: a child of the bench.
    #[command(hide = true)]
    Engine(speed::EngineArgs),
}

fn main() -> Result<()> {
    let args = Args::parse();
    match args.role {
        Some(Role::Engine(child)) => speed::engine_child(&child),
        None => bench(&args),
    }
}

fn bench(args: &Args) -> Result<()> {
    let gguf = args.gguf.as_ref().context("--gguf FILE is needed; node/scripts/fetch-model prints one")?;
    let python = match (&args.peer_python, args.engine_only) {
        (Some(python), _) => Some(python.clone()),
        (None, true) => None,
        (None, false) => anyhow::bail!("--peer-python is needed; benches/peers/llama-env prints one"),
    };
    let scratch = children::Scratch::new(args.work.as_deref())?;
    let input = children::Input::prepare(gguf, &args.text, &scratch)?;
    let speed = speed::measure(args, &input, python.as_deref().filter(|_| !args.engine_only))?;
    let Some(python) = python.filter(|_| !args.engine_only) else { return Ok(()) };
    let peer = speed.peer.context("the peer was not measured")?;
    let nll_delta = loss::delta(args, &input, gguf, &python)?;
    let line = serde_json::json!({
        "bench": "engine",
        "nll_delta": round(nll_delta, 5),
        "decode_tok_s": round(speed.decode, 2),
        "peer_decode_tok_s": round(peer.decode, 2),
        "decode_ratio": round(peer.decode_ratio, 3),
        "prefill_ratio": round(peer.prefill_ratio, 3),
        "peak_rss_gib": round(speed.peak_rss as f64 / f64::from(1 << 30), 3),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn round(v: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (v * scale).round() / scale
}
