//! Epochs: when the router's next one begins, and when the state's last one is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use monai_protocol::chain::ChainAnchor;
use monai_protocol::{EpochId, Slot, State, insecure_devnet_beacon};

use super::registry::Counted;
use super::reorg::{Basis, Before};
use super::{LANES, LOT_LANE, Ledger, LedgerError, PREFERENCE_LANE, lock, meta};
use crate::clock::now_ms;
use crate::records::{Clock, EpochRecord};
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
            if !self.rotation_due(now_ms()) {
                return Ok(());
            }
            self.rotate(slots)?;
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
        let Some(counted) = self.registry.counted(clock.epoch, &self.models)? else {
            // L1 is silent. The router goes on with the tables that are fixed.
            return Ok(());
        };
        let mut ending = State::clone(&state);
        for chain in &clock.new_chains {
            ending.register_chain(chain.clone())?;
            ending.open_preference_lane(chain.model, PREFERENCE_LANE);
        }
        let Counted { snapshot, parameters, facts } = counted;
        if let Some(parameters) = parameters {
            ending.parameters = parameters;
        }
        let next = ending.next_epoch(&snapshot, insecure_devnet_beacon(clock.epoch));
        let before = Before { epochs: state.epoch.clone(), counters: state.counters.clone() };
        let previous = lock(&self.basis).as_ref().map(|b| b.facts.clone());
        let basis = facts.map(|facts| Basis { facts, before: Some(before), previous });
        let mut change = Change::default();
        change.put_json(Cf::Meta, meta::STATE.to_vec(), &next)?;
        if let Some(basis) = &basis {
            change.put_json(Cf::Meta, meta::BASIS.to_vec(), basis)?;
        }
        self.store.submit(change).durable_blocking()?;
        tracing::info!(epoch = state.epoch.epoch.0, "epoch closed");
        *lock(&self.state) = Arc::new(next);
        if basis.is_some() {
            *lock(&self.basis) = basis;
        }
        Ok(())
    }

    fn rotation_due(&self, now: u64) -> bool {
        let clock = lock(&self.clock);
        clock.epoch == lock(&self.state).epoch.epoch && self.registry.is_over(clock.epoch, clock.ends_ms, now)
    }

    /// Moves the router to the next epoch.
    fn rotate(&self, slots: &Slots) -> Result<(), LedgerError> {
        let state = self.state();
        let epoch = EpochId(state.epoch.epoch.0.saturating_add(1));
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
                // The table was fixed with the state, one epoch ago; only now comes the beacon.
                records.push((*model, EpochRecord { beacon: insecure_devnet_beacon(epoch), table, chain }));
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
        self.metrics.epoch.set(epoch.0 as i64);
        tracing::info!(epoch = epoch.0, "epoch began");
        Ok(())
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
