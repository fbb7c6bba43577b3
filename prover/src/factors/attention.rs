//! Scores, softmax and mixed values.

use ark_ff::Zero;
use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::relations::{AttnOut, Mix, Pointer, Score, SoftRows};
use monai_inference::shape::BLOCK;
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;
use rayon::prelude::*;

use super::{Sources, lift, limbs, outer};
use crate::kernels::{dot, fold_low, fold_rows};

/// `sum_c eq(z_c, c) v(j, c)` for every key and value head: `[layer, kv head, position]`, offset removed.
fn folded_values(c: Sources<'_>, column: &[Fr]) -> Vec<Fr> {
    let offset = Fr::from(1u64 << 15);
    let mut v = fold_low(c.w.slice(Tensor::Value), &eq_table(column));
    v.iter_mut().for_each(|v| *v -= offset);
    v
}

/// The unit of [`Tensor::Value`] or of the keys that a query head reads, of `stride` units a layer from `first`.
fn group_unit(c: Sources<'_>, unit: usize, stride: usize, first: usize) -> usize {
    let shape = &c.s.shape;
    let (layer, head) = (unit / shape.heads, unit % shape.heads);
    layer * stride + first + head / shape.group
}

pub(crate) fn attn_out(c: Sources<'_>, sum: &AttnOut) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (n, heads) = (c.positions(), shape.all_heads());
    let v = folded_values(c, &sum.column);
    let e = c.w.slice(Tensor::Weight);
    let mut mixed: Vec<Fr> = (0..heads * n)
        .into_par_iter()
        .map(|row| {
            let (head, p) = (row / n, row % n);
            let values = &v[group_unit(c, head, shape.kv_heads, 0) * n..][..n];
            (0..shape.segments())
                .map(|segment| {
                    let at = ((head * shape.segments() + segment) * n + p) * BLOCK;
                    dot(&e[at..at + BLOCK], &values[segment * BLOCK..])
                })
                .sum::<Fr>()
        })
        .collect();
    for (row, error) in &c.w.raw.mixed {
        mixed[*row] += error;
    }
    vec![outer(&sum.weights, &eq_table(&sum.row)), limbs(c.w, Tensor::SoftRows, 2, 2, heads * n), mixed]
}

pub(crate) fn mix(c: Sources<'_>, sum: &Mix) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let n = c.positions();
    let (position, head) = sum.row.split_at(shape.position_bits);
    let heads = eq_range(head, 0, shape.all_heads());
    let rows = eq_table(position);
    let weights =
        c.w.slice(Tensor::Weight)
            .par_chunks(n * BLOCK)
            .flat_map_iter(|unit| fold_rows(unit, &rows, BLOCK))
            .collect();
    let v = folded_values(c, &sum.column);
    let values = (0..shape.all_heads())
        .flat_map(|head| v[group_unit(c, head, shape.kv_heads, 0) * n..][..n].iter().copied())
        .collect();
    vec![outer(&heads, &vec![Fr::from(1u64); n]), weights, values]
}

pub(crate) fn soft_rows(c: Sources<'_>, sum: &SoftRows) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (n, heads) = (c.positions(), shape.all_heads());
    let e = c.w.slice(Tensor::Weight);
    let z = (0..heads * n)
        .into_par_iter()
        .map(|row| {
            let (head, p) = (row / n, row % n);
            let sum: i64 = (0..shape.segments())
                .flat_map(|segment| {
                    let at = ((head * shape.segments() + segment) * n + p) * BLOCK;
                    e[at..at + BLOCK].iter()
                })
                .map(|v| i64::from(*v))
                .sum();
            Fr::from(sum)
        })
        .collect();
    let rows = |first| limbs(c.w, Tensor::SoftRows, first, 2, heads * n);
    vec![eq_range(&sum.row, 0, heads * n), rows(2), z, rows(4), rows(6)]
}

pub(crate) fn pointer(c: Sources<'_>, sum: &Pointer) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (position, head) = sum.row.split_at(shape.position_bits);
    let units: Vec<Fr> = eq_range(head, 0, shape.all_heads())
        .iter()
        .flat_map(|w| std::iter::repeat_n(*w, shape.segments()))
        .collect();
    let rows: Vec<Fr> = eq_table(position).iter().flat_map(|w| std::iter::repeat_n(*w, BLOCK)).collect();
    vec![outer(&units, &rows), lift(c.w.slice(Tensor::MaxPointer)), lift(c.w.slice(Tensor::Weight))]
}

pub(crate) fn score(c: Sources<'_>, sum: &Score) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (n, e) = (c.positions(), shape.head_dim());
    let (segments, stride) = (shape.segments(), shape.query_keys());
    let offset = Fr::from(1u64 << 15);
    let stored = c.w.slice(Tensor::QueryKey);
    let fold = |unit: usize, from: usize, rows: &[Fr]| -> Vec<Fr> {
        let at = (unit * n + from) * e;
        let mut out = fold_rows(&stored[at..at + rows.len() * e], rows, e);
        out.iter_mut().for_each(|v| *v -= offset);
        out
    };
    let (rows, keys) = (eq_table(&sum.row), eq_table(&sum.key));
    let units = shape.all_heads() * segments;
    let queries: Vec<Vec<Fr>> = (0..shape.all_heads())
        .into_par_iter()
        .map(|unit| fold(unit / shape.heads * stride + unit % shape.heads, 0, &rows))
        .collect();
    let q = (0..units).flat_map(|unit| queries[unit / segments].iter().copied()).collect();
    let k = (0..units)
        .into_par_iter()
        .flat_map_iter(|unit| {
            let head = group_unit(c, unit / segments, stride, shape.heads);
            fold(head, unit % segments * BLOCK, &keys)
        })
        .collect();
    debug_assert!(!offset.is_zero());
    vec![outer(&sum.scaled(shape), &vec![Fr::from(1u64); e]), q, k]
}
