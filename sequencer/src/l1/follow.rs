//! Following the chain: which block is confirmed, whether what was seen is still there, and whether anyone answers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use monai_protocol::{Domain, EpochId, ModelId, Parameters};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::facts::{BlockRef, EpochFacts};
use super::read::Reader;
use super::{L1Config, L1Error};
use crate::metrics::Metrics;

/// Confirmed blocks that are remembered, to find the last common one after a reorg.
const REMEMBERED: usize = 512;
/// Wait between two attempts to read what the very first start needs.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The chain as this sequencer has seen it.
pub(crate) struct L1 {
    reader: Reader,
    poll: Duration,
    metrics: Arc<Metrics>,
    runtime: Handle,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Confirmed blocks, oldest first.
    blocks: VecDeque<BlockRef>,
    /// The number of the last block that a reorg left, until the ledger has dealt with it.
    rollback: Option<u64>,
    /// False until the endpoint's chain id was checked, and again after every failure.
    checked: bool,
    /// When the endpoint last answered.
    answered: Option<Instant>,
    /// Why it does not, if it does not.
    failure: Option<String>,
    /// Following since.
    since: Instant,
    reorgs: u64,
}

/// How following goes, for `/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    /// `following`, `away` or `reorg`.
    state: &'static str,
    /// The newest confirmed block.
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<u64>,
    /// Its time, Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    block_time: Option<u64>,
    /// Seconds since the endpoint last answered, or since the start if it never did.
    silent_seconds: u64,
    reorgs: u64,
    /// Why the endpoint is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl std::fmt::Debug for L1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "L1(chain {})", self.reader.addresses.chain_id)
    }
}

impl L1 {
    /// Makes no request. `runtime` runs what blocking threads ask for.
    pub(crate) fn new(
        config: &L1Config,
        configured: Parameters,
        served: BTreeSet<ModelId>,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Result<Self, L1Error> {
        let reader = Reader::new(config, configured, served)?;
        let seen = Seen {
            blocks: VecDeque::new(),
            rollback: None,
            checked: false,
            answered: None,
            failure: None,
            since: Instant::now(),
            reorgs: 0,
        };
        let poll = Duration::from_millis(config.poll_ms.max(1));
        Ok(Self { reader, poll, metrics, runtime, seen: Mutex::new(seen) })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if signatures of this domain are for this deployment.
    pub(crate) fn serves(&self, domain: &Domain) -> bool {
        let a = &self.reader.addresses;
        domain.chain_id.0 == a.chain_id && alloy_primitives::Address::from(domain.rollup) == a.rollup
    }

    /// First second of an epoch.
    pub(crate) fn epoch_start(&self, epoch: EpochId) -> u64 {
        self.reader.addresses.epoch_start(epoch.0)
    }

    /// True once a confirmed block lies in the epoch or later. Not while a reorg is being dealt with.
    pub(crate) fn has_begun(&self, epoch: EpochId) -> bool {
        let seen = self.seen();
        seen.rollback.is_none() && seen.blocks.back().is_some_and(|b| b.timestamp >= self.epoch_start(epoch))
    }

    /// The newest confirmed block.
    pub(crate) fn confirmed(&self) -> Option<BlockRef> {
        self.seen().blocks.back().copied()
    }

    /// Tells of a block that an earlier run relied on, so that its loss is noticed. Before following begins.
    pub(crate) fn remember(&self, block: BlockRef) {
        self.seen().blocks.push_front(block);
    }

    /// The last block that a reorg left, if one is still to be dealt with.
    pub(crate) fn rollback(&self) -> Option<u64> {
        self.seen().rollback
    }

    /// The ledger has dealt with a reorg down to this block.
    pub(crate) fn rolled_back(&self, common: u64) {
        let mut seen = self.seen();
        if seen.rollback == Some(common) {
            seen.rollback = None;
        }
    }

    /// How it goes.
    pub(crate) fn status(&self) -> Status {
        let seen = self.seen();
        let last = seen.blocks.back();
        Status {
            state: match (&seen.failure, seen.rollback) {
                (Some(_), _) => "away",
                (None, Some(_)) => "reorg",
                (None, None) => "following",
            },
            block: last.map(|b| b.number),
            block_time: last.map(|b| b.timestamp),
            silent_seconds: seen.answered.unwrap_or(seen.since).elapsed().as_secs(),
            reorgs: seen.reorgs,
            error: seen.failure.clone(),
        }
    }

    /// Looks at the chain for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // What fails is in the status, and is tried again.
            let _ = self.look().await;
        }
    }

    /// Looks once.
    async fn look(&self) -> Result<(), L1Error> {
        let result = self.step().await;
        self.metrics.l1_up.set(i64::from(result.is_ok()));
        let mut seen = self.seen();
        match &result {
            Ok(()) => {
                if seen.failure.take().is_some() {
                    tracing::info!("L1 answers again");
                }
                seen.answered = Some(Instant::now());
            }
            Err(error) => {
                if seen.failure.is_none() {
                    tracing::warn!(%error, "L1 is away; tables and parameters stay as they are");
                }
                seen.failure = Some(error.to_string());
                seen.checked = false;
            }
        }
        result
    }

    async fn step(&self) -> Result<(), L1Error> {
        if !self.seen().checked {
            self.reader.check_chain().await?;
            self.seen().checked = true;
        }
        self.drop_lost().await?;
        let Some(block) = self.reader.confirmed().await? else { return Ok(()) };
        let mut seen = self.seen();
        if seen.blocks.back().is_none_or(|b| block.number > b.number) {
            seen.blocks.push_back(block);
            if seen.blocks.len() > REMEMBERED {
                seen.blocks.pop_front();
            }
        }
        self.metrics.l1_block.set(i64::try_from(block.number).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Forgets blocks that the chain no longer has, down to the last common one.
    async fn drop_lost(&self) -> Result<(), L1Error> {
        let mut lost = false;
        loop {
            let Some(last) = self.seen().blocks.back().copied() else { break };
            if self.reader.at(last.number).await?.is_some_and(|b| b.hash == last.hash) {
                break;
            }
            self.seen().blocks.pop_back();
            lost = true;
        }
        if lost {
            let mut seen = self.seen();
            let common = seen.blocks.back().map_or(0, |b| b.number);
            seen.rollback = Some(seen.rollback.map_or(common, |r| r.min(common)));
            seen.reorgs = seen.reorgs.saturating_add(1);
            self.metrics.l1_reorgs.inc();
            tracing::warn!(common, "L1 reorganised confirmed blocks; going back to the last common one");
        }
        Ok(())
    }

    /// Reads what counts in an epoch. Blocks; not for threads of the runtime.
    pub(crate) fn read(&self, epoch: EpochId, block: BlockRef) -> Result<EpochFacts, L1Error> {
        self.runtime.block_on(self.reader.facts(epoch, block))
    }

    /// What counts in an epoch, for a start that can't do without: waits for the endpoint, and for a confirmed block
    /// whose state it has (a local chain that was just restarted has only the newest one). Blocks; not for threads of
    /// the runtime.
    pub(crate) fn wait_for(&self, epoch: EpochId, patience: Duration) -> Result<EpochFacts, L1Error> {
        let begin = Instant::now();
        loop {
            let looked = self.runtime.block_on(self.look());
            let read = match (looked, self.confirmed()) {
                (Ok(()), Some(block)) => self.read(epoch, block),
                (Ok(()), None) => Err(L1Error::Away("no block is confirmed yet".into())),
                (Err(error), _) => Err(error),
            };
            match read {
                Err(L1Error::Away(_)) if begin.elapsed() < patience => std::thread::sleep(FIRST_RETRY),
                done => return done,
            }
        }
    }
}
