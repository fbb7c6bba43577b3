//! Log-probabilities for clients that ask for them. Floating point, for display: nothing here can reach an answer.

use monai_model::artefact::Arch;

use crate::job::Logprobs;

/// Natural logits a raw unit at temperature 1: `tau_one / 2^64`, and logits have 12 fractional bits.
fn scale(arch: &Arch) -> f64 {
    arch.tau_one as f64 / 2f64.powi(64 + monai_model::semantics::LOGIT_BITS as i32)
}

/// Log-probability of `id` at temperature 1.
pub(crate) fn of(arch: &Arch, raw: &[i64], id: u32) -> f64 {
    let (max, log_sum) = normaliser(arch, raw);
    raw.get(id as usize).map_or(f64::NEG_INFINITY, |&a| (a - max) as f64 * scale(arch) - log_sum)
}

/// Log-probabilities of the chosen id and of the `n` likeliest.
pub(crate) fn top(arch: &Arch, raw: &[i64], chosen: u32, n: usize) -> Logprobs {
    let (max, log_sum) = normaliser(arch, raw);
    let of = |a: i64| (a - max) as f64 * scale(arch) - log_sum;
    let mut best: Vec<(u32, i64)> = Vec::with_capacity(n + 1);
    for (id, &a) in raw.iter().enumerate() {
        if best.len() < n || best.last().is_some_and(|&(_, worst)| a > worst) {
            let at = best.partition_point(|&(_, b)| b >= a);
            best.insert(at, (id as u32, a));
            best.truncate(n);
        }
    }
    let chosen = raw.get(chosen as usize).map_or(f64::NEG_INFINITY, |&a| of(a));
    Logprobs { chosen, top: best.into_iter().map(|(id, a)| (id, of(a))).collect() }
}

/// Largest raw logit and the logarithm of `sum exp(logit - largest)`.
fn normaliser(arch: &Arch, raw: &[i64]) -> (i64, f64) {
    let max = raw.iter().copied().max().unwrap_or(0);
    let scale = scale(arch);
    (max, raw.iter().map(|&a| ((a - max) as f64 * scale).exp()).sum::<f64>().ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_are_in_order() {
        let model = crate::testing::model(&crate::testing::Variant::default(), 1);
        let mut arch = model.arch.clone();
        // 2^14 raw units are a natural logit.
        arch.tau_one = 1 << 62;
        let raw = [0, 1, -2, 1, 3].map(|v| v << 14);
        let total: f64 = (0..5).map(|id| of(&arch, &raw, id).exp()).sum();
        assert!((total - 1.0).abs() < 1e-12);
        let lp = top(&arch, &raw, 2, 3);
        assert_eq!(lp.top.iter().map(|t| t.0).collect::<Vec<_>>(), [4, 1, 3], "ties by id");
        assert!((lp.chosen - of(&arch, &raw, 2)).abs() < 1e-12);
        assert!((lp.top[0].1 - lp.top[1].1 - 2.0).abs() < 1e-9);
        assert!(top(&arch, &raw, 0, 0).top.is_empty());
    }
}
