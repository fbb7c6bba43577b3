//! # Logits
//!
//! **Statement.** `z[p, c] = r16(gain[c] y[p, c])` with `y` the last norm's output; for output `t`, chosen after position
//! `n_in - 1 + t`, `A[t, v] = sum_c W'[v, c] z[n_in - 1 + t, c]` and `d[t, v] = max_t - r32(tau A[t, v])`.
//!
//! **Shape.** `z`: positions by hidden. Logits: outputs (a power of two) by the padded vocabulary. Rows beyond `n_out`
//! have the input 0 and `max_t = 0`, and nothing is required of them.
//! **Degree.** [`Gain`] 3, [`Shift`] 2; the product itself is part of [`super::Linear`].
//!
//! **Soundness.** `2^32 (max - d0 - 2^16 d1) + 2^16 hi + r = tau A + 2^31` with `hi`, `r`, `d0` of 16 bits, `|d1| <= 2^16`
//! by lookup and `|tau A| < 2^62` registered: both sides are below `2^70`, so the field equation is one of integers and
//! `d` is unique. `max_t` is an integer that the proof shows; that it is attained is [`super::Select`]'s. Division by
//! `tau` is sound because `tau >= 1` is checked by the statement.

use ark_ff::{Field, Zero};
use monai_protocol::field::Fr;

use super::{LeafClaims, LinearPart, SumClaim, Summand, at, check, join, offset16, split};
use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, pow2, shl};
use crate::party::{Party, Query};
use crate::shape::{BLOCK_BITS, Matrix};
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};

/// `sum_{b, c} w_b eq(z_c, c) gain_b(c) y_b(z_p, c)`.
#[derive(Clone, Debug)]
pub struct Gain {
    /// Weights of the hidden blocks.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for Gain {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        variables(shl(s.shape.hidden, BLOCK_BITS))
    }
}

/// `sum_p S(p) z(p)` with `S(p) = sum_t eq(z_t, t) [p = n_in - 1 + t]`.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Output row of the claim.
    pub output: Vec<Fr>,
    /// Weights of the hidden blocks.
    pub weights: Vec<Fr>,
    /// Channel inside a block.
    pub column: Vec<Fr>,
}

impl Summand for Shift {
    const DEGREE: usize = 2;
    const FACTORS: usize = 2;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits
    }
}

pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Logit, BLOCK_BITS)?;
    let hi = claim.open(p, Tensor::LogitRemHi)?;
    let (d0, d1) = (claim.open(p, Tensor::LogitLo)?, claim.open(p, Tensor::LogitHi)?);
    let logit = claim.ones * s.max_at(claim.row) - d0 - pow2(16) * d1;
    let tau = Fr::from(s.request.params.tau).inverse().ok_or(VerifyError::Degenerate)?;
    let raw = claim.exact32(logit, hi) * tau;
    linear.push(Matrix::Head, claim.weights.to_vec(), claim.column, claim.row, raw);

    let claim = leaves.take(Remainder::Final, BLOCK_BITS)?;
    let (column, row) = (claim.column, claim.row);
    let z = claim.open_signed(p, Tensor::FinalZ)?;
    let gain = Gain { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&gain.into(), claim.exact16(z))?;
    let (low, high) = split(&point, BLOCK_BITS)?;
    let units = eq_range(high, 0, s.shape.hidden);
    let weight: Fr = units.iter().zip(claim.weights).map(|(a, b)| *a * b).sum();
    let g = p.open(Query::new(Tensor::Gain, low.to_vec(), units.clone()))?;
    let last = s.shape.sites().saturating_sub(1).saturating_mul(s.shape.hidden);
    let offset = offset16(&units);
    let y = p.open(Query::at(Tensor::NormY, join(low, row), last, units))? - offset;
    check("the last norm's gain", value == weight * eq_points(column, low) * g * y)
}

/// The head's input, at rows of outputs, as a sum over positions of [`Tensor::FinalZ`].
pub(super) fn head_input<P: Party>(
    p: &mut P,
    s: &Statement,
    part: &LinearPart,
    low: &[Fr],
    units: &[Fr],
) -> Result<Fr, P::Error> {
    let input = p.factor(2)?;
    let shift = Shift { output: part.row.clone(), weights: units.to_vec(), column: low.to_vec() };
    let SumClaim { point, value } = p.sum(&shift.into(), input)?;
    let z = p.open(Query::new(Tensor::FinalZ, join(low, &point), units.to_vec()))? - offset16(units);
    check("the rows of outputs", value == shifted(s, &part.row, &point)? * z)?;
    Ok(input)
}

/// The extension of `S` at a position.
fn shifted(s: &Statement, output: &[Fr], position: &[Fr]) -> Result<Fr, VerifyError> {
    let outputs = eq_range(output, 0, s.n_out());
    let positions = eq_range(position, 0, s.shape.positions());
    let mut sum = Fr::zero();
    for (t, w) in outputs.iter().enumerate() {
        sum += *w * at(&positions, s.position_before(t))?;
    }
    Ok(sum)
}
