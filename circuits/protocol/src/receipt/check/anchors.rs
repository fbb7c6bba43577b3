//! What an auditor brings along, and what it learns.

use crate::chain::ChainAnchor;
use crate::types::{
    Address, Amount, BatchDigest, Beacon, Digest, Domain, EpochId, Finish, Keccak, ModelId, OutputCommitment,
    RequestCommitment,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What an auditor trusts: keys and facts from L1, or from a devnet's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustAnchors {
    /// The deployment.
    pub domain: Domain,
    /// The sequencer's key.
    pub sequencer: Address,
    /// Registered models.
    pub models: BTreeSet<ModelId>,
    /// Auditors whose findings count.
    pub auditors: BTreeSet<Address>,
    /// Known beacons.
    pub beacons: BTreeMap<EpochId, Beacon>,
    /// Known tables, by digest.
    pub tables: BTreeMap<EpochId, BTreeMap<ModelId, Digest>>,
    /// Registered chains.
    pub chains: Vec<ChainAnchor>,
    /// Batches known from L1.
    pub batches: BTreeMap<u64, BatchDigest>,
    /// Epochs below this are final.
    pub final_before: EpochId,
    /// Attempts at a slot ([`crate::Parameters::max_attempts`]).
    pub max_attempts: u64,
    /// Δ ([`crate::Parameters::clock_agreement`]), milliseconds.
    pub clock_agreement_ms: u64,
    /// True on a devnet without an L1: beacons are [`crate::insecure_devnet_beacon`], known without L1.
    pub insecure_devnet: bool,
}

/// What is not fixed yet, or not known to the auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// No batch holds the answer yet.
    NotBatched,
    /// No batch has revealed the link yet, so the draw can't be recomputed.
    LinkNotRevealed,
    /// The auditor does not know the epoch's beacon.
    BeaconUnknown,
    /// The auditor does not know the epoch's table.
    TableUnknown,
    /// The auditor does not know the registered chain.
    ChainUnknown,
    /// The auditor does not know the batch from L1.
    BatchUnknown,
    /// The epoch is not final.
    EpochNotFinal,
}

/// What a valid receipt shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// R.
    pub request: RequestCommitment,
    /// O.
    pub output: OutputCommitment,
    /// The digest of the response.
    pub response: Keccak,
    /// The model.
    pub model: ModelId,
    /// The node that answered.
    pub node: Address,
    /// The epoch of the draw.
    pub epoch: EpochId,
    /// How the answer ended.
    pub finish: Finish,
    /// What was charged.
    pub charge: Amount,
    /// Dispatch-to-done time by the sequencer's clock if both sides' times agree: a speed sample.
    pub speed_sample_ms: Option<u64>,
    /// True if the draw was recomputed and chose this node.
    pub draw_verified: bool,
    /// True if a trusted auditor found the answer right.
    pub audited: bool,
    /// What is not fixed yet, ascending; empty for a final receipt.
    pub pending: BTreeSet<Pending>,
}
