//! What can be wrong with a receipt.

use crate::chain::ChainError;
use crate::draw::DrawError;
use crate::keys::SignatureError;
use crate::leaf::MetaError;
use crate::request::RequestError;
use crate::types::{Lane, ModelId, Slot};

/// The first thing found wrong with a receipt: which field, what it had to be, what it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// More bytes than a receipt may have.
    #[error("receipt of {came} bytes, at most {}", super::MAX_RECEIPT_BYTES)]
    TooLarge {
        /// Bytes that came.
        came: usize,
    },
    /// Not the JSON of a receipt.
    #[error("malformed receipt: {0}")]
    Malformed(String),
    /// A value contradicts another one or a trust anchor.
    #[error("{field}: expected {expected}, came {came}")]
    Mismatch {
        /// The field's path.
        field: String,
        /// What it had to be.
        expected: String,
        /// What it was.
        came: String,
    },
    /// A signature is malformed or by another key.
    #[error("{field}: {source}")]
    Signature {
        /// The field's path.
        field: String,
        /// What is wrong.
        source: SignatureError,
    },
    /// Something that must be there is not.
    #[error("{field} is missing: {why}")]
    Missing {
        /// The field's path.
        field: &'static str,
        /// Why it must be there.
        why: &'static str,
    },
    /// The request is out of bounds.
    #[error("request: {0}")]
    Request(#[from] RequestError),
    /// The draw can't be computed from the receipt's table.
    #[error("draw.table: {0}")]
    Draw(#[from] DrawError),
    /// The link is not of the registered chain.
    #[error("draw.link: {0}")]
    Chain(#[from] ChainError),
    /// The leaf can't be built.
    #[error("leaf: {0}")]
    Leaf(#[from] MetaError),
    /// The auditor found that the model decodes something else.
    #[error("audit: the answer failed its audit")]
    AuditFailed,
    /// Two receipts hold two signatures for one slot, or two slots for one request.
    #[error("equivocation at slot {slot} of lane {lane} of {model}: {what}")]
    Equivocation {
        /// The model.
        model: ModelId,
        /// The lane.
        lane: Lane,
        /// The slot.
        slot: Slot,
        /// What was signed twice.
        what: &'static str,
    },
    /// Re-execution gave another answer.
    #[error("re-execution: output differs at {index}: expected {expected}, came {came}")]
    Output {
        /// The first differing place.
        index: usize,
        /// What the model decodes there.
        expected: String,
        /// What the receipt holds there.
        came: String,
    },
    /// Re-execution could not run.
    #[error("re-execution failed: {0}")]
    Reexecution(String),
}
