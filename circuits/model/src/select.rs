//! The one selection rule: from raw logits to the next id.
//!
//! [`select`] is the reference twin: it follows rule 8 of `SEMANTICS.md` word for word, at one pass a threshold.

use monai_protocol::SelectionParams;

use crate::semantics::{TABLE_LEN, logit};

/// The next id from the raw logits `A_v` (`[vocab]`), the request's parameters and the sampling word of the position.
///
/// `weight_table` is `Tables::weight`. With `top_k == 1` the word is taken as 0, so ties go to the lowest id.
/// Returns `None` only for an empty vocabulary.
#[must_use]
pub fn select(raw: &[i64], params: &SelectionParams, weight_table: &[u32], word: u64) -> Option<u32> {
    let logits: Vec<i64> = raw.iter().map(|&a| logit(params.tau, a)).collect();
    let max = *logits.iter().max()?;
    // Count and weight of the ids at each distance; what is farther than the table reaches is never kept.
    let mut count = vec![0u64; TABLE_LEN];
    let mut all = 0u128;
    for &l in &logits {
        if let Some(c) = usize::try_from(max - l).ok().and_then(|d| count.get_mut(d)) {
            *c += 1;
        }
    }
    for (c, &w) in count.iter().zip(weight_table) {
        all += u128::from(*c) * u128::from(w);
    }
    let delta = threshold(&count, weight_table, all, params);
    let kept =
        |l: i64| usize::try_from(max - l).ok().filter(|&d| d <= delta).and_then(|d| weight_table.get(d));
    let z: u128 = logits.iter().filter_map(|&l| kept(l)).map(|&w| u128::from(w)).sum();
    let word = if params.top_k == 1 { 0 } else { word };
    let target = (u128::from(word) * z) >> 64;
    let mut prefix = 0u128;
    for (id, &l) in logits.iter().enumerate() {
        if let Some(&w) = kept(l) {
            prefix += u128::from(w);
            if prefix > target {
                return u32::try_from(id).ok();
            }
        }
    }
    None
}

/// The largest `delta` in [0, 65535] that the three limits allow; 0 always is.
fn threshold(count: &[u64], weight_table: &[u32], all: u128, params: &SelectionParams) -> usize {
    let (mut below, mut mass, mut delta) = (0u64, 0u128, 0usize);
    for (d, (&c, &w)) in count.iter().zip(weight_table).enumerate() {
        let k_ok = params.top_k == 0 || below < u64::from(params.top_k);
        let p_ok = mass << 16 < u128::from(params.top_p) * all;
        if !(k_ok && p_ok && d as u64 <= u64::from(params.delta_min_p)) {
            break;
        }
        delta = d;
        below += c;
        mass += u128::from(c) * u128::from(w);
    }
    delta
}

#[cfg(test)]
mod tests;
