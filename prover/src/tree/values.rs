//! What a layer's sumcheck binds, variable by variable.

use ark_ff::Zero;
use monai_inference::multilinear::{eq_range, eq_table};
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::kernels::WideSum;

/// Prefixes of `K` multilinear polynomials' values side by side, with the values of all others. They are computed from
/// what they were at first until a given number of variables is bound, then stored.
pub(super) struct Values<const K: usize, F> {
    first: F,
    first_count: usize,
    computed_rounds: usize,
    /// The variable that is bound while values are still computed.
    bound: Option<Fr>,
    stored: Option<Vec<[Fr; K]>>,
    count: usize,
    absent: [Fr; K],
}

/// `low + x (high - low)`.
#[inline(always)]
fn between<const K: usize>(low: &[Fr; K], high: &[Fr; K], x: Fr) -> [Fr; K] {
    std::array::from_fn(|k| low[k] + x * (high[k] - low[k]))
}

impl<const K: usize, F: Fn(usize) -> [Fr; K] + Sync> Values<K, F> {
    /// `count` values `first(i)`, and `absent` for all others; `computed_rounds` is 1 or 2.
    pub(super) fn new(count: usize, absent: [Fr; K], computed_rounds: usize, first: F) -> Self {
        Self { first, first_count: count, computed_rounds, bound: None, stored: None, count, absent }
    }

    /// Number of values.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Number of pairs of values.
    pub(super) const fn half(&self) -> usize {
        self.count.div_ceil(2)
    }

    #[inline(always)]
    fn at_first(&self, i: usize) -> [Fr; K] {
        if i < self.first_count { (self.first)(i) } else { self.absent }
    }

    #[inline(always)]
    fn once_bound(&self, i: usize, x: Fr) -> [Fr; K] {
        between(&self.at_first(2 * i), &self.at_first(2 * i + 1), x)
    }

    /// `sum_i eq(rest, i) f(value 2 i, value 2 i + 1)` over all pairs that are not absent.
    pub(super) fn sum(&self, rest: &[Fr], f: impl Fn(&[Fr; K], &[Fr; K]) -> (Fr, Fr) + Sync) -> (Fr, Fr) {
        match (&self.stored, self.bound) {
            (Some(v), _) => {
                weighted(rest, self.half(), |i| f(&v[2 * i], v.get(2 * i + 1).unwrap_or(&self.absent)))
            }
            (None, None) => {
                weighted(rest, self.half(), |i| f(&self.at_first(2 * i), &self.at_first(2 * i + 1)))
            }
            (None, Some(x)) => {
                weighted(rest, self.half(), |i| f(&self.once_bound(2 * i, x), &self.once_bound(2 * i + 1, x)))
            }
        }
    }

    /// Binds the lowest variable; `last` says that there is no other.
    pub(super) fn bind(&mut self, x: Fr, last: bool) {
        let half = self.half();
        let pairs = (0..half).into_par_iter().with_min_len(1 << 10);
        match (&self.stored, self.bound) {
            (Some(v), _) => {
                let high = |i: usize| v.get(2 * i + 1).unwrap_or(&self.absent);
                self.stored = Some(pairs.map(|i| between(&v[2 * i], high(i), x)).collect());
            }
            (None, None) if self.computed_rounds > 1 && !last => self.bound = Some(x),
            (None, None) => self.stored = Some(pairs.map(|i| self.once_bound(i, x)).collect()),
            (None, Some(y)) => {
                let twice = |i: usize| between(&self.once_bound(2 * i, y), &self.once_bound(2 * i + 1, y), x);
                self.stored = Some(pairs.map(twice).collect());
            }
        }
        self.count = half;
    }

    /// The one value that is left.
    pub(super) fn end(&self) -> [Fr; K] {
        self.stored.as_ref().map_or_else(|| self.at_first(0), |v| v[0])
    }
}

/// `sum_i eq(point, i) f(i)` over `i < n`, for two sums at once, with the equality polynomial split in two tables.
fn weighted(point: &[Fr], n: usize, f: impl Fn(usize) -> (Fr, Fr) + Sync) -> (Fr, Fr) {
    let bits = (point.len() / 2).min(11);
    let inner = eq_table(&point[..bits]);
    let outer = eq_range(&point[bits..], 0, n.div_ceil(inner.len()));
    outer
        .par_iter()
        .enumerate()
        .map(|(hi, e)| {
            let (mut a, mut b) = (WideSum::default(), WideSum::default());
            let first = hi * inner.len();
            for (i, e) in (first..n).zip(&inner) {
                let (x, y) = f(i);
                a.add(e, &x);
                b.add(e, &y);
            }
            (a.finish() * e, b.finish() * e)
        })
        .reduce(|| (Fr::zero(), Fr::zero()), |a, b| (a.0 + b.0, a.1 + b.1))
}
