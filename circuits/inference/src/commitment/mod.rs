//! The multilinear polynomial commitment: univariate KZG over BN254 opened with Mercury. Verifier side.
//!
//! A *chunk* is a list of at most `2^k` values, the evaluations of a multilinear polynomial in `k`
//! variables over the hypercube, padded with zeros. Value `i` is the evaluation at the point whose
//! coordinate `j` is **bit `j` of `i`, least significant first**: `point[0]` goes with the lowest bit.
//! Its commitment is `sum_i f_i [tau^i]_1`: hypercube evaluations are taken as the coefficients of a
//! univariate polynomial, so that any public powers-of-tau file serves as setup.
//!
//! One opening shows one evaluation `sum_c a_c f_c(point) = value` of a public linear combination of
//! committed chunks ([`verify_opening`]). What the caller must have done before is written there and in
//! `docs/commitment.md`, with the soundness argument.
//!
//! Deliberately absent: a prover, a setup generator, and anything that has seen a weight.

mod codec;
mod error;
mod key;
mod mercury;
mod model;
mod point;
mod proof;
pub mod schedule;
mod transcript;

pub use codec::Reader;
pub use error::{DecodeError, OpeningError};
pub use key::{SetupKind, VerifierKey};
pub use mercury::{combine, eq_polynomial_at, split_variables, verify_opening};
pub use model::{
    MAX_EOS_IDS, MAX_MODEL_COMMITMENT_BYTES, MAX_MODEL_LAYERS, ModelCommitment, ModelConstants, ModelDigest,
};
pub use point::Commitment;
pub use proof::OpeningProof;
pub use transcript::{KeccakTranscript, OpeningTranscript};

/// Most variables of a chunk: the largest public powers-of-tau file has `2^28` powers.
pub const MAX_VARIABLES: usize = 28;

/// Most chunks in one opening; bounds the verifier's work on a hostile input.
pub const MAX_CHUNKS: usize = 1 << 16;

/// Variables of a chunk where nothing else is registered: `2^21` values.
pub const DEFAULT_VARIABLES: usize = 21;

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests may panic"
)]
mod tests;
