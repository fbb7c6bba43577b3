//! # Linear layers
//!
//! **Statement.** For each matrix, `A[l, p, n] = sum_k W'[l, n, k] x[l, p, k] + B[l, n]`, as claims on `A` under unit
//! weights `w[l, n-block]` at a point `(z_n, z_p)`: `sum_{l, kb, k} Wf[l, kb, k] X[l, kb, k]` with
//! `Wf = sum_nb w[l, nb] W'[l, nb, kb](z_n, k)` and `X = x[l, kb](z_p, k)`.
//!
//! **Shape.** One sumcheck for all matrices and layers, batched by powers of one challenge. The values of a matrix lie in
//! the sum's hypercube as a list of units, one for each (layer, input block). **Degree.** 2.
//!
//! **Soundness.** The sum is exact in the field; that it is an equation between integers follows from the registered
//! bounds of the weights and from the range of `x`. Ends in claims on `W'`, `B` (model) and `x` (witness); for the head,
//! on the rows of `x` that precede outputs, which [`super::Shift`] moves to positions.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use super::{Summand, check, join, offset16, split};
use crate::error::VerifyError;
use crate::multilinear::{eq_range, shr};
use crate::party::{Party, Query, SumClaim};
use crate::shape::{Matrix, Shape};
use crate::statement::Statement;
use crate::tensor::{Place, Tensor, inputs, outputs, place, variables};
use crate::transcript::Label;

/// A claim on a matrix' raw accumulators.
#[derive(Clone, Debug)]
pub struct LinearPart {
    /// The matrix.
    pub matrix: Matrix,
    /// What multiplies it in the batch.
    pub gamma: Fr,
    /// Weights of the output units `[layer, output block]`.
    pub weights: Vec<Fr>,
    /// Channel inside an output block.
    pub column: Vec<Fr>,
    /// Row: the position, or for the head the output.
    pub row: Vec<Fr>,
    /// Where its `[layer, input block]` units lie in the sum.
    pub place: Place,
}

/// The batched sum.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Its parts.
    pub parts: Vec<LinearPart>,
}

impl Summand for Linear {
    const DEGREE: usize = 2;
    const FACTORS: usize = 2;

    fn combine(&self, f: &[Fr]) -> Fr {
        f.iter().fold(Fr::one(), |a, b| a * b)
    }

    fn variables(&self, _: &Statement) -> usize {
        variables(self.parts.iter().map(|p| p.place.start.saturating_add(p.place.len())).max().unwrap_or(0))
    }
}

/// `sum_u weights[u] A_u(column, row) = value`, of one matrix.
#[derive(Debug)]
struct Claim {
    matrix: Matrix,
    weights: Vec<Fr>,
    column: Vec<Fr>,
    row: Vec<Fr>,
    value: Fr,
}

/// Claims on accumulators, gathered until all are there.
#[derive(Debug, Default)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    /// Adds `sum_u weights[u] A_u(column, row) = value`.
    pub(super) fn push(&mut self, m: Matrix, weights: Vec<Fr>, column: &[Fr], row: &[Fr], value: Fr) {
        self.0.push(Claim { matrix: m, weights, column: column.to_vec(), row: row.to_vec(), value });
    }
}

/// Units of the input of one matrix: layers times input blocks.
fn input_units(m: Matrix, s: &Shape) -> usize {
    let (blocks, _) = inputs(m, s);
    blocks.saturating_mul(if m == Matrix::Head { 1 } else { s.layers })
}

pub(super) fn prove<P: Party>(p: &mut P, s: &Statement, claims: Claims) -> Result<(), P::Error> {
    let sizes: Vec<_> = claims
        .0
        .iter()
        .map(|c| (c.matrix, input_units(c.matrix, &s.shape), inputs(c.matrix, &s.shape).1))
        .collect();
    let (places, _) = place(&sizes);
    let mut parts = Vec::with_capacity(claims.0.len());
    let mut sum = Fr::zero();
    let mut gamma = Fr::one();
    let mut values = Vec::with_capacity(claims.0.len());
    for Claim { matrix, weights, column, row, value } in claims.0 {
        let value = if s.shape.biased.contains(&matrix) {
            value - p.open(Query::new(Tensor::Bias(matrix), column.clone(), weights.clone()))?
        } else {
            value
        };
        let place = *places.get(&matrix).ok_or(VerifyError::Internal("matrix"))?;
        values.push(value);
        parts.push(LinearPart { matrix, gamma: Fr::zero(), weights, column, row, place });
    }
    let batch = p.challenge(Label::Batch);
    for (part, value) in parts.iter_mut().zip(values) {
        part.gamma = gamma;
        sum += gamma * value;
        gamma *= batch;
    }
    let linear = super::Sum::from(Linear { parts });
    let SumClaim { point, value } = p.sum(&linear, sum)?;
    let super::Sum::Linear(Linear { parts }) = linear else {
        return Err(VerifyError::Internal("sum").into());
    };
    let (mut matrix_value, mut input_value) = (Fr::zero(), Fr::zero());
    for part in parts {
        let (low, high) = split(&point, part.place.low)?;
        let units = eq_range(high, shr(part.place.start, part.place.low), part.place.units);
        matrix_value += part.gamma * p.open(matrix_query(s, &part, &units, low))?;
        input_value += input(p, s, &part, low, units)?;
    }
    check("the linear layers' sum", value == matrix_value * input_value)
}

/// `Wf` at the point: weights `[layer, output block, input block]` are products.
fn matrix_query(s: &Statement, part: &LinearPart, units: &[Fr], low: &[Fr]) -> Query {
    let (out, _) = outputs(part.matrix, &s.shape);
    let (blocks, _) = inputs(part.matrix, &s.shape);
    let mut weights = Vec::new();
    for (outs, ins) in part.weights.chunks(out.max(1)).zip(units.chunks(blocks.max(1))) {
        for w in outs {
            weights.extend(ins.iter().map(|x| *w * x));
        }
    }
    Query::new(Tensor::of_matrix(part.matrix, &s.shape), join(low, &part.column), weights)
}

/// `X` at the point.
fn input<P: Party>(
    p: &mut P,
    s: &Statement,
    part: &LinearPart,
    low: &[Fr],
    units: Vec<Fr>,
) -> Result<Fr, P::Error> {
    let point = join(low, &part.row);
    let offset = offset16(&units);
    let opened = match part.matrix {
        Matrix::QueryKey | Matrix::Value => {
            p.open(Query::new(Tensor::NormY, point, at_sites(s, &units, 0)))?
        }
        Matrix::Gate | Matrix::Up => p.open(Query::new(Tensor::NormY, point, at_sites(s, &units, 1)))?,
        Matrix::Output => p.open(Query::new(Tensor::AttnOut, point, units))?,
        Matrix::Down => p.open(Query::new(Tensor::Gated, point, units))?,
        Matrix::Head => return super::logits::head_input(p, s, part, low, &units),
    };
    Ok(opened - offset)
}

/// Weights of `[site, block]` from weights of `[layer, block]`: site `2 layer + which`.
fn at_sites(s: &Statement, units: &[Fr], which: usize) -> Vec<Fr> {
    interleave(units, s.shape.hidden, which)
}

/// Weights of `[2 layer + which, block]` from weights of `[layer, block]`.
pub(super) fn interleave(units: &[Fr], blocks: usize, which: usize) -> Vec<Fr> {
    let mut weights = Vec::with_capacity(units.len().saturating_mul(2));
    for layer in units.chunks(blocks.max(1)) {
        for slot in 0..2usize {
            if slot == which {
                weights.extend(layer);
            } else {
                weights.extend(std::iter::repeat_n(Fr::zero(), layer.len()));
            }
        }
    }
    weights
}
