//! # Lookups
//!
//! **Statement.** Every leaf, a tuple `(c0, c1, c2, c3)` with the tag of its table, is an entry of that table:
//! `sum_leaves 1 / (alpha - f(leaf)) = sum_entries m_e / (alpha - f(entry))`, where
//! `f = c0 + beta c1 + beta^2 c2 + beta^3 c3 + beta^4 tag`.
//!
//! **Shape.** Two fraction trees, one over all leaves of the model (public numerators: 1), one over all table entries
//! (numerators: the committed multiplicities). Units of leaves lie as [`crate::leaf::LeafLayout`] says; beyond the last,
//! a leaf is `0 / 1`. Adjacent leaves are added first, so coordinate 0 of the point is the lowest index bit.
//! **Degree.** 3 a layer; the equality factor is stripped, so a round has two elements.
//!
//! **Soundness.** All columns and multiplicities are committed before `alpha` and `beta`, and the remainders that are
//! not committed are functions of committed tensors. With fewer than `2^40` leaves, characteristic above `2^253` and
//! tags inside the fingerprint, equality of the two sums as rational functions in `alpha`, with `beta` outside a set of
//! at most `4 (leaves + entries)^2` elements, implies that each leaf is an entry of its own table. A zero denominator at
//! a root is rejected, so no fraction is undefined. Multiplicities need no range: a pole of the left side needs an
//! equal pole on the right whatever they are, because left numerators are sums of ones, never 0 modulo the field.
//!
//! **Discharged elsewhere.** Claims on committed tensors: the opening. Claims on remainders: the relation named by each
//! [`Remainder`]. Entries of EXP, SILU and WEIGHT are part of the model's commitment.

use std::collections::BTreeMap;

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use super::{check, halves, split, sum_runs};
use crate::error::VerifyError;
use crate::leaf::{Leaf, Remainder};
use crate::multilinear::{eq_index, eq_range, index_at, is_zero_at, less_than, pow2, shr, total};
use crate::party::{Fingerprint, Party, Query, Tree};
use crate::shape::{BLOCK, BLOCK_BITS};
use crate::statement::Statement;
use crate::tensor::{Table, Tensor, variables};
use crate::transcript::Label;

/// A claim on a virtual remainder: its units' weights, the point inside a unit, the value.
#[derive(Clone, Debug)]
pub(crate) struct LeafClaim {
    pub(crate) low: Vec<Fr>,
    pub(crate) weights: Vec<Fr>,
    pub(crate) value: Fr,
}

/// The claims on all remainders.
#[derive(Clone, Debug, Default)]
pub struct LeafClaims(BTreeMap<Remainder, LeafClaim>);

impl LeafClaims {
    /// The claim on one remainder.
    pub(crate) fn get(&self, r: Remainder) -> Result<&LeafClaim, VerifyError> {
        self.0.get(&r).ok_or(VerifyError::Internal("remainder"))
    }
}

impl Fingerprint {
    /// `beta^4 tag`.
    fn tag(&self, table: Table) -> Fr {
        let square = self.beta * self.beta;
        square * square * Fr::from(table.tag())
    }

    /// `sum_i beta^i c_i`.
    fn tuple(&self, components: &[Fr]) -> Fr {
        components.iter().rev().fold(Fr::zero(), |acc, c| acc * self.beta + c)
    }
}

pub(super) fn prove<P: Party>(p: &mut P, s: &Statement) -> Result<LeafClaims, P::Error> {
    let f = Fingerprint { alpha: p.challenge(Label::Fingerprint), beta: p.challenge(Label::Fingerprint) };
    let leaves = p.tree(Tree::Leaves, &f, variables(s.leaves.leaf_len))?;
    let tables = p.tree(Tree::Tables, &f, variables(s.leaves.table_len))?;
    let (p1, q1) = (leaves.root_numerator, leaves.root_denominator);
    let (p2, q2) = (tables.root_numerator, tables.root_denominator);
    check("no root denominator is zero", !q1.is_zero() && !q2.is_zero())?;
    check("the sum over the leaves is the sum over the tables", p1 * q2 == p2 * q1)?;
    let claims = leaf_claims(p, s, &f, &leaves.point, leaves.denominator)?;
    table_claims(p, s, &f, &tables.point, tables.numerator, tables.denominator)?;
    Ok(claims)
}

fn leaf_claims<P: Party>(
    p: &mut P,
    s: &Statement,
    f: &Fingerprint,
    point: &[Fr],
    denominator: Fr,
) -> Result<LeafClaims, P::Error> {
    let mut claims = LeafClaims::default();
    let mut present = Fr::zero();
    let mut sum = Fr::zero();
    for (leaf, place) in &s.leaves.leaves {
        let (low, high) = split(point, place.low)?;
        let weights = eq_range(high, shr(place.start, place.low), place.units);
        let w = total(&weights);
        let tuple = match leaf {
            Leaf::Range(t) => p.open(Query::new(*t, low.to_vec(), weights))?,
            Leaf::Remainder(r) => {
                let value = p.remainder(*r, low, &weights)?;
                claims.0.insert(*r, LeafClaim { low: low.to_vec(), weights, value });
                value
            }
            Leaf::Silu => open_tuple(p, f, low, &weights, &[Tensor::Gate, Tensor::Silu])?,
            Leaf::Exp => open_tuple(p, f, low, &weights, &[Tensor::DistanceLo, Tensor::Weight, Tensor::Far])?,
            Leaf::Distance => {
                open_tuple(p, f, low, &weights, &[Tensor::DistanceHi, Tensor::Far])?
                    + w * pow2(16)
                    + f.beta * f.beta * causal(s, low, &weights)?
            }
            Leaf::Weight => {
                open_tuple(p, f, low, &weights, &[Tensor::LogitLo, Tensor::LogitWeight, Tensor::LogitFar])?
            }
            Leaf::LogitDistance => {
                open_tuple(p, f, low, &weights, &[Tensor::LogitHi, Tensor::LogitFar])?
                    + w * pow2(16)
                    + f.beta * f.beta * in_vocabulary(s, low, &weights)?
            }
            Leaf::Compare => {
                let (_, rows) = split(low, BLOCK_BITS)?;
                let tensors = [Tensor::LogitLo, Tensor::Keep, Tensor::LogitFar, Tensor::Below];
                open_tuple(p, f, low, &weights, &tensors)? + w * (pow2(16) - s.delta_at(rows))
            }
            Leaf::Power => {
                let tensors = [Tensor::FfnExponent, Tensor::FfnDown, Tensor::FfnUp, Tensor::FfnNonzero];
                open_tuple(p, f, low, &weights, &tensors)?
            }
        };
        present += w;
        sum += w * (f.alpha - f.tag(leaf.table())) - tuple;
    }
    check("the leaves' denominators are the fingerprints", denominator == sum + Fr::one() - present)?;
    Ok(claims)
}

fn open_tuple<P: Party>(
    p: &mut P,
    f: &Fingerprint,
    low: &[Fr],
    weights: &[Fr],
    tensors: &[Tensor],
) -> Result<Fr, P::Error> {
    let mut components = Vec::with_capacity(tensors.len());
    for t in tensors {
        components.push(p.open(Query::new(*t, low.to_vec(), weights.to_vec()))?);
    }
    Ok(f.tuple(&components))
}

/// The extension of `[key <= query]` in the shape of the scores, under unit weights: `O(positions)` a segment.
fn causal(s: &Statement, low: &[Fr], weights: &[Fr]) -> Result<Fr, VerifyError> {
    let (key, query) = split(low, BLOCK_BITS)?;
    let queries = eq_range(query, 0, s.shape.positions());
    let keys = eq_range(key, 0, BLOCK);
    let segments = s.shape.segments();
    let mut by_segment = vec![Fr::zero(); segments];
    for head in weights.chunks(segments) {
        for (sum, w) in by_segment.iter_mut().zip(head) {
            *sum += w;
        }
    }
    let mut sum = Fr::zero();
    for (segment, w) in by_segment.iter().enumerate() {
        let first = segment.saturating_mul(BLOCK);
        let mut visible = Fr::zero();
        let mut unseen = keys.iter();
        let mut part = Fr::zero();
        for q in queries.iter().skip(first) {
            if let Some(k) = unseen.next() {
                visible += k;
            }
            part += *q * visible;
        }
        sum += part * w;
    }
    Ok(sum)
}

/// The extension of `[id < vocabulary]` in the shape of the logits, under unit weights.
fn in_vocabulary(s: &Statement, low: &[Fr], weights: &[Fr]) -> Result<Fr, VerifyError> {
    let (id, _) = split(low, BLOCK_BITS)?;
    let (whole, rest) = (shr(s.shape.vocab, BLOCK_BITS), s.shape.vocab & BLOCK.saturating_sub(1));
    let partial = weights.get(whole).map_or_else(Fr::zero, |w| *w * less_than(id, rest));
    Ok(total(weights.get(..whole).unwrap_or(weights)) + partial)
}

fn table_claims<P: Party>(
    p: &mut P,
    s: &Statement,
    f: &Fingerprint,
    point: &[Fr],
    numerator: Fr,
    denominator: Fr,
) -> Result<(), P::Error> {
    let (mut present, mut top, mut bottom) = (Fr::zero(), Fr::zero(), Fr::zero());
    for (table, place) in &s.leaves.tables {
        let (low, high) = split(point, place.low)?;
        let w = eq_index(high, shr(place.start, place.low));
        let m = p.open(Query::new(Tensor::Multiplicity(*table), low.to_vec(), vec![Fr::one()]))?;
        let content = match table {
            Table::Silu | Table::Exp | Table::Weight => {
                let (index, _) = split(low, 16)?;
                p.open(Query::new(Tensor::Content(*table), index.to_vec(), vec![Fr::one()]))?
            }
            _ => Fr::zero(),
        };
        let tuple = f.tuple(&table_components(*table, low, content)?);
        present += w;
        top += w * m;
        bottom += w * (f.alpha - f.tag(*table) - tuple);
    }
    check("the entries' numerators are the multiplicities", numerator == top)?;
    check("the entries' denominators are the fingerprints", denominator == bottom + Fr::one() - present)
}

/// The extensions of a table's columns at a point of `table.bits()` coordinates; `content` is the extension of its
/// committed column at the first 16, where it has one. On the hypercube these are the table's entries.
///
/// # Errors
/// Where the point is too short.
pub fn table_components(table: Table, point: &[Fr], content: Fr) -> Result<[Fr; 4], VerifyError> {
    let (one, zero) = (Fr::one(), Fr::zero());
    Ok(match table {
        Table::Range => [index_at(point), zero, zero, zero],
        Table::Silu => [index_at(point), content, zero, zero],
        Table::Exp | Table::Weight => {
            let (index, far) = split(point, 16)?;
            let far = super::at(far, 0)?;
            [index_at(index), (one - far) * content, far, zero]
        }
        Table::Distance => {
            // Hidden entries (visible = 0) have any sign and are far. Visible ones are not negative; the places of
            // negative ones repeat the entry 0.
            let (index, top) = split(point, 16)?;
            let (sign, visible) = (super::at(top, 0)?, super::at(top, 1)?);
            let hidden = one - visible;
            let key =
                hidden * (index_at(index) + sign * pow2(16)) + visible * (pow2(16) + sign * index_at(index));
            [key, hidden + visible * sign * (one - is_zero_at(index)), visible, zero]
        }
        Table::Compare => {
            let (key, far) = split(point, 17)?;
            let far = super::at(far, 0)?;
            let (index, above) = split(key, 16)?;
            let above = super::at(above, 0)?;
            let below = one - above;
            let keep = below + above * is_zero_at(index);
            [index_at(key), (one - far) * keep, far, (one - far) * below]
        }
        Table::Power => {
            let (x, _) = split(point, 4)?;
            let (mut down, mut up, mut square) = (one, one, one + one);
            for bit in x {
                up *= one - bit + *bit * square;
                down *= *bit + (one - bit) * square;
                square = square * square;
            }
            [index_at(x), down, up, one - is_zero_at(x)]
        }
    })
}

/// `2^n` times a query with `n` halves as its lowest coordinates: the sum over those variables.
pub(super) fn row_sums<P: Party>(
    p: &mut P,
    tensor: Tensor,
    columns: usize,
    row: &[Fr],
    weights: Vec<Fr>,
) -> Result<Fr, P::Error> {
    let mut low = halves(columns);
    low.extend(row);
    let n = u32::try_from(columns).map_err(|_| VerifyError::Internal("columns"))?;
    Ok(p.open(Query::new(tensor, low, weights))? * pow2(n))
}

/// Weights of `[head]` from weights of `[head, segment]`.
pub(super) fn by_head(s: &Statement, weights: &[Fr]) -> Vec<Fr> {
    sum_runs(weights, s.shape.segments())
}
