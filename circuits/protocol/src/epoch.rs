//! Epochs: what is counted, and the pure transition from one to the next.

use crate::draw::{MAX_TABLE_NODES, Table, TableEntry};
use crate::emission::{Payout, Pot, settle};
use crate::fixed::mul;
use crate::parameters::Parameters;
use crate::score::{
    Performance, Weights, allocation_score, capped, normalised_speed, raw_speed, raw_uptime, stake_median,
    stake_quantile, table_weight,
};
use crate::types::{Address, EpochId, ModelId, NodeIndex};
use crate::weights::{self, Medians};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A node in the stake snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeStake {
    /// Its slot in the registry; no two nodes of a snapshot have the same.
    pub slot: NodeIndex,
    /// The cold key that owns the stake.
    pub owner: Address,
    /// Own and delegated stake, 10^-9 tokens, decimal string.
    #[serde(with = "crate::codec::decimal")]
    pub stake: u64,
    /// Value of answers that may still be audited, in the same unit. Above the stake, the node is out:
    /// a slash must always hurt more than its unaudited answers could have gained.
    #[serde(with = "crate::codec::decimal")]
    pub exposure: u64,
    /// The models that it serves.
    pub models: BTreeSet<ModelId>,
}

/// Stakes that count in an epoch, by node (operator key).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakeSnapshot {
    /// All registered nodes.
    pub nodes: BTreeMap<Address, NodeStake>,
}

/// What is counted about a node and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCounters {
    /// Attempts that gave an answer.
    pub answered: u64,
    /// Attempts without an answer, signed refusals included.
    pub missed: u64,
    /// Attempts that met exhausted credit: no harm to uptime, no earnings.
    pub busy: u64,
    /// Output ids of valid speed samples.
    pub tokens: u64,
    /// Their dispatch-to-done time, milliseconds.
    pub millis: u64,
}

/// The counters of a running epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochCounters {
    /// By model, then node.
    pub models: BTreeMap<ModelId, BTreeMap<Address, NodeCounters>>,
}

impl EpochCounters {
    /// The counters of a node and model, made at first use.
    pub fn node(&mut self, model: ModelId, node: Address) -> &mut NodeCounters {
        self.models.entry(model).or_default().entry(node).or_default()
    }
}

/// What is known about a node's performance for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Raw uptime, Q32; `None` for a newcomer.
    pub uptime: Option<u64>,
    /// Raw speed, 10^-3 output ids a second; `None` without samples.
    pub speed: Option<u64>,
    /// Counts that wait until there are enough for a value.
    pub gathering: NodeCounters,
    /// The epoch at whose end the node fell below U_min, while it is out.
    pub out_since: Option<EpochId>,
}

/// The routing state of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelState {
    /// The weights α.
    pub weights: Weights,
    /// The latest medians.
    pub medians: Medians,
    /// Performance by node.
    pub records: BTreeMap<Address, NodeRecord>,
    /// The table of the running epoch; `None` if no node qualifies.
    pub current: Option<Table>,
    /// The table of the next epoch. Its scores are settled an epoch ahead, its stakes are those of the snapshot that
    /// was last seen until [`EpochState::with_stakes`] puts in those that count.
    pub next: Option<Table>,
    /// The pot.
    pub pot: Pot,
}

/// The routing state of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochState {
    /// The running epoch.
    pub epoch: EpochId,
    /// By model.
    pub models: BTreeMap<ModelId, ModelState>,
    /// What the epoch before paid, by model, and what its proof shows on L1; claimable after all windows.
    pub paid: BTreeMap<ModelId, Payout>,
}

impl EpochState {
    /// Epoch 0: every node is a newcomer, and the tables of epochs 0 and 1 are fixed.
    #[must_use]
    pub fn genesis(models: &BTreeSet<ModelId>, snapshot: &StakeSnapshot, parameters: &Parameters) -> Self {
        let models = models
            .iter()
            .map(|id| {
                let mut m = ModelState::new(parameters);
                m.current = build_table(EpochId(0), id, &mut m, snapshot, parameters);
                m.next = build_table(EpochId(1), id, &mut m, snapshot, parameters);
                (*id, m)
            })
            .collect();
        Self { epoch: EpochId(0), models, paid: BTreeMap::new() }
    }

    /// The same with the next epoch's tables made again, from the stakes and parameters that count in it.
    ///
    /// What counts in an epoch is settled when its first block comes, and so before its beacon, which is a value of
    /// that block. Scores use epochs up to the one before the running one, as ever: only they are needed early.
    #[must_use]
    pub fn with_stakes(&self, snapshot: &StakeSnapshot, parameters: &Parameters) -> Self {
        let mut state = self.clone();
        let epoch = EpochId(self.epoch.0.saturating_add(1));
        for (id, m) in &mut state.models {
            m.next = build_table(epoch, id, m, snapshot, parameters);
        }
        state
    }

    /// The table that the running epoch draws from.
    #[must_use]
    pub fn table(&self, model: &ModelId) -> Option<&Table> {
        self.models.get(model)?.current.as_ref()
    }
}

impl ModelState {
    fn new(parameters: &Parameters) -> Self {
        Self {
            weights: weights::initial(parameters),
            medians: Medians::default(),
            records: BTreeMap::new(),
            current: None,
            next: None,
            pot: Pot::initial(parameters),
        }
    }
}

/// Ends the running epoch e: renews performance, medians and weights from its counters, pays it, and
/// settles the scores in the table of epoch e + 2. Table e + 1 becomes current. `snapshot` holds the stakes of epoch e;
/// those of e + 1 were put into its table by [`EpochState::with_stakes`].
///
/// Pure: equal inputs give equal states, on every machine. Models are those of the old state and of
/// the snapshot; a new model starts with initial weights and its table two epochs later.
#[must_use]
pub fn transition(
    state: &EpochState,
    counters: &EpochCounters,
    snapshot: &StakeSnapshot,
    parameters: &Parameters,
) -> EpochState {
    let closing = state.epoch;
    let ids: BTreeSet<ModelId> =
        state.models.keys().chain(snapshot.nodes.values().flat_map(|n| n.models.iter())).copied().collect();
    let none = BTreeMap::new();
    // An epoch without a draw is settled on L1 as idle: nothing is added to any pot.
    let idle = counters.models.is_empty();
    let mut next = EpochState {
        epoch: EpochId(closing.0.saturating_add(1)),
        models: BTreeMap::new(),
        paid: BTreeMap::new(),
    };
    for id in ids {
        let mut m = state.models.get(&id).cloned().unwrap_or_else(|| ModelState::new(parameters));
        let counted = counters.models.get(&id).unwrap_or(&none);
        let table = m.current.as_ref().filter(|_| !idle);
        let (mut payout, pot) = settle(&m.pot, table, counted, snapshot, parameters);
        m.pot = pot;
        let observed = observe(&mut m.records, counted, snapshot, parameters);
        m.weights = weights::step(&m.weights, &m.medians, &observed, parameters);
        m.medians = Medians {
            uptime: observed.uptime.or(m.medians.uptime),
            speed: observed.speed.or(m.medians.speed),
        };
        for entry in m.current.iter().flat_map(|t| &t.entries) {
            let record = m.records.get(&entry.node).copied().unwrap_or_default();
            payout.cells.entry(entry.node).or_default().measured(record.uptime, record.speed);
        }
        m.records.retain(|node, _| snapshot.nodes.contains_key(node));
        let table = build_table(EpochId(closing.0.saturating_add(2)), &id, &mut m, snapshot, parameters);
        m.current = std::mem::replace(&mut m.next, table);
        next.paid.insert(id, payout);
        next.models.insert(id, m);
    }
    next
}

/// Adds the epoch's counters to the records and returns the medians over nodes with a new value.
fn observe(
    records: &mut BTreeMap<Address, NodeRecord>,
    counted: &BTreeMap<Address, NodeCounters>,
    snapshot: &StakeSnapshot,
    parameters: &Parameters,
) -> Medians {
    let mut uptimes = Vec::new();
    let mut speeds = Vec::new();
    for (node, c) in counted {
        let Some(stake) = snapshot.nodes.get(node).map(|n| capped(n.stake, parameters)) else { continue };
        let record = records.entry(*node).or_default();
        let g = &mut record.gathering;
        g.answered = g.answered.saturating_add(c.answered);
        g.missed = g.missed.saturating_add(c.missed);
        g.tokens = g.tokens.saturating_add(c.tokens);
        g.millis = g.millis.saturating_add(c.millis);
        if g.answered.saturating_add(g.missed) < parameters.min_samples {
            continue;
        }
        let ready = std::mem::take(g);
        if let Some(uptime) = raw_uptime(ready.answered, ready.missed) {
            record.uptime = Some(uptime);
            uptimes.push((uptime, stake));
        }
        if let Some(speed) = raw_speed(ready.tokens, ready.millis, parameters) {
            record.speed = Some(speed);
            speeds.push((speed, stake));
        }
    }
    Medians { uptime: stake_median(&uptimes), speed: stake_median(&speeds) }
}

/// Builds a table: excludes, normalises, scores, weighs.
fn build_table(
    epoch: EpochId,
    id: &ModelId,
    m: &mut ModelState,
    snapshot: &StakeSnapshot,
    parameters: &Parameters,
) -> Option<Table> {
    let staked: Vec<(Address, u64, NodeIndex)> = snapshot
        .nodes
        .iter()
        .filter(|(_, n)| n.stake >= parameters.stake_floor && n.exposure <= n.stake && n.models.contains(id))
        .map(|(node, n)| (*node, n.stake, n.slot))
        .collect();
    let out = excluded(epoch, &staked, &mut m.records, parameters);
    let speeds: Vec<(u64, u64)> = staked
        .iter()
        .filter(|(node, ..)| !out.contains(node))
        .filter_map(|(node, stake, _)| Some((m.records.get(node)?.speed?, capped(*stake, parameters))))
        .collect();
    let reference = stake_quantile(&speeds, 9, 10);
    let mut entries: Vec<TableEntry> = staked
        .iter()
        .filter(|(node, ..)| !out.contains(node))
        .map(|(node, stake, slot)| {
            let record = m.records.get(node).copied().unwrap_or_default();
            let n = performance(&record, reference, parameters);
            let score = allocation_score(&m.weights, n, *stake, parameters);
            TableEntry { slot: *slot, node: *node, weight: table_weight(score, *stake, parameters) }
        })
        .filter(|e| e.weight > 0)
        .collect();
    if entries.len() > MAX_TABLE_NODES {
        entries.sort_by(|a, b| b.weight.cmp(&a.weight).then(a.node.cmp(&b.node)));
        entries.truncate(MAX_TABLE_NODES);
        entries.sort_by_key(|e| e.node);
    }
    (!entries.is_empty()).then_some(Table { epoch, model: *id, entries })
}

/// A node's normalised performance; newcomers stand at U_min and the newcomers' speed.
#[must_use]
pub fn performance(
    record: &NodeRecord,
    speed_reference: Option<u64>,
    parameters: &Parameters,
) -> Performance {
    Performance {
        uptime: record.uptime.unwrap_or(parameters.uptime_min).max(1),
        speed: match (record.speed, speed_reference) {
            (Some(speed), Some(reference)) => normalised_speed(speed, reference),
            _ => parameters.newcomer_speed,
        },
    }
}

/// The nodes that are out for uptime. Those whose quarantine is over return as newcomers.
fn excluded(
    epoch: EpochId,
    staked: &[(Address, u64, NodeIndex)],
    records: &mut BTreeMap<Address, NodeRecord>,
    parameters: &Parameters,
) -> BTreeSet<Address> {
    let mut out = BTreeSet::new();
    let (mut out_stake, mut all_stake) = (0u64, 0u64);
    for (node, stake, _) in staked {
        let held = capped(*stake, parameters);
        all_stake = all_stake.saturating_add(held);
        let Some(record) = records.get_mut(node) else { continue };
        if let Some(since) = record.out_since
            && epoch.0 >= since.0.saturating_add(parameters.quarantine_epochs)
        {
            *record = NodeRecord::default();
        }
        if record.uptime.is_some_and(|u| u < parameters.uptime_min) {
            record.out_since.get_or_insert(epoch);
            out.insert(*node);
            out_stake = out_stake.saturating_add(held);
        } else {
            record.out_since = None;
        }
    }
    if out_stake > mul(all_stake, parameters.outage_share) {
        for node in &out {
            if let Some(record) = records.get_mut(node) {
                record.out_since = None;
            }
        }
        out.clear();
    }
    out
}
