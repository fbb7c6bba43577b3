//! One lane of a batch: consecutive slots, attempts in order, nodes as drawn.

use super::apply::{Tally, demand};
use super::{ApplyError, LaneState, Revealed, State};
use crate::batch::LaneRange;
use crate::chain::descend;
use crate::draw::{DrawInputs, Table, draw_order};
use crate::leaf::Leaf;
use crate::types::{ChainLink, Finish, ModelId, OutputCommitment, Retry, Slot};
use ark_ff::Zero;

/// Where a lane's walk through its leaves stands.
struct Walk<'a> {
    state: &'a State,
    model: ModelId,
    range: &'a LaneRange,
    table: &'a Table,
    /// s_j for each link of the range, by j - first link.
    links: Vec<ChainLink>,
    allowed: u64,
}

pub(super) fn apply_lane(
    state: &State,
    next: &mut State,
    model: ModelId,
    range: &LaneRange,
    leaves: &[Leaf],
    offset: usize,
    tally: &mut Tally,
) -> Result<(), ApplyError> {
    let lane = range.lane;
    let known = state.lane(model, lane)?;
    demand("lanes.first_slot", known.next_slot, range.first_slot)?;
    if range.end_slot <= range.first_slot {
        return Err(ApplyError::Order("lanes.first_slot, end_slot"));
    }
    let table =
        state.epoch.table(&model).ok_or(ApplyError::Unregistered { model, lane, missing: "table" })?;
    let (links, revealed) = links(state, known, model, range)?;
    let allowed = state.parameters.max_attempts.min(table.entries.len() as u64);
    let walk = Walk { state, model, range, table, links, allowed };

    let mut slot = range.first_slot;
    let mut rest = leaves;
    let mut index = offset;
    while !rest.is_empty() {
        let count = walk.slot_leaves(slot, rest, index)?;
        let (attempts, later) = rest.split_at(count);
        if !tally.requests.insert(attempts[0].request) {
            return Err(ApplyError::Request { index, what: "the request already fills another slot" });
        }
        for leaf in attempts {
            let Some(node) = table.node(leaf.meta.node) else { continue };
            if leaf.meta.finish.answered() && !lane.by_preference() {
                *tally.tokens.entry(node).or_default() += u64::from(leaf.meta.n_out);
            }
            if !lane.by_preference() {
                let c = next.counters.node(model, node);
                match leaf.meta.finish {
                    // Cancelled before its first id: no work that could be shown, and no fault of the node.
                    Finish::Cancelled if leaf.meta.n_out == 0 => {}
                    Finish::Stop | Finish::Length | Finish::Cancelled => c.answered += 1,
                    Finish::Refused | Finish::Missed => c.missed += 1,
                    Finish::Busy => c.busy += 1,
                }
            }
        }
        index += count;
        rest = later;
        slot = Slot(slot.0.saturating_add(1));
    }
    demand("lanes.end_slot", slot, range.end_slot)?;
    if let Some(entry) = next.lanes.get_mut(&model).and_then(|l| l.get_mut(&lane)) {
        entry.next_slot = slot;
        entry.revealed = revealed.or(entry.revealed);
    }
    Ok(())
}

/// The links of a range, first to last, and the one it reveals.
fn links(
    state: &State,
    known: &LaneState,
    model: ModelId,
    range: &LaneRange,
) -> Result<(Vec<ChainLink>, Option<Revealed>), ApplyError> {
    let lane = range.lane;
    if lane.by_preference() {
        return if range.link.0.is_zero() {
            Ok((Vec::new(), None))
        } else {
            Err(ApplyError::Header {
                field: "lanes.link",
                expected: "zero in a preference lane".into(),
                came: range.link.to_string(),
            })
        };
    }
    let chain = known.chain.as_ref().ok_or(ApplyError::Unregistered { model, lane, missing: "chain" })?;
    if state.epoch.epoch < chain.epoch {
        return Err(ApplyError::Unregistered { model, lane, missing: "chain of this epoch" });
    }
    let first = range.first_slot.link_index();
    let last = Slot(range.end_slot.0 - 1).link_index();
    let wrap = |source| ApplyError::Chain { model, lane, source };
    chain.covers(first).map_err(wrap)?;
    chain.verify_from(known.revealed.map(|r| (r.index, r.link)), last, range.link).map_err(wrap)?;
    // A range can't span more links than it has leaves.
    if last - first > u64::from(range.leaves) {
        return Err(ApplyError::Order("lanes.end_slot"));
    }
    let mut links = Vec::new();
    let mut link = range.link;
    for _ in first..=last {
        links.push(link);
        link = descend(link, 1);
    }
    links.reverse();
    Ok((links, Some(Revealed { index: last, link: range.link })))
}

impl Walk<'_> {
    /// Checks the attempts of one slot, which begin `rest`; returns how many there are.
    fn slot_leaves(&self, slot: Slot, rest: &[Leaf], index: usize) -> Result<usize, ApplyError> {
        let preference = self.range.lane.by_preference();
        let mut count = 0usize;
        let mut done = false;
        for (k, leaf) in rest.iter().enumerate() {
            let index = index + k;
            if leaf.meta.lane != self.range.lane {
                return Err(ApplyError::Lane { index, expected: self.range.lane, came: leaf.meta.lane });
            }
            if leaf.meta.slot != slot {
                if k == 0 {
                    return Err(ApplyError::Slot { index, expected: slot, came: leaf.meta.slot });
                }
                break;
            }
            if done {
                return Err(ApplyError::Slot {
                    index,
                    expected: Slot(slot.0.saturating_add(1)),
                    came: leaf.meta.slot,
                });
            }
            if u64::from(leaf.meta.retry.0) != k as u64 {
                let expected = Retry(u8::try_from(k).unwrap_or(u8::MAX));
                return Err(ApplyError::Retry { index, expected, came: leaf.meta.retry });
            }
            self.check_leaf(leaf, &rest[0], index)?;
            count = k + 1;
            done = leaf.meta.finish.answered() || count as u64 >= self.allowed;
        }
        if !done && !preference {
            return Err(ApplyError::Unfinished {
                lane: self.range.lane,
                slot,
                attempts: count as u64,
                allowed: self.allowed,
            });
        }
        if !preference {
            self.check_draws(slot, &rest[..count], index)?;
        }
        Ok(count)
    }

    fn check_leaf(&self, leaf: &Leaf, first: &Leaf, index: usize) -> Result<(), ApplyError> {
        if leaf.request != first.request || leaf.meta.n_in != first.meta.n_in {
            return Err(ApplyError::Request { index, what: "attempts of one slot name different requests" });
        }
        if self.table.node(leaf.meta.node).is_none() {
            return Err(ApplyError::Inconsistent { index, what: "the table has no such node" });
        }
        let empty = leaf.output == OutputCommitment::NONE;
        let what = match leaf.meta.finish {
            Finish::Stop | Finish::Length if leaf.meta.n_out == 0 => "an answer without output",
            f if f.answered() && empty => "an answer without commitment",
            f if !f.answered() && (!empty || leaf.meta.n_out != 0) => "output of an attempt without answer",
            _ if leaf.meta.n_in == 0 => "a request without prompt",
            _ => return Ok(()),
        };
        Err(ApplyError::Inconsistent { index, what })
    }

    fn check_draws(&self, slot: Slot, attempts: &[Leaf], index: usize) -> Result<(), ApplyError> {
        let at = slot.link_index() - self.range.first_slot.link_index();
        // A slot beyond the range's end has no link; the caller reports it as a wrong end.
        let Some(link) = usize::try_from(at).ok().and_then(|i| self.links.get(i)) else {
            return Err(ApplyError::Slot { index, expected: self.range.end_slot, came: slot });
        };
        let inputs = DrawInputs {
            beacon: self.state.beacon,
            link: *link,
            model: self.model,
            lane: self.range.lane,
            slot,
        };
        let last = attempts.last().map_or(Retry(0), |l| l.meta.retry);
        let order = draw_order(&inputs, self.table, last)?;
        for (k, (leaf, expected)) in attempts.iter().zip(order).enumerate() {
            if leaf.meta.node != expected {
                return Err(ApplyError::Node { index: index + k, expected, came: leaf.meta.node });
            }
        }
        Ok(())
    }
}
