//! The fraction trees of the lookup argument.
//!
//! Layer 0 holds the leaves, each following layer the sums of adjacent pairs. Only real nodes are stored: beyond the last
//! one, a node is `0 / 1`.
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
use crate::progress::{Cancelled, Progress, check};

/// The real nodes of one layer. `numerators` is empty where all are 1.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) numerators: Vec<Fr>,
    pub(crate) denominators: Vec<Fr>,
}

impl Layer {
    /// The parents of this layer's nodes.
    fn parents(&self) -> Self {
        let unit = self.numerators.is_empty();
        let (numerators, denominators) = self
            .denominators
            .par_chunks(2)
            .enumerate()
            .with_min_len(1 << 9)
            .map(|(i, q)| match (q, unit) {
                ([q0, q1], true) => (*q0 + q1, *q0 * q1),
                ([q0, q1], false) => {
                    let (p0, p1) = (self.numerators[2 * i], self.numerators[2 * i + 1]);
                    (p0 * q1 + p1 * q0, *q0 * q1)
                }
                (_, true) => (Fr::one(), q[0]),
                (_, false) => (self.numerators[2 * i], q[0]),
            })
            .unzip();
        Self { numerators, denominators }
    }
}

/// Proves the sum of a layer's fractions over `2^variables` places. Layers with implicit numerators have an even length.
///
/// # Errors
/// [`Cancelled`], asked for once a layer.
pub(crate) fn prove(
    leaves: Layer,
    variables: usize,
    channel: &mut Channel,
    progress: &dyn Progress,
) -> Result<TreeClaim, Cancelled> {
    let mut layers = vec![leaves];
    for _ in 0..variables {
        check(progress)?;
        let parents = layers[layers.len() - 1].parents();
        layers.push(parents);
    }
    let root = layers.pop();
    let (root_numerator, root_denominator) =
        root.map_or((Fr::zero(), Fr::one()), |r| (r.numerators[0], r.denominators[0]));
    channel.send(Label::Root, root_numerator);
    channel.send(Label::Root, root_denominator);
    let (mut numerator, mut denominator) = (root_numerator, root_denominator);
    let mut point: Vec<Fr> = Vec::new();
    while let Some(layer) = layers.pop() {
        check(progress)?;
        let merge = channel.challenge(Label::Tree);
        let claim = numerator + merge * denominator;
        let (inner, [p0, p1, q0, q1]) = if layer.numerators.is_empty() {
            unit_layer(&layer.denominators, &point, merge, claim, channel)
        } else {
            general_layer(&layer, &point, merge, claim, channel)
        };
        drop(layer);
        let x = channel.challenge(Label::Tree);
        numerator = p0 + x * (p1 - p0);
        denominator = q0 + x * (q1 - q0);
        point = std::iter::once(x).chain(inner).collect();
    }
    Ok(TreeClaim { root_numerator, root_denominator, point, numerator, denominator })
}

/// A prefix of a multilinear polynomial's values, with the value of all others.
struct Prefix {
    values: Vec<Fr>,
    absent: Fr,
}

impl Prefix {
    #[inline(always)]
    fn pair(&self, i: usize) -> (Fr, Fr) {
        let low = self.values[2 * i];
        (low, self.values.get(2 * i + 1).copied().unwrap_or(self.absent) - low)
    }

    fn bind(&mut self, x: Fr) {
        let n = self.values.len().div_ceil(2);
        self.values = (0..n)
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(|i| {
                let (low, step) = self.pair(i);
                low + x * step
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
            let (mut a, mut b) = (Fr::zero(), Fr::zero());
            let first = hi * inner.len();
            for (i, e) in (first..n).zip(&inner) {
                let (x, y) = f(i);
                a += *e * x;
                b += *e * y;
            }
            (a * e, b * e)
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

fn general_layer(
    layer: &Layer,
    point: &[Fr],
    merge: Fr,
    claim: Fr,
    channel: &mut Channel,
) -> (Vec<Fr>, [Fr; 4]) {
    let (p, q) = (&layer.numerators, &layer.denominators);
    let pairs = q.len().div_ceil(2);
    let every = |f: &(dyn Fn(usize) -> Fr + Sync), absent: Fr| Prefix {
        values: (0..pairs).into_par_iter().with_min_len(1 << 10).map(f).collect(),
        absent,
    };
    let get = |v: &[Fr], i: usize, absent: Fr| v.get(i).copied().unwrap_or(absent);
    let mut a = every(&|i| p[2 * i] + merge * q[2 * i], merge);
    let mut p1 = every(&|i| get(p, 2 * i + 1, Fr::zero()), Fr::zero());
    let mut q0 = every(&|i| q[2 * i], Fr::one());
    let mut q1 = every(&|i| get(q, 2 * i + 1, Fr::one()), Fr::one());
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let half = q0.values.len().div_ceil(2);
        let (t0, leading) = weighted(rest, half, |i| {
            let ((a, da), (p1, dp1)) = (a.pair(i), p1.pair(i));
            let ((q0, dq0), (q1, dq1)) = (q0.pair(i), q1.pair(i));
            (a * q1 + p1 * q0, da * dq1 + dp1 * dq0)
        });
        // Pairs of absent nodes give `merge` each, and nothing to the leading coefficient.
        let x = rounds.step(*r, t0 + merge * (Fr::one() - less_than(rest, half)), leading);
        rayon::join(|| (a.bind(x), p1.bind(x)), || (q0.bind(x), q1.bind(x)));
        inner.push(x);
    }
    let (q0, q1) = (q0.values[0], q1.values[0]);
    let ends = [a.values[0] - merge * q0, p1.values[0], q0, q1];
    for x in &ends {
        rounds.channel.send(Label::TreeEnd, *x);
    }
    (inner, ends)
}

fn unit_layer(q: &[Fr], point: &[Fr], merge: Fr, claim: Fr, channel: &mut Channel) -> (Vec<Fr>, [Fr; 4]) {
    let pairs = q.len() / 2;
    let side = |which: usize| Prefix {
        values: (0..pairs)
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(|i| Fr::one() + merge * q[2 * i + which])
            .collect(),
        absent: merge,
    };
    let (mut a, mut b) = (side(0), side(1));
    let inverse = merge.inverse().unwrap_or_else(Fr::zero);
    // The numerators: 1 for all real pairs but the last, whose value changes as absent ones are bound into it.
    let mut last = Fr::one();
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let count = a.values.len();
        let half = count.div_ceil(2);
        let (products, leading) = weighted(rest, half, |i| {
            let ((a, da), (b, db)) = (a.pair(i), b.pair(i));
            (a * b, da * db)
        });
        let present = less_than(rest, half);
        let end = eq_index(rest, half - 1);
        let odd = count % 2 == 1;
        let (at_zero, step) = if odd { (last, -last) } else { (Fr::one(), last - Fr::one()) };
        let squares = present + end * (at_zero.square() - Fr::one());
        let t0 = (products - squares) * inverse + merge * (Fr::one() - present);
        let x = rounds.step(*r, t0, (leading - end * step.square()) * inverse);
        last = at_zero + x * step;
        rayon::join(|| a.bind(x), || b.bind(x));
        inner.push(x);
    }
    let present = less_than(&inner, pairs);
    let (q0, q1) = ((a.values[0] - present) * inverse, (b.values[0] - present) * inverse);
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
        let layer = Layer { numerators: if unit { Vec::new() } else { p.clone() }, denominators: q.clone() };
        let claim = prove(layer, variables, &mut Channel::new(Transcript::new()), &()).unwrap();
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
