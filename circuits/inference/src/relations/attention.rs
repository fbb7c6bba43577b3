//! # Attention
//!
//! **Statement.** For each layer, head, query position `p` and key `j <= p`: `s_j = r16(M_s (q . k_j))`, `m = max s_j`,
//! `d_j = m - s_j`, `e_j = EXP[d_j]` or 0 beyond the table; `Z = sum e_j`, `inv = floor(2^32 / Z)`,
//! `o = r32(inv sum e_j v_j)`. For `j > p`, `e_j = 0`.
//!
//! **Shape.** Scores: layers by heads by key segments of 64, positions by 64 keys. **Degree.** [`Score`] 3, [`AttnOut`] 3,
//! [`Mix`] 3, [`SoftRows`] 3, [`Pointer`] 3.
//!
//! **Soundness.**
//! - *Distances.* `2^16 (m - d0 - 2^16 d1) + r = M_s q k + 2^15` with `r`, `d0` of 16 bits, `|d1| <= 2^16`, `m` two limbs:
//!   an equation of integers below `2^64`, so `m - d = s` exactly, for visible and hidden keys alike.
//! - *Mask.* The lookup of `(d1, far, visible)` has the public causal mask as an entry of its tuple. Visible entries are
//!   not negative and far exactly where `d1 > 0`; hidden ones have any sign and are far, and far entries have weight 0.
//!   The mask is never a committed column.
//! - *Maximum.* All visible `d_j >= 0` says `m >= max`. A pointer (16-bit integers that sum to 1 in a row, so one-hot) with
//!   `sum pointer e = 65535` names an entry of weight 65535, which only `d = 0` has in the registered table, and which is
//!   not hidden. So `m` is attained.
//! - *Inverse.* `inv Z + rho = 2^32` and `Z = 1 + rho + slack` with limbs of 16 bits: `0 <= rho < Z` pins `inv`.
//! - *Output.* `2^32 o + 2^16 hi + r = inv N + 2^31`, all limbs looked up; `N = sum e_j v_j` is one bilinear map.
//!
//! Row equations are merged by random factors and checked at a random row.

use ark_ff::Zero;
use monai_protocol::field::Fr;

use super::lookup::{by_head, row_sums};
use super::{LeafClaims, SumClaim, Summand, check, limbs, offset16, one, repeat_each, split};
use crate::leaf::Remainder;
use crate::multilinear::{eq_points, eq_range, pow2, total};
use crate::party::{Party, Query};
use crate::shape::{BLOCK_BITS, Matrix, Shape};
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};
use crate::transcript::Label;

/// Positions of values in [`Tensor::SoftRows`]: each has two limbs.
#[derive(Clone, Copy, Debug)]
enum Row {
    Max,
    Inverse,
    Remainder,
    Slack,
}

fn open_row<P: Party>(p: &mut P, s: &Statement, row: Row, at: &[Fr], heads: &[Fr]) -> Result<Fr, P::Error> {
    let first = match row {
        Row::Max => 0usize,
        Row::Inverse => 2,
        Row::Remainder => 4,
        Row::Slack => 6,
    };
    let mut parts = Vec::with_capacity(2);
    for limb in [first, first.saturating_add(1)] {
        let start = limb.saturating_mul(s.shape.all_heads());
        parts.push(p.open(Query::at(Tensor::SoftRows, at.to_vec(), start, heads.to_vec()))?);
    }
    Ok(limbs(&parts))
}

/// `sum_{head, p} w_head eq(z_p, p) inv[head, p] N[head, p]`. Factors: the weight, inv, N.
#[derive(Clone, Debug)]
pub struct AttnOut {
    /// Weights of `[layer, head]`.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for AttnOut {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.all_heads()))
    }
}

/// `sum_{head, j} eq(head) e[head](p, j) v[head](j, z_c)`: keys, then segments, then heads. Factors: eq, e, v.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Position, then head, of the claim on `N`.
    pub row: Vec<Fr>,
    /// Channel of the values.
    pub column: Vec<Fr>,
}

impl Summand for Mix {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.all_heads()))
    }
}

/// The inverse's two equations at a random row. Factors: eq, inv, Z, rho, slack.
#[derive(Clone, Debug)]
pub struct SoftRows {
    /// A random row: position, then head.
    pub row: Vec<Fr>,
    /// What merges the two equations.
    pub gamma: Fr,
}

impl Summand for SoftRows {
    const DEGREE: usize = 3;
    const FACTORS: usize = 5;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [eq, inv, z, rho, slack] = f else { return Fr::zero() };
        *eq * (*inv * z + rho - pow2(32) + self.gamma * (*z - one() - rho - slack))
    }

    fn variables(&self, s: &Statement) -> usize {
        s.shape.position_bits.saturating_add(variables(s.shape.all_heads()))
    }
}

/// `sum eq(row) pointer e` over all scores. Factors: eq, pointer, e.
#[derive(Clone, Debug)]
pub struct Pointer {
    /// A random row: position, then head.
    pub row: Vec<Fr>,
}

impl Summand for Pointer {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        let units = s.shape.all_heads().saturating_mul(s.shape.segments());
        variables(units).saturating_add(s.shape.position_bits).saturating_add(BLOCK_BITS)
    }
}

/// `sum_{head, segment, c} w M_s q[head](p, c) k[head, segment](j, c)`. Factors: the weight with `M_s`, q, k.
#[derive(Clone, Debug)]
pub struct Score {
    /// Weights of `[layer, head, segment]`.
    pub weights: Vec<Fr>,
    /// Key inside its segment.
    pub key: Vec<Fr>,
    /// Position of the query.
    pub row: Vec<Fr>,
}

impl Score {
    /// The weights times the score multipliers.
    #[must_use]
    pub fn scaled(&self, s: &Shape) -> Vec<Fr> {
        let layer = s.heads.saturating_mul(s.segments()).max(1);
        self.weights
            .chunks(layer)
            .zip(&s.score_multipliers)
            .flat_map(|(w, m)| {
                let m = Fr::from(*m);
                w.iter().map(move |w| *w * m)
            })
            .collect()
    }
}

impl Summand for Score {
    const DEGREE: usize = 3;
    const FACTORS: usize = 3;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        let units = s.shape.all_heads().saturating_mul(s.shape.segments());
        variables(units).saturating_add(s.shape.head_bits)
    }
}

/// Weights of `[layer, kv head, segment]` from weights of `[layer, head, segment]`.
fn by_group(s: &Shape, units: &[Fr]) -> Vec<Fr> {
    let segments = s.segments();
    let mut out = Vec::with_capacity(units.len());
    for group in units.chunks(s.group.saturating_mul(segments).max(1)) {
        let mut sums = vec![Fr::zero(); segments];
        for head in group.chunks(segments) {
            for (sum, w) in sums.iter_mut().zip(head) {
                *sum += w;
            }
        }
        out.extend(sums);
    }
    out
}

/// Lays weights of query heads and key heads side by side, as [`Tensor::QueryKey`] has them, `run` units a head.
fn beside(s: &Shape, part: &[Fr], keys: bool, run: usize) -> Vec<Fr> {
    let (own, other) = if keys { (s.kv_heads, s.heads) } else { (s.heads, s.kv_heads) };
    let blank = vec![Fr::zero(); other.saturating_mul(run)];
    let mut out = Vec::new();
    for layer in part.chunks(own.saturating_mul(run).max(1)) {
        if keys {
            out.extend(&blank);
            out.extend(layer);
        } else {
            out.extend(layer);
            out.extend(&blank);
        }
    }
    out
}

pub(super) fn prove<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    output(p, s, leaves, linear)?;
    soft_rows(p, s)?;
    maxima(p, s)?;
    values(p, leaves, s, linear)?;
    scores(p, s, leaves)
}

fn output<P: Party>(
    p: &mut P,
    s: &Statement,
    leaves: &LeafClaims,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    // The output projection, whose remainder is a plain one.
    let claim = leaves.take(Remainder::Output, BLOCK_BITS)?;
    let spread = super::linear::interleave(claim.weights, s.shape.hidden, 0);
    let open = |p: &mut P, t| claim.open_at(p, t, spread.clone());
    let out = limbs(&[open(p, Tensor::SubLo)?, open(p, Tensor::SubHi)?]) - pow2(31) * claim.ones;
    linear.push(Matrix::Output, claim.weights.to_vec(), claim.column, claim.row, claim.exact16(out));

    let claim = leaves.take(Remainder::AttnOut, s.shape.head_bits)?;
    let hi = claim.open(p, Tensor::AttnOutHi)?;
    let o = claim.open_signed(p, Tensor::AttnOut)?;
    let (column, row) = (claim.column, claim.row);
    let sum = AttnOut { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&sum.into(), claim.exact32(o, hi))?;
    let (position, head) = split(&point, s.shape.position_bits)?;
    let heads = eq_range(head, 0, s.shape.all_heads());
    let n = p.factor(2)?;
    let inv = open_row(p, s, Row::Inverse, position, &heads)?;
    let weight: Fr = heads.iter().zip(claim.weights).map(|(a, b)| *a * b).sum();
    check("the softmax output", value == weight * eq_points(row, position) * inv * n)?;

    let mix = Mix { row: point.clone(), column: column.to_vec() };
    let SumClaim { point: inner, value } = p.sum(&mix.into(), n)?;
    let (key, unit) = split(&inner, BLOCK_BITS)?;
    let units = eq_range(unit, 0, s.shape.all_heads().saturating_mul(s.shape.segments()));
    let eq: Fr = by_head(s, &units).iter().zip(&heads).map(|(a, b)| *a * b).sum();
    let low: Vec<Fr> = key.iter().chain(position).copied().collect();
    let e = p.open(Query::new(Tensor::Weight, low, units.clone()))?;
    let group = by_group(&s.shape, &units);
    let offset = offset16(&group);
    let v = p.open(Query::new(Tensor::Value, super::join(column, key), group))? - offset;
    check("the weighted values", value == eq * e * v)
}

fn random_row<P: Party>(p: &mut P, s: &Statement) -> Vec<Fr> {
    let n = s.shape.position_bits.saturating_add(variables(s.shape.all_heads()));
    (0..n).map(|_| p.challenge(Label::Batch)).collect()
}

fn soft_rows<P: Party>(p: &mut P, s: &Statement) -> Result<(), P::Error> {
    let row = random_row(p, s);
    let gamma = p.challenge(Label::Batch);
    let rows = SoftRows { row: row.clone(), gamma };
    let SumClaim { point, value } = p.sum(&rows.clone().into(), Fr::zero())?;
    let (position, head) = split(&point, s.shape.position_bits)?;
    let (row_position, row_head) = split(&row, s.shape.position_bits)?;
    let heads = eq_range(head, 0, s.shape.all_heads());
    let real: Fr = heads.iter().zip(eq_range(row_head, 0, s.shape.all_heads())).map(|(a, b)| *a * b).sum();
    let inv = open_row(p, s, Row::Inverse, position, &heads)?;
    let rho = open_row(p, s, Row::Remainder, position, &heads)?;
    let slack = open_row(p, s, Row::Slack, position, &heads)?;
    let z = row_sums(p, Tensor::Weight, BLOCK_BITS, position, repeat_each(&heads, s.shape.segments()))?;
    let eq = real * eq_points(row_position, position);
    check("the softmax inverse is pinned", value == rows.combine(&[eq, inv, z, rho, slack]))
}

fn maxima<P: Party>(p: &mut P, s: &Statement) -> Result<(), P::Error> {
    let row = random_row(p, s);
    let (row_position, row_head) = split(&row, s.shape.position_bits)?;
    let row_heads = eq_range(row_head, 0, s.shape.all_heads());
    let spread = repeat_each(&row_heads, s.shape.segments());
    let ones = row_sums(p, Tensor::MaxPointer, BLOCK_BITS, row_position, spread.clone())?;
    let rows = total(&row_heads);
    check("each maximum's pointer sums to one", ones == rows)?;
    let top = Fr::from(u64::from(u16::MAX)) * rows;
    let SumClaim { point, value } = p.sum(&Pointer { row: row.clone() }.into(), top)?;
    let (low, unit) = split(&point, s.shape.position_bits.saturating_add(BLOCK_BITS))?;
    let (_, position) = split(low, BLOCK_BITS)?;
    let units = eq_range(unit, 0, spread.len());
    let eq: Fr = units.iter().zip(&spread).map(|(a, b)| *a * b).sum();
    let pointer = p.open(Query::new(Tensor::MaxPointer, low.to_vec(), units.clone()))?;
    let e = p.open(Query::new(Tensor::Weight, low.to_vec(), units))?;
    check("each maximum is attained", value == eq * eq_points(row_position, position) * pointer * e)
}

fn values<P: Party>(
    p: &mut P,
    leaves: &LeafClaims,
    s: &Statement,
    linear: &mut super::linear::Claims,
) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Value, s.shape.head_bits)?;
    let v = claim.open_signed(p, Tensor::Value)?;
    linear.push(Matrix::Value, claim.weights.to_vec(), claim.column, claim.row, claim.exact16(v));
    Ok(())
}

fn scores<P: Party>(p: &mut P, s: &Statement, leaves: &LeafClaims) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::Score, BLOCK_BITS)?;
    let (key, row) = (claim.column, claim.row);
    let (d0, d1) = (claim.open(p, Tensor::DistanceLo)?, claim.open(p, Tensor::DistanceHi)?);
    let max = open_row(p, s, Row::Max, row, &by_head(s, claim.weights))? - pow2(31) * claim.ones;
    let product = claim.exact16(max - d0 - pow2(16) * d1);
    let sum = Score { weights: claim.weights.to_vec(), key: key.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&sum.clone().into(), product)?;
    let (channel, unit) = split(&point, s.shape.head_bits)?;
    let scaled = sum.scaled(&s.shape);
    let units = eq_range(unit, 0, scaled.len());
    let weight: Fr = units.iter().zip(&scaled).map(|(a, b)| *a * b).sum();
    let heads = by_head(s, &units);
    let offset = offset16(&heads);
    let query = beside(&s.shape, &heads, false, 1);
    let q = p.open(Query::new(Tensor::QueryKey, super::join(channel, row), query))? - offset;
    let group = by_group(&s.shape, &units);
    let offset = offset16(&group);
    let keys = beside(&s.shape, &group, true, s.shape.segments());
    let k = p.open(Query::new(Tensor::QueryKey, super::join(channel, key), keys))? - offset;
    check("the scores", value == weight * q * k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_has_one_solution() {
        let rows = SoftRows { row: Vec::new(), gamma: Fr::from(5u64) };
        for z in [65_535u64, 65_536, 131_071, 1 << 27] {
            let inv = (1u64 << 32) / z;
            for guess in [inv - 1, inv, inv + 1] {
                let rho = Fr::from(1u64 << 32) - Fr::from(guess * z);
                let slack = Fr::from(z) - one() - rho;
                let f = [one(), Fr::from(guess), Fr::from(z), rho, slack];
                assert!(rows.combine(&f).is_zero());
                let fits = [rho, slack].iter().all(|x| monai_protocol::field::bits(*x) <= 32);
                assert_eq!(fits, guess == inv, "{z} {guess}");
            }
        }
        assert!(rows.combine(&[one(); 5]) != Fr::zero());
    }
}
