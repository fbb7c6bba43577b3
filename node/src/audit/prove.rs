//! `monai audit --prove`: a proof beside each valid receipt.

use crate::error::{Error, Result};
use crate::home::write_atomic;
use crate::prove::{Maker, ProofBar, proof_path};
use monai_inference::verify_file;
use monai_protocol::receipt::Receipt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Each proof has its place beside a receipt's file.
///
/// # Errors
/// [`Error::Usage`] for standard input, and for files with several receipts.
pub(super) fn one_a_file(paths: &[&Path]) -> Result<()> {
    for (i, path) in paths.iter().enumerate() {
        if *path == Path::new("-") || paths[..i].contains(path) {
            return Err(Error::Usage("--prove writes NAME.proof beside files with one receipt each".into()));
        }
    }
    Ok(())
}

/// Proves a receipt's answer, verifies the proof as a stranger would, and keeps it.
///
/// # Errors
/// [`Error::Invalid`] where the answer is not the model's; whatever else kept it from being proved.
pub(super) fn prove(maker: &Maker, path: &Path, receipt: &Receipt) -> Result<PathBuf> {
    // The default action of a signal ends this command: nothing is written before the proof is whole.
    let stop = Arc::new(AtomicBool::new(false));
    let made = maker.prove(std::slice::from_ref(receipt), &ProofBar::new(stop.clone()), &stop)?;
    verify_file(&made.commitment, &made.bytes)
        .map_err(|e| Error::Prover(format!("the proof that was made does not verify: {e}")))?;
    let out = proof_path(path);
    write_atomic(&out, &made.bytes, false)?;
    Ok(out)
}
