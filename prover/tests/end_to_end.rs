//! Whole answers of tiny models, proved and verified.

mod common;

use common::*;
use monai_inference::verify;
use monai_prover::{prove, trace};

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
    let _ = trace;
}
