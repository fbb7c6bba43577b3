//! The journal's content in memory.

use super::record::{Record, Signed, SlotKey};
use monai_protocol::types::{Address, ChainId, Lane, ModelId, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// A lane of a model of a deployment.
type LaneKey = (ChainId, Address, ModelId, Lane);

/// What is known of a lane.
#[derive(Debug, Default)]
struct LaneBook {
    /// Slots below this one without a record are signed no more.
    floor: u64,
    signed: BTreeMap<u64, (Signed, u64)>,
}

/// What is known of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing was signed for it.
    Never,
    /// This was.
    Signed(Signed),
    /// It may have been; the record is gone.
    Forgotten,
}

/// All lanes, and the slots that are being answered now.
#[derive(Debug, Default)]
pub(super) struct Known {
    lanes: BTreeMap<LaneKey, LaneBook>,
    count: usize,
    /// Slots with a job that runs.
    pub(super) live: BTreeSet<SlotKey>,
}

fn lane(key: &SlotKey) -> LaneKey {
    (key.domain.0, key.domain.1, key.model, key.lane)
}

impl Known {
    /// Takes a record in.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::Signed(key, signed, at_ms) => {
                let book = self.lanes.entry(lane(key)).or_default();
                if book.signed.insert(key.slot.0, (*signed, *at_ms)).is_none() {
                    self.count += 1;
                }
            }
            Record::Floor(key) => {
                let book = self.lanes.entry(lane(key)).or_default();
                book.floor = book.floor.max(key.slot.0);
            }
        }
    }

    /// What is known of a slot.
    pub(super) fn seen(&self, key: &SlotKey) -> Seen {
        let Some(book) = self.lanes.get(&lane(key)) else { return Seen::Never };
        match book.signed.get(&key.slot.0) {
            Some((signed, _)) => Seen::Signed(*signed),
            None if key.slot.0 < book.floor => Seen::Forgotten,
            None => Seen::Never,
        }
    }

    /// Records held.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Drops what was signed before `oldest_ms`, and then the oldest until at most `most` are left.
    /// The floor of a lane rises above all that it dropped, so that a forgotten slot is never signed
    /// again. True if anything was dropped.
    pub(super) fn forget(&mut self, oldest_ms: u64, most: usize) -> bool {
        let mut times: Vec<u64> =
            self.lanes.values().flat_map(|b| b.signed.values().map(|(_, at)| *at)).collect();
        times.sort_unstable();
        let surplus = times.len().saturating_sub(most);
        // All of one millisecond go together, so a few more than needed may go.
        let cut = if surplus > 0 { oldest_ms.max(times[surplus - 1].saturating_add(1)) } else { oldest_ms };
        let before = self.count;
        for book in self.lanes.values_mut() {
            let last = book.signed.iter().filter(|(_, (_, at))| *at < cut).map(|(slot, _)| *slot).next_back();
            if let Some(last) = last {
                book.floor = book.floor.max(last.saturating_add(1));
                book.signed.retain(|_, (_, at)| *at >= cut);
            }
        }
        self.count = self.lanes.values().map(|b| b.signed.len()).sum();
        self.count != before
    }

    /// All that has to be kept, as records.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.count + self.lanes.len());
        for (&(chain, rollup, model, lane), book) in &self.lanes {
            let key = |slot| SlotKey { domain: (chain, rollup), model, lane, slot: Slot(slot) };
            if book.floor > 0 {
                records.push(Record::Floor(key(book.floor)));
            }
            records.extend(
                book.signed.iter().map(|(&slot, &(signed, at))| Record::Signed(key(slot), signed, at)),
            );
        }
        records
    }
}
