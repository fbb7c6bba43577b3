//! Partial evaluations of integer tensors.

use monai_protocol::Fr;
use rayon::prelude::*;

use super::dot::{Accumulator, Unsigned, dot};
use super::values::Values;
#[cfg(target_arch = "x86_64")]
use super::{fold_lanes, lanes};

/// Units of `size` values, as tasks of at least `least` units.
fn units<V: Values>(values: V, size: usize, least: usize) -> impl IndexedParallelIterator<Item = V> {
    (0..values.count().div_ceil(size.max(1)))
        .into_par_iter()
        .with_min_len(least)
        .map(move |u| values.part(u * size, size))
}

/// Each unit of `x.len()` values, times `x`: the low coordinates of a tensor bound.
#[must_use]
pub fn fold_low<V: Values>(values: V, x: &[Fr]) -> Vec<Fr> {
    let Some(bias) = V::BIAS else {
        return units(values, x.len(), 16).map(|unit| dot(unit, x)).collect();
    };
    let bias_times = prefix_sums(x).into_iter().map(|s| s * Fr::from(bias)).collect::<Vec<_>>();
    let mut out = fold_low_eight(values, x, bias, bias_times[x.len()]);
    let rest = values.part(out.len() * x.len(), values.count());
    out.par_extend(units(rest, x.len(), 16).map(|unit| {
        let n = unit.count().min(x.len());
        let mut acc = Unsigned::default();
        for (i, x) in x.iter().enumerate().take(n) {
            acc.add((unit.at(i) + bias) as u64, x);
        }
        acc.finish() - bias_times[n]
    }));
    out
}

/// [`fold_low`] of as many units as go by eight where the processor can, else of none; `total` is `bias` times the sum of `x`.
fn fold_low_eight<V: Values>(values: V, x: &[Fr], bias: i64, total: Fr) -> Vec<Fr> {
    #[cfg(target_arch = "x86_64")]
    if lanes::available() && !x.is_empty() {
        return (0..values.count() / (8 * x.len()))
            .into_par_iter()
            .with_min_len(2)
            .flat_map_iter(|group| {
                let eight = values.part(8 * group * x.len(), 8 * x.len());
                // SAFETY: the processor has the features.
                unsafe { fold_lanes::eight_units(eight, x, bias) }.map(|v| v - total)
            })
            .collect();
    }
    let _ = (values, x, bias, total);
    Vec::new()
}

/// `sum_r (row(r)[i] + bias) x[r] - total` for every `i < width`, by eight where the processor can.
fn fold_columns<V: Values>(row: impl Fn(usize) -> V, x: &[Fr], width: usize, bias: i64) -> Vec<Fr> {
    let total = x.iter().sum::<Fr>() * Fr::from(bias);
    #[cfg(target_arch = "x86_64")]
    if lanes::available() && width.is_multiple_of(8) {
        // SAFETY: the processor has the features.
        let sums = unsafe { fold_lanes::columns(row, x, width, bias) };
        return sums.into_iter().map(|v| v - total).collect();
    }
    let mut acc = vec![Unsigned::default(); width];
    for (r, x) in x.iter().enumerate() {
        let row = row(r);
        for (i, a) in acc.iter_mut().enumerate() {
            a.add((row.at(i) + bias) as u64, x);
        }
    }
    acc.iter().map(|a| a.finish() - total).collect()
}

fn prefix_sums(x: &[Fr]) -> Vec<Fr> {
    let mut sums = vec![Fr::from(0u64)];
    let mut sum = Fr::from(0u64);
    for x in x {
        sum += x;
        sums.push(sum);
    }
    sums
}

/// One unit of `rows.len()` rows of `columns` values: its rows bound, its columns kept.
#[must_use]
pub fn fold_rows<V: Values>(unit: V, rows: &[Fr], columns: usize) -> Vec<Fr> {
    let whole = unit.count() == rows.len() * columns;
    let Some(bias) = V::BIAS.filter(|_| whole) else {
        let mut acc = vec![Accumulator::default(); columns];
        for (r, x) in rows.iter().enumerate() {
            let row = unit.part(r * columns, columns);
            for (i, a) in acc.iter_mut().enumerate().take(row.count()) {
                a.add(row.at(i), x);
            }
        }
        return acc.iter().map(Accumulator::finish).collect();
    };
    fold_columns(|r| unit.part(r * columns, columns), rows, columns, bias)
}

/// `sum_u weights[u] values[u][..]` for units of `size` values.
#[must_use]
pub fn fold_units<V: Values>(values: V, weights: &[Fr], size: usize) -> Vec<Fr> {
    // Runs of at most 2^10 units keep each limb far from overflow; units wider than a cache are cut.
    const RUN: usize = 1 << 10;
    const WIDTH: usize = 1 << 9;
    let zero = || vec![Fr::from(0u64); size];
    let add = |mut a: Vec<Fr>, b: Vec<Fr>| {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
        a
    };
    let mut runs = values.count().div_ceil((size * RUN).max(1)).min(weights.len().div_ceil(RUN));
    runs = runs.max(1);
    let cuts = size.div_ceil(WIDTH);
    if cuts <= 1 {
        return (0..runs)
            .into_par_iter()
            .map(|run| {
                let weights = &weights[(run * RUN).min(weights.len())..];
                let weights = &weights[..weights.len().min(RUN)];
                fold_rows(values.part(run * RUN * size, weights.len() * size), weights, size)
            })
            .reduce(zero, add);
    }
    // Each task takes a cut of all units of a run.
    (0..runs)
        .into_par_iter()
        .map(|run| {
            let weights = &weights[(run * RUN).min(weights.len())..];
            let weights = &weights[..weights.len().min(RUN)];
            let values = values.part(run * RUN * size, weights.len() * size);
            (0..cuts)
                .into_par_iter()
                .flat_map_iter(|cut| {
                    fold_cut(values, weights, size, cut * WIDTH, WIDTH.min(size - cut * WIDTH))
                })
                .collect::<Vec<Fr>>()
        })
        .reduce(zero, add)
}

/// Values `from..from + width` of [`fold_units`].
fn fold_cut<V: Values>(values: V, weights: &[Fr], size: usize, from: usize, width: usize) -> Vec<Fr> {
    let whole = values.count() == weights.len() * size;
    let Some(bias) = V::BIAS.filter(|_| whole) else {
        let mut acc = vec![Accumulator::default(); width];
        for (u, x) in weights.iter().enumerate() {
            let row = values.part(u * size + from, width);
            for (i, a) in acc.iter_mut().enumerate().take(row.count()) {
                a.add(row.at(i), x);
            }
        }
        return acc.iter().map(Accumulator::finish).collect();
    };
    fold_columns(|u| values.part(u * size + from, width), weights, width, bias)
}

/// The twin of [`fold_units`].
#[must_use]
pub fn fold_units_reference<V: Values>(values: V, weights: &[Fr], size: usize) -> Vec<Fr> {
    let mut out = vec![Fr::from(0u64); size];
    for (u, w) in weights.iter().enumerate() {
        let unit = values.part(u * size, size);
        for (i, o) in out.iter_mut().enumerate().take(unit.count()) {
            *o += *w * Fr::from(unit.at(i));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Scaled, dot_reference};
    use monai_inference::multilinear::eq_table;

    fn agrees<V: Values>(values: V, weights: &[Fr], size: usize) {
        assert_eq!(fold_units(values, weights, size), fold_units_reference(values, weights, size), "{size}");
        let low = &weights[..16];
        let direct: Vec<Fr> =
            (0..values.count().div_ceil(16)).map(|u| dot_reference(values.part(u * 16, 16), low)).collect();
        assert_eq!(fold_low(values, low), direct);
    }

    #[test]
    fn folds_agree_with_their_twins() {
        let values: Vec<i32> = (0..1 << 15).map(|i| (i * 7919) % 65_521 - 32_000).collect();
        let wide: Vec<i64> = values.iter().map(|v| i64::from(*v) * 90_001).collect();
        let halves: Vec<u16> = values.iter().map(|v| *v as u16).collect();
        let weights: Vec<i8> = values.iter().map(|v| *v as i8).collect();
        let multipliers: Vec<i32> = (0..1 << 9).map(|i| i * i * 8000 - 70).collect();
        let point: Vec<Fr> = (0..11u64).map(|i| Fr::from(i * i + 5)).collect();
        let eq = eq_table(&point);
        for (size, count) in [(16, 2048), (16, 2043), (1024, 32), (2048, 15), (512, 64), (1 << 13, 4)] {
            agrees(&values[..size * count], &eq[..count.max(16)], size);
            agrees(&wide[..size * count], &eq[..count.max(16)], size);
            agrees(&halves[..size * count], &eq[..count.max(16)], size);
            agrees(Scaled::new(&weights, &multipliers, 6).part(0, size * count), &eq[..count.max(16)], size);
        }
        // More terms than are added before a carry, the largest values among them.
        let extreme = vec![i32::MAX; 1 << 15];
        let many: Vec<Fr> = eq.iter().chain(&eq).chain(&eq).map(|x| -*x).collect();
        assert_eq!(
            fold_rows(&extreme[..], &many[..4096], 8),
            fold_units_reference(&extreme[..], &many[..4096], 8)
        );
        assert_eq!(fold_low(&extreme[..], &many[..4096])[7], dot_reference(&extreme[..4096], &many[..4096]));
        // Weights for units that are not there.
        agrees(&values[..40], &eq[..16], 4);
    }
}
