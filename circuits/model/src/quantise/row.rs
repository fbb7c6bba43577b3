//! One row of a matrix: from floating point to int8 and an integer multiplier.
//!
//! Only correctly rounded IEEE operations on `f64`, in a fixed order: the same bits on every machine.

/// Largest magnitude of a weight.
pub(crate) const WEIGHT_MAX: f64 = 127.0;
/// Largest multiplier.
const MULTIPLIER_MAX: f64 = 2_147_483_647.0;
/// Multipliers that the search tries below the one that covers the whole row, as parts of it.
const CLIPS: [f64; 8] = [1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79];

/// A quantised row; the real value of weight `k` is `weight[k] * multiplier * unit / stretch`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// In [-127, 127].
    pub(crate) weight: Vec<i8>,
    /// At least 1.
    pub(crate) multiplier: i32,
    /// Factor by which the stored row is longer than the given one; 1 unless [`stretched`] made it.
    pub(crate) stretch: f64,
}

/// Round half away from zero.
pub(crate) fn round(v: f64) -> f64 {
    let r = libm::floor(libm::fabs(v) + 0.5);
    if v < 0.0 { -r } else { r }
}

fn peak(w: &[f64]) -> f64 {
    w.iter().fold(0.0, |m: f64, &v| m.max(libm::fabs(v)))
}

fn cast(w: &[f64], step: f64) -> Vec<i8> {
    w.iter().map(|&v| round(v / step).clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8).collect()
}

fn squared_error(w: &[f64], step: f64) -> f64 {
    let mut sum = 0.0;
    for &v in w {
        let e = v - round(v / step).clamp(-WEIGHT_MAX, WEIGHT_MAX) * step;
        sum += e * e;
    }
    sum
}

/// The multiplier with the least squared error among those that cover the row or nearly do; `None` where even the
/// smallest would not fit 31 bits.
///
/// `unit` is the real weight of one unit of `multiplier * weight`.
pub(crate) fn snapped(w: &[f64], unit: f64) -> Option<Row> {
    let full = libm::ceil(peak(w) / WEIGHT_MAX / unit).max(1.0);
    if full > MULTIPLIER_MAX {
        return None;
    }
    let mut best = (f64::INFINITY, full);
    let mut last = 0.0;
    for clip in CLIPS {
        let multiplier = libm::ceil(full * clip).max(1.0);
        if multiplier == last {
            continue;
        }
        last = multiplier;
        let error = squared_error(w, multiplier * unit);
        if error < best.0 {
            best = (error, multiplier);
        }
    }
    Some(Row { weight: cast(w, best.1 * unit), multiplier: best.1 as i32, stretch: 1.0 })
}

/// Quantises at the row's own best scale and takes the nearest multiplier; the row becomes longer by `stretch`, which
/// whatever consumes the channel divides out. Nothing is lost to snapping.
///
/// No row is stretched by more than `most`: one whose scale is far below one unit keeps fewer levels instead.
pub(crate) fn stretched(w: &[f64], unit: f64, most: f64) -> Option<Row> {
    let scale = peak(w) / WEIGHT_MAX;
    if scale <= 0.0 {
        return Some(Row { weight: vec![0; w.len()], multiplier: 1, stretch: 1.0 });
    }
    let mut multiplier = round(scale / unit).max(1.0);
    if multiplier * unit / scale > most {
        multiplier = libm::floor(scale / unit).max(1.0);
    }
    if multiplier > MULTIPLIER_MAX {
        return None;
    }
    let stretch = (multiplier * unit / scale).min(most);
    let step = multiplier * unit / stretch;
    Some(Row { weight: cast(w, step), multiplier: multiplier as i32, stretch })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_away_from_zero() {
        assert_eq!([round(0.5), round(-0.5), round(2.5), round(-2.4)], [1.0, -1.0, 3.0, -2.0]);
    }

    #[test]
    fn a_snapped_row_is_within_half_a_step_where_nothing_is_clipped() {
        let w = [1.0, -0.3, 0.02, 0.7];
        let row = snapped(&w, 1.0 / 4096.0).unwrap();
        let step = f64::from(row.multiplier) / 4096.0;
        for (q, v) in row.weight.iter().zip(w) {
            assert!((f64::from(*q) * step - v).abs() <= step / 2.0 + 1e-12);
        }
    }

    #[test]
    fn a_stretched_row_uses_the_whole_range_and_says_by_how_much_it_grew() {
        let w = [1.0, -0.25];
        let row = stretched(&w, 0.003, 2.0).unwrap();
        assert_eq!(row.multiplier, 3, "1/127 is 2.6 units");
        assert_eq!(row.weight, [127, -32]);
        assert!((127.0 * 3.0 * 0.003 / row.stretch - 1.0).abs() < 1e-12);
        let tiny = stretched(&[1e-6], 0.003, 2.0).unwrap();
        assert_eq!((tiny.multiplier, tiny.stretch, tiny.weight[0]), (1, 2.0, 0));
    }

    #[test]
    fn a_multiplier_that_does_not_fit_is_refused() {
        assert!(snapped(&[1e30], 1e-3).is_none());
    }
}
