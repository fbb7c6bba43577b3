//! The public setup that proofs are made and checked with.
//!
//! Production names the file of a public ceremony and its published digest; its first powers are checked once and then
//! kept in this program's own form. Development makes a setup from a fixed seed: anybody can forge under it, so the
//! word INSECURE is in the file's name, in every proof's key and in what is printed.

use crate::cli::SetupArgs;
use crate::error::{Error, Result};
use crate::home::{Home, private_dir};
use monai_inference::commitment::SetupKind;
use monai_prover::commit::{CommitError, Srs};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The seed of the development setup: the same on every machine, so that proofs can be passed on.
const DEV_SEED: &[u8] = b"MonAI development";

/// Loads or makes a setup for chunks of `2^bits` values.
///
/// # Errors
/// A file that is missing, of another digest, damaged or too small.
pub(crate) fn load(args: &SetupArgs, bits: usize, home: &Home) -> Result<Srs> {
    let dir = home.setup();
    private_dir(&dir)?;
    let srs = match (&args.setup, &args.setup_digest) {
        (Some(file), Some(digest)) => ceremony(file, digest, bits, &dir)?,
        (Some(_), None) => return Err(Error::Usage("--setup needs --setup-digest".into())),
        (None, _) => {
            let path = dir.join(format!("INSECURE-development-{bits}.srs"));
            if !path.exists() {
                eprintln!("setup: making an INSECURE development setup of 2^{bits} powers, once");
            }
            Srs::insecure_dev_cached(bits, DEV_SEED, &path).map_err(error)?
        }
    };
    if srs.kind() == SetupKind::InsecureDevelopment {
        eprintln!("setup: {}; anybody can forge proofs under it", srs.kind());
    }
    Ok(srs)
}

/// The first powers of a ceremony's file, checked once and kept under the digest of the whole file.
fn ceremony(file: &Path, digest: &str, bits: usize, dir: &Path) -> Result<Srs> {
    let digits = digest.trim().trim_start_matches("0x").to_ascii_lowercase();
    if digits.len() != 128 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::Usage("--setup-digest is 128 hexadecimal digits: BLAKE2b-512".into()));
    }
    let kept: PathBuf = dir.join(format!("ceremony-{}-{bits}.srs", &digits[..32]));
    if let Ok(srs) = Srs::load(&kept)
        && srs.kind() == SetupKind::Ceremony
        && srs.variables() == bits
    {
        return Ok(srs);
    }
    eprintln!("setup: checking the first 2^{bits} powers of {}", file.display());
    let mut magic = [0u8; 4];
    let is_ptau =
        std::fs::File::open(file).and_then(|mut f| f.read_exact(&mut magic)).is_ok() && magic == *b"ptau";
    let srs =
        if is_ptau { Srs::from_ptau(file, bits, &digits) } else { Srs::from_halo2(file, bits, &digits) }
            .map_err(error)?;
    srs.save(&kept).map_err(error)?;
    Ok(srs)
}

/// A setup's or commitment's error with the exit code that fits it.
pub(crate) fn error(error: CommitError) -> Error {
    match error {
        CommitError::Io { path, source } => Error::File { path, source },
        CommitError::Setup { path, reason } => Error::Malformed { path, what: reason.into() },
        CommitError::Digest { ref path, .. } => {
            Error::Malformed { path: path.clone(), what: error.to_string() }
        }
        CommitError::Variables { .. } => Error::Usage(format!("setup: {error}")),
        CommitError::Cancelled => Error::Local("cancelled".into()),
        other => Error::Prover(other.to_string()),
    }
}
