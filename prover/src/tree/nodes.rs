//! Layers of a tree, stored or computed from the layer below.

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

use ark_ff::{One, Zero};
use monai_protocol::Fr;
use rayon::prelude::*;

use super::leaves::Leaves;

#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::{Lanes, Products, Scalars, available, load_two, to_rows};

/// Stored nodes of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) numerators: Vec<Fr>,
    pub(crate) denominators: Vec<Fr>,
}

/// Eight elements.
#[cfg(target_arch = "x86_64")]
pub(super) type Eight = Lanes<Scalars>;

/// Nodes of a layer, stored or not.
pub(super) trait Nodes: Sync {
    /// Their number.
    fn count(&self) -> usize;

    /// Numerators, then denominators, of nodes `2 i` and `2 i + 1`, where the first is a real one.
    fn pair(&self, i: usize) -> [Fr; 4];

    /// Number of pairs, from the first on, that come from real nodes and leaves alone.
    #[cfg(target_arch = "x86_64")]
    fn whole_pairs(&self) -> usize;

    /// Eight of the whole pairs, canonical.
    ///
    /// # Safety
    /// [`available`].
    #[cfg(target_arch = "x86_64")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4];

    /// Number of pairs.
    fn pairs(&self) -> usize {
        self.count().div_ceil(2)
    }

    /// The layer above, stored.
    fn parents(&self) -> Layer
    where
        Self: Sized,
    {
        #[cfg(target_arch = "x86_64")]
        if available() {
            return parents_in_lanes(self);
        }
        parents_reference(self)
    }
}

/// The twin of [`Nodes::parents`].
fn parents_reference(nodes: &impl Nodes) -> Layer {
    let (numerators, denominators) =
        (0..nodes.pairs()).into_par_iter().with_min_len(1 << 9).map(|i| sum(&nodes.pair(i))).unzip();
    Layer { numerators, denominators }
}

/// Nodes that one task computes.
#[cfg(target_arch = "x86_64")]
const TASK: usize = 1 << 10;

#[cfg(target_arch = "x86_64")]
fn parents_in_lanes(nodes: &impl Nodes) -> Layer {
    let (count, whole) = (nodes.pairs(), nodes.whole_pairs());
    let (mut numerators, mut denominators) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let (p, q) =
        (&mut numerators.spare_capacity_mut()[..count], &mut denominators.spare_capacity_mut()[..count]);
    p.par_chunks_mut(TASK).zip(q.par_chunks_mut(TASK)).enumerate().for_each(|(task, (p, q))| {
        let first = task * TASK;
        let mut done = 0;
        while done + 8 <= p.len() && first + done + 8 <= whole {
            // SAFETY: the processor has the features, and the targets have room for eight elements.
            unsafe {
                put_sums(nodes, first + done, p[done..].as_mut_ptr().cast(), q[done..].as_mut_ptr().cast())
            };
            done += 8;
        }
        for (i, (p, q)) in p.iter_mut().zip(q).enumerate().skip(done) {
            let (a, b) = sum(&nodes.pair(first + i));
            p.write(a);
            q.write(b);
        }
    });
    // SAFETY: all tasks together have written `count` elements of both.
    unsafe {
        numerators.set_len(count);
        denominators.set_len(count);
    }
    Layer { numerators, denominators }
}

/// Writes the sums of the pairs `first..first + 8`.
///
/// # Safety
/// [`available`]; the targets have room for eight elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512ifma")]
unsafe fn put_sums(nodes: &impl Nodes, first: usize, p: *mut Fr, q: *mut Fr) {
    // SAFETY: the processor has the features, which this function asks for.
    let (a, b) = sum_eight(unsafe { nodes.eight(|k| first + k) });
    for (i, row) in to_rows(a, b).into_iter().enumerate() {
        // SAFETY: room for eight elements; the stores ask for no alignment.
        unsafe {
            _mm256_storeu_si256(p.add(i).cast(), _mm512_castsi512_si256(row));
            _mm256_storeu_si256(q.add(i).cast(), _mm512_extracti64x4_epi64::<1>(row));
        }
    }
}

/// [`sum`] of eight canonical pairs, canonical.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum_eight([p0, p1, q0, q1]: [Eight; 4]) -> (Eight, Eight) {
    let mut t = Products::zero();
    t.add(p0, q1);
    t.add(p1, q0);
    (t.reduce().canonical(), q0.times(q1).canonical())
}

/// The sum of two fractions.
#[inline(always)]
fn sum([p0, p1, q0, q1]: &[Fr; 4]) -> (Fr, Fr) {
    (*p0 * q1 + *p1 * q0, *q0 * q1)
}

impl Nodes for Layer {
    fn count(&self) -> usize {
        self.denominators.len()
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        let (p, q) = (&self.numerators, &self.denominators);
        let p1 = p.get(2 * i + 1).copied().unwrap_or_else(Fr::zero);
        let q1 = q.get(2 * i + 1).copied().unwrap_or_else(Fr::one);
        [p[2 * i], p1, q[2 * i], q1]
    }

    #[cfg(target_arch = "x86_64")]
    fn whole_pairs(&self) -> usize {
        self.count() / 2
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4] {
        let two = |v: &[Fr], i: usize| v[2 * i..2 * i + 2].as_ptr().cast();
        // SAFETY: two elements lie at each place.
        let ((p0, p1), (q0, q1)) = unsafe {
            (load_two(|k| two(&self.numerators, at(k))), load_two(|k| two(&self.denominators, at(k))))
        };
        [p0, p1, q0, q1]
    }
}

/// The nodes with these values at `i`, and what follows the last one.
#[inline(always)]
fn pair_of(i: usize, count: usize, node: impl Fn(usize) -> (Fr, Fr)) -> [Fr; 4] {
    let (p0, q0) = node(2 * i);
    let (p1, q1) = if 2 * i + 1 < count { node(2 * i + 1) } else { (Fr::zero(), Fr::one()) };
    [p0, p1, q0, q1]
}

/// The sums of adjacent leaves.
pub(super) struct Sums<'a>(pub(super) &'a Leaves<'a>);

impl Nodes for Sums<'_> {
    fn count(&self) -> usize {
        self.0.len() / 2
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        pair_of(i, self.count(), |i| {
            let (a, b) = (self.0.denominator(2 * i), self.0.denominator(2 * i + 1));
            (a + b, a * b)
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn whole_pairs(&self) -> usize {
        self.count() / 2
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4] {
        let leaf = |n: usize| self.0.denominators(|k| 4 * at(k) + n);
        let (a, b, c, d) = (leaf(0), leaf(1), leaf(2), leaf(3));
        [a.plus(b).canonical(), c.plus(d).canonical(), a.times(b).canonical(), c.times(d).canonical()]
    }
}

/// The sums of adjacent nodes of a layer, computed when they are read.
pub(super) struct Above<'a, N>(pub(super) &'a N);

impl<N: Nodes> Nodes for Above<'_, N> {
    fn count(&self) -> usize {
        self.0.pairs()
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        pair_of(i, self.count(), |i| sum(&self.0.pair(i)))
    }

    #[cfg(target_arch = "x86_64")]
    fn whole_pairs(&self) -> usize {
        self.0.whole_pairs() / 2
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    unsafe fn eight(&self, at: impl Fn(usize) -> usize) -> [Eight; 4] {
        // SAFETY: the processor has the features, which this function asks for.
        let [low, high] = [0, 1].map(|n| unsafe { self.0.eight(|k| 2 * at(k) + n) });
        let ((p0, q0), (p1, q1)) = (sum_eight(low), sum_eight(high));
        [p0, p1, q0, q1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Run;
    use ark_ff::Field;

    #[test]
    fn parents_are_those_of_the_twin() {
        let numbers = |n: usize, seed: u64| -> Vec<Fr> {
            std::iter::successors(Some(-Fr::from(seed)), |x| Some(x.square() + Fr::one())).take(n).collect()
        };
        let same = |nodes: &dyn Fn() -> [Layer; 2]| {
            let [a, b] = nodes();
            assert!(a.numerators == b.numerators && a.denominators == b.denominators);
        };
        for n in [1, 2, 15, 16, 17, 63, 127, 3001, 4096] {
            let layer = Layer { numerators: numbers(n, 3), denominators: numbers(n, 4) };
            same(&|| [layer.parents(), parents_reference(&layer)]);
            same(&|| [Above(&layer).parents(), parents_reference(&Above(&layer))]);
            let values: Vec<i32> = (0..2 * n as i32).map(|i| (i * i * 31) & 0xffff).collect();
            let leaves = Leaves::new(numbers(1 << 16, 5), 0, vec![Run::Wide(&values)]);
            same(&|| [Sums(&leaves).parents(), parents_reference(&Sums(&leaves))]);
            same(&|| [Above(&Sums(&leaves)).parents(), parents_reference(&Above(&Sums(&leaves)))]);
        }
    }
}
