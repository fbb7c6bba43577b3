//! What was read from L1, with the block that it was read at.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use monai_protocol::{Beacon, EpochId, Parameters, StakeSnapshot};
use serde::{Deserialize, Serialize};

use crate::config::Operator;

/// A block of L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRef {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    /// Seconds.
    pub(crate) timestamp: u64,
}

/// What counts in an epoch by L1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochFacts {
    pub(crate) epoch: EpochId,
    /// The block whose state was read.
    pub(crate) block: BlockRef,
    /// Nodes with the hot keys of this epoch. Models that the sequencer does not serve are left out.
    pub(crate) operators: Vec<Operator>,
    pub(crate) parameters: Parameters,
    /// prevRandao of the first block that is not before the epoch's start.
    pub(crate) beacon: Beacon,
}

impl EpochFacts {
    /// The stakes as routing wants them. Exposure is zero: nothing that this sequencer batched is audited on L1 yet.
    pub(crate) fn snapshot(&self) -> StakeSnapshot {
        crate::ledger::snapshot(&self.operators, &BTreeSet::new())
    }

    /// True if routing would do the same with both, wherever they were read.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        (self.epoch, self.beacon) == (other.epoch, other.beacon)
            && self.operators == other.operators
            && self.parameters == other.parameters
    }
}
