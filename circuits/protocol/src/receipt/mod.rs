//! Receipts: all that is needed to check an answer, and to compute it again.

mod check;
mod error;
mod pair;

pub use check::{MAX_CLOCK_SKEW_S, Pending, Reexecute, Report, TrustAnchors, charge};
pub use error::ReceiptError;
pub use pair::check_pair;

use crate::batch::{BatchHeader, LaneRange};
use crate::chain::ChainAnchor;
use crate::draw::Table;
use crate::keys::Signature;
use crate::merkle::InclusionProof;
use crate::messages::{Attestation, Audit, Cancel, Credit, Intake, Miss, Progress, Refusal, Response};
use crate::request::Request;
use crate::types::{Address, Beacon, ChainLink, Digest};
use serde::{Deserialize, Serialize};

/// The version of the receipt's JSON.
pub const RECEIPT_VERSION: u16 = 1;
/// Most bytes of a receipt's JSON.
pub const MAX_RECEIPT_BYTES: usize = 16 << 20;

/// A message with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed<M> {
    /// What was signed.
    pub message: M,
    /// By whom follows from the message's place.
    pub signature: Signature,
}

/// An earlier attempt at the slot that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Attempt {
    /// The sequencer's record that the node did not answer in time.
    Missed(Signed<Miss>),
    /// The node's signed refusal.
    Refused(RefusedAttempt),
    /// The node's signed refusal with the credit that it exhausts.
    Busy(BusyAttempt),
}

/// A refusal, and who refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedAttempt {
    /// The node.
    pub node: Address,
    /// Its refusal.
    pub refusal: Signed<Refusal>,
}

/// A refusal for exhausted credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusyAttempt {
    /// The node.
    pub node: Address,
    /// Its refusal, which lists as many requests as the credit allows.
    pub refusal: Signed<Refusal>,
    /// The credit, signed by the node.
    pub credit: Signed<Credit>,
}

/// What decided which node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawRecord {
    /// The epoch's beacon.
    pub beacon: Beacon,
    /// The table of epoch and model.
    pub table: Table,
    /// The registered chain; none in a preference lane.
    pub chain: Option<ChainAnchor>,
    /// s_j, once a batch has revealed it.
    pub link: Option<ChainLink>,
}

/// The answer's place in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inclusion {
    /// The header, signed by the sequencer.
    pub header: Signed<BatchHeader>,
    /// The batch's lanes, which the header's `links` commits to.
    pub lanes: Vec<LaneRange>,
    /// The digest of its speed totals, as in the same commitment.
    pub speed: Digest,
    /// The path to its root.
    pub proof: InclusionProof,
}

/// An auditor's finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRecord {
    /// Who signed it.
    pub auditor: Address,
    /// The finding.
    pub audit: Signed<Audit>,
}

/// A receipt. Every value in it is bound by a signature, a commitment or a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`RECEIPT_VERSION`].
    pub version: u16,
    /// The preimage of R.
    pub request: Request,
    /// The user's signature over [`crate::messages::RequestMessage`]. Absent only if the user key is
    /// the sequencer's own (a gateway's), whose intake already signs R.
    pub user_signature: Option<Signature>,
    /// The sequencer's promise of the slot.
    pub intake: Signed<Intake>,
    /// Earlier attempts, in order.
    pub attempts: Vec<Attempt>,
    /// The output ids, a stop id included.
    pub output: Vec<u32>,
    /// The node's signed response.
    pub response: Signed<Response>,
    /// Running hashes that the node signed on the way, ascending: each that is due after the ids it was given.
    pub progress: Vec<Signed<Progress>>,
    /// The requester's order to stop, if the answer was cancelled.
    pub cancel: Option<Signed<Cancel>>,
    /// The sequencer's countersignature with times, price and draw.
    pub attestation: Signed<Attestation>,
    /// The inputs of the draw.
    pub draw: DrawRecord,
    /// The place in a batch, once batched.
    pub inclusion: Option<Inclusion>,
    /// An audit's result, once there is one.
    pub audit: Option<AuditRecord>,
}

impl Receipt {
    /// Reads a receipt's JSON; its size is checked before anything is parsed.
    ///
    /// # Errors
    /// [`ReceiptError::TooLarge`], [`ReceiptError::Malformed`].
    pub fn from_json(text: &[u8]) -> Result<Self, ReceiptError> {
        if text.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge { came: text.len() });
        }
        let malformed = |e: serde_json::Error| ReceiptError::Malformed(e.to_string());
        let receipt: Self = serde_json::from_slice(text).map_err(malformed)?;
        // The parser also takes a list for an object, and nothing for null. One receipt has one spelling, so that what
        // two programs read is the same.
        let (came, own) = (serde_json::from_slice(text), serde_json::to_value(&receipt));
        let (came, own): (serde_json::Value, _) = (came.map_err(malformed)?, own.map_err(malformed)?);
        match first_difference(&own, &came) {
            None => Ok(receipt),
            Some(at) => Err(ReceiptError::Malformed(format!("{at} is not spelt as receipts are"))),
        }
    }

    /// Writes the receipt's JSON, indented.
    ///
    /// # Errors
    /// [`ReceiptError::TooLarge`].
    pub fn to_json(&self) -> Result<String, ReceiptError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| ReceiptError::Malformed(e.to_string()))?;
        if text.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::TooLarge { came: text.len() });
        }
        Ok(text)
    }
}

/// The path of the first place where two documents differ.
fn first_difference(own: &serde_json::Value, came: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Object};
    match (own, came) {
        (Object(a), Object(b)) if a.len() == b.len() => a.iter().find_map(|(key, x)| match b.get(key) {
            None => Some(format!("/{key}")),
            Some(y) => first_difference(x, y).map(|at| format!("/{key}{at}")),
        }),
        (Array(a), Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (x, y))| first_difference(x, y).map(|at| format!("/{i}{at}"))),
        (Object(a), Object(b)) => {
            let odd =
                a.keys().find(|k| !b.contains_key(*k)).or_else(|| b.keys().find(|k| !a.contains_key(*k)));
            Some(odd.map_or_else(String::new, |key| format!("/{key}")))
        }
        (a, b) => (a != b).then(String::new),
    }
}
