//! A model as its registration has it: what a verifier knows of a model, bound by one digest.

use crate::commitment::{Commitment, DecodeError, ModelCommitment, ModelDigest, VerifierKey};
use crate::error::ShapeError;
use crate::shape::{Matrix, ModelHeader, Shape};
use crate::tensor::{Layout, Owner};

/// Why a model commitment is not that of the registered model, or can't be verified with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The content hashes to another M than the registered one.
    #[error("the model commitment hashes to {found}, but {registered} is registered")]
    Digest {
        /// What the caller pins.
        registered: ModelDigest,
        /// What the content hashes to.
        found: ModelDigest,
    },
    /// The content is no canonical encoding.
    #[error("model commitment: {0}")]
    Decode(#[from] DecodeError),
    /// The chunks are committed under another setup than the verifier's.
    #[error("the model is committed under another setup's key than the given one")]
    Setup,
    /// Chunks are larger than the setup allows.
    #[error("chunks of 2^{chunk_bits} values, but the setup has 2^{most} powers")]
    ChunkBits {
        /// Log of a chunk's values.
        chunk_bits: usize,
        /// Log of the setup's powers.
        most: usize,
    },
    /// The header names a matrix that does not exist.
    #[error("unknown matrices are said to have biases: {0:#010b}")]
    Biased(u8),
    /// The list of chunks is not as long as the header's tensors need.
    #[error("{got} chunks, but the tensors of such a model fill {expected}")]
    Chunks {
        /// Chunks listed.
        got: usize,
        /// Chunks that the layout has.
        expected: usize,
    },
    /// The statement does not cover the model's shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

impl ModelCommitment {
    /// The header that the statement reads.
    ///
    /// # Errors
    /// [`RegistrationError::Biased`].
    pub fn header(&self) -> Result<ModelHeader, RegistrationError> {
        let bits = self.constants.biased;
        let has = |i: usize| bits.checked_shr(u32::try_from(i).unwrap_or(u32::MAX)).unwrap_or(0) & 1 == 1;
        if bits >> Matrix::ALL.len() != 0 {
            return Err(RegistrationError::Biased(bits));
        }
        Ok(ModelHeader {
            id: self.model,
            arch: self.constants.arch.clone(),
            score_multipliers: self.constants.score_multipliers.clone(),
            head_norm_eps: self.constants.head_norm_eps.clone(),
            eos_ids: self.constants.eos_ids.clone(),
            biased: Matrix::ALL.into_iter().enumerate().filter(|(i, _)| has(*i)).map(|(_, m)| m).collect(),
            chunk_bits: self.chunk_bits.into(),
        })
    }
}

/// A model that [`crate::verify()`] may be run with: its commitment hashes to the registered M, its key is the one that
/// M names, and its list of chunks is as long as its header's tensors need.
///
/// There is no other way to a value of this type than its checked constructors.
///
/// # Soundness
/// What this pins: header, tokenizer and template digests, chunk commitments, their order, and the setup's key are the
/// ones under M. What it can't show, and whoever registers M must recompute (`check_registration` in the prover's crate):
/// that the chunks are those of the artefact with this identity, that its tables are the frozen ones, and that its integer
/// bounds hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredModel {
    digest: ModelDigest,
    commitment: ModelCommitment,
    header: ModelHeader,
    key: VerifierKey,
}

impl RegisteredModel {
    /// Checks a commitment and a key against the registered M.
    ///
    /// # Errors
    /// A [`RegistrationError`] naming what differs.
    pub fn new(
        registered: &ModelDigest,
        commitment: &ModelCommitment,
        key: &VerifierKey,
    ) -> Result<Self, RegistrationError> {
        let found = commitment.digest();
        if found != *registered {
            return Err(RegistrationError::Digest { registered: *registered, found });
        }
        if key.digest() != commitment.setup {
            return Err(RegistrationError::Setup);
        }
        let header = commitment.header()?;
        if header.chunk_bits > key.variables() {
            let most = key.variables();
            return Err(RegistrationError::ChunkBits { chunk_bits: header.chunk_bits, most });
        }
        // Where model tensors lie does not depend on an answer's length.
        let expected = Layout::new(Owner::Model, &Shape::new(&header, 1, 1)?).chunks();
        let got = commitment.chunks.len();
        if got != expected {
            return Err(RegistrationError::Chunks { got, expected });
        }
        Ok(Self { digest: found, commitment: commitment.clone(), header, key: key.clone() })
    }

    /// Reads a model commitment's bytes and checks them, and a key, against the registered M.
    ///
    /// # Errors
    /// As [`Self::new`], and [`RegistrationError::Decode`].
    pub fn from_bytes(
        registered: &ModelDigest,
        bytes: &[u8],
        key: &VerifierKey,
    ) -> Result<Self, RegistrationError> {
        Self::new(registered, &ModelCommitment::from_bytes(bytes)?, key)
    }

    /// M.
    #[must_use]
    pub const fn digest(&self) -> &ModelDigest {
        &self.digest
    }

    /// What M is the digest of.
    #[must_use]
    pub const fn commitment(&self) -> &ModelCommitment {
        &self.commitment
    }

    /// Architecture and constants.
    #[must_use]
    pub const fn header(&self) -> &ModelHeader {
        &self.header
    }

    /// Commitments to the chunks of its tensors, in the layout of [`crate::tensor`].
    #[must_use]
    pub fn chunks(&self) -> &[Commitment] {
        &self.commitment.chunks
    }

    /// The setup's key that the chunks are committed under.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }
}
