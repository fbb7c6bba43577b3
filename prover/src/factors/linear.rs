//! Matrices, embedding, RoPE, the last norm's gain and the shift to output rows.

use ark_ff::Zero;
use monai_inference::VerifyError;
use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::relations::{Embed, Gain, Linear, LinearPart, Rope, Shift, pair_and_side, side_factors};
use monai_inference::shape::{BLOCK, Matrix};
use monai_inference::tensor::{Tensor, inputs, outputs};
use monai_protocol::Fr;
use rayon::prelude::*;

use super::{Sources, lift, outer, unoffset};
use crate::kernels::{Values, fold_rows, fold_units};
use crate::model::stored;

/// `Wf` and `X`; the third list is the head's part of `X` alone, which another relation proves.
pub(crate) fn linear(c: Sources<'_>, sum: &Linear) -> (Vec<Vec<Fr>>, Vec<Fr>) {
    let len = sum.parts.iter().map(|p| p.place.start + p.place.len()).max().unwrap_or(0);
    let (mut matrix, mut input) = (vec![Fr::zero(); len], vec![Fr::zero(); len]);
    let mut head = Vec::new();
    for part in &sum.parts {
        let range = part.place.start..part.place.start + part.place.len();
        for (slot, v) in matrix[range.clone()].iter_mut().zip(folded_matrix(c, part)) {
            *slot = part.gamma * v;
        }
        let x = folded_input(c, part);
        input[range].copy_from_slice(&x);
        if part.matrix == Matrix::Head {
            head = x;
        }
    }
    (vec![matrix, input], head)
}

/// `Wf[layer, input block, k] = sum_nb w[layer, nb] sum_n eq(z_n, n) W'[layer, nb, block, n, k]`.
fn folded_matrix(c: Sources<'_>, part: &LinearPart) -> Vec<Fr> {
    let shape = &c.s.shape;
    let (out, out_bits) = outputs(part.matrix, shape);
    let (ins, in_bits) = inputs(part.matrix, shape);
    let values = c.m.get(Tensor::of_matrix(part.matrix, shape));
    let eq = eq_table(&part.column);
    let block = 1usize << (out_bits + in_bits);
    let layers = part.weights.len() / out;
    (0..layers * ins)
        .into_par_iter()
        .flat_map_iter(|unit| {
            let (layer, kb) = (unit / ins, unit % ins);
            let mut acc = vec![Fr::zero(); 1 << in_bits];
            for nb in 0..out {
                let w = part.weights[layer * out + nb];
                if w.is_zero() {
                    continue;
                }
                let at = ((layer * out + nb) * ins + kb) * block;
                let rows = stored!(values, v => fold_rows(v.part(at, block), &eq, 1 << in_bits));
                for (a, r) in acc.iter_mut().zip(rows) {
                    *a += w * r;
                }
            }
            acc
        })
        .collect()
}

/// `X[layer, block, k] = sum_p eq(z_p, p) x[layer, block](p, k)`.
fn folded_input(c: Sources<'_>, part: &LinearPart) -> Vec<Fr> {
    let shape = &c.s.shape;
    let (_, in_bits) = inputs(part.matrix, shape);
    let columns = 1usize << in_bits;
    let unit = c.positions() * columns;
    let fold = |values: &[i32], rows: &[Fr]| -> Vec<Fr> {
        values.par_chunks(unit).flat_map_iter(|u| fold_rows(u, rows, columns)).collect()
    };
    let norm_sites = |which: usize| -> Vec<i32> {
        let layer = shape.hidden * unit;
        c.w.slice(Tensor::NormY)
            .chunks(layer)
            .take(2 * shape.layers)
            .skip(which)
            .step_by(2)
            .flatten()
            .copied()
            .collect()
    };
    match part.matrix {
        Matrix::QueryKey | Matrix::Value => unoffset(fold(&norm_sites(0), &eq_table(&part.row))),
        Matrix::Gate | Matrix::Up => unoffset(fold(&norm_sites(1), &eq_table(&part.row))),
        Matrix::Output => unoffset(fold(c.w.slice(Tensor::AttnOut), &eq_table(&part.row))),
        Matrix::Down => unoffset(fold(c.w.slice(Tensor::Gated), &eq_table(&part.row))),
        Matrix::Head => {
            let rows = output_rows(c, &part.row);
            let total: Fr = rows.iter().sum();
            let offset = total * Fr::from(1u64 << 15);
            fold(c.w.slice(Tensor::FinalZ), &rows).into_iter().map(|v| v - offset).collect()
        }
    }
}

/// `S(p)`.
fn output_rows(c: Sources<'_>, output: &[Fr]) -> Vec<Fr> {
    let mut rows = vec![Fr::zero(); c.positions()];
    for (t, w) in eq_range(output, 0, c.s.n_out()).into_iter().enumerate() {
        rows[c.s.position_before(t)] += w;
    }
    rows
}

pub(crate) fn shift(c: Sources<'_>, sum: &Shift) -> Vec<Vec<Fr>> {
    let rows = output_rows(c, &sum.output);
    let folded = fold_units(c.w.slice(Tensor::FinalZ), &sum.weights, c.positions() * BLOCK);
    let eq = eq_table(&sum.column);
    let offset = Fr::from(1u64 << 15) * sum.weights.iter().sum::<Fr>();
    let z = folded
        .chunks(BLOCK)
        .map(|row| row.iter().zip(&eq).map(|(a, b)| *a * b).sum::<Fr>() - offset)
        .collect();
    vec![rows, z]
}

pub(crate) fn gain(c: Sources<'_>, sum: &Gain) -> Vec<Vec<Fr>> {
    let unit = c.positions() * BLOCK;
    let rows = eq_table(&sum.row);
    let last = (c.s.shape.sites() - 1) * c.s.shape.hidden * unit;
    let y: Vec<Fr> = c.w.slice(Tensor::NormY)[last..]
        .par_chunks(unit)
        .flat_map_iter(|u| fold_rows(u, &rows, BLOCK))
        .collect();
    vec![outer(&sum.weights, &eq_table(&sum.column)), lift(c.m.slice(Tensor::Gain)), unoffset(y)]
}

pub(crate) fn embed(c: Sources<'_>, sum: &Embed) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let mut chosen = vec![Fr::zero(); shape.vocab_blocks * BLOCK];
    for (id, w) in c.s.inputs().zip(eq_table(&sum.row)) {
        chosen[id] += w;
    }
    let eq = eq_table(&sum.column);
    let size = shape.hidden * BLOCK * BLOCK;
    let entries = (0..shape.vocab_blocks)
        .into_par_iter()
        .flat_map_iter(|block| {
            let ids = c.m.get(Tensor::Embedding);
            let folded = stored!(ids, v => {
                fold_units(v.part(block * size, size), &sum.weights, BLOCK * BLOCK)
            });
            let eq = &eq;
            (0..BLOCK).map(move |id| {
                folded[id * BLOCK..(id + 1) * BLOCK].iter().zip(eq).map(|(a, b)| *a * b).sum::<Fr>()
            })
        })
        .collect();
    vec![chosen, entries]
}

pub(crate) fn rope(c: Sources<'_>, sum: &Rope) -> Result<Vec<Vec<Fr>>, VerifyError> {
    let shape = &c.s.shape;
    let (e, n) = (shape.head_dim(), c.positions());
    let raw = fold_units(&c.w.raw.query_key[..], &sum.weights, n * e);
    let (pair, side) = pair_and_side(shape, &sum.column)?;
    let eq_pair = eq_table(&pair);
    let eq_row = eq_table(&sum.row);
    let (first, second) = (side_factors(side, Fr::zero()), side_factors(side, Fr::from(1u64)));
    let cos = c.m.slice(Tensor::Cos);
    let sin = c.m.slice(Tensor::Sin);
    let half = e / 2;
    let mut factors: Vec<Vec<Fr>> = (0..4).map(|_| Vec::with_capacity(n * e)).collect();
    // Where each channel lies in its pair.
    let mut place = vec![(0usize, false); e];
    for i in 0..half {
        let (a, b) = shape.pair_order.channels(i, e);
        place[a] = (i, false);
        place[b] = (i, true);
    }
    for (p, row) in eq_row.iter().enumerate() {
        for (i, upper) in &place {
            let eq = *row * eq_pair[*i];
            let (cosine, sine) = if *upper { second } else { first };
            let entry = |t: &[i64]| Fr::from(t.get(p * half + i).copied().unwrap_or(0));
            for (f, v) in factors.iter_mut().zip([eq * cosine, entry(cos), eq * sine, entry(sin)]) {
                f.push(v);
            }
        }
    }
    factors.insert(0, raw);
    Ok(factors)
}
