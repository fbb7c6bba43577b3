//! # RMSNorm
//!
//! **Statement.** At each site and position, with `S = sum_c h^2` and `C = 32767 * 2^16`: `inv` is the largest integer with
//! `inv^2 (S + eps) <= C^2`, and `y = r16(h inv)`.
//!
//! **Shape.** Sites by positions ([`NormRows`], [`NormApply`]) and sites by positions by hidden ([`Squares`]).
//! **Degree.** [`NormApply`] 3, [`NormRows`] 4, [`Squares`] 3.
//!
//! **Soundness.** `inv` has 2 limbs of 16 bits, and with limbs `a` (4) and `b` (6)
//! `inv^2 (S + eps) + a = C^2` and `(inv + 1)^2 (S + eps) = C^2 + 1 + b`, so `inv` is pinned from both sides. `|h| < 2^43`
//! for at most 2^11 sites and the width is at most 2^17, so `S < 2^103` and no product reaches `2^168`: the field
//! equations are equations of integers. `y` has 16 bits and its remainder 16 bits, so `y` is unique.
//! The two row equations are merged by a random factor and checked at a random row; `h` itself is the residual's.

use ark_ff::{Field, Zero};
use monai_model::semantics::NORM_C;
use monai_protocol::field::Fr;

use super::{LeafClaims, SumClaim, Summand, check, limbs, one, residual, split, sum_runs};
use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, total};
use crate::party::{Party, Query};
use crate::shape::BLOCK_BITS;
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};
use crate::transcript::Label;

/// Limbs of `inv`, of the lower and of the upper slack in [`Tensor::NormRows`].
pub(super) const LIMBS: [usize; 3] = [2, 4, 6];

/// `sum_{site, p} eq(z_p, p) inv[site, p] H[site, p]` with `H = sum_c w[site, c] h[site, c](p, z_c)`.
#[derive(Clone, Debug)]
pub struct NormApply {
    /// Weights of `[site, hidden block]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for NormApply {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.sites()))
    }
}

/// Both row equations at a random row, times its equality polynomial. Factors: eq, inv, a, b, S.
#[derive(Clone, Debug)]
pub struct NormRows {
    /// A random row, position first.
    pub row: Vec<Fr>,
    /// What merges the two equations.
    pub gamma: Fr,
    /// `eps`.
    pub eps: Fr,
}

impl Summand for NormRows {
    const DEGREE: usize = 4;
    const FACTORS: usize = 5;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [eq, inv, a, b, sum] = f else { return Fr::zero() };
        let c = Fr::from(NORM_C).square();
        let s = *sum + self.eps;
        let next = *inv + one();
        *eq * (inv.square() * s + a - c + self.gamma * (next.square() * s - c - one() - b))
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.sites()))
    }
}

/// `sum eq(site) eq(p) h^2`. Factors: the weight, h.
#[derive(Clone, Debug)]
pub struct Squares {
    /// Position, then site.
    pub row: Vec<Fr>,
}

impl Summand for Squares {
    const DEGREE: usize = 3;
    const FACTORS: usize = 2;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [eq, h] = f else { return Fr::zero() };
        *eq * h.square()
    }

    fn variables(&self, s: &Statement) -> usize {
        let units = s.shape.sites().saturating_mul(s.shape.hidden);
        variables(units).saturating_add(s.shape.position_bits).saturating_add(BLOCK_BITS)
    }
}

/// The values of the three groups of limbs at a row, under site weights.
fn open_rows<P: Party>(p: &mut P, s: &Statement, row: &[Fr], sites: &[Fr], groups: usize) -> Result<Vec<Fr>, P::Error> {
    let mut first = 0usize;
    let mut values = Vec::new();
    for n in LIMBS.into_iter().take(groups) {
        let mut parts = Vec::with_capacity(n);
        for limb in first..first.saturating_add(n) {
            let start = limb.saturating_mul(s.shape.sites());
            parts.push(p.open(Query::at(Tensor::NormRows, row.to_vec(), start, sites.to_vec()))?);
        }
        values.push(limbs(&parts));
        first = first.saturating_add(n);
    }
    Ok(values)
}

pub(super) fn prove<P: Party>(p: &mut P, s: &Statement, leaves: &LeafClaims) -> Result<(), P::Error> {
    apply(p, s, leaves)?;
    rows(p, s)
}

fn apply<P: Party>(p: &mut P, s: &Statement, leaves: &LeafClaims) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Norm, BLOCK_BITS)?;
    let (column, row) = (claim.column, claim.row);
    let y = claim.open_signed(p, Tensor::NormY)?;
    let sum = NormApply { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&sum.into(), claim.exact16(y))?;
    let (position, site) = split(&point, s.shape.position_bits)?;
    let sites = eq_range(site, 0, s.shape.sites());
    let h = p.factor(2)?;
    let inv = open_rows(p, s, position, &sites, 1)?;
    let inv = inv.first().copied().ok_or(VerifyError::Internal("inv"))?;
    // The weight is 0 at sites that pad their number to a power of two.
    check("the norm's product", value == total(&sites) * eq_points(row, position) * inv * h)?;
    let mut weights = Vec::with_capacity(claim.weights.len());
    for (w, site) in claim.weights.chunks(s.shape.hidden).zip(&sites) {
        weights.extend(w.iter().map(|w| *w * site));
    }
    let low: Vec<Fr> = column.iter().chain(position).copied().collect();
    check("the norm's input is the residual", h == residual::value(p, s, &low, &weights)?)
}

fn rows<P: Party>(p: &mut P, s: &Statement) -> Result<(), P::Error> {
    let bits = s.shape.position_bits;
    let site_bits = variables(s.shape.sites());
    let row: Vec<Fr> = (0..bits.saturating_add(site_bits)).map(|_| p.challenge(Label::Batch)).collect();
    let gamma = p.challenge(Label::Batch);
    let rows = NormRows { row: row.clone(), gamma, eps: Fr::from(s.shape.norm_eps) };
    let SumClaim { point, value } = p.sum(&rows.clone().into(), Fr::zero())?;
    let (position, site) = split(&point, bits)?;
    let (row_position, row_site) = split(&row, bits)?;
    let sites = eq_range(site, 0, s.shape.sites());
    let real: Fr = sites.iter().zip(eq_range(row_site, 0, s.shape.sites())).map(|(a, b)| *a * b).sum();
    let sum = p.factor(4)?;
    let opened = open_rows(p, s, position, &sites, 3)?;
    let mut factors = vec![real * eq_points(row_position, position)];
    factors.extend(opened);
    factors.push(sum);
    check("the norm's inverse is pinned from both sides", value == rows.combine(&factors))?;

    let SumClaim { point: inner, value } = p.sum(&Squares { row: point.clone() }.into(), sum)?;
    let (low, unit) = split(&inner, bits.saturating_add(BLOCK_BITS))?;
    let (_, at) = split(low, BLOCK_BITS)?;
    let h = p.factor(1)?;
    let units = eq_range(unit, 0, s.shape.sites().saturating_mul(s.shape.hidden));
    let by_site = sum_runs(&units, s.shape.hidden);
    let weight: Fr = by_site.iter().zip(&sites).map(|(a, b)| *a * b).sum();
    check("the norm's sum of squares", value == weight * eq_points(at, position) * h * h)?;
    check("the squares are the residual's", h == residual::value(p, s, low, &units)?)
}

/// Nothing may overflow the field: the bound on products named in the soundness section.
const _: () = assert!(NORM_C < 1 << 31);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combine_vanishes_only_on_the_right_inverse() {
        let c = u128::from(NORM_C);
        let sum = 123_456_789u128;
        let eps = 5u128;
        let inv = (c * c / (sum + eps)).isqrt();
        let rows = NormRows { row: Vec::new(), gamma: Fr::from(77u64), eps: Fr::from(5u64) };
        let value = |inv: u128| {
            let a = Fr::from(c * c) - Fr::from(inv * inv * (sum + eps));
            let b = Fr::from((inv + 1) * (inv + 1) * (sum + eps)) - Fr::from(c * c) - Fr::from(1u64);
            (rows.combine(&[Fr::from(1u64), Fr::from(inv), a, b, Fr::from(sum)]), a, b)
        };
        let small = |x: &Fr| monai_protocol::field::bits(*x) <= 96;
        let (zero, a, b) = value(inv);
        assert!(zero.is_zero() && small(&a) && small(&b));
        for wrong in [inv - 1, inv + 1] {
            let (zero, a, b) = value(wrong);
            assert!(zero.is_zero() && !(small(&a) && small(&b)), "one slack is negative");
        }
    }
}
