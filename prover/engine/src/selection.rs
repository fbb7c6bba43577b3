//! Selection (rule 8), fast: equal to [`monai_model::select::select`] on every input.
//!
//! Logits are monotone in the raw accumulators because `tau >= 1`. So the rule's conditions on logits become conditions
//! on raw accumulators: greedy selection is a maximum and a search, and sampling touches only ids that the weight table
//! reaches.

use monai_model::semantics::{TABLE_LEN, logit};
use monai_protocol::SelectionParams;

use crate::elementwise::twins;
use crate::kernel::Isa;

/// Selects ids; keeps its memory between them.
#[derive(Debug)]
pub(crate) struct Selector {
    isa: Isa,
    /// Ids at each distance below the maximum; zero between calls.
    count: Vec<u32>,
    /// Ids in the table's reach with their distances, in index order.
    reached: Vec<(u32, u32)>,
}

impl Selector {
    pub(crate) fn new(isa: Isa) -> Self {
        Self { isa, count: vec![0; TABLE_LEN], reached: Vec::new() }
    }

    /// The id that rule 8 selects from raw logits with the sampling word of the position. `raw` is not empty.
    pub(crate) fn select(&mut self, raw: &[i64], params: &SelectionParams, weight: &[u32], word: u64) -> u32 {
        let max = logit(params.tau, maximum(self.isa, raw));
        if params.top_k == 1 {
            let least = least_raw(params.tau, max);
            return raw.iter().position(|&a| a >= least).unwrap_or(0) as u32;
        }
        let least = least_raw(params.tau, max - (TABLE_LEN as i64 - 1));
        self.reached.clear();
        let mut all = 0u64;
        for (id, &a) in raw.iter().enumerate() {
            if a >= least {
                let d = (max - logit(params.tau, a)) as u32;
                self.reached.push((id as u32, d));
                self.count[d as usize] += 1;
                all += u64::from(weight[d as usize]);
            }
        }
        let (delta, z) = threshold(&self.count, weight, all, params);
        let target = ((u128::from(word) * u128::from(z)) >> 64) as u64;
        let mut prefix = 0;
        let mut chosen = None;
        for &(id, d) in &self.reached {
            self.count[d as usize] = 0;
            if chosen.is_none() && d <= delta {
                prefix += u64::from(weight[d as usize]);
                if prefix > target {
                    chosen = Some(id);
                }
            }
        }
        // The maximum is always kept, with a positive weight, so an id has been chosen.
        chosen.unwrap_or(0)
    }
}

/// The largest distance that the three limits keep, and the weight kept.
fn threshold(count: &[u32], weight: &[u32], all: u64, params: &SelectionParams) -> (u32, u64) {
    let (mut below, mut mass) = (0u64, 0u64);
    let (mut delta, mut kept) = (0u32, 0u64);
    for (d, (&c, &w)) in count.iter().zip(weight).enumerate() {
        let k_ok = params.top_k == 0 || below < u64::from(params.top_k);
        let p_ok = u128::from(mass) << 16 < u128::from(params.top_p) * u128::from(all);
        if d > 0 && !(k_ok && p_ok && d as u64 <= u64::from(params.delta_min_p)) {
            break;
        }
        delta = d as u32;
        below += u64::from(c);
        mass += u64::from(c) * u64::from(w);
        kept = mass;
    }
    (delta, kept)
}

/// The least raw accumulator whose logit is at least `bound`: `tau a + 2^31 >= bound 2^32`.
fn least_raw(tau: u32, bound: i64) -> i64 {
    let numerator = (i128::from(bound) << 32) - (1 << 31);
    let tau = i128::from(tau.max(1));
    let least = numerator.div_euclid(tau) + i128::from(numerator.rem_euclid(tau) > 0);
    least.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

twins! {
    /// Largest entry.
    fn maximum(raw: &[i64]) -> i64 {
        raw.iter().fold(i64::MIN, |max, &a| max.max(a))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kernel;
    use crate::testing::integers;
    use monai_model::select;
    use monai_model::tables::weight_table;
    use monai_protocol::selection::{DELTA_MIN_P_OFF, TOP_P_OFF};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static WEIGHT: LazyLock<Vec<u32>> = LazyLock::new(weight_table);

    fn same(selectors: &mut [Selector], raw: &[i64], params: &SelectionParams, word: u64) {
        let expected = select::select(raw, params, &WEIGHT, word).unwrap();
        for s in selectors {
            assert_eq!(s.select(raw, params, &WEIGHT, word), expected, "{params:?} word {word} raw {raw:?}");
        }
    }

    fn selectors() -> Vec<Selector> {
        Kernel::available().map(|k| Selector::new(Isa::check(k).unwrap())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// From all-equal logits (ties everywhere) to spreads far beyond the table's reach.
        #[test]
        fn equals_the_reference(
            len in 1usize..400, spread in 0u32..24, tau_bits in 1u32..32, seed in any::<u64>(), word in any::<u64>(),
            top_k in prop_oneof![Just(0u32), Just(1), 2u32..50, Just(u32::MAX)],
            top_p in prop_oneof![Just(TOP_P_OFF), Just(1u32), 1u32..TOP_P_OFF],
            delta_min_p in prop_oneof![Just(DELTA_MIN_P_OFF), Just(0u32), 0u32..30_000],
        ) {
            let tau = ((1u64 << tau_bits) - 1 - (seed & ((1 << tau_bits) >> 2))) as u32;
            let scale = (1i64 << 32) / i64::from(tau).max(1);
            let raw: Vec<i64> = integers(seed, len, 1 << spread)
                .into_iter()
                .enumerate()
                .map(|(i, v)| v * scale.max(1) / if i % 3 == 0 { 1 } else { 7 })
                .collect();
            let params = SelectionParams { tau, top_k, top_p, delta_min_p, ..SelectionParams::greedy(1) };
            let mut selectors = selectors();
            for word in [word, 0, u64::MAX] {
                same(&mut selectors, &raw, &params, word);
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_id_and_rounding_makes_ties() {
        let mut s = selectors();
        let greedy = SelectionParams { tau: 1 << 20, ..SelectionParams::greedy(1) };
        // One logit step is 4096 raw units here; all of these round to the same logit.
        same(&mut s, &[7, 4096, 4097, 5000, 6143], &greedy, 5);
        assert_eq!(s[0].select(&[7, 4096, 4097, 5000, 6143], &greedy, &WEIGHT, 5), 1);
        same(&mut s, &[-9, -9, -9], &greedy, 0);
        same(&mut s, &[0], &greedy, u64::MAX);
    }

    /// The extremes of 31-bit logits, where bounds on raw accumulators are close to the ends of i64.
    #[test]
    fn extreme_logits() {
        let mut s = selectors();
        for tau in [1u32, 3, u32::MAX] {
            let top = ((1i64 << 30) << 32) / i64::from(tau);
            let raw = [-top, top, 0, top - 1, top - i64::from(u32::MAX / tau), -top + 1];
            for top_k in [0, 1, 3] {
                let p = SelectionParams { tau, top_k, ..SelectionParams::greedy(1) };
                for word in [0, 1 << 40, u64::MAX / 2, u64::MAX] {
                    same(&mut s, &raw, &p, word);
                }
            }
        }
    }
}
