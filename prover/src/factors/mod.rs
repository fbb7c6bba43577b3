//! The factors of every relation's sum, in full: what the verifier evaluates at one point only.
//!
//! Each function returns the factors in the order of the summand's `combine`. Indices are those of the summand's shape,
//! lowest variable first.

mod attention;
mod feed_forward;
mod linear;
mod norm;
mod select;

pub(crate) use attention::{attn_out, mix, pointer, score, soft_rows};
pub(crate) use feed_forward::{down, ffn_rows, gated};
pub(crate) use linear::{embed, gain, linear, rope, shift};
pub(crate) use norm::{head_gain, norm_apply, norm_rows, squares};
pub(crate) use select::select;

use ark_ff::Zero;
use monai_inference::statement::Statement;
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::kernels::Small;
use crate::model::ModelTensors;
use crate::witness::Witness;

/// What factors are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) s: &'a Statement,
    pub(crate) w: &'a Witness,
    pub(crate) m: &'a ModelTensors,
}

impl Sources<'_> {
    fn positions(&self) -> usize {
        self.s.shape.positions()
    }
}

/// Subtracts the offset of a stored tensor from values whose weights sum to 1.
fn unoffset(mut values: Vec<Fr>) -> Vec<Fr> {
    let offset = Fr::from(1u64 << 15);
    values.iter_mut().for_each(|v| *v -= offset);
    values
}

/// Integers as field elements.
fn lift<T: Small>(values: &[T]) -> Vec<Fr> {
    values.par_iter().with_min_len(1 << 10).map(|v| Fr::from(v.wide())).collect()
}

/// `outer[i] inner[j]` at index `i inner.len() + j`.
fn outer(outer: &[Fr], inner: &[Fr]) -> Vec<Fr> {
    outer
        .par_iter()
        .with_min_len(64)
        .flat_map_iter(|a| inner.iter().map(move |b| if a.is_zero() { Fr::zero() } else { *a * b }))
        .collect()
}

/// The integer whose limb `l` is unit group `first + l` of a tensor of rows: `[limb, unit, position]`.
fn limbs(w: &Witness, tensor: Tensor, first: usize, count: usize, group: usize) -> Vec<Fr> {
    let values = w.slice(tensor);
    let base = Fr::from(1u64 << 16);
    (0..group)
        .into_par_iter()
        .map(|i| {
            (0..count).rev().fold(Fr::zero(), |acc, l| acc * base + Fr::from(values[(first + l) * group + i]))
        })
        .collect()
}
