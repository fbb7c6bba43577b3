//! `bench-proof`: a proof of a whole answer of the real model, and one matrix-vector product beside EZKL.
//!
//! The last line of standard output is JSON; all else is progress. Whatever can't be measured is an error. Proofs are made
//! by the program itself, `monai prove`, in a process of its own; rounds of both sides alternate.

mod answer;
mod child;
mod matvec;
mod program;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use program::{Program, Proved};

#[derive(Parser)]
#[command(about = "Measures proofs of answers, and one matrix-vector product beside EZKL")]
struct Args {
    /// The model.
    #[arg(long)]
    gguf: PathBuf,
    /// The `monai` program.
    #[arg(long)]
    monai: PathBuf,
    /// The `monai-verify` program.
    #[arg(long)]
    verify: PathBuf,
    /// Python of an environment with EZKL; benches/peers/ezkl-env makes one.
    #[arg(long, required_unless_present = "no_peer")]
    peer_python: Option<PathBuf>,
    /// Folder of the peers' scripts.
    #[arg(long, default_value = "benches/peers")]
    peers: PathBuf,
    /// Text that prompts are taken from.
    #[arg(long, default_value = "benches/data/text.txt")]
    text: PathBuf,
    /// Folder that is kept: imported model, its commitment, setups, the peer's keys.
    #[arg(long)]
    cache: PathBuf,
    /// Alternating rounds; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Ids of answers, half of them prompt, whose cost is compared after the first one's.
    #[arg(long, value_delimiter = ',', default_values_t = [128, 256])]
    growth: Vec<usize>,
    /// Leave EZKL out. Prints no JSON.
    #[arg(long)]
    no_peer: bool,
}

/// Ids of the answer that counts, prompt included.
const IDS: usize = 64;
/// Fresh processes whose median is the time of a verification.
const VERIFICATIONS: usize = 5;

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rounds > 0, "--rounds is 0");
    let program = Program::prepare(&args)?;
    let mut rounds: Vec<(Proved, f64)> = Vec::new();
    let answer = program.answer(IDS)?;
    for round in 1..=args.rounds {
        let inference = answer.time_inference()?;
        let proved = program.prove(&answer)?;
        println!(
            "round {round}: proof {:7.1} s, {:7.1} core-s, {:5.2} GiB; inference {inference:.2} s",
            proved.seconds,
            proved.core_seconds,
            gib(proved.peak_rss)
        );
        rounds.push((proved, inference));
    }
    let verify_ms = program.verify(&answer, VERIFICATIONS)?;
    println!("verification {verify_ms:.0} ms in a fresh process");
    let stages = &rounds[rounds.len() - 1].0;
    stages.print();
    let titles = ["prove s", "core s", "bytes", "peak GiB", "expected"];
    println!(
        "{:>6} ids {:>10} {:>10} {:>12} {:>9} {:>9}",
        "", titles[0], titles[1], titles[2], titles[3], titles[4]
    );
    let show = |ids: usize, p: &Proved| {
        println!(
            "{ids:>6} ids {:>10.1} {:>10.1} {:>12} {:>9.2} {:>9.2}",
            p.seconds,
            p.core_seconds,
            p.bytes,
            gib(p.peak_rss),
            gib(p.expected_memory())
        );
    };
    show(IDS, stages);
    for ids in &args.growth {
        let answer = program.answer(*ids)?;
        show(*ids, &program.prove(&answer)?);
        program.verify(&answer, 1)?;
    }
    let Some(python) = args.peer_python.as_ref().filter(|_| !args.no_peer) else { return Ok(()) };
    let ratio = matvec::compare(python, &args)?;
    let of = |value: &dyn Fn(&(Proved, f64)) -> f64| median(rounds.iter().map(value).collect());
    // Written out, so that the keys keep their order.
    let line = format!(
        "{{\"bench\":\"inference_proof\",\"model\":\"SmolLM2-135M\",\"positions\":{IDS},\"prove_s\":{},\"core_s\":{},\
         \"verify_ms\":{},\"proof_bytes\":{},\"peak_rss_gib\":{},\"overhead_vs_inference\":{},\"ezkl_ratio\":{}}}",
        round(of(&|r| r.0.seconds)?, 2),
        round(of(&|r| r.0.core_seconds)?, 2),
        round(verify_ms, 1),
        stages.bytes,
        round(of(&|r| gib(r.0.peak_rss))?, 3),
        round(of(&|r| r.0.seconds / r.1)?, 1),
        round(ratio, 2),
    );
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush().context("standard output")
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// The middle of what was measured; nothing measured is an error.
fn median(mut all: Vec<f64>) -> Result<f64> {
    ensure!(
        !all.is_empty() && all.iter().all(|v| v.is_finite() && *v > 0.0),
        "nothing was measured: {all:?}"
    );
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    Ok(if all.len() % 2 == 1 { all[middle] } else { f64::midpoint(all[middle - 1], all[middle]) })
}

fn round(v: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (v * scale).round() / scale
}
