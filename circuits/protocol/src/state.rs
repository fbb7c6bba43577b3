//! The rollup's state and the one function that changes it: (state, batch) → state.
//!
//! The sequencer applies its own batches with it and an auditor applies them again; both must agree.

use crate::batch::{
    Batch, BatchHeader, CIRCUIT_VERSION, LaneRange, MAX_BATCH_LANES, SpeedTotal, leaf_data_hash, leaf_tree,
    links_digest, speed_digest,
};
use crate::blob::MAX_BATCH_LEAVES;
use crate::chain::{ChainAnchor, ChainError, descend};
use crate::draw::{DrawError, DrawInputs, Table, draw_order};
use crate::epoch::{EpochCounters, EpochState, StakeSnapshot, transition};
use crate::leaf::{Leaf, MetaError};
use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::parameters::Parameters;
use crate::types::{
    Address, BatchDigest, Beacon, ChainLink, Digest, Domain, EpochId, Finish, Keccak, Lane, ModelId, NodeIndex, OutputCommitment,
    RequestCommitment, Retry, Slot,
};
use ark_ff::Zero;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A revealed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revealed {
    /// Its index j.
    pub index: u64,
    /// s_j.
    pub link: ChainLink,
}

/// What is known about a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneState {
    /// The first slot that no batch holds.
    pub next_slot: Slot,
    /// The registered chain; none in preference lanes.
    pub chain: Option<ChainAnchor>,
    /// The latest revealed link of that chain.
    pub revealed: Option<Revealed>,
}

/// The rollup's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The deployment.
    pub domain: Domain,
    /// The parameters in force.
    pub parameters: Parameters,
    /// The number of the next batch.
    pub next_batch: u64,
    /// The digest of the last batch.
    pub head: BatchDigest,
    /// The routing state; its epoch is the running one.
    pub epoch: EpochState,
    /// The running epoch's beacon.
    pub beacon: Beacon,
    /// The running epoch's counters.
    pub counters: EpochCounters,
    /// Lanes by model.
    pub lanes: BTreeMap<ModelId, BTreeMap<Lane, LaneState>>,
}

/// Why a batch is not a valid successor of a state. `lane` and `slot` say where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A header field is not what the state demands.
    #[error("header.{field}: expected {expected}, came {came}")]
    Header {
        /// The field.
        field: &'static str,
        /// What the state demands.
        expected: String,
        /// What came.
        came: String,
    },
    /// The batch is empty or exceeds a limit.
    #[error("{field} has {came}, must be 1 to {max}")]
    Size {
        /// What.
        field: &'static str,
        /// How many.
        came: usize,
        /// The most.
        max: usize,
    },
    /// A list is not in its one order.
    #[error("{0} is not strictly ascending")]
    Order(&'static str),
    /// A leaf is malformed.
    #[error("leaf {index}: {source}")]
    Leaf {
        /// The leaf.
        index: usize,
        /// What is wrong with it.
        source: MetaError,
    },
    /// The lane was never registered, or has no table or chain.
    #[error("lane {lane} of {model}: {missing} missing")]
    Unregistered {
        /// The model.
        model: ModelId,
        /// The lane.
        lane: Lane,
        /// What is missing.
        missing: &'static str,
    },
    /// A link is not of the registered chain.
    #[error("lane {lane} of {model}: {source}")]
    Chain {
        /// The model.
        model: ModelId,
        /// The lane.
        lane: Lane,
        /// What is wrong.
        source: ChainError,
    },
    /// A slot is skipped, doubled or out of place.
    #[error("leaf {index}: expected slot {expected}, came {came}")]
    Slot {
        /// The leaf.
        index: usize,
        /// The slot that has its turn.
        expected: Slot,
        /// The slot that came.
        came: Slot,
    },
    /// A leaf stands under the wrong lane.
    #[error("leaf {index}: expected lane {expected}, came {came}")]
    Lane {
        /// The leaf.
        index: usize,
        /// The lane of the header.
        expected: Lane,
        /// The lane of the leaf.
        came: Lane,
    },
    /// An attempt is skipped or doubled.
    #[error("leaf {index}: expected attempt {expected}, came {came}")]
    Retry {
        /// The leaf.
        index: usize,
        /// The attempt that has its turn.
        expected: Retry,
        /// The attempt that came.
        came: Retry,
    },
    /// The attempts of one slot name different requests, or one request fills two slots.
    #[error("leaf {index}: {what}")]
    Request {
        /// The leaf.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The slot's last leaf gives no answer although attempts remain.
    #[error("slot {slot} of lane {lane} ends without an answer after {attempts} of {allowed} attempts")]
    Unfinished {
        /// The lane.
        lane: Lane,
        /// The slot.
        slot: Slot,
        /// Attempts made.
        attempts: u64,
        /// Attempts to make.
        allowed: u64,
    },
    /// The node is not the one drawn.
    #[error("leaf {index}: expected node {expected}, came {came}")]
    Node {
        /// The leaf.
        index: usize,
        /// The drawn node.
        expected: NodeIndex,
        /// The node that came.
        came: NodeIndex,
    },
    /// Finish, count and commitment of a leaf contradict each other.
    #[error("leaf {index}: {what}")]
    Inconsistent {
        /// The leaf.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Nothing can be drawn.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// A speed total is not covered by the batch's answers.
    #[error("speed total {index}: {what}")]
    Speed {
        /// The total.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Why a state can't take a chain or move to the next epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The chain would be usable in an epoch whose beacon is already known.
    #[error("chain for epoch {came} registered during epoch {running}")]
    TooLate {
        /// The chain's first epoch.
        came: EpochId,
        /// The running epoch.
        running: EpochId,
    },
    /// The chain does not begin at the lane's next link or within the running chain.
    #[error("chain begins at link {came}, the lane needs {needed}")]
    Gap {
        /// The chain's first link.
        came: u64,
        /// The link of the lane's next slot.
        needed: u64,
    },
    /// The chain has no or too many links.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Preference lanes draw nothing.
    #[error("lane {0} is a preference lane")]
    Preference(Lane),
}

impl State {
    /// The state before the first batch of epoch 0.
    #[must_use]
    pub fn genesis(domain: Domain, epoch: EpochState, beacon: Beacon, parameters: Parameters) -> Self {
        Self {
            domain,
            parameters,
            next_batch: 0,
            head: BatchDigest::GENESIS,
            epoch,
            beacon,
            counters: EpochCounters::default(),
            lanes: BTreeMap::new(),
        }
    }

    /// Opens a lane with its chain, before any slot of it, or replaces the chain of a lane whose next
    /// slot begins a new link. At genesis chains of epoch 0 are registered before its beacon is used;
    /// afterwards a chain counts from the next epoch on.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_chain(&mut self, chain: ChainAnchor) -> Result<(), RegisterError> {
        if chain.lane.by_preference() {
            return Err(RegisterError::Preference(chain.lane));
        }
        let at_genesis = self.next_batch == 0 && self.epoch.epoch.0 == 0;
        if !at_genesis && chain.epoch <= self.epoch.epoch {
            return Err(RegisterError::TooLate { came: chain.epoch, running: self.epoch.epoch });
        }
        let lane = self.lanes.entry(chain.model).or_default().entry(chain.lane).or_default();
        let needed = lane.next_slot.0.div_ceil(Slot::PER_LINK);
        if chain.first != needed {
            return Err(RegisterError::Gap { came: chain.first, needed });
        }
        chain.covers(chain.first)?;
        lane.chain = Some(chain);
        lane.revealed = None;
        Ok(())
    }

    /// Opens a preference lane.
    pub fn open_preference_lane(&mut self, model: ModelId, lane: Lane) {
        if lane.by_preference() {
            self.lanes.entry(model).or_default().entry(lane).or_default();
        }
    }

    /// Ends the running epoch; its slots must all be batched. The beacon is the next epoch's.
    #[must_use]
    pub fn next_epoch(&self, snapshot: &StakeSnapshot, beacon: Beacon) -> State {
        State {
            epoch: transition(&self.epoch, &self.counters, snapshot, &self.parameters),
            beacon,
            counters: EpochCounters::default(),
            ..self.clone()
        }
    }

    /// The commitment to the state that batches carry: hash(State, [epoch, beacon hi, lo, tables,
    /// lanes, counters]), the last three each a hash over their entries in ascending order.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut tables = Vec::new();
        for m in self.epoch.models.values() {
            tables.push(m.current.as_ref().map_or(Fr::zero(), |t| t.digest().0));
        }
        let mut lanes = Vec::new();
        for (model, by_lane) in &self.lanes {
            for (lane, l) in by_lane {
                lanes.extend(model.limbs());
                lanes.extend([Fr::from(lane.0), Fr::from(l.next_slot.0)]);
                let (index, link) = l.revealed.map_or((Fr::zero(), Fr::zero()), |r| (Fr::from(r.index), r.link.0));
                lanes.extend([l.chain.as_ref().map_or(Fr::zero(), |c| c.anchor.0), index, link]);
            }
        }
        let mut counters = Vec::new();
        for (model, nodes) in &self.counters.models {
            for (node, c) in nodes {
                counters.extend(model.limbs());
                counters.push(node.to_field());
                counters.extend([c.answered, c.missed, c.busy, c.tokens, c.millis].map(Fr::from));
            }
        }
        let [b_hi, b_lo] = self.beacon.limbs();
        let parts = [tables, lanes, counters].map(|p| hash(Tag::State, &p));
        let epoch = Fr::from(self.epoch.epoch.0);
        Digest(hash(Tag::State, &[epoch, b_hi, b_lo, parts[0], parts[1], parts[2]]))
    }

    /// Builds the next batch from its parts and returns it with the state after it: what a sequencer
    /// signs and stores. `data` is the blob's versioned hash; without it, the leaves travel as calldata.
    ///
    /// # Errors
    /// Those of [`apply`]: a sequencer can't build what an auditor would refuse.
    pub fn seal(
        &self,
        model: ModelId,
        lanes: Vec<LaneRange>,
        speed: Vec<SpeedTotal>,
        leaves: Vec<Leaf>,
        data: Option<Keccak>,
    ) -> Result<(Batch, State), ApplyError> {
        let leaf_error = |(index, source)| ApplyError::Leaf { index, source };
        let data = match data {
            Some(data) => data,
            None => leaf_data_hash(&leaves).map_err(leaf_error)?,
        };
        let header = BatchHeader {
            number: self.next_batch,
            parent: self.head,
            model,
            epoch: self.epoch.epoch,
            circuit_version: CIRCUIT_VERSION,
            leaf_count: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
            root: leaf_tree(&leaves).map_err(leaf_error)?.root(),
            state_root: Digest(Fr::zero()),
            links: links_digest(&lanes, speed_digest(&speed)),
            node_roots: Digest(Fr::zero()),
            data,
        };
        let mut batch = Batch { header, lanes, speed, leaves };
        let mut next = advance(self, &batch)?;
        batch.header.state_root = next.root();
        next.head = batch.header.batch_digest();
        Ok((batch, next))
    }

    fn lane(&self, model: ModelId, lane: Lane) -> Result<&LaneState, ApplyError> {
        self.lanes
            .get(&model)
            .and_then(|l| l.get(&lane))
            .ok_or(ApplyError::Unregistered { model, lane, missing: "lane" })
    }
}

fn demand<T: PartialEq + ToString>(field: &'static str, expected: T, came: T) -> Result<(), ApplyError> {
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
fn advance(state: &State, batch: &Batch) -> Result<State, ApplyError> {
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
struct Tally {
    /// Requests that fill a slot of this batch.
    requests: BTreeSet<RequestCommitment>,
    /// Output ids by node, of drawn answers.
    tokens: BTreeMap<Address, u64>,
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

fn apply_lane(
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
    chain
        .verify_from(known.revealed.map(|r| (r.index, r.link)), last, range.link)
        .map_err(wrap)?;
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
