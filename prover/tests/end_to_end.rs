//! Whole answers of tiny models, proved and verified; and one proof as a file, byte by byte.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;

use common::*;
use monai_inference::{ProofFile, verify, verify_file};
use monai_prover::{ProvingModel, prove};

/// The answer that the committed proof file is about.
fn proved(m: &ProvingModel<'_>) -> ProofFile {
    let mut params = greedy(m.model, 4);
    (params.top_k, params.top_p, params.seed) = (50, 60_000, 4);
    let request = request(m.model, &[1, 20, 30, 40, 50], params);
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let (proof, _) = prove(m, srs(), &public, &preimage).unwrap();
    ProofFile::new(&m.registered, vec![public], proof)
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../circuits/inference/tests/data").join(name)
}

#[test]
fn a_greedy_answer_proves_and_verifies() {
    let m = shared();
    let request = request(m.model, &[1, 20, 30, 40, 50], greedy(m.model, 4));
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let (proof, stages) = prove(m, srs(), &public, &preimage).unwrap();
    for time in &stages.0 {
        println!("{time:?}");
    }
    let start = std::time::Instant::now();
    verify(&m.registered, &public, &proof).unwrap();
    println!("verify: {:?}, {} bytes", start.elapsed(), proof.to_bytes().len());
}

/// Proofs have no randomness, so a proof made today is the committed one, byte by byte, however kernels change. A change
/// of statement, transcript or encoding shows here, needs a new version, and the file made anew:
/// `cargo test -p monai-prover --test end_to_end -- --ignored`.
#[test]
fn the_proof_of_the_committed_file_is_made_again() {
    let m = shared();
    let file = proved(m);
    assert_eq!(std::fs::read(data("tiny.proof")).unwrap(), file.to_bytes());
    assert_eq!(std::fs::read(data("tiny.commitment")).unwrap(), m.registered.commitment().to_bytes());
    assert_eq!(std::fs::read(data("tiny.key")).unwrap(), srs().key().to_bytes());
    verify_file(m.registered.digest(), &file.to_bytes()).unwrap();
}

#[test]
#[ignore = "writes the committed proof file"]
fn write_the_committed_file() {
    let m = shared();
    std::fs::create_dir_all(data("")).unwrap();
    std::fs::write(data("tiny.proof"), proved(m).to_bytes()).unwrap();
    std::fs::write(data("tiny.commitment"), m.registered.commitment().to_bytes()).unwrap();
    std::fs::write(data("tiny.key"), srs().key().to_bytes()).unwrap();
}
