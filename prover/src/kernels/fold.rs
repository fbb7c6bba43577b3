//! Partial evaluations of integer tensors.

use monai_protocol::Fr;
use rayon::prelude::*;

use super::dot::{Accumulator, Small, dot};

/// Each unit of `x.len()` values, times `x`: the low coordinates of a tensor bound.
#[must_use]
pub fn fold_low<T: Small>(values: &[T], x: &[Fr]) -> Vec<Fr> {
    values.par_chunks(x.len()).with_min_len(16).map(|unit| dot(unit, x)).collect()
}

/// One unit of `rows.len()` rows of `columns` values: its rows bound, its columns kept.
#[must_use]
pub fn fold_rows<T: Small>(unit: &[T], rows: &[Fr], columns: usize) -> Vec<Fr> {
    let mut acc = vec![Accumulator::default(); columns];
    for (row, x) in unit.chunks(columns).zip(rows) {
        for (a, v) in acc.iter_mut().zip(row) {
            a.add(v.wide(), x);
        }
    }
    acc.iter().map(Accumulator::finish).collect()
}

/// `sum_u weights[u] values[u][..]` for units of `size` values.
#[must_use]
pub fn fold_units<T: Small>(values: &[T], weights: &[Fr], size: usize) -> Vec<Fr> {
    // Runs of 2^10 units keep each task's accumulators in cache and each limb far from overflow.
    const RUN: usize = 1 << 10;
    values
        .par_chunks(size * RUN)
        .zip(weights.par_chunks(RUN))
        .map(|(values, weights)| fold_rows(values, weights, size))
        .reduce(
            || vec![Fr::from(0u64); size],
            |mut a, b| {
                for (a, b) in a.iter_mut().zip(b) {
                    *a += b;
                }
                a
            },
        )
}

/// The twin of [`fold_units`].
#[must_use]
pub fn fold_units_reference<T: Small>(values: &[T], weights: &[Fr], size: usize) -> Vec<Fr> {
    let mut out = vec![Fr::from(0u64); size];
    for (unit, w) in values.chunks(size).zip(weights) {
        for (o, v) in out.iter_mut().zip(unit) {
            *o += *w * Fr::from(v.wide());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_inference::multilinear::eq_table;

    #[test]
    fn folds_agree_with_their_twin() {
        let values: Vec<i32> = (0..1 << 15).map(|i| (i * 7919) % 65_521 - 32_000).collect();
        let point: Vec<Fr> = (0..11u64).map(|i| Fr::from(i * i + 5)).collect();
        let weights = eq_table(&point);
        assert_eq!(fold_units(&values, &weights, 16), fold_units_reference(&values, &weights, 16));
        let low = eq_table(&point[..4]);
        let direct: Vec<Fr> = values.chunks(16).map(|u| super::super::dot_reference(u, &low)).collect();
        assert_eq!(fold_low(&values, &low), direct);
    }
}
