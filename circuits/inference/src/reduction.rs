//! # From many claims to one point
//!
//! **Statement.** Claim `i` says `sum_u w_iu T_i,u(z_i) = v_i`, a linear functional of committed values. With powers of a
//! challenge `chi`, `sum_i chi^i v_i = sum over chunks c, sum over x, C_c(x) E_c(x)`, where `E_c` is public.
//!
//! **Shape.** One sumcheck over a chunk's variables, all chunks of witnesses and model side by side. **Degree.** 2.
//!
//! **Soundness.** The claims were absorbed before `chi`; a false claim survives the combination with probability
//! (number of claims) / |Fr|, the sumcheck with 2 (variables) / |Fr|. It ends in the values of all chunks at one point, which
//! are absorbed before the challenge that combines them for the one opening. Values past a tensor's end do not occur in
//! any `E_c`, so they are free and mean nothing.

use std::collections::BTreeMap;

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use crate::batch::Batch;
use crate::error::VerifyError;
use crate::multilinear::{eq_points, eq_range, eq_table, shl, shr};
use crate::party::{Claim, Query};
use crate::statement::Statement;
use crate::tensor::{Owner, Place};

/// A query in terms of chunk addresses: units of `2^low.len()` values that lie one after another from `first`.
#[derive(Clone, Debug)]
pub struct Span {
    /// Whose chunks.
    pub owner: Owner,
    /// Coordinates inside a unit; no more than a chunk has.
    pub low: Vec<Fr>,
    /// Address of the first unit in units.
    pub first: usize,
    /// Weights.
    pub weights: Vec<Fr>,
}

impl Span {
    /// Locates a query.
    ///
    /// # Errors
    /// [`VerifyError::Internal`] where the query leaves its tensor.
    pub fn new(s: &Statement, query: &Query) -> Result<Self, VerifyError> {
        let owner = query.tensor.owner();
        let layout = if owner == Owner::Witness { &s.witness } else { &s.model };
        let place = layout.get(query.tensor).ok_or(VerifyError::Internal("query of an absent tensor"))?;
        let bits = query.low.len();
        let units = query.start.saturating_add(query.weights.len());
        if bits > place.low || units > shr(place.len(), bits) {
            return Err(VerifyError::Internal("query outside its tensor"));
        }
        let first = shr(place.start, bits).saturating_add(query.start);
        Ok(Self { owner, low: query.low.clone(), first, weights: query.weights.clone() }
            .refined(s.shape.chunk_bits))
    }

    /// The same functional over units of at most `2^bits` values.
    #[must_use]
    pub fn refined(self, bits: usize) -> Self {
        let Some((low, high)) = self.low.split_at_checked(bits) else { return self };
        if high.is_empty() {
            return self;
        }
        let table = eq_table(high);
        let weights = self.weights.iter().flat_map(|w| table.iter().map(move |t| *w * t)).collect();
        Self { owner: self.owner, low: low.to_vec(), first: shl(self.first, high.len()), weights }
    }
}

/// `E_c(point)` for every chunk, the witnesses' first.
///
/// # Errors
/// [`VerifyError::Internal`] where a query leaves its tensor.
pub fn weights_at(batch: &Batch, claims: &[Claim], chi: Fr, point: &[Fr]) -> Result<Vec<Fr>, VerifyError> {
    let internal = VerifyError::Internal("chunk");
    let mut out = vec![Fr::zero(); batch.witness_chunks().saturating_add(batch.model_chunks())];
    let mut tables: BTreeMap<usize, Vec<Fr>> = BTreeMap::new();
    let mut power = Fr::one();
    for claim in claims {
        let span = Span::new(batch.statement(claim.answer)?, &claim.query)?;
        let bits = span.low.len();
        let (low, high) = point.split_at_checked(bits).ok_or(internal.clone())?;
        let table = tables.entry(bits).or_insert_with(|| eq_table(high));
        let scale = power * eq_points(&span.low, low);
        let offset = batch.first_chunk(claim.answer, span.owner)?;
        let mut address = span.first;
        let mut rest = span.weights.as_slice();
        while !rest.is_empty() {
            let inside = address & table.len().saturating_sub(1);
            let take = table.len().saturating_sub(inside).min(rest.len());
            let (now, later) = rest.split_at_checked(take).ok_or(internal.clone())?;
            let part = now.iter().zip(table.iter().skip(inside)).fold(Fr::zero(), |acc, (w, t)| acc + *w * t);
            let chunk = offset.saturating_add(shr(address, high.len()));
            *out.get_mut(chunk).ok_or(internal.clone())? += scale * part;
            address = address.saturating_add(take);
            rest = later;
        }
        power *= chi;
    }
    Ok(out)
}

/// `sum_i chi^i v_i`.
#[must_use]
pub fn merged(claims: &[Claim], chi: Fr) -> Fr {
    claims.iter().rev().fold(Fr::zero(), |acc, c| acc * chi + c.value)
}

/// The value of a query on values given in full: the definition that the reduction proves. `values(unit address)` are
/// the values of the tensor, from its place's start.
#[must_use]
pub fn evaluate(query: &Query, values: &[Fr]) -> Fr {
    let table = eq_range(&query.low, 0, shl(1, query.low.len()));
    values.chunks(table.len()).skip(query.start).zip(&query.weights).fold(Fr::zero(), |acc, (unit, w)| {
        acc + *w * unit.iter().zip(&table).map(|(a, b)| *a * b).sum::<Fr>()
    })
}

/// Where a tensor lies, for provers.
///
/// # Errors
/// [`VerifyError::Internal`] where the shape has no such tensor.
pub fn place_of(s: &Statement, tensor: crate::tensor::Tensor) -> Result<Place, VerifyError> {
    let layout = if tensor.owner() == Owner::Witness { &s.witness } else { &s.model };
    layout.get(tensor).ok_or(VerifyError::Internal("absent tensor"))
}
