//! # Selection
//!
//! **Statement.** For output `t` with distances `d_v`, `w_v = WEIGHT[d_v]` (0 beyond the table), and integers that the
//! proof shows (`delta`, counts and sums below): `max` is attained; `keep_v = [d_v <= delta]`, `below_v = [d_v < delta]`;
//! `delta` is the largest value that `top_k`, `top_p` and `delta_min_p` allow; and the id is the first, in index order,
//! whose prefix sum of kept weights exceeds `floor(u Z / 2^64)`.
//!
//! **Shape.** Outputs by the padded vocabulary. **Degree.** 3.
//!
//! **Soundness.** `keep` and `below` are lookups of `(d - delta, far)`. Each shown integer is a sum of integers over the
//! vocabulary, below `2^52`; one sumcheck at a random row, merged by powers of one challenge, shows that all of them are
//! the sums that they claim to be, because equality of two vectors at a random point of their extensions is equality.
//! The inequalities between shown integers are checked in the clear ([`crate::statement`]). The maximum is attained
//! because `w = 2^31 - 1` at a shown index, which only `d = 0` has in the registered table. Ids are public to the verifier
//! through R and O, so prefix and choice are public polynomials, no columns.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use super::{SumClaim, Summand, check, split};
use crate::error::VerifyError;
use crate::multilinear::{eq_index, eq_range, less_than, total};
use crate::party::{Party, Query};
use crate::shape::BLOCK_BITS;
use crate::statement::{Statement, TOP_WEIGHT};
use crate::tensor::{Tensor, variables};
use crate::transcript::Label;

/// Number of shown sums, each with a power of the challenge.
pub const SELECT_TERMS: usize = 8;

/// `w (g2 E + g7 Top) + g0 keep E + g1 below E + keep w (g3 E + g5 Before + g6 Chosen) + g4 below w E`.
///
/// `E(t, v) = eq(z, t)` for real outputs and blocks, `Before = E [v < id_t]`, `Chosen = E [v = id_t]`,
/// `Top = E [v = argmax_t]`. Factors: w, keep, below, E, `g2 E + g7 Top`, `g3 E + g5 Before + g6 Chosen`.
#[derive(Clone, Debug)]
pub struct Select {
    /// A random row.
    pub row: Vec<Fr>,
    /// Powers of the challenge.
    pub powers: [Fr; SELECT_TERMS],
}

impl Summand for Select {
    const DEGREE: usize = 3;
    const FACTORS: usize = 6;

    fn combine(&self, f: &[Fr]) -> Fr {
        let [w, keep, below, e, linear, kept] = f else { return Fr::zero() };
        let [g0, g1, _, _, g4, ..] = &self.powers;
        *w * (*linear + *keep * kept + *g4 * below * e) + *e * (*g0 * keep + *g1 * below)
    }

    fn variables(&self, s: &Statement) -> usize {
        variables(s.shape.vocab_blocks).saturating_add(s.shape.output_bits).saturating_add(BLOCK_BITS)
    }
}

impl Select {
    /// The public factors `E`, `g2 E + g7 Top`, `g3 E + g5 Before + g6 Chosen` at a point.
    ///
    /// # Errors
    /// Where the point is too short.
    pub fn public(&self, s: &Statement, point: &[Fr]) -> Result<[Fr; 3], VerifyError> {
        let (id_low, rest) = split(point, BLOCK_BITS)?;
        let (row, block) = split(rest, s.shape.output_bits)?;
        let id: Vec<Fr> = id_low.iter().chain(block).copied().collect();
        let [_, _, g2, g3, _, g5, g6, g7] = self.powers;
        let real = total(&eq_range(block, 0, s.shape.vocab_blocks));
        let (mut e, mut linear, mut kept) = (Fr::zero(), Fr::zero(), Fr::zero());
        let rows = eq_range(row, 0, s.n_out());
        for ((t, w), claimed) in rows.iter().enumerate().zip(eq_range(&self.row, 0, s.n_out())) {
            let eq = *w * claimed;
            let (chosen, top) = s.chosen_and_top(t)?;
            e += eq;
            linear += eq * (g2 * real + g7 * eq_index(&id, top));
            kept += eq * (g3 * real + g5 * less_than(&id, chosen) + g6 * eq_index(&id, chosen));
        }
        Ok([e * real, linear, kept])
    }
}

pub(super) fn prove<P: Party>(p: &mut P, s: &Statement) -> Result<(), P::Error> {
    let row: Vec<Fr> = (0..s.shape.output_bits).map(|_| p.challenge(Label::Batch)).collect();
    let gamma = p.challenge(Label::Batch);
    let mut powers = [Fr::one(); SELECT_TERMS];
    let mut power = Fr::one();
    for slot in &mut powers {
        *slot = power;
        power *= gamma;
    }
    let mut claim = Fr::zero();
    for (weight, shown) in eq_range(&row, 0, s.n_out()).iter().zip(&s.rows) {
        let sums = [
            shown.kept,
            shown.below,
            shown.all_weight,
            shown.kept_weight,
            shown.below_weight,
            shown.prefix_weight,
            shown.chosen_weight,
            TOP_WEIGHT,
        ];
        let merged: Fr = sums.iter().zip(&powers).map(|(x, g)| Fr::from(*x) * g).sum();
        claim += *weight * merged;
    }
    let select = Select { row, powers };
    let SumClaim { point, value } = p.sum(&select.clone().into(), claim)?;
    let (low, block) = split(&point, BLOCK_BITS.saturating_add(s.shape.output_bits))?;
    let units = eq_range(block, 0, s.shape.vocab_blocks);
    let open = |p: &mut P, t| p.open(Query::new(t, low.to_vec(), units.clone()));
    let (w, keep, below) = (open(p, Tensor::LogitWeight)?, open(p, Tensor::Keep)?, open(p, Tensor::Below)?);
    let [e, linear, kept] = select.public(s, &point)?;
    check("the selection's sums", value == select.combine(&[w, keep, below, e, linear, kept]))
}
