//! What the store holds, as types. All are JSON; each says which column family it lives in.

use monai_protocol::chain::ChainAnchor;
use monai_protocol::emission::Cell;
use monai_protocol::messages::{Attestation, Cancel, Intake, Progress, Response};
use monai_protocol::receipt::{Attempt, Inclusion, Signed};
use monai_protocol::{
    Address, Beacon, ChainLink, EpochId, Lane, LaneRange, Leaf, ModelId, NodeIndex, Request, Signature, Slot,
    SpeedTotal, Table,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::secret::ApiKeyHash;

/// A slot between its assignment and its end (`open`). Holds the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenSlot {
    /// The completion that the client knows.
    pub(crate) completion: String,
    /// Its choice.
    pub(crate) choice: u32,
    /// The key that asked.
    pub(crate) owner: ApiKeyHash,
    /// The epoch that draws for it.
    pub(crate) epoch: EpochId,
    pub(crate) lane: Lane,
    pub(crate) slot: Slot,
    /// As in the intake.
    pub(crate) received_ms: u64,
    pub(crate) request: Request,
    pub(crate) user_signature: Option<Signature>,
    /// The order to stop, if one was ever sent to a node. It is on disk before it is sent, and no other one is ever
    /// signed for the slot: two different answers of one node to one slot are a fault of that node.
    #[serde(default)]
    pub(crate) cancel: Option<Signed<Cancel>>,
}

/// A closed slot that waits for its batch (`leaves`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSlot {
    pub(crate) epoch: EpochId,
    /// One leaf an attempt.
    pub(crate) leaves: Vec<Leaf>,
    /// The speed sample of the answer, if both sides' times agree.
    pub(crate) speed: Option<SpeedSample>,
}

/// Output ids and milliseconds of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SpeedSample {
    pub(crate) node: Address,
    pub(crate) tokens: u64,
    pub(crate) millis: u64,
}

/// What was signed about a slot (`evidence`). No plaintext, so it outlives the retention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) epoch: EpochId,
    pub(crate) intake: Signed<Intake>,
    /// Attempts without an answer.
    pub(crate) attempts: Vec<Attempt>,
    /// The answer; absent if every attempt failed.
    pub(crate) answer: Option<Answered>,
}

/// The signed part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) response: Signed<Response>,
    pub(crate) progress: Vec<Signed<Progress>>,
    pub(crate) cancel: Option<Signed<Cancel>>,
    pub(crate) attestation: Signed<Attestation>,
}

/// The plaintext of an answer (`receipts`). Deleted when the retention ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plaintext {
    pub(crate) owner: ApiKeyHash,
    pub(crate) lane: Lane,
    pub(crate) slot: Slot,
    pub(crate) request: Request,
    pub(crate) user_signature: Option<Signature>,
    pub(crate) output: Vec<u32>,
}

/// What stays of a receipt after its retention (`receipts`): that it was there, and whose it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredReceipt {
    /// The plaintext is there.
    Kept(Box<Plaintext>),
    /// It was deleted.
    Erased {
        /// The key that asked.
        owner: ApiKeyHash,
    },
}

/// A slot's place in a batch (`inclusions`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InclusionRecord {
    pub(crate) inclusion: Inclusion,
    /// s_j, which the batch revealed; none in preference lanes.
    pub(crate) link: Option<ChainLink>,
}

/// What draws of an epoch and model were made from (`epochs`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) beacon: Beacon,
    pub(crate) table: Option<Table>,
    pub(crate) chain: ChainAnchor,
}

/// What a batch holds besides its header, which `batches` has (`batch_data`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchData {
    pub(crate) lanes: Vec<LaneRange>,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) speed: Vec<SpeedTotal>,
}

/// What the end of an epoch settled, for its proof on L1 (`settlements`): by model, what is shown about the node in each
/// slot of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settlement {
    pub(crate) models: BTreeMap<ModelId, BTreeMap<NodeIndex, Cell>>,
}

/// Where the router stands (`meta`, key `clock`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// The epoch that new slots belong to.
    pub(crate) epoch: EpochId,
    pub(crate) started_ms: u64,
    pub(crate) ends_ms: u64,
    /// The first slot of this epoch in each lane: where the one before ended.
    pub(crate) first_slots: Vec<(ModelId, Lane, Slot)>,
    /// Chains that count from this epoch on.
    pub(crate) new_chains: Vec<ChainAnchor>,
}
