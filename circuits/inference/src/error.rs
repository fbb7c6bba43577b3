//! Why a proof, a model's header or a request for a proof is refused.

use crate::commitment::{DecodeError, OpeningError};
pub use monai_model::limits::ShapeError;
use monai_protocol::request::RequestError;

/// Why verification fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The statement is outside what the model or this verifier covers.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The encoding is not canonical.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Request parameters outside their bounds.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A public input contradicts the preimages.
    #[error("public input {0} does not follow from its preimage")]
    Public(&'static str),
    /// The answer does not end as the stop rule says.
    #[error("the answer breaks the stop rule: {0}")]
    Stop(&'static str),
    /// The integers of a selection row break the selection rule.
    #[error("output {row} breaks the selection rule: {rule}")]
    Selection {
        /// Index of the output id.
        row: usize,
        /// The inequality that fails.
        rule: &'static str,
    },
    /// The proof has a wrong number of messages, rows or commitments.
    #[error("wrong number of {what}: {got}, expected {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// What came.
        got: usize,
        /// What the statement needs.
        expected: usize,
    },
    /// The proof ends before the verifier is done.
    #[error("the proof has too few messages")]
    Truncated,
    /// An equation between messages does not hold.
    #[error("check failed: {0}")]
    Check(&'static str),
    /// A challenge for which a round polynomial is undefined, of negligible probability.
    #[error("a challenge is degenerate")]
    Degenerate,
    /// The combined opening is not shown.
    #[error(transparent)]
    Opening(#[from] OpeningError),
    /// The schedule of relations and the layout disagree. A defect of this crate, reported instead of a panic.
    #[error("internal: {0}")]
    Internal(&'static str),
}
