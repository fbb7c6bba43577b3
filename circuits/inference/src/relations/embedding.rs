//! # Embedding
//!
//! **Statement.** `x0[p] = r16(W'[id_p])` for each position that has an id, and 0 beyond.
//!
//! **Shape.** Positions by hidden; the sum runs over the padded vocabulary. **Degree.** 2.
//!
//! **Soundness.** The one-hot matrix `[id_p = v]` is no committed column: the verifier has the ids, whose hashes are in R
//! and O, and evaluates its extension itself, so that booleanity and row sums hold by construction. `x0` has two limbs of
//! 16 bits, so `2^16 x0 + r = A + 2^15` is an equation of integers with one solution.

use ark_ff::Zero;
use monai_protocol::field::Fr;

use super::{LeafClaims, SumClaim, Summand, check, join, limbs, split};
use crate::leaf::Remainder;
use crate::multilinear::{eq_index, eq_range, pow2, shl};
use crate::party::{Party, Query};
use crate::shape::BLOCK_BITS;
use crate::statement::Statement;
use crate::tensor::{Tensor, variables};

/// `sum_v F(v) W'(v)` with `F(v) = sum_p eq(z_p, p) [id_p = v]`.
#[derive(Clone, Debug)]
pub struct Embed {
    /// Weights of the hidden blocks.
    pub weights: Vec<Fr>,
    /// Channel of the claim.
    pub column: Vec<Fr>,
    /// Position of the claim.
    pub row: Vec<Fr>,
}

impl Summand for Embed {
    const DEGREE: usize = 2;
    const FACTORS: usize = 2;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().product()
    }

    fn variables(&self, s: &Statement) -> usize {
        variables(shl(s.shape.vocab_blocks, BLOCK_BITS))
    }
}

pub(super) fn prove<P: Party>(p: &mut P, s: &Statement, leaves: &LeafClaims) -> Result<(), P::Error> {
    let claim = leaves.take(Remainder::X0, BLOCK_BITS)?;
    let (column, row) = (claim.column, claim.row);
    let limbs = limbs(&[claim.open(p, Tensor::X0Lo)?, claim.open(p, Tensor::X0Hi)?]);
    let x0 = limbs - pow2(31) * claim.ones;
    let embed = Embed { weights: claim.weights.to_vec(), column: column.to_vec(), row: row.to_vec() };
    let SumClaim { point, value } = p.sum(&embed.into(), claim.exact16(x0))?;
    let (low, high) = split(&point, BLOCK_BITS)?;
    let mut weights = Vec::new();
    for v in eq_range(high, 0, s.shape.vocab_blocks) {
        weights.extend(claim.weights.iter().map(|w| v * w));
    }
    let entry = p.open(Query::new(Tensor::Embedding, join(column, low), weights))?;
    let positions = eq_range(row, 0, s.shape.positions());
    let chosen = s.inputs().zip(&positions).fold(Fr::zero(), |acc, (id, w)| acc + eq_index(&point, id) * w);
    check("the embedding's sum", value == chosen * entry)
}
