//! # Norms on heads
//!
//! **Statement.** Where the model normalises query and key heads: `t = r16(A)` with `A` the raw accumulators, `y` the
//! RMSNorm of `t` over the head's channels ([`super::Norms::Heads`]), and what RoPE turns is `gain y`, with one integer gain
//! a channel for all query heads of a layer, and one for all its key heads.
//!
//! **Shape.** [`HeadGain`]: layers by query and key heads, by channels. Positions are bound at the claim's.
//! **Degree.** 3.
//!
//! **Soundness.** `t` is the unique quotient of `2^16 t + r = A + 2^15` with 16 bits each: registered bounds keep `|A|`
//! below `2^31`. `gain y` is no column: RoPE's claim on it, a linear functional, is the sum below, at most one bilinear map
//! from committed `y` and the model's committed gains, so there is nothing that could differ from it. `|gain| < 2^31` and
//! `|y| < 2^15`, so a rotated pair stays below `2^62`, and RoPE's equation is one of integers.

use ark_ff::Zero;
use monai_protocol::field::Fr;

use super::norm::{Norms, by_kind};
use super::{LeafClaims, SumClaim, Summand, check, join, offset16, split};
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, total};
use crate::party::{Party, Query};
use crate::shape::{Matrix, Shape};
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};

/// `sum_{head, c} w_head eq(z_c, c) gain[head](c) y[head](z_p, c)`. Factors: the weight, gain, y.
#[derive(Clone, Debug)]
pub struct HeadGain {
    /// Weights of `[layer, query and key heads]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl HeadGain {
    /// Of values of `[layer, 2]`, queries then keys: the value of each query and key head of each layer.
    pub fn spread<'a, T>(shape: &Shape, values: &'a [T]) -> impl Iterator<Item = &'a T> + use<'a, T> {
        by_kind(shape, values)
    }
}

impl Summand for HeadGain {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        variables(s.shape.all_query_keys()).saturating_add(s.shape.head_bits)
    }
}

/// Weights of `[layer, 2]` from weights of `[layer, query and key heads]`.
fn kinds(s: &Shape, heads: &[Fr]) -> Vec<Fr> {
    heads
        .chunks(s.query_keys().max(1))
        .flat_map(|layer| {
            let (queries, keys) = layer.split_at_checked(s.heads).unwrap_or((layer, &[]));
            [total(queries), total(keys)]
        })
        .collect()
}

/// Proves RoPE's claim `sum_head weights A_head(channel, position) = raw` on what it turns.
pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
    claim: HeadGain,
    raw: Fr,
) -> Result<(), P::Error> {
    let SumClaim { point, value } = p.sum(&claim.clone().into(), raw)?;
    let (channel, head) = split(&point, s.shape.head_bits)?;
    let heads = eq_range(head, 0, s.shape.all_query_keys());
    let weight = heads.iter().zip(&claim.weights).fold(Fr::zero(), |acc, (a, b)| acc + *a * b);
    let gain = p.open(Query::new(Tensor::HeadGain, channel.to_vec(), kinds(&s.shape, &heads)))?;
    let offset = offset16(&heads);
    let y = p.open(Query::new(Tensor::HeadY, join(channel, &claim.row), heads))? - offset;
    check("the gain of the heads' norm", value == weight * eq_points(&claim.column, channel) * gain * y)?;

    super::norm::prove(p, s, leaves, Norms::Heads)?;

    let claim = leaves.take(Remainder::HeadT, s.shape.head_bits)?;
    let t = claim.open_signed(p, Tensor::HeadT)?;
    linear.push(Matrix::QueryKey, claim.weights.to_vec(), claim.column, claim.row, claim.exact16(t));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::tests::shape;

    #[test]
    fn weights_of_kinds_are_the_transpose_of_spreading() {
        let s = shape(2, 6, 2);
        let gains: Vec<Fr> = (1..=4u64).map(Fr::from).collect();
        let spread: Vec<Fr> = HeadGain::spread(&s, &gains).copied().collect();
        let expected = [1u64, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 4, 4].map(Fr::from);
        assert_eq!(spread, expected);
        let weights: Vec<Fr> = (0..16u64).map(|i| Fr::from(i * i + 1)).collect();
        let direct: Fr = weights.iter().zip(&spread).map(|(w, g)| *w * g).sum();
        let folded: Fr = kinds(&s, &weights).iter().zip(&gains).map(|(w, g)| *w * g).sum();
        assert_eq!(direct, folded);
    }
}
