//! Epochs: when the router's next one begins, and when the state's last one is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use monai_protocol::chain::ChainAnchor;
use monai_protocol::{EpochId, Slot, State};

use super::registry::Counted;
use super::reorg::Basis;
use super::{LANES, LOT_LANE, Ledger, LedgerError, PREFERENCE_LANE, lock, meta};
use crate::clock::now_ms;
use crate::records::{Clock, EpochRecord, Settlement};
use crate::router::slots::Slots;
use crate::store::{Cf, Change, keys};

/// Epochs that one step may go through.
const EPOCHS_A_STEP: usize = 64;

impl Ledger {
    /// Does whatever is due: batches, the end of the state's epoch, the beginning of the router's. Blocks.
    pub(crate) fn step(&self, slots: &Slots) -> Result<(), LedgerError> {
        // One at a time: each batch builds on the state that the one before left.
        let _turn = lock(&self.stepping);
        let result = self.step_alone(slots);
        self.stuck.store(result.is_err(), Ordering::Relaxed);
        result
    }

    fn step_alone(&self, slots: &Slots) -> Result<(), LedgerError> {
        // L1's epochs go on while this sequencer is down; they are caught up with one by one, some at a time.
        for _ in 0..EPOCHS_A_STEP {
            while self.batch_once()? > 0 {}
            if !self.settle_reorg()? {
                return Ok(());
            }
            self.end_epoch()?;
            if !self.rotation_due(now_ms()) || !self.rotate(slots)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Ends the state's epoch once the router is in the next and every slot is batched.
    fn end_epoch(&self) -> Result<(), LedgerError> {
        let state = self.state();
        let clock = self.clock();
        if clock.epoch == state.epoch.epoch {
            return Ok(());
        }
        let batched = clock.first_slots.iter().all(|(model, lane, first)| {
            let next = state.lanes.get(model).and_then(|l| l.get(lane)).map_or(Slot(0), |l| l.next_slot);
            next == *first
        });
        if !batched {
            return Ok(());
        }
        let (Counted { snapshot, .. }, begun) = self.counted(&state)?;
        let mut ending = State::clone(&state);
        for chain in &clock.new_chains {
            ending.register_chain(chain.clone())?;
            ending.open_preference_lane(chain.model, PREFERENCE_LANE);
        }
        // The epoch that ends is settled by its own stakes and parameters; those of the running one come after it.
        let mut next = ending.next_epoch(&snapshot, begun.beacon(clock.epoch));
        if let Some(parameters) = begun.parameters {
            next.parameters = parameters;
        }
        next.epoch = next.epoch.with_stakes(&begun.snapshot, &next.parameters);
        let mut change = Change::default();
        change.put_json(Cf::Meta, meta::STATE.to_vec(), &next)?;
        let key = state.epoch.epoch.0.to_be_bytes().to_vec();
        change.put_json(Cf::Settlements, key, &settlement(&state, &next))?;
        self.store.submit(change).durable_blocking()?;
        tracing::info!(epoch = state.epoch.epoch.0, "epoch closed");
        *lock(&self.state) = Arc::new(next);
        Ok(())
    }

    /// What counts in the state's epoch, and in the one after, which the router is in.
    fn counted(&self, state: &State) -> Result<(Counted, Counted), LedgerError> {
        let Some(basis) = lock(&self.basis).clone() else {
            // A file has no history: stakes of this moment stand for both.
            let now = || self.registry.counted(state.epoch.epoch, &self.models);
            return match (now()?, now()?) {
                (Some(ending), Some(begun)) => Ok((ending, begun)),
                _ => Err(LedgerError::Inconsistent("an epoch of L1 without what L1 said")),
            };
        };
        let ending = basis.previous.filter(|p| p.epoch == state.epoch.epoch);
        let ending = ending.ok_or(LedgerError::Inconsistent("an epoch that L1's word is missing for"))?;
        Ok((ending.into(), basis.facts.into()))
    }

    fn rotation_due(&self, now: u64) -> bool {
        let clock = lock(&self.clock);
        clock.epoch == lock(&self.state).epoch.epoch && self.registry.is_over(clock.epoch, clock.ends_ms, now)
    }

    /// Moves the router to the next epoch, with the stakes that count in it. False while L1 does not say which: the
    /// router goes on where it is.
    fn rotate(&self, slots: &Slots) -> Result<bool, LedgerError> {
        let running = self.state();
        let epoch = EpochId(running.epoch.epoch.0.saturating_add(1));
        let Some(counted) = self.registry.counted(epoch, &self.models)? else { return Ok(false) };
        let beacon = counted.beacon(epoch);
        let Counted { snapshot, parameters, facts } = counted;
        let parameters = parameters.as_ref().unwrap_or(&running.parameters);
        let state =
            State { epoch: running.epoch.with_stakes(&snapshot, parameters), ..State::clone(&running) };
        let previous = lock(&self.basis).as_ref().map(|b| b.facts.clone());
        let basis = facts.map(|facts| Basis { facts, previous });
        // Chains are derived before the lock on slots: they take a while. Whether one is used is decided
        // inside it, when the lane's first slot of the epoch is known.
        let spare: Vec<_> = self
            .models
            .iter()
            .map(|model| {
                let next = slots.next(*model, LOT_LANE);
                self.successor(&state, *model, next, epoch)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut records = Vec::new();
        slots.rotate(|next_slot| {
            let mut new_chains = Vec::new();
            let mut first_slots = Vec::new();
            for (model, spare) in self.models.iter().zip(&spare) {
                first_slots.extend(LANES.map(|lane| (*model, lane, next_slot(*model, lane))));
                let running =
                    state.lanes.get(model).and_then(|l| l.get(&LOT_LANE)).and_then(|l| l.chain.clone());
                let aligned = next_slot(*model, LOT_LANE).0 % Slot::PER_LINK == 0;
                let same_place =
                    |c: &ChainAnchor| aligned && c.first == next_slot(*model, LOT_LANE).0 / Slot::PER_LINK;
                let chain = match (spare, running) {
                    (Some(new), _) if same_place(new) => {
                        new_chains.push(new.clone());
                        new.clone()
                    }
                    (_, Some(running)) => running,
                    (_, None) => continue,
                };
                let table = state.epoch.models.get(model).and_then(|m| m.next.clone());
                // Everything in the table was settled before the epoch's first block, which brings the beacon.
                records.push((*model, EpochRecord { beacon, table, chain }));
            }
            let started_ms = now_ms();
            let clock = Clock {
                epoch,
                started_ms,
                ends_ms: self.registry.ends_ms(epoch, started_ms, self.intervals.epoch_ms),
                first_slots,
                new_chains,
            };
            let mut change = Change::default();
            for (model, record) in &records {
                change.put_json(Cf::Epochs, keys::epoch(epoch, model), record)?;
            }
            change.put_json(Cf::Meta, meta::CLOCK.to_vec(), &clock)?;
            change.put_json(Cf::Meta, meta::STATE.to_vec(), &state)?;
            if let Some(basis) = &basis {
                change.put_json(Cf::Meta, meta::BASIS.to_vec(), basis)?;
            }
            // Not waited for here: slots of the new epoch are written after it, in order, so none of them
            // can be durable without it.
            let ticket = self.store.submit(change);
            let models = records
                .iter()
                .map(|(model, record)| {
                    let chain = self.chain(model, record.chain.first, record.chain.length)?;
                    let view =
                        super::ModelView::new(epoch, record.clone(), chain, state.parameters.max_attempts);
                    Ok((*model, Arc::new(view)))
                })
                .collect::<Result<_, LedgerError>>()?;
            let view = super::view::EpochView { epoch, models };
            *lock(&self.clock) = clock;
            Ok((Arc::new(view), ticket))
        })?;
        *lock(&self.state) = Arc::new(state);
        if basis.is_some() {
            *lock(&self.basis) = basis;
        }
        self.metrics.epoch.set(epoch.0 as i64);
        tracing::info!(epoch = epoch.0, "epoch began");
        Ok(true)
    }

    /// The chain that could follow a lane's: if it has none, or if half of it is used and the next slot begins
    /// a link. A chain can only begin at such a slot, and slots can't be skipped.
    fn successor(
        &self,
        state: &State,
        model: monai_protocol::ModelId,
        next: Slot,
        epoch: EpochId,
    ) -> Result<Option<ChainAnchor>, LedgerError> {
        let running = state.lanes.get(&model).and_then(|l| l.get(&LOT_LANE)).and_then(|l| l.chain.as_ref());
        let wanted = match running {
            None => true,
            Some(c) => {
                next.0.is_multiple_of(Slot::PER_LINK)
                    && next.link_index() >= c.first.saturating_add(c.length / 2)
            }
        };
        if !wanted {
            return Ok(None);
        }
        let chain = self.chain(&model, next.link_index(), self.intervals.chain_links)?;
        Ok(Some(chain.anchor(model, LOT_LANE, epoch)))
    }
}

/// What a transition shows about the epoch that it ended. Slots are those of that epoch's table.
fn settlement(ended: &State, next: &State) -> Settlement {
    let models = next.epoch.paid.iter().map(|(model, payout)| {
        let table = ended.epoch.table(model);
        let slot = |node| table.and_then(|t| t.index_of(node));
        let cells = payout.cells.iter().filter_map(|(node, cell)| Some((slot(node)?, *cell)));
        (*model, cells.collect())
    });
    Settlement { models: models.collect() }
}
