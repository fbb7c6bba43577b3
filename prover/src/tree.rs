//! The fraction trees of the lookup argument.
//!
//! Layer 0 holds the leaves, each following layer the sums of adjacent pairs. Only real nodes are stored: beyond the last
//! one, a node is `0 / 1`.

use ark_ff::{Field, One, Zero};
use monai_inference::multilinear::{eq_range, less_than};
use monai_inference::party::TreeClaim;
use monai_inference::transcript::Label;
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::channel::Channel;
use crate::sumcheck::bind;

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

/// Proves the sum of a layer's fractions over `2^variables` places.
pub(crate) fn prove(leaves: Layer, variables: usize, channel: &mut Channel) -> TreeClaim {
    let mut layers = vec![leaves];
    for _ in 0..variables {
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
        let merge = channel.challenge(Label::Tree);
        let (inner, [p0, p1, q0, q1]) =
            prove_layer(layer, &point, merge, numerator + merge * denominator, channel);
        let x = channel.challenge(Label::Tree);
        numerator = p0 + x * (p1 - p0);
        denominator = q0 + x * (q1 - q0);
        point = std::iter::once(x).chain(inner).collect();
    }
    TreeClaim { root_numerator, root_denominator, point, numerator, denominator }
}

/// `sum_i eq(point, i) (p0 q1 + p1 q0 + merge q0 q1)` over the pairs of a layer.
fn prove_layer(layer: Layer, point: &[Fr], merge: Fr, mut claim: Fr, channel: &mut Channel) -> (Vec<Fr>, [Fr; 4]) {
    let unit = layer.numerators.is_empty();
    let split = |v: &[Fr], absent: Fr| -> (Vec<Fr>, Vec<Fr>) {
        v.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or(absent))).unzip()
    };
    let (mut q0, mut q1) = split(&layer.denominators, Fr::one());
    let (mut p0, mut p1) = split(&layer.numerators, Fr::zero());
    drop(layer);
    let pairs = q0.len();
    if unit && !point.is_empty() {
        // Until the first variable is bound, real numerators are 1 and need no arrays; afterwards only the last pair
        // can differ, and `present` below is exact for it.
        p0 = vec![Fr::one(); pairs];
        p1 = p0.clone();
    }
    let mut bound = Fr::one();
    let mut inner = Vec::with_capacity(point.len());
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let half = q0.len().div_ceil(2);
        let eq = eq_range(rest, 0, half);
        let get = |v: &[Fr], i: usize, absent: Fr| v.get(i).copied().unwrap_or(absent);
        let (mut t0, leading) = (0..half)
            .into_par_iter()
            .with_min_len(1 << 9)
            .map(|i| {
                let (a, b) = (2 * i, 2 * i + 1);
                let (p0a, p1a, q0a, q1a) = (p0[a], p1[a], q0[a], q1[a]);
                let dp0 = get(&p0, b, Fr::zero()) - p0a;
                let dp1 = get(&p1, b, Fr::zero()) - p1a;
                let dq0 = get(&q0, b, Fr::one()) - q0a;
                let dq1 = get(&q1, b, Fr::one()) - q1a;
                let low = p0a * q1a + (p1a + merge * q1a) * q0a;
                let top = dp0 * dq1 + (dp1 + merge * dq1) * dq0;
                (eq[i] * low, eq[i] * top)
            })
            .reduce(|| (Fr::zero(), Fr::zero()), |a, b| (a.0 + b.0, a.1 + b.1));
        // Pairs of absent nodes give `merge` each, and nothing to the leading coefficient.
        t0 += merge * (Fr::one() - less_than(rest, half));
        channel.send(Label::Tree, t0);
        channel.send(Label::Tree, leading);
        let x = channel.challenge(Label::Tree);
        let (l0, l1) = (bound * (Fr::one() - r), bound * r);
        let t1 = (claim - l0 * t0) * l1.inverse().unwrap_or_else(Fr::zero);
        bound = l0 + x * (l1 - l0);
        claim = bound * (t0 + x * (t1 - t0 - leading + x * leading));
        let odd = q0.len() % 2 == 1;
        if odd {
            // The absent neighbour of the last node.
            q0.push(Fr::one());
            q1.push(Fr::one());
        }
        rayon::join(
            || rayon::join(|| bind(&mut q0, x), || bind(&mut q1, x)),
            || rayon::join(|| bind(&mut p0, x), || bind(&mut p1, x)),
        );
        inner.push(x);
    }
    let ends = if unit {
        let present = less_than(&inner, pairs);
        [present, present, q0[0], q1[0]]
    } else {
        [p0[0], p1[0], q0[0], q1[0]]
    };
    let sent = if unit { &ends[2..] } else { &ends[..] };
    for x in sent {
        channel.send(Label::TreeEnd, *x);
    }
    (inner, ends)
}
