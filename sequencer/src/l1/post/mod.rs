//! Posting: sealed batches to the rollup, beacons, proofs, and what each epoch settled.
//!
//! Nothing about posting is stored. What is to be done next follows from what L1 says at each look and from the sealed
//! batches in the store, so a crash, a reorg or a lost transaction changes nothing but the time: what L1 does not have is
//! posted, byte for byte as it was sealed. What L1 can't take any more is told and left alone ([`Posting::halted`]): a
//! second header for a number is never signed, because two of them burn the bond.
//!
//! | module | what it does |
//! |---|---|
//! | [`sender`] | one transaction at a time: tried, signed, sent, waited for |
//! | [`source`] | sealed batches and settlements, as the store has them |
//! | [`batches`] | commit, prove, capture, finalise |
//! | [`epochs`] | beacon and proof of an epoch, or its skipping |
//! | [`lists`] | the lists that an epoch's proof binds |
//! | [`header`] | block headers as L1 hashes them |
//! | [`insecure_proofs`] | stand-ins for proofs |

mod batches;
mod epochs;
mod header;
mod insecure_proofs;
mod lists;
mod sender;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_provider::{Provider as _, RootProvider};
use alloy_rpc_types_eth::BlockId;
use monai_contracts::Addresses;
use monai_contracts::rollup::Rollup;
use monai_protocol::{Amount, ModelId, SecretKey};
use serde::{Deserialize, Serialize};

use super::{L1Config, L1Error, PostError};
use crate::store::Store;
use sender::Sender;
use source::Source;

/// Position of `SequencerTimeout` in the contract's parameters.
const SEQUENCER_TIMEOUT: u8 = 26;
/// Position of `ProofWindow`.
const PROOF_WINDOW: u8 = 51;

/// Whether this sequencer writes to L1, and with what proofs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PostConfig {
    /// Prove batches and epochs with what the development stand-in for all verifiers takes. It proves nothing: anybody
    /// can make it, for false statements too. Without it, somebody else must prove.
    pub insecure_proofs: bool,
}

/// How posting goes, for `/health`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Posting {
    /// Batches sealed here.
    sealed: u64,
    /// Of these, on L1.
    committed: u64,
    /// Of these, proved.
    proved: u64,
    /// Of these, final.
    finalised: u64,
    /// The next epoch to be settled.
    next_epoch: u64,
    /// Whether proofs are the development stand-in's.
    insecure_proofs: bool,
    /// Why L1 can take nothing more of what is sealed, if that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<String>,
    /// What failed at the last look; tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What L1 is at, read once a look.
#[derive(Clone, Copy, Debug)]
struct Now {
    block: u64,
    /// Seconds.
    time: u64,
    epoch: u64,
}

/// The task that posts.
pub(crate) struct Poster {
    addresses: Addresses,
    provider: RootProvider,
    sender: Sender,
    source: Source,
    config: PostConfig,
    poll: Duration,
    prices: BTreeMap<ModelId, (Amount, Amount)>,
    /// Batches below it are final; found again by what L1 says when that is not so any more.
    final_below: Mutex<u64>,
    /// When this run last showed that it lives, by L1's time.
    alive: Mutex<u64>,
    status: Mutex<Posting>,
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<alloy_contract::Error> for PostError {
    fn from(error: alloy_contract::Error) -> Self {
        match error.as_revert_data() {
            Some(data) => Self::Refused(format!("the contract reverts with {data}")),
            None => Self::Later(error.to_string()),
        }
    }
}

impl From<alloy_transport::TransportError> for PostError {
    fn from(error: alloy_transport::TransportError) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<crate::store::StoreError> for PostError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Later(error.to_string())
    }
}

impl Poster {
    /// Makes no request.
    pub(crate) fn new(
        l1: &L1Config,
        config: PostConfig,
        key: Arc<SecretKey>,
        store: Arc<Store>,
        prices: BTreeMap<ModelId, (Amount, Amount)>,
    ) -> Result<Self, L1Error> {
        let addresses = Addresses::load(&l1.addresses)?;
        let provider = monai_contracts::connect(&l1.rpc, Duration::from_millis(l1.timeout_ms.max(1)))?;
        let sender = Sender::new(provider.clone(), key, addresses.chain_id);
        Ok(Self {
            addresses,
            provider,
            sender,
            source: Source::new(store),
            config,
            poll: Duration::from_millis(l1.poll_ms.max(1)),
            prices,
            final_below: Mutex::new(0),
            alive: Mutex::new(0),
            status: Mutex::new(Posting { insecure_proofs: config.insecure_proofs, ..Posting::default() }),
        })
    }

    /// How it goes.
    pub(crate) fn status(&self) -> Posting {
        lock(&self.status).clone()
    }

    /// Posts for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Does what is due, once. What fails is in the status, and is tried again at the next look.
    pub(crate) async fn look(&self) {
        let error = self.step().await.err().map(|e| e.to_string());
        let mut status = lock(&self.status);
        if let Some(error) = error.as_ref().filter(|e| status.error.as_ref() != Some(*e)) {
            tracing::warn!(%error, "posting to L1 waits");
        }
        status.error = error;
    }

    async fn step(&self) -> Result<(), PostError> {
        let now = self.now().await?;
        // What is owed soonest comes first; a failure of one does not hold up the others.
        let batches = self.batches(now).await;
        let epochs = self.epochs(now).await;
        let alive = self.show_life(now).await;
        batches.and(epochs).and(alive)
    }

    async fn now(&self) -> Result<Now, PostError> {
        let block = self
            .provider
            .get_block(BlockId::latest())
            .await?
            .ok_or_else(|| PostError::Later("L1 has no block".into()))?;
        let time = block.header.timestamp;
        Ok(Now { block: block.header.number, time, epoch: self.addresses.epoch_at(time) })
    }

    fn rollup(&self) -> Rollup::RollupInstance<RootProvider> {
        Rollup::new(self.addresses.rollup, self.provider.clone())
    }

    async fn parameter(&self, index: u8, epoch: u64) -> Result<alloy_primitives::U256, PostError> {
        let contract =
            monai_contracts::parameters::Parameters::new(self.addresses.parameters, self.provider.clone());
        Ok(contract.valueAt(index, epoch48(epoch)).call().await?)
    }

    /// A sequencer that has nothing to commit shows all the same that it lives, before its timeout.
    async fn show_life(&self, now: Now) -> Result<(), PostError> {
        let patience = self.parameter(SEQUENCER_TIMEOUT, now.epoch).await?.saturating_to::<u64>() / 3;
        let last = *lock(&self.alive);
        // A chain that was taken back to before that sign of life has not seen it.
        if (last..last.saturating_add(patience)).contains(&now.time)
            || self.rollup().caretaking().call().await?
        {
            return Ok(());
        }
        self.sender.send("heartbeat", self.addresses.rollup, &Rollup::heartbeatCall {}).await?;
        *lock(&self.alive) = now.time;
        Ok(())
    }
}

/// Epochs are 48 bits wide in the contracts; no calendar reaches further.
fn epoch48(epoch: u64) -> alloy_primitives::aliases::U48 {
    alloy_primitives::aliases::U48::saturating_from(epoch)
}
