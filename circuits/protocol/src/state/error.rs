//! Why a state refuses a batch or a chain.

use crate::chain::ChainError;
use crate::draw::DrawError;
use crate::leaf::MetaError;
use crate::types::{EpochId, Lane, ModelId, NodeIndex, Retry, Slot};

/// Why a batch is not a valid successor of a state. `lane` and `slot` say where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A header field is not what the state demands.
    #[error("header.{field}: expected {expected}, came {came}")]
    Header {
        /// The field.
        field: &'static str,
        /// What the state demands.
        expected: String,
        /// What came.
        came: String,
    },
    /// The batch is empty or exceeds a limit.
    #[error("{field} has {came}, must be 1 to {max}")]
    Size {
        /// What.
        field: &'static str,
        /// How many.
        came: usize,
        /// The most.
        max: usize,
    },
    /// A list is not in its one order.
    #[error("{0} is not strictly ascending")]
    Order(&'static str),
    /// A leaf is malformed.
    #[error("leaf {index}: {source}")]
    Leaf {
        /// The leaf.
        index: usize,
        /// What is wrong with it.
        source: MetaError,
    },
    /// The lane was never registered, or has no table or chain.
    #[error("lane {lane} of {model}: {missing} missing")]
    Unregistered {
        /// The model.
        model: ModelId,
        /// The lane.
        lane: Lane,
        /// What is missing.
        missing: &'static str,
    },
    /// A link is not of the registered chain.
    #[error("lane {lane} of {model}: {source}")]
    Chain {
        /// The model.
        model: ModelId,
        /// The lane.
        lane: Lane,
        /// What is wrong.
        source: ChainError,
    },
    /// A slot is skipped, doubled or out of place.
    #[error("leaf {index}: expected slot {expected}, came {came}")]
    Slot {
        /// The leaf.
        index: usize,
        /// The slot that has its turn.
        expected: Slot,
        /// The slot that came.
        came: Slot,
    },
    /// A leaf stands under the wrong lane.
    #[error("leaf {index}: expected lane {expected}, came {came}")]
    Lane {
        /// The leaf.
        index: usize,
        /// The lane of the header.
        expected: Lane,
        /// The lane of the leaf.
        came: Lane,
    },
    /// An attempt is skipped or doubled.
    #[error("leaf {index}: expected attempt {expected}, came {came}")]
    Retry {
        /// The leaf.
        index: usize,
        /// The attempt that has its turn.
        expected: Retry,
        /// The attempt that came.
        came: Retry,
    },
    /// The attempts of one slot name different requests, or one request fills two slots.
    #[error("leaf {index}: {what}")]
    Request {
        /// The leaf.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The slot's last leaf gives no answer although attempts remain.
    #[error("slot {slot} of lane {lane} ends without an answer after {attempts} of {allowed} attempts")]
    Unfinished {
        /// The lane.
        lane: Lane,
        /// The slot.
        slot: Slot,
        /// Attempts made.
        attempts: u64,
        /// Attempts to make.
        allowed: u64,
    },
    /// The node is not the one drawn.
    #[error("leaf {index}: expected node {expected}, came {came}")]
    Node {
        /// The leaf.
        index: usize,
        /// The drawn node.
        expected: NodeIndex,
        /// The node that came.
        came: NodeIndex,
    },
    /// Finish, count and commitment of a leaf contradict each other.
    #[error("leaf {index}: {what}")]
    Inconsistent {
        /// The leaf.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Nothing can be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// A speed total is not covered by the batch's answers.
    #[error("speed total {index}: {what}")]
    Speed {
        /// The total.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Why a state can't take a chain or move to the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The chain would be usable in an epoch whose beacon is already known.
    #[error("chain for epoch {came} registered during epoch {running}")]
    TooLate {
        /// The chain's first epoch.
        came: EpochId,
        /// The running epoch.
        running: EpochId,
    },
    /// The chain does not begin at the lane's next link or within the running chain.
    #[error("chain begins at link {came}, the lane needs {needed}")]
    Gap {
        /// The chain's first link.
        came: u64,
        /// The link of the lane's next slot.
        needed: u64,
    },
    /// The chain has no or too many links.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Preference lanes draw nothing.
    #[error("lane {0} is a preference lane")]
    Preference(Lane),
}
