//! # RMSNorm
//!
//! **Statement.** For each row `h` that is normalised, with `S = sum_c h^2` and `C = 32767 * 2^16`: `inv` is the largest
//! integer with `inv^2 (S + eps) <= C^2`, and `y = r16(h inv)`. Rows are the residual at each site and position, and, where
//! the model has norms on heads, `t` of each query and key head at each position ([`Norms`]).
//!
//! **Shape.** Sites by positions ([`NormRows`], [`NormApply`]) and sites by positions by channels ([`Squares`]), where a head
//! counts as a site.
//! **Degree.** [`NormApply`] 3, [`NormRows`] 4, [`Squares`] 3.
//!
//! **Soundness.** `inv` has 2 limbs of 16 bits, and with limbs `a` (4) and `b` (6)
//! `inv^2 (S + eps) + a = C^2` and `(inv + 1)^2 (S + eps) = C^2 + 1 + b`, so `inv` is pinned from both sides. `eps` has 64
//! bits and is public. Of the residual, `(2 L + 1)^2 D <= 2^33` and every term has 31 bits, so `S < 2^95`; of a head, `t` has
//! 16 bits and there are at most 2^8 of them, so `S <= 2^38`. No product reaches `2^160`: the field equations are equations of
//! integers, and `b` has room for every honest row. `y` has 16 bits and its remainder 16 bits, so `y` is unique.
//! The two row equations are merged by a random factor and checked at a random row; the residual's `h` is
//! [`super::residual`]'s, a head's is committed.

use ark_ff::{Field, Zero};
use monai_model::semantics::NORM_C;
use monai_protocol::field::Fr;

use super::{LeafClaims, SumClaim, Summand, check, limbs, offset16, one, residual, split, sum_runs};
use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, shl, total};
use crate::party::{Party, Query};
use crate::shape::{BLOCK_BITS, Shape};
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};
use crate::transcript::Label;

/// Limbs of `inv`, of the lower and of the upper slack in [`Tensor::NormRows`] and [`Tensor::HeadRows`].
pub(super) const LIMBS: [usize; 3] = [2, 4, 6];

/// Which rows are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// The residual at each site.
    Residual,
    /// Each query and key head, where the model has norms on them.
    Heads,
}

impl Norms {
    /// Where inverses and slacks are.
    #[must_use]
    pub const fn rows(self) -> Tensor {
        match self {
            Self::Residual => Tensor::NormRows,
            Self::Heads => Tensor::HeadRows,
        }
    }

    /// Where outputs are.
    #[must_use]
    pub const fn output(self) -> Tensor {
        match self {
            Self::Residual => Tensor::NormY,
            Self::Heads => Tensor::HeadY,
        }
    }

    /// What is left of outputs.
    const fn remainder(self) -> Remainder {
        match self {
            Self::Residual => Remainder::Norm,
            Self::Heads => Remainder::HeadNorm,
        }
    }

    /// Rows a position.
    #[must_use]
    pub const fn sites(self, s: &Shape) -> usize {
        match self {
            Self::Residual => s.sites(),
            Self::Heads => s.all_query_keys(),
        }
    }

    /// Units of channels in a row.
    #[must_use]
    pub const fn blocks(self, s: &Shape) -> usize {
        match self {
            Self::Residual => s.hidden,
            Self::Heads => 1,
        }
    }

    /// Log of the channels in a unit.
    #[must_use]
    pub const fn channel_bits(self, s: &Shape) -> usize {
        match self {
            Self::Residual => BLOCK_BITS,
            Self::Heads => s.head_bits,
        }
    }

    /// `eps` of every site. The residual's is the same everywhere, also beyond the last site.
    #[must_use]
    pub fn eps(self, s: &Shape) -> Vec<Fr> {
        match self {
            Self::Residual => vec![Fr::from(s.norm_eps); shl(1, variables(s.sites()))],
            Self::Heads => by_kind(s, &s.head_norm_eps).map(|eps| Fr::from(*eps)).collect(),
        }
    }

    /// The extension of [`Self::eps`].
    fn eps_at(self, s: &Shape, site: &[Fr]) -> Fr {
        match self {
            Self::Residual => Fr::from(s.norm_eps),
            Self::Heads => {
                let eps = self.eps(s);
                eq_range(site, 0, eps.len()).iter().zip(eps).fold(Fr::zero(), |acc, (w, eps)| acc + eps * w)
            }
        }
    }

    /// The extension of the rows' input under weights of `[site, block]`.
    fn input<P: Party>(self, p: &mut P, s: &Statement, low: &[Fr], weights: &[Fr]) -> Result<Fr, P::Error> {
        match self {
            Self::Residual => residual::value(p, s, low, weights),
            Self::Heads => {
                let t = p.open(Query::new(Tensor::HeadT, low.to_vec(), weights.to_vec()))?;
                Ok(t - offset16(weights))
            }
        }
    }
}

/// From values of `[layer, 2]` to values of `[layer, query and key heads]`.
pub(super) fn by_kind<'a, T>(s: &Shape, values: &'a [T]) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let heads = [s.heads, s.kv_heads];
    values
        .chunks(2)
        .flat_map(move |kinds| kinds.iter().zip(heads).flat_map(|(value, n)| std::iter::repeat_n(value, n)))
}

/// `sum_{site, p} eq(z_p, p) inv[site, p] H[site, p]` with `H = sum_c w[site, c] h[site, c](p, z_c)`.
#[derive(Clone, Debug)]
pub struct NormApply {
    /// Which rows.
    pub norms: Norms,
    /// Weights of `[site, block]`.
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
        s.shape.position_bits.saturating_add(variables(self.norms.sites(&s.shape)))
    }
}

/// Both row equations at a random row, times its equality polynomial. Factors: eq, inv, a, b, S, eps.
#[derive(Clone, Debug)]
pub struct NormRows {
    /// Which rows.
    pub norms: Norms,
    /// A random row, position first.
    pub row: Vec<Fr>,
    /// What merges the two equations.
    pub gamma: Fr,
}

impl Summand for NormRows {
    const DEGREE: usize = 4;
    const FACTORS: usize = 6;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [eq, inv, a, b, sum, eps] = f else { return Fr::zero() };
        let c = Fr::from(NORM_C).square();
        let s = *sum + eps;
        let next = *inv + one();
        *eq * (inv.square() * s + a - c + self.gamma * (next.square() * s - c - one() - b))
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(self.norms.sites(&s.shape)))
    }
}

/// `sum eq(site) eq(p) h^2`. Factors: the weight, h.
#[derive(Clone, Debug)]
pub struct Squares {
    /// Which rows.
    pub norms: Norms,
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
        let units = self.norms.sites(&s.shape).saturating_mul(self.norms.blocks(&s.shape));
        variables(units)
            .saturating_add(s.shape.position_bits)
            .saturating_add(self.norms.channel_bits(&s.shape))
    }
}

/// The values of the three groups of limbs at a row, under site weights.
fn open_rows<P: Party>(
    p: &mut P,
    norms: Norms,
    row: &[Fr],
    sites: &[Fr],
    groups: usize,
) -> Result<Vec<Fr>, P::Error> {
    let mut first = 0usize;
    let mut values = Vec::new();
    for n in LIMBS.into_iter().take(groups) {
        let mut parts = Vec::with_capacity(n);
        for limb in first..first.saturating_add(n) {
            let start = limb.saturating_mul(sites.len());
            parts.push(p.open(Query::at(norms.rows(), row.to_vec(), start, sites.to_vec()))?);
        }
        values.push(limbs(&parts));
        first = first.saturating_add(n);
    }
    Ok(values)
}

pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    norms: Norms,
) -> Result<(), P::Error> {
    apply(p, s, leaves, norms)?;
    rows(p, s, norms)
}

fn apply<P: Party>(p: &mut P, s: &Statement, leaves: &LeafClaims, norms: Norms) -> Result<(), P::Error> {
    let claim = leaves.take(norms.remainder(), norms.channel_bits(&s.shape))?;
    let (column, row) = (claim.column, claim.row);
    let y = claim.open_signed(p, norms.output())?;
    let sum =
        NormApply { norms, weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&sum.into(), claim.exact16(y))?;
    let (position, site) = split(&point, s.shape.position_bits)?;
    let sites = eq_range(site, 0, norms.sites(&s.shape));
    let h = p.factor(2)?;
    let inv = open_rows(p, norms, position, &sites, 1)?;
    let inv = inv.first().copied().ok_or(VerifyError::Internal("inv"))?;
    // The weight is 0 at sites that pad their number to a power of two.
    check("the norm's product", value == total(&sites) * eq_points(row, position) * inv * h)?;
    let mut weights = Vec::with_capacity(claim.weights.len());
    for (w, site) in claim.weights.chunks(norms.blocks(&s.shape).max(1)).zip(&sites) {
        weights.extend(w.iter().map(|w| *w * site));
    }
    let low: Vec<Fr> = column.iter().chain(position).copied().collect();
    check("the norm's input is what is normalised", h == norms.input(p, s, &low, &weights)?)
}

fn rows<P: Party>(p: &mut P, s: &Statement, norms: Norms) -> Result<(), P::Error> {
    let bits = s.shape.position_bits;
    let site_count = norms.sites(&s.shape);
    let row_bits = bits.saturating_add(variables(site_count));
    let row: Vec<Fr> = (0..row_bits).map(|_| p.challenge(Label::Batch)).collect();
    let gamma = p.challenge(Label::Batch);
    let rows = NormRows { norms, row: row.clone(), gamma };
    let SumClaim { point, value } = p.sum(&rows.clone().into(), Fr::zero())?;
    let (position, site) = split(&point, bits)?;
    let (row_position, row_site) = split(&row, bits)?;
    let sites = eq_range(site, 0, site_count);
    let real: Fr = sites.iter().zip(eq_range(row_site, 0, site_count)).map(|(a, b)| *a * b).sum();
    let sum = p.factor(4)?;
    let opened = open_rows(p, norms, position, &sites, 3)?;
    let mut factors = vec![real * eq_points(row_position, position)];
    factors.extend(opened);
    factors.extend([sum, norms.eps_at(&s.shape, site)]);
    check("the norm's inverse is pinned from both sides", value == rows.combine(&factors))?;

    let SumClaim { point: inner, value } = p.sum(&Squares { norms, row: point.clone() }.into(), sum)?;
    let channels = norms.channel_bits(&s.shape);
    let (low, unit) = split(&inner, bits.saturating_add(channels))?;
    let (_, at) = split(low, channels)?;
    let h = p.factor(1)?;
    let blocks = norms.blocks(&s.shape);
    let units = eq_range(unit, 0, site_count.saturating_mul(blocks));
    let by_site = sum_runs(&units, blocks);
    let weight: Fr = by_site.iter().zip(&sites).map(|(a, b)| *a * b).sum();
    check("the norm's sum of squares", value == weight * eq_points(at, position) * h * h)?;
    check("the squares are those of what is normalised", h == norms.input(p, s, low, &units)?)
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
        let rows = NormRows { norms: Norms::Residual, row: Vec::new(), gamma: Fr::from(77u64) };
        let value = |inv: u128| {
            let a = Fr::from(c * c) - Fr::from(inv * inv * (sum + eps));
            let b = Fr::from((inv + 1) * (inv + 1) * (sum + eps)) - Fr::from(c * c) - Fr::from(1u64);
            (rows.combine(&[Fr::from(1u64), Fr::from(inv), a, b, Fr::from(sum), Fr::from(eps)]), a, b)
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
