//! What an epoch pays to the nodes of a model.

use crate::draw::Table;
use crate::epoch::{NodeCounters, StakeSnapshot};
use crate::fixed::{ONE, fraction_of, mul_div};
use crate::parameters::Parameters;
use crate::score::capped;
use crate::types::{Address, Amount};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A model's pot over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pot {
    /// What the running epoch's schedule adds.
    pub schedule: Amount,
    /// What earlier epochs did not pay.
    pub carry: Amount,
}

/// What one epoch paid for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payout {
    /// To each node, before its operator's commission.
    pub nodes: BTreeMap<Address, Amount>,
    /// To the treasury.
    pub treasury: Amount,
}

impl Pot {
    /// The pot of a model's first epoch.
    #[must_use]
    pub fn initial(parameters: &Parameters) -> Self {
        Self { schedule: Amount(parameters.emission_pot), carry: Amount(0) }
    }
}

/// Pays an epoch from its pot and returns the next epoch's.
///
/// A node earns ⌊pot · P_i · answered_i / drawn_i⌋, where drawn counts answered, missed and busy
/// attempts; the treasury takes its share of that, rounded down. The rest of the pot is carried over.
/// Paying by volume instead would let a lone node mint by asking itself. Below the minimum of stake or
/// owners nothing is paid and nothing is added.
#[must_use]
pub fn settle(
    pot: &Pot,
    table: Option<&Table>,
    counters: &BTreeMap<Address, NodeCounters>,
    snapshot: &StakeSnapshot,
    parameters: &Parameters,
) -> (Payout, Pot) {
    let schedule = Amount(pot.schedule.0 - fraction_of(pot.schedule.0, parameters.emission_decay.min(ONE)));
    let Some(table) = table.filter(|t| is_funded(t, snapshot, parameters)) else {
        return (Payout::default(), Pot { schedule, carry: pot.carry });
    };
    let available = pot.schedule.0.saturating_add(pot.carry.0);
    let budget = available.min(parameters.emission_pot_cap);
    let total = table.total();
    let mut payout = Payout::default();
    let mut paid = 0u128;
    for entry in &table.entries {
        let Some(c) = counters.get(&entry.node) else { continue };
        let drawn = c.answered.saturating_add(c.missed).saturating_add(c.busy);
        if drawn == 0 {
            continue;
        }
        // Two roundings down: P_i of the pot, then the answered share of that.
        let share = mul_div(budget, entry.weight, total);
        let gross = mul_div(share, u128::from(c.answered), u128::from(drawn));
        let tax = fraction_of(gross, parameters.treasury_share.min(ONE));
        paid = paid.saturating_add(gross);
        payout.treasury = Amount(payout.treasury.0.saturating_add(tax));
        payout.nodes.insert(entry.node, Amount(gross - tax));
    }
    (payout, Pot { schedule, carry: Amount(available.saturating_sub(paid)) })
}

fn is_funded(table: &Table, snapshot: &StakeSnapshot, parameters: &Parameters) -> bool {
    let mut owners = BTreeSet::new();
    let mut stake = 0u64;
    for entry in &table.entries {
        if let Some(node) = snapshot.nodes.get(&entry.node) {
            owners.insert(node.owner);
            stake = stake.saturating_add(capped(node.stake, parameters));
        }
    }
    stake >= parameters.emission_min_stake && owners.len() as u64 >= parameters.emission_min_operators
}
