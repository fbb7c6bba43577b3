//! The fraction trees of the lookup argument.
//!
//! Layer 0 holds the leaves, each following layer the sums of adjacent pairs. Only real nodes are stored: beyond the last
//! one, a node is `0 / 1`. Leaves with unit numerators are entries of a table, so neither they nor the first layers above
//! them are stored at all: they are computed again from 16-bit values and indices whenever they are read.
//!
//! A layer's summand is `eq (p0 q1 + p1 q0 + l q0 q1)` with a merging challenge `l`. With `a = p0 + l q0` it is
//! `eq (a q1 + p1 q0)`; where both numerators are the same `p` (leaves), it is `eq l (z0 z1 - (p / l)^2)` with
//! `z = q + p / l`, and the sum of `eq p^2` is public.
//!
//! | file | what |
//! |---|---|
//! | `leaves.rs` | unit fractions, read from the witness |
//! | `nodes.rs` | layers, stored or computed |
//! | `forms.rs` | the two summands, and what they are made of |
//! | `values.rs` | what a layer's sumcheck binds: computed at first, then stored |

mod forms;
mod leaves;
mod nodes;
mod values;

use ark_ff::{Field, One, Zero};
use monai_inference::multilinear::{eq_index, less_than};
use monai_inference::party::TreeClaim;
use monai_inference::transcript::Label;
use monai_protocol::Fr;

use crate::channel::Channel;
use crate::progress::{Cancelled, Progress, check};
use forms::{Cross, Product, Quadruples, Sides};
pub(crate) use leaves::{Leaves, Run};
pub(crate) use nodes::Layer;
use nodes::{Above, Nodes, Sums};
use values::Values;

/// The lowest layer of a tree.
#[derive(Debug)]
pub(crate) enum Bottom<'a> {
    /// Any fractions.
    General(Layer),
    /// Unit fractions.
    Units(Leaves<'a>),
}

/// What a tree of unit fractions stores. More leaves store less of each and compute more again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// The lowest layer that is stored: 2 or 3.
    stored: usize,
    /// Rounds of the sumchecks of layers 0 and 1 whose values are computed: 1 or 2.
    computed_rounds: usize,
}

/// Up to here, a tree takes what makes it fastest: 4 GiB.
const ROOMY: usize = 1 << 27;

impl Plan {
    const fn new(leaves: usize) -> Self {
        if leaves <= ROOMY {
            Self { stored: 2, computed_rounds: 1 }
        } else {
            Self { stored: 3, computed_rounds: 2 }
        }
    }
}

/// What a tree of unit fractions holds at its peak, in bytes, besides its leaves: its layers from the lowest stored one on,
/// of `leaves / 2^k` nodes of two elements each. What the sums of the layers below bind is less, and comes later.
pub(crate) const fn peak_bytes(leaves: usize) -> u64 {
    let node = 2 * size_of::<Fr>() as u64;
    (2 * node * leaves as u64) >> Plan::new(leaves).stored
}

/// Proves the sum of the fractions over `2^variables` places.
///
/// # Errors
/// [`Cancelled`], asked for once a layer.
pub(crate) fn prove(
    bottom: Bottom<'_>,
    variables: usize,
    channel: &mut Channel,
    progress: &dyn Progress,
) -> Result<TreeClaim, Cancelled> {
    match bottom {
        Bottom::General(layer) => Ok(Walk::stored(layer, variables, channel, progress)?.finish()),
        Bottom::Units(leaves) => {
            let plan = Plan::new(leaves.len());
            prove_units(&leaves, plan, variables, channel, progress)
        }
    }
}

/// [`prove`] for unit fractions.
fn prove_units(
    leaves: &Leaves<'_>,
    plan: Plan,
    variables: usize,
    channel: &mut Channel,
    progress: &dyn Progress,
) -> Result<TreeClaim, Cancelled> {
    let sums = Sums(leaves);
    let second = Above(&sums);
    // Layers that are not stored; a tree of few leaves has fewer.
    let missing = variables.min(plan.stored);
    let lowest = match missing {
        0 => leaves.layer(),
        1 => leaves.layer().parents(),
        2 => sums.parents(),
        _ => second.parents(),
    };
    let mut walk = Walk::stored(lowest, variables - missing, channel, progress)?;
    for layer in (0..missing).rev() {
        check(progress)?;
        walk.down(channel, |point, merge, claim, channel| match layer {
            2 => general_layer(&second, 1, point, merge, claim, channel),
            1 => general_layer(&sums, plan.computed_rounds, point, merge, claim, channel),
            _ => unit_layer(leaves, plan.computed_rounds, point, merge, claim, channel),
        });
    }
    Ok(walk.finish())
}

/// The claim on a layer, on the way from the root to the leaves.
struct Walk {
    root: (Fr, Fr),
    numerator: Fr,
    denominator: Fr,
    point: Vec<Fr>,
}

impl Walk {
    /// Builds all layers above a stored one, sends the root, and goes down to that layer.
    fn stored(
        lowest: Layer,
        variables: usize,
        channel: &mut Channel,
        progress: &dyn Progress,
    ) -> Result<Self, Cancelled> {
        let mut layers = Vec::with_capacity(variables + 1);
        layers.push(lowest);
        for _ in 0..variables {
            check(progress)?;
            let parents = layers[layers.len() - 1].parents();
            layers.push(parents);
        }
        let root = layers.pop().map_or((Fr::zero(), Fr::one()), |r| (r.numerators[0], r.denominators[0]));
        channel.send(Label::Root, root.0);
        channel.send(Label::Root, root.1);
        let mut walk = Self { root, numerator: root.0, denominator: root.1, point: Vec::new() };
        while let Some(layer) = layers.pop() {
            check(progress)?;
            walk.down(channel, |point, merge, claim, channel| {
                general_layer(&layer, 1, point, merge, claim, channel)
            });
        }
        Ok(walk)
    }

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

    fn finish(self) -> TreeClaim {
        let Self { root: (root_numerator, root_denominator), numerator, denominator, point } = self;
        TreeClaim { root_numerator, root_denominator, point, numerator, denominator }
    }
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

/// The sumcheck of any layer. Values of the first `computed_rounds` rounds are computed from the nodes, then stored.
fn general_layer(
    nodes: &impl Nodes,
    computed_rounds: usize,
    point: &[Fr],
    merge: Fr,
    claim: Fr,
    channel: &mut Channel,
) -> (Vec<Fr>, [Fr; 4]) {
    let absent = [merge, Fr::zero(), Fr::one(), Fr::one()];
    let mut values = Values::new(nodes.pairs(), absent, computed_rounds, Quadruples { nodes, merge });
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let (t0, leading) = values.sum::<Cross>(rest);
        // Pairs of absent nodes give `merge` each, and nothing to the leading coefficient.
        let absent = merge * (Fr::one() - less_than(rest, values.half()));
        let x = rounds.step(*r, t0 + absent, leading);
        values.bind(x, rest.is_empty());
        inner.push(x);
    }
    let [a, p1, q0, q1] = values.end();
    let ends = [a - merge * q0, p1, q0, q1];
    for x in &ends {
        rounds.channel.send(Label::TreeEnd, *x);
    }
    (inner, ends)
}

/// The sumcheck of the leaves.
fn unit_layer(
    leaves: &Leaves<'_>,
    computed_rounds: usize,
    point: &[Fr],
    merge: Fr,
    claim: Fr,
    channel: &mut Channel,
) -> (Vec<Fr>, [Fr; 4]) {
    let pairs = leaves.len() / 2;
    let inverse = merge.inverse().unwrap_or_else(Fr::zero);
    let sides = Sides { leaves, table: leaves.shifted(inverse) };
    let mut values = Values::new(pairs, [Fr::one(); 2], computed_rounds, sides);
    // The numerators: 1 for all real pairs but the last, whose value changes as absent ones are bound into it.
    let mut last = Fr::one();
    let mut rounds = Rounds { claim, bound: Fr::one(), channel };
    let mut inner = Vec::with_capacity(point.len());
    for (j, r) in point.iter().enumerate() {
        let rest = &point[j + 1..];
        let (count, half) = (values.count(), values.half());
        let (products, leading) = values.sum::<Product>(rest);
        let present = less_than(rest, half);
        let end = eq_index(rest, half - 1);
        let odd = count % 2 == 1;
        let (at_zero, step) = if odd { (last, -last) } else { (Fr::one(), last - Fr::one()) };
        let squares = present + end * (at_zero.square() - Fr::one());
        let t0 = merge * (products + Fr::one() - present) - squares * inverse;
        let x = rounds.step(*r, t0, merge * leading - end * step.square() * inverse);
        last = at_zero + x * step;
        values.bind(x, rest.is_empty());
        inner.push(x);
    }
    let present = less_than(&inner, pairs);
    let [z0, z1] = values.end();
    let (q0, q1) = (z0 - present * inverse, z1 - present * inverse);
    rounds.channel.send(Label::TreeEnd, q0);
    rounds.channel.send(Label::TreeEnd, q1);
    (inner, [present, present, q0, q1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_inference::multilinear::{eq_table, log2_ceil};
    use monai_inference::transcript::Transcript;

    fn numbers(n: usize, seed: u64) -> Vec<Fr> {
        std::iter::successors(Some(Fr::from(seed)), |x| Some(x.square() + Fr::from(7u64))).take(n).collect()
    }

    /// The reference: sums and extensions by their definition.
    fn check_claim(claim: &TreeClaim, p: &[Fr], q: &[Fr]) {
        let n = q.len();
        let sum: Fr = p.iter().zip(q).map(|(p, q)| *p * q.inverse().unwrap()).sum();
        assert_eq!(claim.root_numerator, sum * claim.root_denominator);
        let eq = eq_table(&claim.point);
        let numerator: Fr = eq.iter().zip(p).map(|(e, p)| *e * p).sum();
        let absent: Fr = eq[n..].iter().sum();
        let denominator = eq.iter().zip(q).map(|(e, q)| *e * q).sum::<Fr>() + absent;
        assert_eq!((claim.numerator, claim.denominator), (numerator, denominator), "{n}");
    }

    fn check_general(n: usize) {
        let (p, q) = (numbers(n, 5), numbers(n, 3));
        let bottom = Bottom::General(Layer { numerators: p.clone(), denominators: q.clone() });
        let claim = prove(bottom, log2_ceil(n), &mut Channel::new(Transcript::new()), &()).unwrap();
        check_claim(&claim, &p, &q);
    }

    /// `n` leaves of three kinds: indices, then (from 64 on) values in 32 and (from 128 on) in 16 bits.
    fn check_units(n: usize) {
        let noise = |i: usize| (i * i * 7919 + 13 * i) & 0xffff;
        // 100 entries, then the range table, then one that no leaf has.
        let table = [numbers(100, 3), numbers(1 << 16, 11), vec![Fr::zero()]].concat();
        let index: Vec<u32> = (0..n.min(64)).map(|i| (noise(i) % 100) as u32).collect();
        let wide: Vec<i32> = (64..n.min(128)).map(|i| noise(i) as i32).collect();
        let narrow: Vec<u16> = (128..n).map(|i| noise(i) as u16).collect();
        let runs = vec![Run::Index(index.clone()), Run::Wide(&wide), Run::Narrow(&narrow)];
        let leaves = Leaves::new(table.clone(), 100, runs);
        let q: Vec<Fr> =
            (0..n).map(|i| table[if i < 64 { index[i] as usize } else { 100 + noise(i) }]).collect();
        let mut claims = Vec::new();
        for (stored, computed_rounds) in [(2, 1), (2, 2), (3, 1), (3, 2)] {
            let plan = Plan { stored, computed_rounds };
            let mut channel = Channel::new(Transcript::new());
            claims.push(prove_units(&leaves, plan, log2_ceil(n), &mut channel, &()).unwrap());
            check_claim(&claims[0], &vec![Fr::one(); n], &q);
            claims.dedup_by(|a, b| {
                (&a.point, a.numerator, a.denominator) == (&b.point, b.numerator, b.denominator)
            });
            assert_eq!(claims.len(), 1, "what is stored changes no message");
        }
    }

    #[test]
    fn the_tree_ends_in_the_extensions_of_its_leaves() {
        for n in [2, 4, 6, 10, 64, 66, 94, 126, 128, 190, 254, 1000, 1022, 1024, 5002] {
            check_units(n);
            check_general(n);
        }
        for n in [1, 3, 5, 7, 33, 1001] {
            check_general(n);
        }
    }
}
