//! What a layer's sumcheck binds, variable by variable.

use ark_ff::Zero;
use monai_inference::multilinear::{eq_range, eq_table};
use monai_protocol::Fr;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::nodes::Eight;
use crate::kernels::WideSum;
#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::{Products, available, load_two, load_words, to_rows};

/// What a layer's values are before a variable is bound.
pub(super) trait Source<const K: usize>: Sync {
    /// Value `i`.
    fn at(&self, i: usize) -> [Fr; K];

    /// Number of values, from the first on, no part of which is absent.
    #[cfg(target_arch = "x86_64")]
    fn whole(&self) -> usize;

    /// Eight of them, canonical.
    ///
    /// # Safety
    /// [`available`].
    #[cfg(target_arch = "x86_64")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; K];
}

/// A layer's summand between two values: at 0, and its leading coefficient.
pub(super) trait Form<const K: usize>: Sync {
    /// For one pair.
    fn of(low: &[Fr; K], high: &[Fr; K]) -> (Fr, Fr);

    /// For eight canonical pairs; what is given has no bound but that of 52-bit limbs.
    ///
    /// # Safety
    /// [`available`].
    #[cfg(target_arch = "x86_64")]
    unsafe fn of_eight(low: &[Eight; K], high: &[Eight; K]) -> (Eight, Eight);
}

/// Prefixes of `K` multilinear polynomials' values side by side, with the values of all others. They are computed from
/// what they were at first until a given number of variables is bound, then stored.
pub(super) struct Values<const K: usize, S> {
    first: S,
    first_count: usize,
    computed_rounds: usize,
    /// The variable that is bound while values are still computed.
    bound: Option<Fr>,
    stored: Option<Vec<[Fr; K]>>,
    count: usize,
    absent: [Fr; K],
    #[cfg(target_arch = "x86_64")]
    lanes: bool,
}

/// `low + x (high - low)`.
#[inline(always)]
fn between<const K: usize>(low: &[Fr; K], high: &[Fr; K], x: Fr) -> [Fr; K] {
    std::array::from_fn(|k| low[k] + x * (high[k] - low[k]))
}

/// Values that one task binds.
const TASK: usize = 1 << 10;

impl<const K: usize, S: Source<K>> Values<K, S> {
    /// `count` values, and `absent` for all others; `computed_rounds` is 1 or 2.
    pub(super) fn new(count: usize, absent: [Fr; K], computed_rounds: usize, first: S) -> Self {
        Self {
            first,
            first_count: count,
            computed_rounds,
            bound: None,
            stored: None,
            count,
            absent,
            #[cfg(target_arch = "x86_64")]
            lanes: available(),
        }
    }

    /// Never eight at once.
    #[cfg(all(test, target_arch = "x86_64"))]
    pub(super) fn scalar(self) -> Self {
        Self { lanes: false, ..self }
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
        if i < self.first_count { self.first.at(i) } else { self.absent }
    }

    /// Value `i`, which may be absent.
    #[inline(always)]
    fn at(&self, i: usize) -> [Fr; K] {
        match (&self.stored, self.bound) {
            (Some(v), _) => v.get(i).copied().unwrap_or(self.absent),
            (None, None) => self.at_first(i),
            (None, Some(x)) => between(&self.at_first(2 * i), &self.at_first(2 * i + 1), x),
        }
    }

    /// Pairs both of whose values come from real ones alone.
    #[cfg(target_arch = "x86_64")]
    fn whole_pairs(&self) -> usize {
        match (self.lanes, self.stored.is_some(), self.bound) {
            (false, ..) => 0,
            (true, false, Some(_)) => self.first.whole() / 4,
            (true, false, None) => self.first.whole() / 2,
            (true, true, _) => self.count / 2,
        }
    }

    /// `sum_i eq(rest, i) f(value 2 i, value 2 i + 1)` over all pairs that are not absent.
    pub(super) fn sum<F: Form<K>>(&self, rest: &[Fr]) -> (Fr, Fr) {
        let n = self.half();
        // The equality polynomial, split in two tables.
        let bits = (rest.len() / 2).min(11);
        let inner = eq_table(&rest[..bits]);
        let outer = eq_range(&rest[bits..], 0, n.div_ceil(inner.len()));
        outer
            .par_iter()
            .enumerate()
            .map(|(hi, e)| {
                let (mut a, mut b) = (WideSum::default(), WideSum::default());
                let first = hi * inner.len();
                #[cfg(target_arch = "x86_64")]
                let done = {
                    let groups = self.whole_pairs().saturating_sub(first).min(inner.len()) / 8;
                    if groups > 0 {
                        // SAFETY: there are whole pairs only where the processor has the features.
                        (a, b) = unsafe { self.sum_eight::<F>(first, &inner[..8 * groups]) };
                    }
                    8 * groups
                };
                #[cfg(not(target_arch = "x86_64"))]
                let done = 0;
                for (i, e) in (first..n).zip(&inner).skip(done) {
                    let (x, y) = F::of(&self.at(2 * i), &self.at(2 * i + 1));
                    a.add(e, &x);
                    b.add(e, &y);
                }
                (a.finish() * e, b.finish() * e)
            })
            .reduce(|| (Fr::zero(), Fr::zero()), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Binds the lowest variable; `last` says that there is no other.
    pub(super) fn bind(&mut self, x: Fr, last: bool) {
        let half = self.half();
        if self.stored.is_none() && self.bound.is_none() && self.computed_rounds > 1 && !last {
            self.bound = Some(x);
        } else {
            self.stored = Some(self.bound_to(x, half));
        }
        self.count = half;
    }

    fn bound_to(&self, x: Fr, half: usize) -> Vec<[Fr; K]> {
        let mut out = Vec::with_capacity(half);
        out.spare_capacity_mut()[..half].par_chunks_mut(TASK).enumerate().for_each(|(task, slots)| {
            let first = task * TASK;
            #[cfg(target_arch = "x86_64")]
            let done = {
                let groups = self.whole_pairs().saturating_sub(first).min(slots.len()) / 8;
                if groups > 0 {
                    // SAFETY: there are whole pairs only where the processor has the features; there is room for all groups.
                    unsafe { self.bind_eight(x, first, groups, slots.as_mut_ptr().cast()) };
                }
                8 * groups
            };
            #[cfg(not(target_arch = "x86_64"))]
            let done = 0;
            for (i, slot) in slots.iter_mut().enumerate().skip(done) {
                let i = first + i;
                slot.write(between(&self.at(2 * i), &self.at(2 * i + 1), x));
            }
        });
        // SAFETY: all tasks together have written `half` values.
        unsafe { out.set_len(half) };
        out
    }

    /// The one value that is left.
    pub(super) fn end(&self) -> [Fr; K] {
        self.stored.as_ref().map_or_else(|| self.at_first(0), |v| v[0])
    }
}

#[cfg(target_arch = "x86_64")]
impl<const K: usize, S: Source<K>> Values<K, S> {
    /// Eight values that are not absent, canonical.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; K] {
        match (&self.stored, self.bound) {
            (Some(v), _) => load_values(v, at),
            // SAFETY: the processor has the features, which this function asks for.
            (None, None) => unsafe { self.first.eight(at) },
            (None, Some(x)) => {
                // SAFETY: as above.
                let [low, high] = [0, 1].map(|n| unsafe { self.first.eight(|k| 2 * at(k) + n) });
                between_eight(&low, &high, Eight::splat(x.0.0))
            }
        }
    }

    /// The sum over the pairs from `first` on, weighted; their number is a multiple of 8 and at most 2048.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn sum_eight<F: Form<K>>(&self, first: usize, weights: &[Fr]) -> (WideSum, WideSum) {
        let (mut a, mut b) = (Products::zero(), Products::zero());
        for (group, weights) in weights.chunks_exact(8).enumerate() {
            let i = first + 8 * group;
            let low = self.eight(|k| 2 * (i + k));
            let high = self.eight(|k| 2 * (i + k) + 1);
            // SAFETY: the processor has the features, and there are eight weights.
            let ((x, y), e) =
                unsafe { (F::of_eight(&low, &high), load_words(|k| (&raw const weights[k]).cast())) };
            let e = Eight::from_words(e);
            a.add(e, x);
            b.add(e, y);
        }
        (WideSum::from_limbs(a.total()), WideSum::from_limbs(b.total()))
    }

    /// Writes the bound values of `8 groups` pairs from `first` on.
    ///
    /// # Safety
    /// There is room for them.
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn bind_eight(&self, x: Fr, first: usize, groups: usize, out: *mut [Fr; K]) {
        let x = Eight::splat(x.0.0);
        for group in 0..groups {
            let i = first + 8 * group;
            let values = between_eight(&self.eight(|k| 2 * (i + k)), &self.eight(|k| 2 * (i + k) + 1), x);
            for two in 0..K / 2 {
                for (k, row) in to_rows(values[2 * two], values[2 * two + 1]).into_iter().enumerate() {
                    // SAFETY: there is room for the value, which has two elements from `2 two` on.
                    unsafe {
                        let slot: *mut Fr = out.add(8 * group + k).cast();
                        core::arch::x86_64::_mm512_storeu_si512(slot.add(2 * two).cast(), row);
                    }
                }
            }
        }
    }
}

/// Eight stored values.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_values<const K: usize>(v: &[[Fr; K]], at: impl Fn(usize) -> usize) -> [Eight; K] {
    const { assert!(K.is_multiple_of(2)) };
    let two = |n: usize| {
        // SAFETY: a value has two elements from `2 n` on.
        unsafe { load_two(|k| v[at(k)][2 * n..2 * n + 2].as_ptr().cast()) }
    };
    let mut out = [two(0).0; K];
    for n in 0..K / 2 {
        (out[2 * n], out[2 * n + 1]) = two(n);
    }
    out
}

/// [`between`] eight canonical values, canonical.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn between_eight<const K: usize>(low: &[Eight; K], high: &[Eight; K], x: Eight) -> [Eight; K] {
    let mut out = *low;
    for k in 0..K {
        out[k] = low[k].plus(x.times(high[k].minus(low[k]))).canonical();
    }
    out
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::tree::Cross;
    use ark_ff::{Field, One};

    struct Listed(Vec<[Fr; 4]>);

    impl Source<4> for Listed {
        fn at(&self, i: usize) -> [Fr; 4] {
            self.0[i]
        }

        fn whole(&self) -> usize {
            self.0.len()
        }

        #[target_feature(enable = "avx512f,avx512ifma")]
        unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4] {
            load_values(&self.0, at)
        }
    }

    #[test]
    fn eight_at_once_are_what_each_is_alone() {
        let mut x = -Fr::one();
        let mut next = || {
            x = x.square() - Fr::from(3u64);
            x
        };
        let point: Vec<Fr> = (0..14).map(|_| next()).collect();
        let absent: [Fr; 4] = std::array::from_fn(|_| next());
        for (count, rounds) in [(3usize, 1), (900, 1), (16_384, 2), (9_999, 2), (12_345, 1)] {
            let list: Vec<[Fr; 4]> = (0..count).map(|_| std::array::from_fn(|_| next())).collect();
            let mut lanes = Values::new(count, absent, rounds, Listed(list.clone()));
            let mut scalar = Values::new(count, absent, rounds, Listed(list)).scalar();
            for (j, x) in point.iter().enumerate() {
                let rest = &point[j + 1..];
                assert_eq!(lanes.sum::<Cross>(rest), scalar.sum::<Cross>(rest), "{count} {rounds} {j}");
                lanes.bind(*x, rest.is_empty());
                scalar.bind(*x, rest.is_empty());
            }
            assert_eq!(lanes.end(), scalar.end());
        }
    }
}
