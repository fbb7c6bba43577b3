//! The rollup's state as the sequencer keeps it: closed slots become batches, epochs follow each other.
//!
//! The router may be one epoch ahead of the state: new slots belong to `clock.epoch`, while the state still
//! takes in the slots of the epoch before. The next epoch starts only after that has ended: the scores in the table
//! that it draws from were settled an epoch ahead, and the stakes are put in as it begins, because no later change
//! counts in it (`rotate.rs`).

mod batch;
pub(crate) mod open;
pub(crate) mod registry;
mod reorg;
mod rotate;
mod stakes;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monai_protocol::chain::{ChainError, HashChain};
use monai_protocol::state::{ApplyError, RegisterError};
use monai_protocol::{Domain, Lane, ModelId, SecretKey, Slot, State};

pub(crate) use stakes::snapshot;
pub(crate) use view::{LANES, LOT_LANE, ModelView, PREFERENCE_LANE};

use crate::config::Intervals;
use crate::metrics::Metrics;
use crate::records::{Clock, ClosedSlot};
use crate::secret::Secret32;
use crate::store::{Store, StoreError};

/// Names of single records in [`crate::store::Cf::Meta`].
pub(crate) mod meta {
    pub(crate) const STATE: &[u8] = b"state";
    pub(crate) const CLOCK: &[u8] = b"clock";
    pub(crate) const BASIS: &[u8] = b"l1_basis";
    pub(crate) const CHAIN_SECRET: &[u8] = b"chain_secret";
    pub(crate) const NONCE_MARK: &[u8] = b"nonce_mark";
}

/// Why the ledger can't go on.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sequencer's own batch breaks a rule: a bug, and nothing more is batched.
    #[error("a batch does not apply: {0}")]
    Apply(#[from] ApplyError),
    /// A chain can't be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A chain can't be derived.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The stakes file can't be read.
    #[error("stakes file {0}: {1}")]
    Stakes(String, String),
    /// L1 can't be read at a first start, or not used at all.
    #[error(transparent)]
    L1(#[from] crate::l1::L1Error),
    /// The parameters are outside their bounds.
    #[error(transparent)]
    Parameters(#[from] monai_protocol::parameters::ParameterError),
    /// The parameters of a network change by governance, not by a file.
    #[error("the configured parameters are not those that this store began with")]
    ParametersChanged,
    /// A record of the store contradicts another.
    #[error("the store is inconsistent: {0}")]
    Inconsistent(&'static str),
    /// Signing failed.
    #[error(transparent)]
    Signature(#[from] monai_protocol::keys::SignatureError),
}

type ClosedSlots = BTreeMap<(ModelId, Lane), BTreeMap<Slot, ClosedSlot>>;

/// The ledger.
pub(crate) struct Ledger {
    store: Arc<Store>,
    key: Arc<SecretKey>,
    domain: Domain,
    metrics: Arc<Metrics>,
    intervals: Intervals,
    registry: registry::Registry,
    /// What L1 said about the router's epoch and the one before.
    basis: Mutex<Option<reorg::Basis>>,
    models: Vec<ModelId>,
    chain_secret: Secret32,
    /// Replaced as a whole by [`Ledger::step`], which runs one at a time.
    state: Mutex<Arc<State>>,
    clock: Mutex<Clock>,
    closed: Mutex<ClosedSlots>,
    /// Held by [`Ledger::step`].
    stepping: Mutex<()>,
    /// True while batches or epochs can't go on.
    stuck: AtomicBool,
    /// Chains by model and first link.
    chains: Mutex<BTreeMap<(ModelId, u64), Arc<HashChain>>>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// The state after the last batch.
    pub(crate) fn state(&self) -> Arc<State> {
        lock(&self.state).clone()
    }

    /// Where the router stands.
    pub(crate) fn clock(&self) -> Clock {
        lock(&self.clock).clone()
    }

    /// Registered operators and their stakes: the file as it is now, or what L1 said at the last epoch's start.
    pub(crate) fn stakes(&self) -> Result<crate::config::StakesFile, LedgerError> {
        match &self.registry {
            registry::Registry::File(file) => file.read(),
            registry::Registry::L1(_) => {
                let operators = lock(&self.basis).as_ref().map(|b| b.facts.operators.clone());
                Ok(crate::config::StakesFile { operators: operators.unwrap_or_default() })
            }
        }
    }

    /// How following L1 goes; `None` without L1.
    pub(crate) fn l1_status(&self) -> Option<crate::l1::Status> {
        self.registry.l1().map(|l1| l1.status())
    }

    /// Takes in a slot whose end is durable.
    pub(crate) fn close(&self, model: ModelId, lane: Lane, slot: Slot, closed: ClosedSlot) {
        lock(&self.closed).entry((model, lane)).or_default().insert(slot, closed);
    }

    /// True while batches or epochs can't go on.
    pub(crate) fn stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Slots that wait for a batch.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.closed).values().map(BTreeMap::len).sum()
    }

    fn chain(&self, model: &ModelId, first: u64, length: u64) -> Result<Arc<HashChain>, LedgerError> {
        if let Some(chain) = lock(&self.chains).get(&(*model, first)) {
            return Ok(chain.clone());
        }
        // Derived outside the lock: a chain is tens of thousands of hashes.
        let chain = Arc::new(HashChain::derive(self.chain_secret.expose(), model, LOT_LANE, first, length)?);
        lock(&self.chains).insert((*model, first), chain.clone());
        Ok(chain)
    }
}
