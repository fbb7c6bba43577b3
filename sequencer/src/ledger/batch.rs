//! Batches: closed slots of a model, in order, into a Merkle tree, through `State::seal`, in one atomic synced
//! write.

use std::collections::BTreeMap;
use std::sync::Arc;

use monai_protocol::batch::{leaf_tree, speed_digest};
use monai_protocol::receipt::{Inclusion, Signed};
use monai_protocol::state::ApplyError;
use monai_protocol::{
    Address, ChainLink, Fr, Lane, LaneRange, Leaf, ModelId, Slot, SpeedTotal, State, Typed as _,
};

use super::{Ledger, LedgerError, lock, meta};
use crate::records::{BatchData, InclusionRecord, SpeedSample};
use crate::store::{Cf, Change, keys};

/// The slots of one lane that go into a batch.
struct LanePart {
    range: LaneRange,
    /// Slot and index of its last leaf within the lane.
    last_leaves: Vec<(Slot, u32)>,
    leaves: Vec<Leaf>,
}

impl Ledger {
    /// Batches what is ready, at most one batch a model. Returns the number of leaves; 0 if nothing was.
    pub(super) fn batch_once(&self) -> Result<usize, LedgerError> {
        let mut leaves = 0;
        for model in &self.models {
            leaves += self.batch_model(*model)?;
        }
        Ok(leaves)
    }

    fn batch_model(&self, model: ModelId) -> Result<usize, LedgerError> {
        let state = self.state();
        let (parts, speed) = self.collect(&state, model)?;
        if parts.is_empty() {
            return Ok(0);
        }
        let leaves: Vec<Leaf> = parts.iter().flat_map(|p| p.leaves.iter().copied()).collect();
        let lanes: Vec<LaneRange> = parts.iter().map(|p| p.range.clone()).collect();
        let tree = leaf_tree(&leaves).map_err(|(index, source)| ApplyError::Leaf { index, source })?;
        // The leaves stay with the sequencer until L1 takes blobs; their hash stands in for the blob's.
        let (batch, next) = state.seal(model, lanes.clone(), speed, leaves, None)?;
        let speed = speed_digest(&batch.speed);
        let header = Signed { signature: batch.header.sign(&self.domain, &self.key)?, message: batch.header };

        let mut change = Change::default();
        let mut offset = 0u32;
        for part in &parts {
            for (slot, index) in &part.last_leaves {
                let proof = tree
                    .prove(offset + index)
                    .ok_or(LedgerError::Inconsistent("a leaf that its own tree does not hold"))?;
                let link = (!part.range.lane.by_preference())
                    .then(|| self.link(&state, model, part.range.lane, *slot))
                    .transpose()?;
                let inclusion = Inclusion { header: header.clone(), lanes: lanes.clone(), speed, proof };
                let key = keys::slot(&model, part.range.lane, *slot);
                change.delete(Cf::Leaves, key.clone());
                change.put_json(Cf::Inclusions, key, &InclusionRecord { inclusion, link })?;
            }
            offset += part.leaves.len() as u32;
        }
        let number = header.message.number;
        let count = batch.leaves.len();
        let data = BatchData { lanes: batch.lanes, leaves: batch.leaves, speed: batch.speed };
        change.put_json(Cf::Batches, number.to_be_bytes().to_vec(), &header)?;
        change.put_json(Cf::BatchData, number.to_be_bytes().to_vec(), &data)?;
        change.put_json(Cf::Meta, meta::STATE.to_vec(), &next)?;
        self.store.submit(change).durable_blocking()?;

        *lock(&self.state) = Arc::new(next);
        let mut closed = lock(&self.closed);
        for part in &parts {
            if let Some(lane) = closed.get_mut(&(model, part.range.lane)) {
                lane.retain(|slot, _| *slot >= part.range.end_slot);
            }
        }
        drop(closed);
        self.metrics.batch_leaves.observe(count as f64);
        tracing::debug!(number, leaves = count, "batch");
        Ok(count)
    }

    /// s_j of a slot in the lane's registered chain.
    fn link(&self, state: &State, model: ModelId, lane: Lane, slot: Slot) -> Result<ChainLink, LedgerError> {
        let anchor = state
            .lanes
            .get(&model)
            .and_then(|l| l.get(&lane))
            .and_then(|l| l.chain.as_ref())
            .ok_or(LedgerError::Inconsistent("a lane without a chain"))?;
        self.chain(&model, anchor.first, anchor.length)?
            .link(slot.link_index())
            .ok_or(LedgerError::Inconsistent("a slot beyond its chain"))
    }

    /// The longest run of closed slots of the running epoch in each lane, within the batch's size.
    fn collect(
        &self,
        state: &State,
        model: ModelId,
    ) -> Result<(Vec<LanePart>, Vec<SpeedTotal>), LedgerError> {
        let mut parts = Vec::new();
        let mut speed: BTreeMap<Address, (u64, u64)> = BTreeMap::new();
        let mut total = 0usize;
        for ((_, lane), slots) in lock(&self.closed).range((model, Lane(0))..=(model, Lane(u32::MAX))) {
            let first = state.lanes.get(&model).and_then(|l| l.get(lane)).map_or(Slot(0), |l| l.next_slot);
            let (mut end, mut leaves, mut last_leaves) = (first, Vec::new(), Vec::new());
            while let Some(closed) = slots.get(&end) {
                let full = total > 0 && total + closed.leaves.len() > self.intervals.batch_leaves;
                if closed.epoch != state.epoch.epoch || full {
                    break;
                }
                total += closed.leaves.len();
                leaves.extend(closed.leaves.iter().copied());
                last_leaves.push((end, leaves.len() as u32 - 1));
                if let Some(SpeedSample { node, tokens, millis }) = closed.speed {
                    let t = speed.entry(node).or_default();
                    *t = (t.0.saturating_add(tokens), t.1.saturating_add(millis));
                }
                end = Slot(end.0 + 1);
            }
            if end > first {
                let range = LaneRange {
                    lane: *lane,
                    first_slot: first,
                    end_slot: end,
                    leaves: leaves.len() as u32,
                    link: ChainLink(Fr::default()),
                };
                parts.push(LanePart { range, last_leaves, leaves });
            }
        }
        for LanePart { range, .. } in &mut parts {
            if !range.lane.by_preference() {
                range.link = self.link(state, model, range.lane, Slot(range.end_slot.0 - 1))?;
            }
        }
        let speed =
            speed.into_iter().map(|(node, (tokens, millis))| SpeedTotal { node, tokens, millis }).collect();
        Ok((parts, speed))
    }
}
