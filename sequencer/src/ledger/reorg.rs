//! What follows when L1 takes back a block that a table was made from.
//!
//! The facts of an epoch are read as the router enters it, at a block that counts, and draws begin at once. So a reorg
//! that changes them contradicts draws that were made: those stand, because receipts name the table; that such a history
//! and L1 differ is counted and logged, and the next table follows L1 again.

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, lock, meta};
use crate::l1::{EpochFacts, L1};
use crate::store::{Cf, Change};

/// What L1 said about the epochs that are not over for this sequencer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// About the router's epoch.
    pub(super) facts: EpochFacts,
    /// About the epoch before, whose slots may still be batched.
    pub(super) previous: Option<EpochFacts>,
}

impl Ledger {
    /// Deals with a reorg, if there was one. False while it can't: nothing may be built on facts in doubt.
    pub(super) fn settle_reorg(&self) -> Result<bool, LedgerError> {
        let Some(l1) = self.registry.l1() else { return Ok(true) };
        let Some(common) = l1.rollback() else { return Ok(true) };
        let basis = lock(&self.basis).clone();
        let Some(mut basis) = basis.filter(|b| b.facts.block.number > common) else {
            l1.rolled_back(common);
            return Ok(true);
        };
        // The settlement of an epoch goes by what its table was made from; only the record of where that was read moves.
        for facts in std::iter::once(&mut basis.facts).chain(&mut basis.previous) {
            if facts.block.number <= common {
                continue;
            }
            let Some(now) = reread(l1, facts) else { return Ok(false) };
            if !now.says_the_same(facts) {
                self.metrics.l1_conflicts.inc();
                tracing::error!(
                    epoch = facts.epoch.0,
                    "L1 now says otherwise about an epoch whose table is in use; its draws stand"
                );
            }
            facts.block = now.block;
        }
        let mut change = Change::default();
        change.put_json(Cf::Meta, meta::BASIS.to_vec(), &basis)?;
        self.store.submit(change).durable_blocking()?;
        *lock(&self.basis) = Some(basis);
        l1.rolled_back(common);
        Ok(true)
    }
}

/// What L1 says now about the same epoch; `None` while it says nothing.
fn reread(l1: &L1, stale: &EpochFacts) -> Option<EpochFacts> {
    let block = l1.confirmed().filter(|b| b.timestamp >= l1.epoch_start(stale.epoch))?;
    l1.read(stale.epoch, block)
        .inspect_err(|error| tracing::warn!(%error, "after a reorg L1 does not answer; trying again"))
        .ok()
}
