//! Where stakes, parameters and the calendar come from: L1, or a file where there is none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use monai_protocol::{Beacon, EpochId, ModelId, Parameters, StakeSnapshot, insecure_devnet_beacon};

use super::LedgerError;
use super::stakes::StakesSource;
use crate::l1::{EpochFacts, L1};

/// How long a first start waits for L1. Later ones don't: they have tables.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);

/// The source.
#[derive(Debug)]
pub(crate) enum Registry {
    /// The devnet's file: stakes of this moment, epochs by this machine's clock.
    File(StakesSource),
    /// The contracts.
    L1(Arc<L1>),
}

/// What an epoch takes from outside as it begins.
pub(super) struct Counted {
    pub(super) snapshot: StakeSnapshot,
    /// Where L1 governs them.
    pub(super) parameters: Option<Parameters>,
    /// What to compare with after a reorg.
    pub(super) facts: Option<EpochFacts>,
}

impl Counted {
    /// The beacon of the epoch that this counts in: L1's, or a stand-in where there is none.
    pub(super) fn beacon(&self, epoch: EpochId) -> Beacon {
        self.facts.as_ref().map_or_else(|| insecure_devnet_beacon(epoch), |f| f.beacon)
    }
}

impl Registry {
    /// A file, or L1 if it is configured.
    pub(crate) fn new(file: PathBuf, l1: Option<Arc<L1>>) -> Self {
        l1.map_or_else(|| Self::File(StakesSource(file)), Self::L1)
    }

    pub(super) fn l1(&self) -> Option<&Arc<L1>> {
        match self {
            Self::File(_) => None,
            Self::L1(l1) => Some(l1),
        }
    }

    /// What a new network begins with. Waits for L1.
    pub(super) fn first(&self, models: &[ModelId]) -> Result<Counted, LedgerError> {
        match self {
            Self::File(file) => from_file(file, models),
            Self::L1(l1) => Ok(l1.wait_for(EpochId(0), FIRST_PATIENCE)?.into()),
        }
    }

    /// What counts in an epoch that has begun; `None` while L1 does not say.
    pub(super) fn counted(&self, epoch: EpochId, models: &[ModelId]) -> Result<Option<Counted>, LedgerError> {
        match self {
            Self::File(file) => from_file(file, models).map(Some),
            Self::L1(l1) => {
                let Some(block) = l1.confirmed().filter(|_| l1.has_begun(epoch)) else { return Ok(None) };
                match l1.read(epoch, block) {
                    Ok(facts) => Ok(Some(facts.into())),
                    Err(error) => {
                        tracing::warn!(epoch = epoch.0, %error, "L1 does not say what counts; trying again");
                        Ok(None)
                    }
                }
            }
        }
    }

    /// True if the epoch that ends at `ends_ms` by this machine's clock is over.
    pub(super) fn is_over(&self, epoch: EpochId, ends_ms: u64, now_ms: u64) -> bool {
        match self {
            Self::File(_) => now_ms >= ends_ms,
            Self::L1(l1) => l1.has_begun(EpochId(epoch.0.saturating_add(1))),
        }
    }

    /// When an epoch that starts now ends, in Unix milliseconds. By L1's calendar it is what it should be; the
    /// epoch ends when a block says so.
    pub(super) fn ends_ms(&self, epoch: EpochId, started_ms: u64, length_ms: u64) -> u64 {
        match self {
            Self::File(_) => started_ms.saturating_add(length_ms),
            Self::L1(l1) => l1.epoch_start(EpochId(epoch.0.saturating_add(1))).saturating_mul(1_000),
        }
    }
}

fn from_file(file: &StakesSource, models: &[ModelId]) -> Result<Counted, LedgerError> {
    Ok(Counted { snapshot: file.snapshot(models)?, parameters: None, facts: None })
}

impl From<EpochFacts> for Counted {
    fn from(facts: EpochFacts) -> Self {
        Self { snapshot: facts.snapshot(), parameters: Some(facts.parameters.clone()), facts: Some(facts) }
    }
}
