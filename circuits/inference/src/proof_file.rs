//! The file in which a proof is handed over, shared by prover and verifier: proof, public inputs, and what M commits to.
//!
//! ```text
//! magic "MNPX" | version u8: 1 for one answer; 2 for several, then their number u8
//! for each answer: R 32 bytes | O 32 bytes | n_in u32 | n_out u32 | finish u8
//! verifier's key, 136 bytes
//! length u32 | model commitment
//! proof
//! ```
//!
//! All numbers are big-endian. The model commitment is a few kilobytes and travels with the proof, so that a verifier who
//! knows only M needs nothing else: the content must hash to the M that the verifier pins, and M names the key. Nothing in
//! the file is trusted.

use monai_protocol::{Finish, OutputCommitment, RequestCommitment};

use crate::commitment::{
    DecodeError, MAX_MODEL_COMMITMENT_BYTES, ModelCommitment, ModelDigest, Reader, SetupKind, VerifierKey,
};
use crate::error::VerifyError;
use crate::proof::{MAX_ANSWERS, MAX_PROOF_BYTES, Proof, read_number, write_number};
use crate::registration::{RegisteredModel, RegistrationError};
use crate::statement::Public;
use crate::verify::verify_many;

/// Most bytes of a proof file; readers stop there.
pub const MAX_PROOF_FILE_BYTES: usize =
    MAX_PROOF_BYTES.saturating_add(MAX_MODEL_COMMITMENT_BYTES).saturating_add(MAX_ANSWERS << 10);

/// Why a proof file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The bytes are no proof file.
    #[error("proof file: {0}")]
    Decode(#[from] DecodeError),
    /// The model in the file is not the registered one.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The proof does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// A proof with all that a verifier needs besides M.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// What is claimed of each answer.
    pub publics: Vec<Public>,
    /// What M is the digest of.
    pub commitment: ModelCommitment,
    /// The setup's key that M names.
    pub key: VerifierKey,
    /// The proof.
    pub proof: Proof,
}

/// What a proof file was found to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// M.
    pub model: ModelDigest,
    /// R, O, lengths and finish of each answer.
    pub publics: Vec<Public>,
    /// Where the setup's secret is said to come from, bound by M.
    pub setup: SetupKind,
}

impl ProofFile {
    const MAGIC: [u8; 4] = *b"MNPX";

    /// Puts a proof into a file's form.
    #[must_use]
    pub fn new(model: &RegisteredModel, publics: Vec<Public>, proof: Proof) -> Self {
        Self { publics, commitment: model.commitment().clone(), key: model.key().clone(), proof }
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(Self::MAGIC);
        write_number(&mut out, self.publics.len());
        for public in &self.publics {
            out.extend(monai_protocol::field::to_bytes(public.request.0));
            out.extend(monai_protocol::field::to_bytes(public.output.0));
            out.extend(public.n_in.to_be_bytes());
            out.extend(public.n_out.to_be_bytes());
            out.push(public.finish.code());
        }
        out.extend(self.key.to_bytes());
        let commitment = self.commitment.to_bytes();
        out.extend(u32::try_from(commitment.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(commitment);
        out.extend(self.proof.to_bytes());
        out
    }

    /// Reads the canonical encoding, which must be the whole input.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.bytes::<4>()? != Self::MAGIC {
            return Err(DecodeError::Magic { expected: "proof file" });
        }
        let mut publics = Vec::new();
        for _ in 0..read_number(&mut r, "the proof file")? {
            let request = RequestCommitment(r.scalar()?);
            let output = OutputCommitment(r.scalar()?);
            let (n_in, n_out) = (r.u32()?, r.u32()?);
            let code = r.u8()?;
            let finish = Finish::from_code(code).ok_or(DecodeError::Tag { what: "finish", got: code })?;
            publics.push(Public { request, output, n_in, n_out, finish });
        }
        let key = VerifierKey::from_bytes(&r.bytes::<{ VerifierKey::BYTES }>()?)?;
        let got = r.u32()?;
        let length = usize::try_from(got).ok().filter(|n| *n <= MAX_MODEL_COMMITMENT_BYTES);
        let length = length.ok_or(DecodeError::Range {
            what: "the length of the model commitment",
            got: got.into(),
            least: 0,
            most: u64::try_from(MAX_MODEL_COMMITMENT_BYTES).unwrap_or(u64::MAX),
        })?;
        let commitment = ModelCommitment::from_bytes(r.slice(length)?)?;
        let proof = Proof::from_bytes(r.rest())?;
        Ok(Self { publics, commitment, key, proof })
    }
}

/// Verifies the bytes of a proof file against the registered M.
///
/// The caller compares what comes back with the R and O of its receipt: a proof of another answer is a valid proof.
///
/// # Errors
/// Why the file is refused.
pub fn verify_file(registered: &ModelDigest, bytes: &[u8]) -> Result<Verified, FileError> {
    let file = ProofFile::from_bytes(bytes)?;
    let model = RegisteredModel::new(registered, &file.commitment, &file.key)?;
    verify_many(&model, &file.publics, &file.proof)?;
    Ok(Verified { model: *registered, publics: file.publics, setup: file.key.kind() })
}
