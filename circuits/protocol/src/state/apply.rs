//! Applying a batch: header, lanes, speed totals, counters, root.

use super::lane::apply_lane;
use super::{ApplyError, State};
use crate::batch::{
    Batch, CIRCUIT_VERSION, MAX_BATCH_LANES, SpeedTotal, leaf_tree, links_digest, speed_digest,
};
use crate::blob::MAX_BATCH_LEAVES;
use crate::field::Fr;
use crate::types::{Address, Digest, ModelId, RequestCommitment};
use ark_ff::Zero;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn demand<T: PartialEq + ToString>(
    field: &'static str,
    expected: T,
    came: T,
) -> Result<(), ApplyError> {
    if expected == came {
        Ok(())
    } else {
        Err(ApplyError::Header { field, expected: expected.to_string(), came: came.to_string() })
    }
}

/// Applies a batch: header, tree, slots, attempts, links, draws; then counters and the new root.
///
/// # Errors
/// The first rule that the batch breaks; the state is unchanged.
pub fn apply(state: &State, batch: &Batch) -> Result<State, ApplyError> {
    let next = advance(state, batch)?;
    demand("state_root", next.root(), batch.header.state_root)?;
    Ok(next)
}

/// [`apply`] without the check of the state root.
pub(super) fn advance(state: &State, batch: &Batch) -> Result<State, ApplyError> {
    check_header(state, batch)?;
    let mut next = state.clone();
    let mut tally = Tally::default();
    let mut at = 0usize;
    for range in &batch.lanes {
        let end = at.saturating_add(range.leaves as usize);
        let leaves = batch.leaves.get(at..end).ok_or(ApplyError::Header {
            field: "lanes.leaves",
            expected: batch.leaves.len().to_string(),
            came: end.to_string(),
        })?;
        apply_lane(state, &mut next, batch.header.model, range, leaves, at, &mut tally)?;
        at = end;
    }
    demand("leaf_count", at, batch.leaves.len())?;
    apply_speed(&mut next, batch.header.model, &batch.speed, &tally)?;
    next.next_batch = state.next_batch.saturating_add(1);
    next.head = batch.header.batch_digest();
    Ok(next)
}

/// What the lanes of a batch have in common.
#[derive(Default)]
pub(super) struct Tally {
    /// Requests that fill a slot of this batch.
    pub(super) requests: BTreeSet<RequestCommitment>,
    /// Output ids by node, of drawn answers.
    pub(super) tokens: BTreeMap<Address, u64>,
}

fn check_header(state: &State, batch: &Batch) -> Result<(), ApplyError> {
    let h = &batch.header;
    demand("circuit_version", CIRCUIT_VERSION, h.circuit_version)?;
    demand("number", state.next_batch, h.number)?;
    demand("epoch", state.epoch.epoch, h.epoch)?;
    demand("parent", state.head, h.parent)?;
    demand("node_roots", Digest(Fr::zero()), h.node_roots)?;
    for (field, came, max) in
        [("leaves", batch.leaves.len(), MAX_BATCH_LEAVES), ("lanes", batch.lanes.len(), MAX_BATCH_LANES)]
    {
        if came == 0 || came > max {
            return Err(ApplyError::Size { field, came, max });
        }
    }
    demand("leaf_count", batch.leaves.len(), h.leaf_count as usize)?;
    if !batch.lanes.windows(2).all(|w| w[0].lane < w[1].lane) {
        return Err(ApplyError::Order("lanes"));
    }
    if !batch.speed.windows(2).all(|w| w[0].node < w[1].node) {
        return Err(ApplyError::Order("speed"));
    }
    demand("links", links_digest(&batch.lanes, speed_digest(&batch.speed)), h.links)?;
    let root: Digest =
        leaf_tree(&batch.leaves).map_err(|(index, source)| ApplyError::Leaf { index, source })?.root();
    demand("root", root, h.root)
}

fn apply_speed(
    next: &mut State,
    model: ModelId,
    totals: &[SpeedTotal],
    tally: &Tally,
) -> Result<(), ApplyError> {
    for (index, t) in totals.iter().enumerate() {
        let answered = tally.tokens.get(&t.node).copied().unwrap_or(0);
        if t.tokens > answered {
            return Err(ApplyError::Speed { index, what: "more ids than the node's answers hold" });
        }
        if t.millis == 0 || t.millis > MAX_SPEED_MILLIS {
            return Err(ApplyError::Speed { index, what: "no time, or more than an epoch can hold" });
        }
        let c = next.counters.node(model, t.node);
        c.tokens = c.tokens.saturating_add(t.tokens);
        c.millis = c.millis.saturating_add(t.millis);
    }
    Ok(())
}

/// Most milliseconds in a speed total: a batch's leaves, each for a week.
pub const MAX_SPEED_MILLIS: u64 = MAX_BATCH_LEAVES as u64 * 604_800_000;
