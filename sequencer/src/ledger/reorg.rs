//! What follows when L1 takes back a block that a table was made from.
//!
//! The facts of epoch e made the table of epoch e + 1. As long as the router is still in e, nothing was drawn from that
//! table, and it is made again from the facts that now stand: the transition is a pure function and its inputs are
//! kept. Once draws were made from it they stand, because receipts name the table; that such a history and L1 differ is
//! counted and logged, and the next table follows L1 again.

use monai_protocol::State;
use monai_protocol::epoch::{EpochCounters, EpochState, transition};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{Ledger, LedgerError, lock, meta};
use crate::l1::{EpochFacts, L1};
use crate::store::{Cf, Change};

/// What the last transition took from L1, and what is needed to make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basis {
    /// What L1 said, about the epoch that the transition began.
    pub(super) facts: EpochFacts,
    /// Absent at genesis, whose tables don't depend on anybody's stake.
    pub(super) before: Option<Before>,
    /// What L1 said for the transition before, which made the table in use.
    pub(super) previous: Option<EpochFacts>,
}

/// The inputs of a transition besides the facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(super) epochs: EpochState,
    pub(super) counters: EpochCounters,
}

impl Ledger {
    /// Deals with a reorg, if there was one. False while it can't: nothing may be built on facts in doubt.
    pub(super) fn settle_reorg(&self) -> Result<bool, LedgerError> {
        let Some(l1) = self.registry.l1() else { return Ok(true) };
        let Some(common) = l1.rollback() else { return Ok(true) };
        let basis = lock(&self.basis).clone();
        let Some(basis) = basis.filter(|b| b.facts.block.number > common) else {
            l1.rolled_back(common);
            return Ok(true);
        };
        let Some(facts) = reread(l1, &basis.facts) else { return Ok(false) };
        let previous = match basis.previous.as_ref().filter(|p| p.block.number > common) {
            None => basis.previous.clone(),
            Some(stale) => {
                let Some(now) = reread(l1, stale) else { return Ok(false) };
                if !now.says_the_same(stale) {
                    self.conflict(stale);
                }
                Some(now)
            }
        };
        self.replace(&basis, facts, previous)?;
        l1.rolled_back(common);
        Ok(true)
    }

    fn conflict(&self, facts: &EpochFacts) {
        self.metrics.l1_conflicts.inc();
        tracing::error!(
            epoch = facts.epoch.0,
            "L1 now says otherwise about an epoch whose table is in use; its draws stand"
        );
    }

    fn replace(
        &self,
        basis: &Basis,
        facts: EpochFacts,
        previous: Option<EpochFacts>,
    ) -> Result<(), LedgerError> {
        let mut change = Change::default();
        let mut state = None;
        if !facts.says_the_same(&basis.facts) {
            // The table that these facts make is that of the epoch after; is the router there already?
            if self.clock().epoch != facts.epoch {
                self.conflict(&facts);
            } else if let Some(before) = &basis.before {
                let again = remade(&self.state(), before, &facts)?;
                change.put_json(Cf::Meta, meta::STATE.to_vec(), &again)?;
                state = Some(again);
                tracing::warn!(epoch = facts.epoch.0, "the next table is made again from what L1 says now");
            }
        }
        let basis = Basis { facts, before: basis.before.clone(), previous };
        change.put_json(Cf::Meta, meta::BASIS.to_vec(), &basis)?;
        self.store.submit(change).durable_blocking()?;
        if let Some(state) = state {
            *lock(&self.state) = Arc::new(state);
        }
        *lock(&self.basis) = Some(basis);
        Ok(())
    }
}

/// What L1 says now about the same epoch; `None` while it says nothing.
fn reread(l1: &L1, stale: &EpochFacts) -> Option<EpochFacts> {
    let block = l1.confirmed().filter(|b| b.timestamp >= l1.epoch_start(stale.epoch))?;
    l1.read(stale.epoch, block)
        .inspect_err(|error| tracing::warn!(%error, "after a reorg L1 does not answer; trying again"))
        .ok()
}

/// The state with the last transition made again.
fn remade(state: &State, before: &Before, facts: &EpochFacts) -> Result<State, LedgerError> {
    let epoch = transition(&before.epochs, &before.counters, &facts.snapshot(), &facts.parameters);
    let same_tables = |id| epoch.table(id) == state.epoch.table(id);
    if epoch.epoch != state.epoch.epoch || !state.epoch.models.keys().all(same_tables) {
        return Err(LedgerError::Inconsistent("a transition made again changes the table in use"));
    }
    Ok(State { epoch, parameters: facts.parameters.clone(), ..state.clone() })
}
