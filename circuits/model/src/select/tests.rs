//! The selection rule against its definition, spelled out id by id.

use proptest::prelude::*;

use super::*;
use crate::tables::weight_table;

fn params(top_k: u32, top_p: u32, delta_min_p: u32) -> SelectionParams {
    // At this temperature multiplier a raw accumulator of 2^20 is one logit step.
    SelectionParams { tau: 1 << 12, top_k, top_p, delta_min_p, max_tokens: 1, stop_ids: Vec::new(), seed: 0 }
}

/// All filters off.
fn off() -> SelectionParams {
    params(0, 1 << 16, 65_535)
}

fn raw(steps: &[i64]) -> Vec<i64> {
    steps.iter().map(|s| s << 20).collect()
}

/// Rule 8 as a search over every threshold, with sets instead of counters.
fn by_definition(logits: &[i64], p: &SelectionParams, word: u64) -> Option<u32> {
    let max = *logits.iter().max()?;
    let table = weight_table();
    let d: Vec<i64> = logits.iter().map(|l| max - l).collect();
    let w = |i: usize| if d[i] < 65_536 { u128::from(table[d[i] as usize]) } else { 0 };
    let mass = |keep: &dyn Fn(i64) -> bool| (0..d.len()).filter(|&i| keep(d[i])).map(w).sum::<u128>();
    let allowed = |delta: i64| {
        let nearer = d.iter().filter(|&&x| x < delta).count() as u64;
        (p.top_k == 0 || nearer < u64::from(p.top_k))
            && (mass(&|x| x < delta) << 16) < u128::from(p.top_p) * mass(&|_| true)
            && delta <= i64::from(p.delta_min_p)
    };
    // Only thresholds next to a distance can be the largest, besides the ends.
    let mut candidates: Vec<i64> =
        d.iter().flat_map(|&x| [x, x + 1]).chain([0, 65_535, i64::from(p.delta_min_p)]).collect();
    candidates.retain(|&x| (0..=65_535).contains(&x));
    let delta = candidates.into_iter().filter(|&x| allowed(x)).max()?;
    let z = mass(&|x| x <= delta);
    let target = (u128::from(if p.top_k == 1 { 0 } else { word }) * z) >> 64;
    let mut sum = 0;
    for (i, &distance) in d.iter().enumerate() {
        if distance <= delta {
            sum += w(i);
            if sum > target {
                return Some(i as u32);
            }
        }
    }
    None
}

#[test]
fn greedy_takes_the_lowest_id_of_a_tie_and_ignores_the_word() {
    let table = weight_table();
    for word in [0, 1 << 63, u64::MAX] {
        assert_eq!(select(&raw(&[3, 9, 9, 1]), &params(1, 1 << 16, 65_535), &table, word), Some(1));
    }
    assert_eq!(select(&[], &off(), &table, 0), None);
}

#[test]
fn the_word_runs_over_all_kept_ids_in_index_order() {
    let table = weight_table();
    let logits = raw(&[0, 0, 0, 0]);
    for (word, id) in [(0, 0), ((1 << 62) - 1, 0), (1 << 62, 1), (1 << 63, 2), (u64::MAX, 3)] {
        assert_eq!(select(&logits, &off(), &table, word), Some(id));
    }
    // What is 2^16 steps away has no weight.
    assert_eq!(select(&raw(&[65_536, 0]), &off(), &table, u64::MAX), Some(0));
}

#[test]
fn ties_at_an_edge_are_all_kept() {
    let table = weight_table();
    let last = |logits: &[i64], p: &SelectionParams| select(&raw(logits), p, &table, u64::MAX).unwrap();
    // Rank 2 is a tie of three: all stay.
    assert_eq!(last(&[10, 5, 5, 5, 4], &params(2, 1 << 16, 65_535)), 3);
    // Half of the weight lies on the first two: at p = 1/2 exactly, nothing below them is needed.
    assert_eq!(last(&[5, 5, 0, 0], &params(0, 1 << 15, 65_535)), 1);
    let even = [0, 0, 0, 0];
    assert_eq!(last(&even, &params(0, 1, 65_535)), 3, "equal logits stand or fall together");
    // min-p keeps distances up to and including its limit.
    assert_eq!(last(&[100, 90, 89], &params(0, 1 << 16, 10)), 1);
    assert_eq!(last(&[100, 100, 99], &params(0, 1 << 16, 0)), 1);
}

#[test]
fn a_softmax_edge_of_top_p_is_exact() {
    let table = weight_table();
    // Weight of the first is w0, all is w0 + w1: the least p at which the second is kept is the first with p * all > w0 2^16.
    let (w0, w1) = (u64::from(table[0]), u64::from(table[4096]));
    let edge = ((w0 << 16) / (w0 + w1)) as u32;
    let logits = raw(&[4096, 0]);
    assert_eq!(select(&logits, &params(0, edge, 65_535), &table, u64::MAX), Some(0));
    assert_eq!(select(&logits, &params(0, edge + 1, 65_535), &table, u64::MAX), Some(1));
}

proptest! {
    #[test]
    fn it_is_the_rule(
        steps in prop::collection::vec(prop_oneof![0i64..6, 0i64..20_000, -200_000i64..200_000], 1..24),
        top_k in prop_oneof![Just(0u32), Just(1), 2u32..8, Just(u32::MAX)],
        top_p in prop_oneof![Just(1u32), Just(1 << 16), 1u32..(1 << 16)],
        min_p in prop_oneof![Just(0u32), Just(65_535), 0u32..65_535],
        word: u64,
    ) {
        let p = params(top_k, top_p, min_p);
        prop_assert_eq!(select(&raw(&steps), &p, &weight_table(), word), by_definition(&steps, &p, word));
    }
}
