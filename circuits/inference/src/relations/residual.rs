//! # Residual
//!
//! **Statement.** `h[site] = x0 + sum of the outputs of all sub-layers before it`, with site `2l` before attention `l`,
//! `2l + 1` before feed-forward `l` and `2L` before the last norm; sub-layer `j` comes before every site above `j`.
//!
//! **Shape.** No sumcheck: `h` is linear in committed tensors, so a claim on `h` under unit weights is the same claim on
//! `x0` with the weights summed over sites, and on the sub-layers' outputs with the weights of all later sites summed.
//! **Soundness.** Exact: there is no residual column that could differ from the sum. Limbs of 16 bits bound every `x0` and
//! output by `2^31`, so `|h| < 2^31 (2L + 1)` without a range check of its own.

use ark_ff::Zero;
use monai_protocol::field::Fr;

use super::limbs;
use crate::multilinear::{pow2, total};
use crate::party::{Party, Query};
use crate::statement::Statement;
use crate::tensor::Tensor;

/// Requires `sum_{site, block} weights h[site, block](low) = value`; returns whether the opened values agree.
pub(super) fn value<P: Party>(p: &mut P, s: &Statement, low: &[Fr], weights: &[Fr]) -> Result<Fr, P::Error> {
    let blocks = s.shape.hidden;
    let mut later = vec![Fr::zero(); blocks];
    let mut outputs = Vec::with_capacity(weights.len());
    // From the last site down: the weight of sub-layer j is the sum over the sites above j.
    for site in weights.chunks(blocks.max(1)).rev() {
        outputs.push(later.clone());
        for (sum, w) in later.iter_mut().zip(site) {
            *sum += w;
        }
    }
    // The first entry belongs to a sub-layer after the last site, which does not exist.
    let outputs: Vec<Fr> = outputs.into_iter().skip(1).rev().flatten().collect();
    let open = |p: &mut P, t, w: &[Fr]| p.open(Query::new(t, low.to_vec(), w.to_vec()));
    let x0 = limbs(&[open(p, Tensor::X0Lo, &later)?, open(p, Tensor::X0Hi, &later)?]);
    let sub = limbs(&[open(p, Tensor::SubLo, &outputs)?, open(p, Tensor::SubHi, &outputs)?]);
    Ok(x0 + sub - pow2(31) * (total(&later) + total(&outputs)))
}
