//! Why an answer can't be proved.

use crate::commit::CommitError;
use crate::progress::Cancelled;
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
    Commit(CommitError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
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

impl From<CommitError> for ProveError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Cancelled => Self::Cancelled(Cancelled),
            other => Self::Commit(other),
        }
    }
}
