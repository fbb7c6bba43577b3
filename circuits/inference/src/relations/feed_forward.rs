//! # Feed-forward
//!
//! **Statement.** `g = r16(A_gate)`, `P = SILU[g + 2^15] A_up`, `x` is the least exponent in [0, 15] at which every
//! `t = r32(P 2^(15-x))` of the row has 16 bits, and the sub-layer adds `r32(A_down 2^x)`.
//!
//! **Shape.** [`Gated`]: layers by positions by feed-forward; [`FfnRows`], [`Down`]: layers by positions.
//! **Degree.** [`Gated`] 4, [`FfnRows`] 5, [`Down`] 3.
//!
//! **Soundness.** `SILU` and the exponent's powers are lookups. It fits at `x`: `t` has 16 bits. It is least: where
//! `x > 0`, a pointer (a row of 16-bit integers that sum to 1, so one-hot) names an entry `P` with `Y = 2 P 2^(15-x) + 2^31`
//! and either `Y - 2^47 = slack` or `-Y - 2^47 - 1 = slack`, a 48-bit slack, so that `r32` of it at `x - 1` leaves 16 bits;
//! the choice is a bit by `sign^2 = sign`. `|P| < 2^47` is registered, so no side wraps. An overflow at `x - 1` implies one
//! at every smaller exponent because the bound is monotone in `|P|`.
//! The pointer's product and the row `t` share one sumcheck, merged by a random factor.

use ark_ff::{AdditiveGroup, Field, Zero};
use monai_protocol::field::Fr;

use super::linear::interleave;
use super::lookup::row_sums;
use super::{LeafClaims, SumClaim, Summand, at, check, limbs, one, repeat_each, split, sum_runs};
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, pow2, total};
use crate::party::{Party, Query};
use crate::shape::{BLOCK_BITS, Matrix};
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};
use crate::transcript::Label;

/// `sum silu u (E1 down + gamma E2 pointer)`: factors silu, u, E1, down, E2, pointer.
#[derive(Clone, Debug)]
pub struct Gated {
    /// Weights of `[layer, ffn block]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim on `t`.
    pub column: Vec<Fr>,
    /// Position of that claim.
    pub row: Vec<Fr>,
    /// Row of the claim on the pointed product: position, then layer.
    pub pointed: Vec<Fr>,
    /// What merges the two.
    pub gamma: Fr,
}

impl Summand for Gated {
    const DEGREE: usize = 4;
    const FACTORS: usize = 6;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [silu, u, e1, down, e2, pointer] = f else { return Fr::zero() };
        *silu * u * (*e1 * down + self.gamma * e2 * pointer)
    }

    fn variables(&self, s: &Statement) -> usize {
        let units = s.shape.layers.saturating_mul(s.shape.ffn);
        variables(units).saturating_add(s.shape.position_bits).saturating_add(BLOCK_BITS)
    }
}

/// The overflow and the sign bit at a random row. Factors: eq, nonzero, down, sign, slack, product.
#[derive(Clone, Debug)]
pub struct FfnRows {
    /// A random row: position, then layer.
    pub row: Vec<Fr>,
    /// What merges the two equations.
    pub gamma: Fr,
}

impl Summand for FfnRows {
    const DEGREE: usize = 5;
    const FACTORS: usize = 6;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [eq, nonzero, down, sign, slack, product] = f else { return Fr::zero() };
        let y = (*down * product).double() + pow2(31);
        let overflow = (one() - sign.double()) * y - pow2(47) - sign - slack;
        *eq * (*nonzero * overflow + self.gamma * (sign.square() - sign))
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.layers))
    }
}

/// `sum_{layer, p} eq(z_p, p) up[layer, p] A[layer, p]`. Factors: eq, up, A (folded over blocks).
#[derive(Clone, Debug)]
pub struct Down {
    /// Weights of `[layer, hidden block]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for Down {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.layers))
    }
}

pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    gate(p, leaves, linear)?;
    let pointed = rows(p, s)?;
    gated(p, s, leaves, linear, pointed)?;
    down(p, s, leaves, linear)
}

fn gate<P: Party>(
    p: &mut P,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Gate, BLOCK_BITS)?;
    let g = claim.open_signed(p, Tensor::Gate)?;
    linear.push(Matrix::Gate, claim.weights.to_vec(), claim.column, claim.row, claim.exact16(g));
    Ok(())
}

/// The rows' equations. Leaves a claim on the pointed product at a row.
fn rows<P: Party>(p: &mut P, s: &Statement) -> Result<(Vec<Fr>, Fr), P::Error> {
    let bits = s.shape.position_bits;
    let layer_bits = variables(s.shape.layers);
    let row: Vec<Fr> = (0..bits.saturating_add(layer_bits)).map(|_| p.challenge(Label::Batch)).collect();
    let gamma = p.challenge(Label::Batch);
    let (row_position, row_layer) = split(&row, bits)?;
    let row_layers = eq_range(row_layer, 0, s.shape.layers);
    let ones =
        row_sums(p, Tensor::GatedPointer, BLOCK_BITS, row_position, repeat_each(&row_layers, s.shape.ffn))?;
    check("each exponent's pointer sums to one", ones == total(&row_layers))?;

    let rows = FfnRows { row: row.clone(), gamma };
    let SumClaim { point, value } = p.sum(&rows.clone().into(), Fr::zero())?;
    let (position, layer) = split(&point, bits)?;
    let layers = eq_range(layer, 0, s.shape.layers);
    let real: Fr = layers.iter().zip(&row_layers).map(|(a, b)| *a * b).sum();
    let product = p.factor(5)?;
    let open = |p: &mut P, t, n: usize| {
        let start = s.shape.layers.saturating_mul(n);
        p.open(Query::at(t, position.to_vec(), start, layers.clone()))
    };
    let nonzero = open(p, Tensor::FfnNonzero, 0)?;
    let down = open(p, Tensor::FfnDown, 0)?;
    let sign = open(p, Tensor::FfnSign, 0)?;
    let slack =
        limbs(&[open(p, Tensor::FfnSlack, 0)?, open(p, Tensor::FfnSlack, 1)?, open(p, Tensor::FfnSlack, 2)?]);
    let eq = real * eq_points(row_position, position);
    let factors = [eq, nonzero, down, sign, slack, product];
    check("the exponent is the least at which the row fits", value == rows.combine(&factors))?;
    Ok((point, product))
}

fn gated<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
    (pointed, product): (Vec<Fr>, Fr),
) -> Result<(), P::Error> {
    let bits = s.shape.position_bits;
    let claim = leaves.take(Remainder::Gated, BLOCK_BITS)?;
    let (column, row) = (claim.column, claim.row);
    let hi = claim.open(p, Tensor::GatedHi)?;
    let t = claim.open_signed(p, Tensor::Gated)?;
    let scaled = claim.exact32(t, hi);
    let gamma = p.challenge(Label::Batch);
    let sum = Gated {
        weights: claim.weights.to_vec(),
        column: column.to_vec(),
        row: row.to_vec(),
        pointed: pointed.clone(),
        gamma,
    };
    let SumClaim { point, value } = p.sum(&sum.clone().into(), scaled + gamma * product)?;
    let (low, unit) = split(&point, bits.saturating_add(BLOCK_BITS))?;
    let (channel, position) = split(low, BLOCK_BITS)?;
    let units = eq_range(unit, 0, s.shape.layers.saturating_mul(s.shape.ffn));
    let layers = sum_runs(&units, s.shape.ffn);
    let up = p.factor(1)?;
    let silu = p.open(Query::new(Tensor::Silu, low.to_vec(), units.clone()))?;
    let down = p.open(Query::new(Tensor::FfnDown, position.to_vec(), layers.clone()))?;
    let pointer = p.open(Query::new(Tensor::GatedPointer, low.to_vec(), units.clone()))?;
    let (pointed_position, pointed_layer) = split(&pointed, bits)?;
    let e1: Fr = units.iter().zip(claim.weights).map(|(a, b)| *a * b).sum();
    let e1 = e1 * eq_points(column, channel) * eq_points(row, position);
    let e2: Fr = layers.iter().zip(eq_range(pointed_layer, 0, s.shape.layers)).map(|(a, b)| *a * b).sum();
    let e2 = e2 * eq_points(pointed_position, position);
    check("gate times up", value == sum.combine(&[silu, up, e1, down, e2, pointer]))?;
    linear.push(Matrix::Up, units, channel, position, up);
    Ok(())
}

fn down<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Down, BLOCK_BITS)?;
    let (column, row) = (claim.column, claim.row);
    let hi = claim.open(p, Tensor::DownHi)?;
    let spread = interleave(claim.weights, s.shape.hidden, 1);
    let open = |p: &mut P, t| claim.open_at(p, t, spread.clone());
    let out = limbs(&[open(p, Tensor::SubLo)?, open(p, Tensor::SubHi)?]) - pow2(31) * claim.ones;
    let sum = Down { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&sum.into(), claim.exact32(out, hi))?;
    let (position, layer) = split(&point, s.shape.position_bits)?;
    let layers = eq_range(layer, 0, s.shape.layers);
    let raw = p.factor(2)?;
    let up = p.open(Query::new(Tensor::FfnUp, position.to_vec(), layers.clone()))?;
    let real = total(&layers);
    check("the exponent is undone", value == real * eq_points(row, position) * up * raw)?;
    let mut weights = Vec::with_capacity(claim.weights.len());
    for (i, w) in claim.weights.chunks(s.shape.hidden.max(1)).enumerate() {
        let layer = at(&layers, i)?;
        weights.extend(w.iter().map(|w| *w * layer));
    }
    linear.push(Matrix::Down, weights, column, position, raw);
    Ok(())
}
