//! `monai verify`.

use super::make::statement;
use super::read_receipt;
use crate::cli::VerifyArgs;
use crate::error::{Error, FileContext as _, Result};
use monai_inference::commitment::{MAX_MODEL_COMMITMENT_BYTES, ModelCommitment, SetupKind};
use monai_inference::proof_file::MAX_PROOF_FILE_BYTES;
use monai_inference::{ModelDigest, Public, verify_file};
use monai_protocol::receipt::Receipt;
use serde_json::json;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

/// Runs the command.
///
/// # Errors
/// [`Error::Invalid`] names what is wrong with the proof.
pub fn run(args: &VerifyArgs) -> Result<()> {
    let model = commitment(&args.model_commitment)?;
    let bytes = read(&args.proof, MAX_PROOF_FILE_BYTES)?;
    let start = Instant::now();
    let found = verify_file(&model, &bytes).map_err(|e| Error::Invalid(e.to_string()))?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    if args.require_ceremony && found.setup != SetupKind::Ceremony {
        return Err(Error::Invalid(format!("the proof rests on an {}", found.setup)));
    }
    for path in &args.receipt {
        let receipt = Receipt::from_json(&read_receipt(path)?)
            .map_err(|e| Error::Malformed { path: path.clone(), what: e.to_string() })?;
        if !found.publics.contains(&statement(&receipt)?.0) {
            let path = path.display();
            return Err(Error::Invalid(format!("the proof is about another answer than the receipt {path}")));
        }
    }
    if args.json {
        let answer = |public: &Public| {
            let Public { request, output, n_in, n_out, finish } = public;
            json!({"request": request, "output": output, "n_in": n_in, "n_out": n_out, "finish": finish})
        };
        let report = json!({
            "valid": true,
            "model_commitment": found.model,
            "answers": found.publics.iter().map(answer).collect::<Vec<_>>(),
            "setup": found.setup.to_string(),
            "secure_setup": found.setup == SetupKind::Ceremony,
            "ms": ms.round(),
        });
        println!("{report}");
        return Ok(());
    }
    println!("{}: valid", args.proof.display());
    println!("  {:<18} {}", "model commitment", found.model);
    for public in &found.publics {
        println!("  {:<18} {}", "request", public.request);
        println!("  {:<18} {}", "output", public.output);
        println!("  {:<18} {} in, {} out, {}", "ids", public.n_in, public.n_out, public.finish.name());
    }
    println!("  {:<18} {}", "setup", found.setup);
    Ok(())
}

/// M, as it is or of a file.
fn commitment(given: &str) -> Result<ModelDigest> {
    let digits = if given.starts_with("0x") { given.to_owned() } else { format!("0x{given}") };
    if let Ok(digest) = digits.parse() {
        return Ok(digest);
    }
    let path = Path::new(given);
    let bytes = read(path, MAX_MODEL_COMMITMENT_BYTES)?;
    let content = ModelCommitment::from_bytes(&bytes)
        .map_err(|e| Error::Malformed { path: path.to_path_buf(), what: e.to_string() })?;
    Ok(content.digest())
}

/// Reads a file that may not be longer than `most` bytes.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(most as u64 + 1).read_to_end(&mut bytes)).at(path)?;
    if bytes.len() > most {
        return Err(Error::Malformed { path: path.to_path_buf(), what: format!("more than {most} bytes") });
    }
    Ok(bytes)
}
