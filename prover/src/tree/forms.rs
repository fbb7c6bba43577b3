//! The summands of a layer's sumcheck, and the values that they are made of before a variable is bound.

use monai_protocol::Fr;

use super::leaves::Leaves;
#[cfg(target_arch = "x86_64")]
use super::nodes::Eight;
use super::nodes::Nodes;
use super::values::{Form, Source};
#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::Products;

/// `a q1 + p1 q0` of quadruples `[a, p1, q0, q1]`.
pub(super) struct Cross;

impl Form<4> for Cross {
    #[inline(always)]
    fn of(low: &[Fr; 4], high: &[Fr; 4]) -> (Fr, Fr) {
        let [a, p1, q0, q1] = low;
        let [da, dp1, dq0, dq1]: [Fr; 4] = std::array::from_fn(|k| high[k] - low[k]);
        (*a * q1 + *p1 * q0, da * dq1 + dp1 * dq0)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn of_eight(low: &[Eight; 4], high: &[Eight; 4]) -> (Eight, Eight) {
        let (mut t0, mut leading) = (Products::zero(), Products::zero());
        for (i, j) in [(0, 3), (1, 2)] {
            t0.add(low[i], low[j]);
            leading.add(high[i].minus(low[i]), high[j].minus(low[j]));
        }
        (t0.reduce(), leading.reduce())
    }
}

/// `z0 z1`.
pub(super) struct Product;

impl Form<2> for Product {
    #[inline(always)]
    fn of(low: &[Fr; 2], high: &[Fr; 2]) -> (Fr, Fr) {
        (low[0] * low[1], (high[0] - low[0]) * (high[1] - low[1]))
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn of_eight(low: &[Eight; 2], high: &[Eight; 2]) -> (Eight, Eight) {
        (low[0].times(low[1]), high[0].minus(low[0]).times(high[1].minus(low[1])))
    }
}

/// `[p0 + merge q0, p1, q0, q1]` of a pair of nodes.
pub(super) struct Quadruples<'a, N> {
    pub(super) nodes: &'a N,
    pub(super) merge: Fr,
}

impl<N: Nodes> Source<4> for Quadruples<'_, N> {
    #[inline(always)]
    fn at(&self, i: usize) -> [Fr; 4] {
        let [p0, p1, q0, q1] = self.nodes.pair(i);
        [p0 + self.merge * q0, p1, q0, q1]
    }

    #[cfg(target_arch = "x86_64")]
    fn whole(&self) -> usize {
        self.nodes.whole_pairs()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4] {
        // SAFETY: the processor has the features, which this function asks for.
        let [p0, p1, q0, q1] = unsafe { self.nodes.eight(at) };
        [p0.plus(q0.times(Eight::splat(self.merge.0.0))).canonical(), p1, q0, q1]
    }
}

/// `z` of both leaves of a pair.
pub(super) struct Sides<'a> {
    pub(super) leaves: &'a Leaves<'a>,
    /// `z` of every entry of a table.
    pub(super) table: Vec<Fr>,
}

impl Source<2> for Sides<'_> {
    #[inline(always)]
    fn at(&self, i: usize) -> [Fr; 2] {
        [self.table[self.leaves.entry(2 * i)], self.table[self.leaves.entry(2 * i + 1)]]
    }

    #[cfg(target_arch = "x86_64")]
    fn whole(&self) -> usize {
        self.leaves.len() / 2
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 2] {
        let side = |n: usize| self.leaves.eight(&self.table, |k| 2 * at(k) + n);
        [side(0), side(1)]
    }
}
