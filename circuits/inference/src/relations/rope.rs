//! # RoPE
//!
//! **Statement.** For each pair of channels (a, b) of a query or key head at position `p`, with `A` the raw accumulators, or
//! where heads have a norm its output times the gain ([`super::HeadGain`]):
//! `q_a = r32(A_a c - A_b s)`, `q_b = r32(A_a s + A_b c)`, `c`, `s` from the model's tables at `(p, i)`.
//!
//! **Shape.** One sum over positions by channels: all layers and heads are folded first, as the rotation does not depend
//! on them. **Degree.** 3.
//!
//! **Soundness.** `2^32 y + 2^16 hi + r = rotation + 2^31` with `y`, `hi`, `r` of 16 bits by lookup and the rotation below
//! `2^64` by the registered bounds, so `y` is unique. Which bit of the channel is the side of a pair is the header's pair
//! order; tables beyond the model's positions are 0 by layout.

use ark_ff::{One, Zero};
use monai_model::artefact::PairOrder;
use monai_protocol::field::Fr;

use super::head_norm::{self, HeadGain};
use super::{LeafClaims, SumClaim, Summand, at, check, join, split};
use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range};
use crate::party::{Party, Query};
use crate::shape::{BLOCK_BITS, Matrix, Shape};
use crate::statement::Statement;
use crate::tensor::Tensor;

/// `sum_{p, chan} A(p, chan) (Ec(p, chan) cos(p, i) + Es(p, chan) sin(p, i))`.
///
/// `Ec` is `eq(z_p, p) eq(z_i, i)` times `1 - z_s` on the first and `z_s` on the second side, `Es` times `z_s` and
/// `-(1 - z_s)`: the transposed rotation. Factors: A, Ec, cos, Es, sin.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Weights of `[layer, query and key heads]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for Rope {
    const DEGREE: usize = 3;
    const FACTORS: usize = 5;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [a, ec, cos, es, sin] = f else { return Fr::zero() };
        *a * (*ec * cos + *es * sin)
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.head_bits.saturating_add(s.shape.position_bits)
    }
}

/// A channel's coordinates as (pair, side).
///
/// # Errors
/// Where the point is not of a head's width.
pub fn pair_and_side(shape: &Shape, channel: &[Fr]) -> Result<(Vec<Fr>, Fr), VerifyError> {
    let side_bit = match shape.pair_order {
        PairOrder::Interleaved => 0usize,
        PairOrder::Half => shape.head_bits.saturating_sub(1),
    };
    let side = at(channel, side_bit)?;
    let pair = channel.iter().enumerate().filter(|(j, _)| *j != side_bit).map(|(_, x)| *x).collect();
    Ok((pair, side))
}

/// Factors of `Ec` and `Es` that depend on the sides `(claim, sum)`.
#[must_use]
pub fn side_factors(claim: Fr, side: Fr) -> (Fr, Fr) {
    let (first, second) = (Fr::one() - side, side);
    let other = Fr::one() - claim;
    (first * other + second * claim, first * claim - second * other)
}

pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::QueryKey, s.shape.head_bits)?;
    let (column, row) = (claim.column, claim.row);
    let hi = claim.open(p, Tensor::QueryKeyHi)?;
    let y = claim.open_signed(p, Tensor::QueryKey)?;
    let rope = Rope { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&rope.clone().into(), claim.exact32(y, hi))?;
    let (channel, position) = split(&point, s.shape.head_bits)?;
    let raw = p.factor(0)?;
    let (pair, side) = pair_and_side(&s.shape, channel)?;
    let (claim_pair, claim_side) = pair_and_side(&s.shape, column)?;
    let eq = eq_points(&claim_pair, &pair) * eq_points(row, position);
    let (first, second) = side_factors(claim_side, side);
    let (low, segment) = split(position, BLOCK_BITS)?;
    let segments = eq_range(segment, 0, s.shape.segments().min(s.shape.table_segments));
    let table = |p: &mut P, t| p.open(Query::new(t, join(&pair, low), segments.clone()));
    let (cos, sin) = (table(p, Tensor::Cos)?, table(p, Tensor::Sin)?);
    check("the rotation", value == rope.combine(&[raw, eq * first, cos, eq * second, sin]))?;
    let weights = claim.weights.to_vec();
    if s.shape.has_head_norms() {
        let claim = HeadGain { weights, column: channel.to_vec(), row: position.to_vec() };
        return head_norm::prove(p, s, leaves, linear, claim, raw);
    }
    linear.push(Matrix::QueryKey, weights, channel, position, raw);
    Ok(())
}
