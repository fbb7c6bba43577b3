//! What fuzzers, and the test that replays the corpus, run on arbitrary bytes. Nothing here may panic but for a defect.
#![allow(dead_code, reason = "each target uses one of the functions")]

use monai_inference::commitment::{Commitment, ModelCommitment, OpeningProof, VerifierKey};
use monai_inference::{Proof, ProofFile, RegisteredModel, verify_file, verify_many};

/// A committed proof of a tiny model's answer: what edits start from.
const VALID: &[u8] = include_bytes!("../tests/data/tiny.proof");

/// Every decoder refuses the bytes, or gives a value that encodes to exactly these bytes.
pub(crate) fn decode(bytes: &[u8]) {
    if let Ok(x) = ProofFile::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
    }
    if let Ok(x) = Proof::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
    }
    if let Ok(x) = ModelCommitment::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
        let _ = x.header();
    }
    if let Ok(x) = VerifierKey::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
    }
    if let Ok(x) = OpeningProof::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
    }
    if let Ok(x) = Commitment::from_bytes(bytes) {
        assert_eq!(x.to_bytes(), bytes);
    }
}

/// The bytes are edits of a valid proof file, seven each: a place (32 bits) modulo the length, an operation, two operands.
/// No edited file verifies under the registered M; and an edited model may be registered by whoever likes, so the verifier
/// also runs under the edited file's own M, where it may accept nothing but the valid file.
pub(crate) fn verify_edited(bytes: &[u8]) {
    let mut file = VALID.to_vec();
    for edit in bytes.chunks_exact(7).take(64) {
        let [a, b, c, d, operation, x, y] = *edit else { return };
        let at = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0) % file.len().max(1);
        match operation % 4 {
            0 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= x),
            1 => file.iter_mut().skip(at).take(1).for_each(|byte| *byte = y),
            2 => {
                file.splice(at..at, vec![x; usize::from(y)]);
            }
            _ => {
                let end = at.saturating_add(usize::from(y)).min(file.len());
                file.drain(at..end);
            }
        }
        if file.is_empty() {
            return;
        }
    }
    let Ok(valid) = ProofFile::from_bytes(VALID) else { return };
    let accepted = verify_file(&valid.commitment.digest(), &file).is_ok();
    assert_eq!(accepted, file == VALID, "an edited file verifies");
    if let Ok(mut parsed) = ProofFile::from_bytes(&file) {
        // Whoever edits the key registers it, too.
        parsed.commitment.setup = parsed.key.digest();
        if let Ok(model) = RegisteredModel::new(&parsed.commitment.digest(), &parsed.commitment, &parsed.key)
        {
            let accepted = verify_many(&model, &parsed.publics, &parsed.proof).is_ok();
            assert_eq!(accepted, parsed == valid, "an edited file verifies under its own M");
        }
    }
}

/// The entry point of the target `verify`: arbitrary bytes as a file, and as edits of a valid one.
pub(crate) fn verify_bytes(bytes: &[u8]) {
    if let Ok(file) = ProofFile::from_bytes(bytes) {
        let _ = verify_file(&file.commitment.digest(), bytes);
    }
    verify_edited(bytes);
}
