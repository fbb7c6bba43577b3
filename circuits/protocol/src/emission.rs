//! What an epoch pays to the nodes of a model.

use crate::draw::Table;
use crate::epoch::{NodeCounters, StakeSnapshot};
use crate::fixed::{ONE, WAD, fraction_of, mul_div, mul_div_up, wad};
use crate::parameters::Parameters;
use crate::score::capped;
use crate::types::{Address, Amount};
use alloy_primitives::U256;
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

/// What an epoch's proof shows on L1 about a node and a model, in L1's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Share of the pot, 10^-18.
    pub share: u64,
    /// Raw uptime, 10^-18; one if nothing was measured, because nobody is reported for what was not.
    pub uptime: u64,
    /// Raw speed, 10^-9 output ids a second; zero if nothing was measured.
    pub speed: u64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { share: 0, uptime: WAD, speed: 0 }
    }
}

impl Cell {
    /// Takes in what is known: uptime in Q32, speed in 10^-3 output ids a second.
    pub(crate) fn measured(&mut self, uptime: Option<u64>, speed: Option<u64>) {
        self.uptime = uptime.map_or(WAD, wad);
        self.speed = speed.map_or(0, |s| s.saturating_mul(1_000_000));
    }

    /// The word on L1: share in the lowest 64 bits, then uptime, then speed.
    #[must_use]
    pub fn word(&self) -> U256 {
        U256::from_limbs([self.share, self.uptime, self.speed, 0])
    }
}

/// What one epoch paid for one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payout {
    /// To each node, before its operator's commission.
    pub nodes: BTreeMap<Address, Amount>,
    /// To the treasury.
    pub treasury: Amount,
    /// What L1 is shown about each node of the epoch's table. The amounts follow from it there.
    pub cells: BTreeMap<Address, Cell>,
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
/// A node's share is ⌊10^18 · P_i · answered_i / drawn_i⌋ / 10^18, where drawn counts answered, missed and busy attempts.
/// From there on the arithmetic is that of the contract `Emissions`, and the vectors hold both to it: a node earns
/// ⌊pot · share⌋ less the treasury's part, rounded up; the pot pays ⌊pot · sum of shares⌋, and what it does not pay is
/// carried over. Paying by volume instead would let a lone node mint by asking itself. Below the minimum of stake or
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
    let mut earned = 0u64;
    for entry in &table.entries {
        let Some(c) = counters.get(&entry.node) else { continue };
        let share = earned_share(entry.weight, total, c);
        if share == 0 {
            continue;
        }
        earned = earned.saturating_add(share);
        let gross = mul_div(budget, share.into(), WAD.into());
        payout.cells.insert(entry.node, Cell { share, ..Cell::default() });
        payout.nodes.insert(entry.node, Amount(gross - treasury_part(gross, parameters)));
    }
    let paid = mul_div(budget, earned.into(), WAD.into());
    payout.treasury = Amount(treasury_part(paid, parameters));
    (payout, Pot { schedule, carry: Amount(available.saturating_sub(paid)) })
}

/// ⌊10^18 · weight · answered / (total · drawn)⌋.
fn earned_share(weight: u128, total: u128, c: &NodeCounters) -> u64 {
    let drawn = u128::from(c.answered) + u128::from(c.missed) + u128::from(c.busy);
    let whole = U256::from(total) * U256::from(drawn);
    if whole.is_zero() {
        return 0;
    }
    // A weight has 96 bits, a count 64, a share 60: the product fits.
    let share = U256::from(WAD) * U256::from(weight) * U256::from(c.answered) / whole;
    u64::try_from(share).unwrap_or(WAD).min(WAD)
}

/// ⌈amount · share of the treasury⌉.
fn treasury_part(amount: u128, parameters: &Parameters) -> u128 {
    mul_div_up(amount, parameters.treasury_share.min(WAD).into(), WAD.into())
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
