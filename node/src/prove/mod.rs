//! `monai prove` and `monai verify`: proofs of answers.
//!
//! | file | what |
//! |---|---|
//! | `make.rs` | from a receipt to the bytes of a proof |
//! | `kit.rs`, `setup.rs` | what that needs: model, commitment, powers of tau |
//! | `memory.rs`, `progress.rs` | refusing early, showing and stopping |
//! | `remote.rs` | the same on another machine |
//! | `verify.rs` | `monai verify` |
//! | `commit.rs` | `monai model commit` |
//!
//! Absent: the proof system (`monai-prover`, `monai-inference`), and the queue of a daemon (`daemon/prove`).

pub(crate) mod commit;
mod kit;
mod limits;
mod make;
mod memory;
mod progress;
mod remote;
mod setup;
mod verify;

pub(crate) use make::{Made, Maker, statement};
pub(crate) use progress::{ProofBar, percent};
pub use verify::run as verify;

use crate::cli::ProveArgs;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{Home, write_atomic};
use crate::stop::{StopSources, stop_signal};
use monai_protocol::receipt::{MAX_RECEIPT_BYTES, Receipt};
use serde_json::json;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `monai prove`.
///
/// # Errors
/// What keeps the answer from being proved.
pub async fn run(args: ProveArgs, home: &Home) -> Result<()> {
    if let Some(model) = &args.limits {
        return limits::print(model, args.json, home);
    }
    let source = args.receipts.first().ok_or_else(|| Error::Usage("no receipt".into()))?;
    if args.receipts.iter().filter(|path| path.as_path() == Path::new("-")).count() > 1 {
        return Err(Error::Usage("standard input is one receipt".into()));
    }
    let out = match &args.out {
        Some(path) => path.clone(),
        None if source == Path::new("-") => {
            return Err(Error::Usage("--out is needed for standard input".into()));
        }
        None => proof_path(source),
    };
    if args.node.is_some() && args.receipts.len() > 1 {
        return Err(Error::Usage("a node takes one receipt a job".into()));
    }
    let (mut texts, mut receipts) = (Vec::new(), Vec::new());
    for path in &args.receipts {
        let text = read_receipt(path)?;
        let receipt = Receipt::from_json(&text)
            .map_err(|e| Error::Malformed { path: path.clone(), what: e.to_string() })?;
        receipts.push(receipt);
        texts.push(text);
    }
    let stop = stopping();
    if let (Some(node), [text]) = (&args.node, texts.as_slice()) {
        let bytes = remote::prove(node, args.token_file.as_deref(), text, home, &stop).await?;
        write_atomic(&out, &bytes, false)?;
        return report_remote(&out, bytes.len(), args.json);
    }
    let made = local(&args, receipts, home.clone(), stop).await?;
    write_atomic(&out, &made.bytes, false)?;
    report(&out, &made, args.json);
    Ok(())
}

/// A flag that the first order to stop raises. Must be called inside a runtime.
fn stopping() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, mut order) = (stop.clone(), stop_signal(StopSources::default()));
    tokio::spawn(async move {
        if order.wait_for(|s| *s).await.is_ok() {
            eprintln!("cancelling");
            flag.store(true, Ordering::Relaxed);
        }
    });
    stop
}

async fn local(args: &ProveArgs, receipts: Vec<Receipt>, home: Home, stop: Arc<AtomicBool>) -> Result<Made> {
    let (setup, threads) = (args.setup.clone(), args.threads);
    let work = move || {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .build()
            .map_err(|e| Error::Local(e.to_string()))?;
        let bar = ProofBar::new(stop.clone());
        pool.install(|| Maker::new(&home, &setup).prove(&receipts, &bar, &stop))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Local(e.to_string()))?
}

/// Reads the bytes of one receipt.
fn read_receipt(path: &Path) -> Result<Vec<u8>> {
    let limit = MAX_RECEIPT_BYTES as u64;
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit + 1).read_to_end(&mut text).at(path)?;
    } else {
        std::fs::File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut text)).at(path)?;
    }
    Ok(text)
}

fn report(out: &Path, made: &Made, as_json: bool) {
    let seconds = |d: std::time::Duration| (d.as_secs_f64() * 1e3).round() / 1e3;
    if as_json {
        let stages: Vec<_> = made
            .stages
            .iter()
            .map(|s| json!({"stage": s.name, "s": seconds(s.wall), "core_s": seconds(s.cpu)}))
            .collect();
        let report = json!({
            "proof": out.display().to_string(),
            "bytes": made.bytes.len(),
            "seconds": seconds(made.time),
            "model_commitment": made.commitment,
            "setup": made.setup,
            "expected_memory": made.memory.total(),
            "stages": stages,
        });
        println!("{report}");
        return;
    }
    println!("{}", out.display());
    println!("  {:<18} {}", "model commitment", made.commitment);
    println!("  {:<18} {}", "setup", made.setup);
    println!("  {:<18} {} bytes, {:.1} s", "proof", made.bytes.len(), made.time.as_secs_f64());
    println!("  {:<18} shows prompt and answer; not zero-knowledge", "privacy");
}

fn report_remote(out: &Path, bytes: usize, as_json: bool) -> Result<()> {
    if as_json {
        println!("{}", json!({"proof": out.display().to_string(), "bytes": bytes}));
    } else {
        println!("{}\n  {:<18} {bytes} bytes", out.display(), "proof");
    }
    Ok(())
}

/// Where a proof goes by default.
pub(crate) fn proof_path(receipt: &Path) -> PathBuf {
    receipt.with_extension("proof")
}
