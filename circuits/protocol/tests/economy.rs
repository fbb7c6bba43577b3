//! Epochs over time: splitting never pays, weights stay put, pots are conserved, nobody deadlocks.
#![allow(clippy::unwrap_used)]

use alloy_primitives::U256;
use monai_protocol::epoch::{EpochState, NodeRecord};
use monai_protocol::fixed::ONE;
use monai_protocol::parameters::STAKE_UNIT;
use monai_protocol::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MODEL: ModelId = ModelId([3; 32]);

fn node(i: usize) -> Address {
    let mut a = [0u8; 20];
    a[..8].copy_from_slice(&(i as u64 + 1).to_be_bytes());
    Address(a)
}

fn staked(slot: usize, owner: u8, stake: u64) -> NodeStake {
    let slot = NodeIndex(slot as u16);
    NodeStake { slot, owner: Address([owner; 20]), stake, exposure: 0, models: BTreeSet::from([MODEL]) }
}

fn network(stakes: &[u64]) -> StakeSnapshot {
    let nodes =
        stakes.iter().enumerate().map(|(i, s)| (node(i), staked(i, i as u8, *s * STAKE_UNIT))).collect();
    StakeSnapshot { nodes }
}

fn genesis(snapshot: &StakeSnapshot, p: &Parameters) -> EpochState {
    EpochState::genesis(&BTreeSet::from([MODEL]), snapshot, p)
}

fn counters(each: &[(usize, NodeCounters)]) -> EpochCounters {
    EpochCounters { models: BTreeMap::from([(MODEL, each.iter().map(|(i, c)| (node(*i), *c)).collect())]) }
}

fn served(answered: u64, missed: u64, millis: u64) -> NodeCounters {
    NodeCounters { answered, missed, busy: 0, tokens: answered * 64, millis }
}

/// The table that follows if nodes have these records (uptime, speed).
fn table_with(
    snapshot: &StakeSnapshot,
    records: &BTreeMap<Address, NodeRecord>,
    p: &Parameters,
) -> Option<Table> {
    let mut state = genesis(snapshot, p);
    state.models.get_mut(&MODEL).unwrap().records = records.clone();
    transition(&state, &EpochCounters::default(), snapshot, p).models[&MODEL].next.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// An owner of T <= S_c with one performance; others are arbitrary. However T is split, the sum of
    /// the parts' probabilities is not above the whole's. Exactly: table weights are not rounded.
    #[test]
    fn splitting_never_pays(
        total in 1_000u64..=8_000,
        cuts in prop::collection::vec(0.0f64..1.0, 1..12),
        own in ((ONE / 2)..=ONE, 1u64..2_000_000),
        others in prop::collection::vec((500u64..20_000, (ONE / 4)..=ONE, 1u64..2_000_000), 1..8),
    ) {
        let p = Parameters::default();
        let total = total * STAKE_UNIT + 12_345;
        let total = total.min(p.stake_cap);
        let record = |u, s| NodeRecord { uptime: Some(u), speed: Some(s), ..NodeRecord::default() };
        let mut snapshot = StakeSnapshot::default();
        let mut records = BTreeMap::new();
        for (i, (stake, uptime, speed)) in others.iter().enumerate() {
            snapshot.nodes.insert(node(1000 + i), staked(1000 + i, 1, stake * STAKE_UNIT));
            records.insert(node(1000 + i), record(*uptime, *speed));
        }
        let share = |parts: &[u64]| {
            let (mut s, mut r) = (snapshot.clone(), records.clone());
            for (i, part) in parts.iter().enumerate() {
                s.nodes.insert(node(i), staked(i, 2, *part));
                r.insert(node(i), record(own.0, own.1));
            }
            let Some(t) = table_with(&s, &r, &p) else { return (U256::ZERO, U256::from(1)) };
            let mine: u128 = (0..parts.len()).filter_map(|i| t.entry(&node(i))).map(|e| e.weight).sum();
            (U256::from(mine), U256::from(t.total()))
        };
        let mut points: Vec<u64> = cuts.iter().map(|c| (c * total as f64) as u64).collect();
        points.extend([0, total]);
        points.sort_unstable();
        let parts: Vec<u64> = points.windows(2).map(|w| w[1] - w[0]).collect();
        prop_assert_eq!(parts.iter().sum::<u64>(), total);
        let (whole, all) = share(&[total]);
        let (split, all_split) = share(&parts);
        prop_assert!(split * all <= whole * all_split, "{split}/{all_split} > {whole}/{all}");
    }
}

/// SplitMix64: a fixed stream of noise.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Runs epochs of noise: up to so many of 100 attempts missed, up to so many percent slower. Checks
/// what must hold after each epoch and returns the state with the least performance weight seen.
fn noisy(mut state: EpochState, epochs: u32, seed: u64, misses: u64, slower: u64) -> (EpochState, u64) {
    let p = Parameters::default();
    let snapshot = network(&STAKES);
    let mut noise = Noise(seed);
    let mut low = ONE;
    for _ in 0..epochs {
        let each: Vec<_> = (0..STAKES.len())
            .map(|i| (i, served(100, noise.below(misses), 2_000 * (100 + noise.below(slower)))))
            .collect();
        state = transition(&state, &counters(&each), &snapshot, &p);
        let w = state.models[&MODEL].weights;
        assert_eq!(w.uptime + w.speed + w.stake, ONE);
        assert_eq!(w.stake, p.alpha_stake, "stake's weight is governance's alone");
        assert!(w.uptime >= p.alpha_min && w.speed >= p.alpha_min);
        state.models[&MODEL].current.as_ref().unwrap().validate().unwrap();
        low = low.min(w.uptime).min(w.speed);
    }
    (state, low)
}

const STAKES: [u64; 6] = [1_000, 2_000, 3_000, 5_000, 8_000, 9_000];

#[test]
fn no_weight_runs_away_in_300_epochs_of_noise() {
    let start = genesis(&network(&STAKES), &Parameters::default());
    for seed in 1..=8 {
        // Alike noise: the weights stay around their middle of 0.375.
        let (state, low) = noisy(start.clone(), 300, seed, 20, 20);
        assert!(low > ONE / 4, "seed {seed}: {}", f(low));
        // One parameter far noisier than the other draws weight, but only down to the other's minimum,
        // and the weights come back when it calms down.
        for (misses, slower) in [(5, 60), (60, 5)] {
            let (state, _) = noisy(state.clone(), 300, seed + 100, misses, slower);
            let (state, _) = noisy(state, 100, seed + 200, 20, 20);
            let w = state.models[&MODEL].weights;
            assert!(w.uptime.min(w.speed) > ONE / 4, "seed {seed}: {} {}", f(w.uptime), f(w.speed));
        }
    }
}

fn f(x: u64) -> f64 {
    x as f64 / ONE as f64
}

#[test]
fn performance_of_an_epoch_reaches_the_table_two_epochs_later() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000]);
    let s0 = genesis(&snapshot, &p);
    // Node 1 is half as fast and misses a fifth.
    let c = counters(&[(0, served(20, 0, 20_000)), (1, served(16, 4, 32_000))]);
    let s1 = transition(&s0, &c, &snapshot, &p);
    assert_eq!(s1.models[&MODEL].current, s0.models[&MODEL].next, "table 1 was fixed before epoch 0 ended");
    let s2 = transition(&s1, &EpochCounters::default(), &snapshot, &p);
    let t = s2.models[&MODEL].current.clone().unwrap();
    assert_eq!(t.epoch, EpochId(2));
    // A_0 = 3/8 + 3/8 + 1/4 * 1/4; A_1 = 3/8 * 0.8 + 3/8 * 0.5 + 1/4 * 1/4; equal stakes.
    let ratio = t.entries[1].weight as f64 / t.entries[0].weight as f64;
    let want = (0.375 * 0.8 + 0.375 * 0.5 + 0.0625) / (0.375 + 0.375 + 0.0625);
    assert!((ratio - want).abs() < 1e-8, "{ratio} {want}");
    assert_eq!(s1.models[&MODEL].medians.uptime, Some(ONE / 5 * 4), "the lower median of equal stakes");
}

#[test]
fn few_samples_are_gathered_over_epochs() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000]);
    let s1 = transition(&genesis(&snapshot, &p), &counters(&[(0, served(0, 5, 0))]), &snapshot, &p);
    assert_eq!(s1.models[&MODEL].records[&node(0)].uptime, None);
    let s2 = transition(&s1, &counters(&[(0, served(3, 0, 3_000))]), &snapshot, &p);
    assert_eq!(s2.models[&MODEL].records[&node(0)].uptime, Some(ONE / 8 * 3));
    assert_eq!(s2.models[&MODEL].records[&node(0)].gathering, NodeCounters::default());
}

#[test]
fn a_failing_node_is_out_and_comes_back_as_a_newcomer() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000, 2_000]);
    let bad = counters(&[(0, served(1, 9, 1_000)), (1, served(10, 0, 9_000)), (2, served(10, 0, 9_000))]);
    let mut s = transition(&genesis(&snapshot, &p), &bad, &snapshot, &p);
    let has = |s: &EpochState| s.models[&MODEL].next.as_ref().unwrap().index_of(&node(0)).is_some();
    assert!(!has(&s), "out of table 2");
    s = transition(&s, &EpochCounters::default(), &snapshot, &p);
    assert!(!has(&s), "out of table 3");
    s = transition(&s, &EpochCounters::default(), &snapshot, &p);
    assert!(has(&s), "back in table 4");
    assert_eq!(s.models[&MODEL].records[&node(0)], NodeRecord::default());
}

#[test]
fn an_outage_of_most_stake_excludes_nobody() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000, 2_000]);
    let bad = counters(&[(0, served(1, 9, 1_000)), (1, served(1, 9, 1_000)), (2, served(10, 0, 9_000))]);
    let s = transition(&genesis(&snapshot, &p), &bad, &snapshot, &p);
    assert_eq!(s.models[&MODEL].next.as_ref().unwrap().entries.len(), 3);
}

#[test]
fn floor_exposure_and_model_exclude() {
    let p = Parameters::default();
    let mut snapshot = network(&[999, 1_000, 1_000, 1_000]);
    snapshot.nodes.get_mut(&node(2)).unwrap().exposure = 1_000 * STAKE_UNIT + 1;
    snapshot.nodes.get_mut(&node(3)).unwrap().models.clear();
    let t = genesis(&snapshot, &p).table(&MODEL).unwrap().clone();
    assert_eq!(t.entries.len(), 1);
    assert_eq!(t.entries[0].node, node(1));
    assert!(genesis(&network(&[10]), &p).table(&MODEL).is_none());
}

#[test]
fn pots_are_conserved_and_not_paid_by_volume() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000, 4_000]);
    let s0 = genesis(&snapshot, &p);
    let pot = s0.models[&MODEL].pot;
    let c = |n: u64| counters(&[(0, served(n, 0, n)), (1, served(n, n, n))]);
    let s1 = transition(&s0, &c(10), &snapshot, &p);
    let paid = &s1.paid[&MODEL];
    let sum = paid.nodes.values().map(|a| a.0).sum::<u128>() + paid.treasury.0;
    let left = pot.schedule.0 - sum - s1.models[&MODEL].pot.carry.0;
    assert!(left <= 2, "nothing appears, and no more is lost than a unit a node: {left}");
    // Node 0 answered all, node 1 half of its draws, with equal stakes; node 2 was never drawn.
    let (a, b) = (paid.nodes[&node(0)].0, paid.nodes[&node(1)].0);
    assert!((a / 2).abs_diff(b) < 100_000 && !paid.nodes.contains_key(&node(2)), "{a} {b}");
    // 2.5% of what is paid goes to the treasury.
    assert!((paid.treasury.0 as f64 / sum as f64 - 0.025).abs() < 1e-9);
    // A thousand times the volume pays the same.
    assert_eq!(transition(&s0, &c(10_000), &snapshot, &p).paid, s1.paid);
    // What was not earned is there next epoch, up to the cap of a pot.
    let decayed = s1.models[&MODEL].pot.schedule.0;
    assert!(decayed < pot.schedule.0 && decayed > pot.schedule.0 / 1000 * 998);
    let s2 = transition(&s1, &c(10), &snapshot, &p);
    let more = s2.paid[&MODEL].nodes[&node(0)].0;
    assert!(more > a);
}

#[test]
fn what_l1_is_shown_follows_from_table_and_counters() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000, 4_000]);
    let s0 = genesis(&snapshot, &p);
    let s1 = transition(&s0, &counters(&[(0, served(9, 1, 9_000)), (1, served(2, 8, 2_000))]), &snapshot, &p);
    let cells = &s1.paid[&MODEL].cells;
    let t = s0.table(&MODEL).unwrap();
    let share = |i: usize, answered: u128, drawn: u128| {
        let w = t.entry(&node(i)).unwrap().weight;
        (U256::from(fixed::WAD) * U256::from(w * answered) / U256::from(t.total() * drawn)).to::<u64>()
    };
    assert_eq!(cells[&node(0)].share, share(0, 9, 10));
    assert_eq!(cells[&node(1)].share, share(1, 2, 10));
    assert_eq!(cells[&node(0)].speed, 64_000_000_000, "64 ids a second, in thousandths of a millionth");
    assert!(cells[&node(1)].uptime.abs_diff(fixed::WAD / 5) < 1_000_000_000);
    // Never drawn, so not measured: no share, and nothing that could be held against it.
    assert_eq!(cells[&node(2)], emission::Cell { share: 0, uptime: fixed::WAD, speed: 0 });
    // Nothing at all happened: no pot grows, and there is nothing to show.
    let idle = transition(&s1, &EpochCounters::default(), &snapshot, &p);
    assert_eq!(idle.models[&MODEL].pot.carry, s1.models[&MODEL].pot.carry);
    assert!(idle.paid[&MODEL].nodes.is_empty());
}

#[test]
fn stakes_that_count_take_their_place_before_the_beacon() {
    let p = Parameters::default();
    let s0 = transition(
        &genesis(&network(&[2_000, 2_000]), &p),
        &counters(&[(0, served(20, 0, 20_000)), (1, served(16, 4, 32_000))]),
        &network(&[2_000, 2_000]),
        &p,
    );
    let later = network(&[6_000, 2_000, 2_000]);
    let s1 = s0.with_stakes(&later, &p);
    assert_eq!(s1, s1.with_stakes(&later, &p), "the same stakes change nothing more");
    let (t, old) = (s1.models[&MODEL].next.clone().unwrap(), s0.models[&MODEL].next.clone().unwrap());
    assert_eq!((t.epoch, t.entries.len(), old.entries.len()), (old.epoch, 3, 2));
    assert!(t.entry(&node(0)).unwrap().weight > 3 * old.entry(&node(0)).unwrap().weight);
    assert_eq!(t.entry(&node(1)).unwrap().weight, old.entry(&node(1)).unwrap().weight, "scores stay");
    assert_eq!(s1.models[&MODEL].current, s0.models[&MODEL].current, "the running epoch's table stays");
    let s2 = transition(&s1, &EpochCounters::default(), &later, &p);
    assert_eq!(s2.models[&MODEL].current.as_ref(), Some(&t));
}

#[test]
fn busy_draws_cost_earnings_but_no_uptime() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 2_000]);
    let busy = NodeCounters { busy: 10, ..served(10, 0, 10_000) };
    let s = transition(
        &genesis(&snapshot, &p),
        &counters(&[(0, busy), (1, served(10, 0, 10_000))]),
        &snapshot,
        &p,
    );
    let paid = &s.paid[&MODEL].nodes;
    assert!((paid[&node(1)].0 / 2).abs_diff(paid[&node(0)].0) < 100_000);
    assert_eq!(s.models[&MODEL].records[&node(0)].uptime, Some(ONE));
}

#[test]
fn a_lone_owner_mints_nothing() {
    let p = Parameters::default();
    let mut snapshot = network(&[8_000, 8_000]);
    for n in snapshot.nodes.values_mut() {
        n.owner = Address([9; 20]);
    }
    let s = transition(&genesis(&snapshot, &p), &counters(&[(0, served(99, 0, 99))]), &snapshot, &p);
    assert!(s.paid[&MODEL].nodes.is_empty());
    assert_eq!(s.models[&MODEL].pot.carry, Amount(0));
}

#[test]
fn epochs_survive_json_and_do_not_depend_on_order() {
    let p = Parameters::default();
    let snapshot = network(&[2_000, 3_000, 1_000]);
    let c = counters(&[(2, served(10, 1, 900)), (0, served(9, 0, 1_000)), (1, served(30, 3, 2_000))]);
    let s = transition(&genesis(&snapshot, &p), &c, &snapshot, &p);
    let text = serde_json::to_string(&s).unwrap();
    assert_eq!(serde_json::from_str::<EpochState>(&text).unwrap(), s);
    let snapshot2: StakeSnapshot = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
    assert_eq!(snapshot2, snapshot);
    assert_eq!(transition(&genesis(&snapshot, &p), &c, &snapshot2, &p), s);
}
