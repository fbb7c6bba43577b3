//! The fraction trees of the lookup argument.
//!
//! Layer 0 holds the leaves, each following layer the sums of adjacent pairs. Only real nodes are stored: beyond the last
//! one, a node is `0 / 1`. Leaves with unit numerators are entries of a table, so neither they nor the layer above them are
//! stored at all: both are computed again from 4-byte indices, which takes an eighth of the memory.
//!
//! A layer's summand is `eq (p0 q1 + p1 q0 + l q0 q1)` with a merging challenge `l`. With `a = p0 + l q0` it is
//! `eq (a q1 + p1 q0)`; where both numerators are the same `p` (leaves), it is `eq ((p + l q0)(p + l q1) - p^2) / l`, and
//! the sum of `eq p^2` is public.

use ark_ff::{Field, One, Zero};
use monai_inference::multilinear::{eq_index, eq_range, eq_table, less_than};
use monai_inference::party::TreeClaim;
use monai_inference::transcript::Label;
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::channel::Channel;
use crate::kernels::WideSum;
use crate::progress::{Cancelled, Progress, check};

/// Stored nodes of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) numerators: Vec<Fr>,
    pub(crate) denominators: Vec<Fr>,
}

/// Leaves with numerator 1: leaf `i` has the denominator `table[index[i]]`. Their number is even.
#[derive(Clone, Debug)]
pub(crate) struct Leaves {
    pub(crate) table: Vec<Fr>,
    pub(crate) index: Vec<u32>,
}

/// The lowest layer of a tree.
#[derive(Clone, Debug)]
pub(crate) enum Bottom {
    /// Any fractions.
    General(Layer),
    /// Unit fractions.
    Units(Leaves),
}

/// Nodes of a layer, stored or not.
trait Nodes: Sync {
    /// Their number.
    fn count(&self) -> usize;

    /// Numerators, then denominators, of nodes `2 i` and `2 i + 1`, where the first is a real one.
    fn pair(&self, i: usize) -> [Fr; 4];

    /// Number of pairs.
    fn pairs(&self) -> usize {
        self.count().div_ceil(2)
    }

    /// The layer above, stored.
    fn parents(&self) -> Layer {
        let (numerators, denominators) = (0..self.pairs())
            .into_par_iter()
            .with_min_len(1 << 9)
            .map(|i| {
                let [p0, p1, q0, q1] = self.pair(i);
                (p0 * q1 + p1 * q0, q0 * q1)
            })
            .unzip();
        Layer { numerators, denominators }
    }
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
}

impl Leaves {
    #[inline(always)]
    fn get(&self, i: usize) -> Fr {
        self.table[self.index[i] as usize]
    }
}

/// The sums of adjacent leaves.
struct Sums<'a>(&'a Leaves);

impl Sums<'_> {
    #[inline(always)]
    fn node(&self, i: usize) -> (Fr, Fr) {
        let (a, b) = (self.0.get(2 * i), self.0.get(2 * i + 1));
        (a + b, a * b)
    }
}

impl Nodes for Sums<'_> {
    fn count(&self) -> usize {
        self.0.index.len() / 2
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        let (p0, q0) = self.node(2 * i);
        let (p1, q1) = if 2 * i + 1 < self.count() { self.node(2 * i + 1) } else { (Fr::zero(), Fr::one()) };
        [p0, p1, q0, q1]
    }
}

/// Proves the sum of the fractions over `2^variables` places.
///
/// # Errors
/// [`Cancelled`], asked for once a layer.
pub(crate) fn prove(
    bottom: Bottom,
    variables: usize,
    channel: &mut Channel,
    progress: &dyn Progress,
) -> Result<TreeClaim, Cancelled> {
    let mut layers = Vec::with_capacity(variables + 1);
    let leaves = match bottom {
        Bottom::General(layer) => {
            layers.push(layer);
            None
        }
        Bottom::Units(leaves) => Some(leaves),
    };
    // Layers that are not stored.
    let missing = if leaves.is_some() { variables.min(2) } else { 0 };
    if let Some(leaves) = &leaves {
        let ones = || Layer {
            numerators: vec![Fr::one(); leaves.index.len()],
            denominators: (0..leaves.index.len()).map(|i| leaves.get(i)).collect(),
        };
        layers.push(match missing {
            0 => ones(),
            1 => ones().parents(),
            _ => Sums(leaves).parents(),
        });
    }
    for _ in missing..variables {
        check(progress)?;
        let parents = layers[layers.len() - 1].parents();
        layers.push(parents);
    }
    let root = layers.pop();
    let (root_numerator, root_denominator) =
        root.map_or((Fr::zero(), Fr::one()), |r| (r.numerators[0], r.denominators[0]));
    channel.send(Label::Root, root_numerator);
    channel.send(Label::Root, root_denominator);
    let mut walk = Walk { numerator: root_numerator, denominator: root_denominator, point: Vec::new() };
    while let Some(layer) = layers.pop() {
        check(progress)?;
        walk.down(channel, |point, merge, claim, channel| {
            general_layer(&layer, point, merge, claim, channel)
        });
    }
    if let Some(leaves) = &leaves {
        if missing == 2 {
            check(progress)?;
            walk.down(channel, |point, merge, claim, channel| {
                general_layer(&Sums(leaves), point, merge, claim, channel)
            });
        }
        if missing > 0 {
            check(progress)?;
            walk.down(channel, |point, merge, claim, channel| {
                unit_layer(leaves, point, merge, claim, channel)
            });
        }
    }
    let Walk { numerator, denominator, point } = walk;
    Ok(TreeClaim { root_numerator, root_denominator, point, numerator, denominator })
}

/// The claim on a layer, on the way from the root to the leaves.
struct Walk {
    numerator: Fr,
    denominator: Fr,
    point: Vec<Fr>,
}

impl Walk {
    /// From a layer's claim to that of the layer below.
    fn down(
        &mut self,
        channel: &mut Channel,
        layer: impl FnOnce(&[Fr], Fr, Fr, &mut Channel) -> (Vec<Fr>, [Fr; 4]),
    ) {
        let merge = channel.challenge(Label::Tree);
        let claim = self.numerator + merge * self.denominator;
        let (inner, [p0, p1, q0, q1]) = layer(&self.point, merge, claim, channel);
        let x = channel.challenge(Label::Tree);
        self.numerator = p0 + x * (p1 - p0);
        self.denominator = q0 + x * (q1 - q0);
        self.point = std::iter::once(x).chain(inner).collect();
    }
}

/// Prefixes of `K` multilinear polynomials' values side by side, with the values of all others.
struct Prefixes<const K: usize> {
    values: Vec<[Fr; K]>,
    absent: [Fr; K],
}

/// `low + x (high - low)`.
#[inline(always)]
fn between<const K: usize>(low: &[Fr; K], high: &[Fr; K], x: Fr) -> [Fr; K] {
    std::array::from_fn(|k| low[k] + x * (high[k] - low[k]))
}

impl<const K: usize> Prefixes<K> {
    /// Binds the first variable of values that are computed, not stored.
    fn bound(count: usize, absent: [Fr; K], x: Fr, get: impl Fn(usize) -> [Fr; K] + Sync) -> Self {
        let values = (0..count.div_ceil(2))
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(|i| between(&get(2 * i), &if 2 * i + 1 < count { get(2 * i + 1) } else { absent }, x))
            .collect();
        Self { values, absent }
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> (&[Fr; K], &[Fr; K]) {
        (&self.values[2 * i], self.values.get(2 * i + 1).unwrap_or(&self.absent))
    }

    fn bind(&mut self, x: Fr) {
        let n = self.values.len().div_ceil(2);
        self.values = (0..n)
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(|i| {
                let (low, high) = self.pair(i);
                between(low, high, x)
            })
            .collect();
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

/// The running claim of a layer whose equality factor is stripped.
struct Rounds<'a> {
    claim: Fr,
    bound: Fr,
    channel: &'a mut Channel,
}

impl Rounds<'_> {
    /// Sends `t(0)` and the leading coefficient, and binds coordinate `r`.
    fn step(&mut self, r: Fr, t0: Fr, leading: Fr) -> Fr {
        self.channel.send(Label::Tree, t0);
        self.channel.send(Label::Tree, leading);
        let x = self.channel.challenge(Label::Tree);
        let (l0, l1) = (self.bound * (Fr::one() - r), self.bound * r);
        let t1 = (self.claim - l0 * t0) * l1.inverse().unwrap_or_else(Fr::zero);
        self.bound = l0 + x * (l1 - l0);
        self.claim = self.bound * (t0 + x * (t1 - t0 - leading + x * leading));
        x
    }
}

/// `a q1 + p1 q0` at 0, and its leading coefficient, between two quadruples `[a, p1, q0, q1]`.
#[inline(always)]
fn cross(low: &[Fr; 4], high: &[Fr; 4]) -> (Fr, Fr) {
    let [a, p1, q0, q1] = low;
    let [da, dp1, dq0, dq1]: [Fr; 4] = std::array::from_fn(|k| high[k] - low[k]);
    (*a * q1 + *p1 * q0, da * dq1 + dp1 * dq0)
}

fn general_layer(
    nodes: &impl Nodes,
    point: &[Fr],
    merge: Fr,
    claim: Fr,
    channel: &mut Channel,
) -> (Vec<Fr>, [Fr; 4]) {
    let pairs = nodes.pairs();
    let quadruple = |i: usize| {
        let [p0, p1, q0, q1] = nodes.pair(i);
        [p0 + merge * q0, p1, q0, q1]
    };
    let absent = [merge, Fr::zero(), Fr::one(), Fr::one()];
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    let mut bound: Option<Prefixes<4>> = None;
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let count = bound.as_ref().map_or(pairs, |b| b.values.len());
        let half = count.div_ceil(2);
        let (t0, leading) = match &bound {
            Some(b) => weighted(rest, half, |i| {
                let (low, high) = b.pair(i);
                cross(low, high)
            }),
            None => weighted(rest, half, |i| {
                let high = if 2 * i + 1 < pairs { quadruple(2 * i + 1) } else { absent };
                cross(&quadruple(2 * i), &high)
            }),
        };
        // Pairs of absent nodes give `merge` each, and nothing to the leading coefficient.
        let x = rounds.step(*r, t0 + merge * (Fr::one() - less_than(rest, half)), leading);
        match &mut bound {
            Some(b) => b.bind(x),
            None => bound = Some(Prefixes::bound(pairs, absent, x, quadruple)),
        }
        inner.push(x);
    }
    let [a, p1, q0, q1] = bound.map_or_else(|| quadruple(0), |b| b.values[0]);
    let ends = [a - merge * q0, p1, q0, q1];
    for x in &ends {
        rounds.channel.send(Label::TreeEnd, *x);
    }
    (inner, ends)
}

fn unit_layer(
    leaves: &Leaves,
    point: &[Fr],
    merge: Fr,
    claim: Fr,
    channel: &mut Channel,
) -> (Vec<Fr>, [Fr; 4]) {
    let pairs = leaves.index.len() / 2;
    // `1 + merge q` for every entry of the table, so that a leaf costs no product.
    let table: Vec<Fr> = leaves.table.par_iter().map(|q| Fr::one() + merge * q).collect();
    let sides = |i: usize| {
        let at = |i: usize| table[leaves.index[i] as usize];
        [at(2 * i), at(2 * i + 1)]
    };
    let absent = [merge; 2];
    let product = |low: &[Fr; 2], high: &[Fr; 2]| (low[0] * low[1], (high[0] - low[0]) * (high[1] - low[1]));
    let inverse = merge.inverse().unwrap_or_else(Fr::zero);
    // The numerators: 1 for all real pairs but the last, whose value changes as absent ones are bound into it.
    let mut last = Fr::one();
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    let mut bound: Option<Prefixes<2>> = None;
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let count = bound.as_ref().map_or(pairs, |b| b.values.len());
        let half = count.div_ceil(2);
        let (products, leading) = match &bound {
            Some(b) => weighted(rest, half, |i| {
                let (low, high) = b.pair(i);
                product(low, high)
            }),
            None => weighted(rest, half, |i| {
                let high = if 2 * i + 1 < pairs { sides(2 * i + 1) } else { absent };
                product(&sides(2 * i), &high)
            }),
        };
        let present = less_than(rest, half);
        let end = eq_index(rest, half - 1);
        let odd = count % 2 == 1;
        let (at_zero, step) = if odd { (last, -last) } else { (Fr::one(), last - Fr::one()) };
        let squares = present + end * (at_zero.square() - Fr::one());
        let t0 = (products - squares) * inverse + merge * (Fr::one() - present);
        let x = rounds.step(*r, t0, (leading - end * step.square()) * inverse);
        last = at_zero + x * step;
        match &mut bound {
            Some(b) => b.bind(x),
            None => bound = Some(Prefixes::bound(pairs, absent, x, sides)),
        }
        inner.push(x);
    }
    let present = less_than(&inner, pairs);
    let [a, b] = bound.map_or_else(|| sides(0), |b| b.values[0]);
    let (q0, q1) = ((a - present) * inverse, (b - present) * inverse);
    rounds.channel.send(Label::TreeEnd, q0);
    rounds.channel.send(Label::TreeEnd, q1);
    (inner, [present, present, q0, q1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_inference::multilinear::log2_ceil;
    use monai_inference::transcript::Transcript;

    fn numbers(n: usize, seed: u64) -> Vec<Fr> {
        std::iter::successors(Some(Fr::from(seed)), |x| Some(x.square() + Fr::from(7u64))).take(n).collect()
    }

    /// The reference: sums and extensions by their definition.
    fn check(n: usize, unit: bool) {
        let q = numbers(n, 3);
        let p = if unit { vec![Fr::one(); n] } else { numbers(n, 5) };
        let variables = log2_ceil(n);
        let bottom = if unit {
            // The table in another order, with an entry that no leaf has.
            let table: Vec<Fr> = q.iter().rev().copied().chain([Fr::zero()]).collect();
            Bottom::Units(Leaves { table, index: (0..n as u32).rev().collect() })
        } else {
            Bottom::General(Layer { numerators: p.clone(), denominators: q.clone() })
        };
        let claim = prove(bottom, variables, &mut Channel::new(Transcript::new()), &()).unwrap();
        let sum: Fr = p.iter().zip(&q).map(|(p, q)| *p * q.inverse().unwrap()).sum();
        assert_eq!(claim.root_numerator, sum * claim.root_denominator);
        let eq = eq_table(&claim.point);
        let numerator: Fr = eq.iter().zip(&p).map(|(e, p)| *e * p).sum();
        let absent: Fr = eq[n..].iter().sum();
        let denominator = eq.iter().zip(&q).map(|(e, q)| *e * q).sum::<Fr>() + absent;
        assert_eq!((claim.numerator, claim.denominator), (numerator, denominator), "{n} {unit}");
    }

    #[test]
    fn the_tree_ends_in_the_extensions_of_its_leaves() {
        for n in [2, 4, 6, 10, 64, 66, 94, 1000, 1024, 5002] {
            check(n, true);
            check(n, false);
        }
        for n in [3, 5, 7, 33, 1001] {
            check(n, false);
        }
    }
}
