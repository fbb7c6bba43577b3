//! One 576 x 576 matrix-vector product: EZKL's time over ours.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use monai_prover::commit::Srs;
use monai_prover::matvec::{Matrix, prove_matvec, verify_matvec};
use serde::Deserialize;

use crate::{median, program::cached};

/// Rows and columns: the hidden width of the model.
const SIZE: usize = 576;

#[derive(Deserialize)]
struct Peer {
    witness_s: f64,
    prove_s: f64,
    verify_s: f64,
}

/// Alternates rounds of both sides; returns the ratio of the medians of the proving times.
pub(crate) fn compare(python: &Path, args: &crate::Args) -> Result<f64> {
    // Any int8 matrix and any 16-bit vector: the prover's work does not depend on them.
    let mixed = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let rows: Vec<i8> = (0..SIZE * SIZE).map(|i| (mixed(i) % 255) as i8).collect();
    let x: Vec<i32> = (0..SIZE).map(|i| (mixed(i + 7) % 65_536) as i32 - 32_768).collect();
    let matrix = Matrix::new(&rows, SIZE)?;
    let bits = matrix.variables();
    let srs = Srs::insecure_dev_cached(bits, b"bench-proof", &cached(args, "INSECURE-matvec.srs"))?;
    let commitment = matrix.commit(&srs)?;
    let mut peer = Command::new(python)
        .arg(args.peers.join("ezkl_matvec.py"))
        .arg(cached(args, &format!("ezkl-matvec-{SIZE}")))
        .arg(SIZE.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", python.display()))?;
    let mut input = peer.stdin.take().context("the peer's standard input")?;
    let mut output = BufReader::new(peer.stdout.take().context("the peer's standard output")?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        writeln!(input, "round")?;
        input.flush()?;
        let found = loop {
            let mut line = String::new();
            ensure!(output.read_line(&mut line)? > 0, "EZKL has gone");
            // Its library prints to standard output as well.
            if line.starts_with("{\"witness_s\"") {
                break serde_json::from_str::<Peer>(&line)?;
            }
        };
        let start = Instant::now();
        let y = matrix.apply(&x);
        let (proof, stages) = prove_matvec(&matrix, &commitment, &srs, &x, &y)?;
        let own = start.elapsed().as_secs_f64();
        let start = Instant::now();
        verify_matvec(&proof, &commitment, srs.key(), &x, &y)?;
        let verify = start.elapsed().as_secs_f64();
        let split: Vec<String> =
            stages.iter().map(|s| format!("{} {:.2} s", s.name, s.wall.as_secs_f64())).collect();
        println!(
            "matrix-vector product, round {round}: ours {own:.2} s ({}; chunk of 2^{bits}), verified in {:.0} ms; \
             EZKL {:.1} s (besides its witness, {:.1} s), verified in {:.0} ms",
            split.join(", "),
            verify * 1e3,
            found.prove_s,
            found.witness_s,
            found.verify_s * 1e3
        );
        ours.push(own);
        theirs.push(found.prove_s);
    }
    drop(input);
    ensure!(peer.wait()?.success(), "EZKL did not end well");
    Ok(median(theirs)? / median(ours)?)
}
