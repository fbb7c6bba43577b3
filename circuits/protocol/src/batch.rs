//! A batch: header, leaves and the speed totals that its header commits to.

use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::leaf::{Leaf, MetaError};
use crate::merkle::MerkleTree;
use crate::messages::BatchHeader;
use crate::types::{Address, Digest, ModelId};
use serde::{Deserialize, Serialize};

/// The version of batch headers.
pub const BATCH_VERSION: u16 = 1;
/// The version of the circuits that prove batches.
pub const CIRCUIT_VERSION: u16 = 1;
/// Most lanes in a batch.
pub const MAX_BATCH_LANES: usize = 256;

/// What one node delivered in a batch, over the answers whose two sides' times agree.
///
/// Leaves carry no times, so this is the joint word of node and sequencer; whoever holds the
/// receipts can check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedTotal {
    /// The model.
    pub model: ModelId,
    /// The node.
    pub node: Address,
    /// Output ids.
    pub tokens: u64,
    /// Dispatch-to-done time by the sequencer's clock, milliseconds, summed over answers.
    pub millis: u64,
}

/// A batch with all its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The header.
    pub header: BatchHeader,
    /// One leaf per attempt: by lane as in the header, then slot, then retry.
    pub leaves: Vec<Leaf>,
    /// Strictly ascending by (model, node).
    pub speed: Vec<SpeedTotal>,
}

/// hash(Speed, [n, then model hi, model lo, node, tokens, millis of each]).
#[must_use]
pub fn speed_digest(totals: &[SpeedTotal]) -> Digest {
    let mut inputs = vec![Fr::from(totals.len() as u64)];
    for t in totals {
        let [hi, lo] = t.model.limbs();
        inputs.extend([hi, lo, t.node.to_field(), Fr::from(t.tokens), Fr::from(t.millis)]);
    }
    Digest(hash(Tag::Speed, &inputs))
}

/// The tree over a batch's leaves.
///
/// # Errors
/// [`MetaError`] with the leaf's index, if a leaf is out of range.
pub fn leaf_tree(leaves: &[Leaf]) -> Result<MerkleTree, (usize, MetaError)> {
    let hashes =
        leaves.iter().enumerate().map(|(i, l)| l.hash().map_err(|e| (i, e))).collect::<Result<Vec<_>, _>>()?;
    Ok(MerkleTree::new(&hashes))
}
