//! Why an answer can't be proved.

use crate::commit::CommitError;
use monai_inference::{ShapeError, VerifyError};

/// Why proving stops.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The statement does not cover the model or the lengths.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The statement is false: the verifier's own checks fail on it.
    #[error(transparent)]
    Statement(#[from] VerifyError),
    /// Commitment or opening fail.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The artefact breaks a bound that import proves.
    #[error("the artefact breaks its bounds: {0}")]
    Model(&'static str),
    /// A value of the witness leaves its range: the artefact breaks its bounds, or the answer is not the model's.
    #[error("{what} is {got}, outside its range")]
    Range {
        /// Which value.
        what: &'static str,
        /// What it is.
        got: i128,
    },
}
