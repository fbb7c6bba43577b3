//! `monai-verify`: checks a proof that answers are what a registered model decodes from committed requests.
//!
//! It needs the proof's file and M, the registered model commitment. It holds no prover, no model and no network.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | the proof is valid and about the given values |
//! | 1 | the proof is refused, or is about another answer |
//! | 2 | the arguments are wrong, or a file can't be read |

#![forbid(unsafe_code)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod args;
mod report;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use monai_inference::commitment::{
    DecodeError, MAX_MODEL_COMMITMENT_BYTES, ModelCommitment, SetupKind, VerifierKey,
};
use monai_inference::proof_file::MAX_PROOF_FILE_BYTES;
use monai_inference::{FileError, ModelDigest, ProofFile, Public, RegisteredModel, verify_many};

use args::Args;
use report::Report;

/// Why a proof is not accepted.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// An input of the verifier itself can't be used.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: more than {most} bytes", path.display())]
    TooLarge { path: PathBuf, most: usize },
    #[error("{}: {source}", path.display())]
    Input { path: PathBuf, source: DecodeError },
    /// The proof is not one.
    #[error("{0}")]
    Proof(#[from] FileError),
    #[error("the proof's {what} is {found}, not {wanted}")]
    Other { what: &'static str, found: String, wanted: String },
    #[error("none of the proof's {0} answers has all of the given values")]
    NoneOf(usize),
    #[error("the proof rests on an {0}")]
    Insecure(SetupKind),
}

impl Refusal {
    /// 1 if the proof is at fault, 2 if the verifier's own input is.
    const fn code(&self) -> u8 {
        match self {
            Self::Io { .. } | Self::TooLarge { .. } | Self::Input { .. } => 2,
            Self::Proof(_) | Self::Other { .. } | Self::NoneOf(_) | Self::Insecure(_) => 1,
        }
    }
}

/// Reads a file of at most `most` bytes.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, Refusal> {
    let io = |source| Refusal::Io { path: path.to_owned(), source };
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > most {
        return Err(Refusal::TooLarge { path: path.to_owned(), most });
    }
    Ok(bytes)
}

/// M: given as hex, or of the content of a file.
fn registered(given: &str) -> Result<ModelDigest, Refusal> {
    let prefixed = if given.starts_with("0x") { given.to_owned() } else { format!("0x{given}") };
    if let Ok(digest) = prefixed.parse() {
        return Ok(digest);
    }
    let path = Path::new(given);
    let bytes = read(path, MAX_MODEL_COMMITMENT_BYTES)?;
    let content = ModelCommitment::from_bytes(&bytes)
        .map_err(|source| Refusal::Input { path: path.to_owned(), source })?;
    Ok(content.digest())
}

/// The proof is about the values that the caller gave: one of its answers has all of them.
fn about(args: &Args, publics: &[Public]) -> Result<(), Refusal> {
    match publics {
        [public] => matches(args, public),
        several if several.iter().any(|public| matches(args, public).is_ok()) => Ok(()),
        several => Err(Refusal::NoneOf(several.len())),
    }
}

/// An answer has the values that the caller gave.
fn matches(args: &Args, public: &Public) -> Result<(), Refusal> {
    let same = |what, found: String, wanted: Option<String>| match wanted {
        Some(wanted) if wanted != found => Err(Refusal::Other { what, found, wanted }),
        _ => Ok(()),
    };
    same("request", public.request.to_string(), args.request.map(|r| r.to_string()))?;
    same("output", public.output.to_string(), args.output.map(|o| o.to_string()))?;
    same("n_in", public.n_in.to_string(), args.n_in.map(|n| n.to_string()))?;
    same("n_out", public.n_out.to_string(), args.n_out.map(|n| n.to_string()))?;
    let finish = public.finish.name().to_owned();
    same("finish", finish, args.finish.map(|f| monai_protocol::Finish::from(f).name().to_owned()))
}

fn run(args: &Args) -> Result<Report, Refusal> {
    let started = Instant::now();
    let m = registered(&args.model_commitment)?;
    let setup = match &args.setup {
        None => None,
        Some(path) => {
            let bytes = read(path, VerifierKey::BYTES)?;
            let key = VerifierKey::from_bytes(&bytes);
            Some(key.map_err(|source| Refusal::Input { path: path.clone(), source })?)
        }
    };
    let bytes = read(&args.proof, MAX_PROOF_FILE_BYTES)?;
    let file = ProofFile::from_bytes(&bytes).map_err(FileError::from)?;
    // The key in the file counts for nothing: M names the one that the model is committed under.
    let key = setup.as_ref().unwrap_or(&file.key);
    let model = RegisteredModel::new(&m, &file.commitment, key).map_err(FileError::from)?;
    about(args, &file.publics)?;
    if args.require_ceremony && key.kind() != SetupKind::Ceremony {
        return Err(Refusal::Insecure(key.kind()));
    }
    verify_many(&model, &file.publics, &file.proof).map_err(FileError::from)?;
    Ok(Report::new(&model, &file.publics, bytes.len(), started.elapsed()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) => {
            report.print(args.json);
            ExitCode::SUCCESS
        }
        Err(refusal) => {
            report::refused(&refusal.to_string(), args.json);
            ExitCode::from(refusal.code())
        }
    }
}
