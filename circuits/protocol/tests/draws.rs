//! The draw follows the table: chi-squared against P_i over 10^5 draws with fixed seeds.
#![allow(clippy::unwrap_used)]

use monai_protocol::draw::draw_order;
use monai_protocol::*;

/// Draws of the main test; the others use fewer, for time's sake.
const DRAWS: u64 = 100_000;
const FEWER: u64 = 20_000;

fn table(weights: &[u128]) -> Table {
    let entries = weights
        .iter()
        .enumerate()
        .map(|(i, w)| TableEntry { slot: NodeIndex(i as u16), node: Address([i as u8 + 1; 20]), weight: *w })
        .collect();
    Table { epoch: EpochId(1), model: ModelId([3; 32]), entries }
}

fn inputs(seed: u64, slot: u64) -> DrawInputs {
    DrawInputs {
        beacon: Beacon([seed as u8; 32]),
        link: ChainLink(Fr::from(seed * 1_000_003 + slot / 64)),
        model: ModelId([3; 32]),
        lane: Lane(0),
        slot: Slot(slot),
    }
}

/// ln Γ by Lanczos' approximation.
fn ln_gamma(x: f64) -> f64 {
    const C: [f64; 6] = [
        76.18009172947146,
        -86.50532032941677,
        24.01409824083091,
        -1.231739572450155,
        0.1208650973866179e-2,
        -0.5395239384953e-5,
    ];
    let t = x + 5.5 - (x + 0.5) * (x + 5.5).ln();
    let sum: f64 = C.iter().enumerate().map(|(i, c)| c / (x + 1.0 + i as f64)).sum();
    -t + (2.5066282746310005 * (1.000000000190015 + sum) / x).ln()
}

/// The upper tail of the chi-squared distribution: Q(k/2, x/2), by series or continued fraction.
fn p_value(chi2: f64, freedom: usize) -> f64 {
    let (a, x) = (freedom as f64 / 2.0, chi2 / 2.0);
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        for _ in 0..1000 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        1.0 - sum * scale
    } else {
        let (mut b, mut c) = (x + 1.0 - a, 1e300);
        let mut d = 1.0 / b;
        let mut h = d;
        for i in 1..1000 {
            let an = -(i as f64) * (i as f64 - a);
            b += 2.0;
            d = 1.0 / (an * d + b);
            c = b + an / c;
            h *= d * c;
        }
        scale * h
    }
}

fn chi2(observed: &[u64], expected: &[f64]) -> f64 {
    observed.iter().zip(expected).map(|(o, e)| (*o as f64 - e).powi(2) / e).sum()
}

#[test]
fn p_values_are_those_of_the_books() {
    for (x, k, p) in
        [(3.841, 1, 0.05), (10.828, 1, 0.001), (18.307, 10, 0.05), (2.558, 10, 0.99), (29.588, 10, 0.001)]
    {
        assert!((p_value(x, k) - p).abs() < 2e-5_f64.max(p * 1e-2), "{x} {k}: {}", p_value(x, k));
    }
}

fn check(weights: &[u128], seed: u64, draws: u64) {
    let table = table(weights);
    let mut seen = vec![0u64; weights.len()];
    for slot in 0..draws {
        seen[usize::from(draw(&inputs(seed, slot), &table, Retry(0)).unwrap().0)] += 1;
    }
    let total = table.total() as f64;
    let expected: Vec<f64> = weights.iter().map(|w| *w as f64 / total * draws as f64).collect();
    let p = p_value(chi2(&seen, &expected), weights.len() - 1);
    println!("seed {seed}: p = {p:.4}, seen {seen:?}");
    assert!(p > 0.001, "p = {p}, seen {seen:?}, expected {expected:?}");
    // The test itself must have teeth: against a table that gives the heaviest node a tenth too much
    // (at the cost of the first), it fails.
    let mut wrong = expected.clone();
    let heaviest = (1..wrong.len()).max_by(|a, b| expected[*a].total_cmp(&expected[*b])).unwrap();
    let moved = (expected[heaviest] * 0.1).min(expected[0] * 0.5);
    wrong[heaviest] += moved;
    wrong[0] -= moved;
    assert!(p_value(chi2(&seen, &wrong), weights.len() - 1) < 0.001);
}

#[test]
fn three_nodes_of_a_devnet() {
    check(&[5_000_000_000_000 << 32, 3_000_000_000_000 << 32, 1_500_000_000_001 << 31], 1, DRAWS);
}

#[test]
fn ten_nodes_with_odd_weights() {
    let weights: Vec<u128> = (1..=10u128).map(|i| (1 << 60) + i * i * 0x1234_5678_9abc_def1).collect();
    check(&weights, 2, DRAWS / 2);
}

#[test]
fn weights_at_the_limit() {
    check(&[draw::MAX_WEIGHT, draw::MAX_WEIGHT / 3, draw::MAX_WEIGHT / 7], 3, FEWER);
}

#[test]
fn second_attempts_follow_the_rest_of_the_table() {
    let weights = [5u128, 3, 2];
    let table = table(&weights);
    let mut seen = [0u64; 6];
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    for slot in 0..FEWER {
        let order = draw_order(&inputs(4, slot), &table, Retry(1)).unwrap();
        let pair = (usize::from(order[0].0), usize::from(order[1].0));
        seen[pairs.iter().position(|p| *p == pair).unwrap()] += 1;
    }
    let expected: Vec<f64> = pairs
        .iter()
        .map(|(a, b)| {
            let (a, b) = (weights[*a] as f64, weights[*b] as f64);
            a / 10.0 * b / (10.0 - a) * FEWER as f64
        })
        .collect();
    let p = p_value(chi2(&seen, &expected), 5);
    assert!(p > 0.001, "p = {p}, seen {seen:?}, expected {expected:?}");
}

#[test]
fn attempts_try_every_node_once_and_then_none() {
    let table = table(&[7, 1, 1, 90, 1]);
    let order = draw_order(&inputs(5, 9), &table, Retry(4)).unwrap();
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, (0..5).map(NodeIndex).collect::<Vec<_>>());
    for r in 0..5 {
        assert_eq!(draw(&inputs(5, 9), &table, Retry(r)).unwrap(), order[usize::from(r)]);
    }
    assert!(draw(&inputs(5, 9), &table, Retry(5)).is_err());
}

#[test]
fn every_input_of_a_draw_matters() {
    let table = table(&[1 << 80; 200]);
    let base = inputs(6, 64);
    let all = [
        base,
        DrawInputs { beacon: Beacon([9; 32]), ..base },
        DrawInputs { link: ChainLink(Fr::from(1u64)), ..base },
        DrawInputs { model: ModelId([4; 32]), ..base },
        DrawInputs { lane: Lane(1), ..base },
        DrawInputs { slot: Slot(65), ..base },
    ];
    let words: std::collections::BTreeSet<u128> =
        all.iter().flat_map(|i| [draw::word(i, Retry(0), 0), draw::word(i, Retry(1), 0)]).collect();
    assert_eq!(words.len(), 12);
    assert!(draw(&base, &table, Retry(0)).is_ok());
}

#[test]
fn malformed_tables_draw_nothing() {
    let i = inputs(1, 1);
    let mut t = table(&[1, 2]);
    t.entries.swap(0, 1);
    assert!(draw(&i, &t, Retry(0)).is_err());
    t.entries[1].node = t.entries[0].node;
    assert!(draw(&i, &t, Retry(0)).is_err());
    assert!(draw(&i, &table(&[1, 0]), Retry(0)).is_err());
    assert!(draw(&i, &table(&[1, draw::MAX_WEIGHT + 1]), Retry(0)).is_err());
    assert!(draw(&i, &table(&[]), Retry(0)).is_err());
}
