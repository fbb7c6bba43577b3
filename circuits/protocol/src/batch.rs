//! A batch: its header as L1 holds it, the lanes and speed totals beneath it, and its leaves.

use crate::field::{self, Fr};
use crate::hash::{Tag, hash};
use crate::leaf::{Leaf, MetaError};
use crate::merkle::MerkleTree;
use crate::messages::{Typed, batch_signing_digest};
use crate::types::{Address, BatchDigest, ChainLink, Digest, Domain, EpochId, Keccak, Lane, ModelId, Slot};
use serde::{Deserialize, Serialize};

/// The version of the circuits that prove batches.
pub const CIRCUIT_VERSION: u32 = 1;
/// Most lanes in a batch.
pub const MAX_BATCH_LANES: usize = 256;

/// The header of a batch, of one model and one epoch. L1 stores its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchHeader {
    /// The batch's number, from 0.
    pub number: u64,
    /// The digest of the header before, [`BatchDigest::GENESIS`] in the first.
    pub parent: BatchDigest,
    /// The model of all leaves.
    pub model: ModelId,
    /// The epoch of all slots.
    pub epoch: EpochId,
    /// The version of the circuits that will prove this batch.
    pub circuit_version: u32,
    /// Leaves, without padding.
    pub leaf_count: u32,
    /// The root over the leaves.
    pub root: Digest,
    /// The state after the batch ([`crate::State::root`]).
    pub state_root: Digest,
    /// The commitment to lanes, revealed links and speed totals ([`links_digest`]).
    pub links: Digest,
    /// The commitment to the sub-roots that nodes sign for the circuits; zero until circuits use it.
    pub node_roots: Digest,
    /// What carries the leaves: the versioned hash of the blob, or [`leaf_data_hash`] for calldata.
    pub data: Keccak,
}

impl BatchHeader {
    /// keccak256(abi.encode(number, header)): eleven words of 32 bytes, fields in contract order.
    #[must_use]
    pub fn batch_digest(&self) -> BatchDigest {
        let mut words = Vec::with_capacity(11 * 32);
        let number = |x: u64| {
            let mut w = [0u8; 32];
            w[24..].copy_from_slice(&x.to_be_bytes());
            w
        };
        words.extend(number(self.number));
        words.extend(self.parent.0);
        words.extend(self.model.0);
        words.extend(number(self.epoch.0));
        words.extend(number(self.circuit_version.into()));
        words.extend(number(self.leaf_count.into()));
        for element in [self.root, self.state_root, self.links, self.node_roots] {
            words.extend(element.to_bytes());
        }
        words.extend(self.data.0);
        BatchDigest(alloy_primitives::keccak256(&words).0)
    }
}

impl Typed for BatchHeader {
    fn digest(&self, domain: &Domain) -> Keccak {
        batch_signing_digest(self.number, self.batch_digest(), domain)
    }
}

/// The slots of one lane in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneRange {
    /// The lane.
    pub lane: Lane,
    /// The first slot.
    pub first_slot: Slot,
    /// One past the last slot.
    pub end_slot: Slot,
    /// Leaves of this lane, one per attempt.
    pub leaves: u32,
    /// The revealed link of the last slot; earlier ones follow by hashing. Zero in preference lanes.
    pub link: ChainLink,
}

/// What one node delivered in a batch, over the answers whose two sides' times agree.
///
/// Leaves carry no times, so this is the joint word of node and sequencer; whoever holds the
/// receipts can check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedTotal {
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
    /// Strictly ascending by lane.
    pub lanes: Vec<LaneRange>,
    /// Strictly ascending by node.
    pub speed: Vec<SpeedTotal>,
    /// One leaf per attempt: by lane as above, then slot, then retry.
    pub leaves: Vec<Leaf>,
}

/// hash(Links, [n, (lane, first, end, leaves, link) of each lane, speed digest]).
#[must_use]
pub fn links_digest(lanes: &[LaneRange], speed: Digest) -> Digest {
    let mut inputs = vec![Fr::from(lanes.len() as u64)];
    for l in lanes {
        inputs.extend([
            Fr::from(l.lane.0),
            Fr::from(l.first_slot.0),
            Fr::from(l.end_slot.0),
            Fr::from(l.leaves),
            l.link.0,
        ]);
    }
    inputs.push(speed.0);
    Digest(hash(Tag::Links, &inputs))
}

/// hash(Speed, [n, (node, tokens, millis) of each]).
#[must_use]
pub fn speed_digest(totals: &[SpeedTotal]) -> Digest {
    let mut inputs = vec![Fr::from(totals.len() as u64)];
    for t in totals {
        inputs.extend([t.node.to_field(), Fr::from(t.tokens), Fr::from(t.millis)]);
    }
    Digest(hash(Tag::Speed, &inputs))
}

/// keccak256 of the leaves as 96 bytes each: `data` of a batch whose leaves travel as calldata.
///
/// # Errors
/// [`MetaError`] with the leaf's index, if a leaf is out of range.
pub fn leaf_data_hash(leaves: &[Leaf]) -> Result<Keccak, (usize, MetaError)> {
    let mut bytes = Vec::with_capacity(leaves.len() * 96);
    for (i, leaf) in leaves.iter().enumerate() {
        for e in leaf.elements().map_err(|e| (i, e))? {
            bytes.extend_from_slice(&field::to_bytes(e));
        }
    }
    Ok(Keccak(alloy_primitives::keccak256(&bytes).0))
}

/// The tree over a batch's leaves.
///
/// # Errors
/// [`MetaError`] with the leaf's index, if a leaf is out of range.
pub fn leaf_tree(leaves: &[Leaf]) -> Result<MerkleTree, (usize, MetaError)> {
    let hashes = leaves
        .iter()
        .enumerate()
        .map(|(i, l)| l.hash().map_err(|e| (i, e)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(MerkleTree::new(&hashes))
}

/// The range of a lane, with the index of the lane's first leaf.
#[must_use]
pub fn find_lane(lanes: &[LaneRange], lane: Lane) -> Option<(u64, &LaneRange)> {
    let at = lanes.iter().position(|l| l.lane == lane)?;
    let before = lanes.iter().take(at).map(|l| u64::from(l.leaves)).sum();
    lanes.get(at).map(|l| (before, l))
}
