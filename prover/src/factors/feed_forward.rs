//! Gate, up, exponent and down.

use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::relations::{Down, FfnRows, Gated};
use monai_inference::shape::BLOCK;
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;
use rayon::prelude::*;

use super::{Sources, lift, limbs, outer};
use crate::kernels::fold_units;

pub(crate) fn gated(c: Sources<'_>, sum: &Gated) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let n = c.positions();
    let wide =
        |rows: &[Fr]| -> Vec<Fr> { rows.iter().flat_map(|w| std::iter::repeat_n(*w, BLOCK)).collect() };
    let e1 = outer(&sum.weights, &outer(&eq_table(&sum.row), &eq_table(&sum.column)));
    let (position, layer) = sum.pointed.split_at(shape.position_bits);
    let units: Vec<Fr> =
        eq_range(layer, 0, shape.layers).iter().flat_map(|w| std::iter::repeat_n(*w, shape.ffn)).collect();
    let e2 = outer(&units, &wide(&eq_table(position)));
    let down: Vec<Fr> = lift(c.w.slice(Tensor::FfnDown))
        .par_chunks(n)
        .flat_map_iter(|layer| {
            let rows = wide(layer);
            std::iter::repeat_n(rows, shape.ffn).flatten()
        })
        .collect();
    vec![
        lift(c.w.slice(Tensor::Silu)),
        lift(&c.w.raw.up),
        e1,
        down,
        e2,
        lift(c.w.slice(Tensor::GatedPointer)),
    ]
}

pub(crate) fn ffn_rows(c: Sources<'_>, sum: &FfnRows) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let n = c.positions();
    let lifted = |t| lift(c.w.slice(t));
    let pointers = c.w.slice(Tensor::GatedPointer);
    let silu = c.w.slice(Tensor::Silu);
    let products = (0..shape.layers * n)
        .into_par_iter()
        .map(|row| {
            let (layer, p) = (row / n, row % n);
            (0..shape.ffn * BLOCK)
                .map(|ch| ((layer * shape.ffn + ch / BLOCK) * n + p) * BLOCK + ch % BLOCK)
                .filter(|i| pointers[*i] != 0)
                .map(|i| Fr::from(pointers[i]) * Fr::from(silu[i]) * Fr::from(c.w.raw.up[i]))
                .sum::<Fr>()
        })
        .collect();
    vec![
        eq_range(&sum.row, 0, shape.layers * n),
        lifted(Tensor::FfnNonzero),
        lifted(Tensor::FfnDown),
        lifted(Tensor::FfnSign),
        limbs(c.w, Tensor::FfnSlack, 0, 3, shape.layers * n),
        products,
    ]
}

pub(crate) fn down(c: Sources<'_>, sum: &Down) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let n = c.positions();
    let eq = eq_table(&sum.column);
    let raw =
        c.w.raw
            .down
            .par_chunks(shape.hidden * n * BLOCK)
            .zip(sum.weights.par_chunks(shape.hidden))
            .flat_map_iter(|(layer, weights)| {
                let folded = fold_units(layer, weights, n * BLOCK);
                let eq = &eq;
                (0..n).map(move |p| {
                    folded[p * BLOCK..(p + 1) * BLOCK].iter().zip(eq).map(|(a, b)| *a * b).sum::<Fr>()
                })
            })
            .collect();
    let ones = vec![Fr::from(1u64); shape.layers];
    vec![outer(&ones, &eq_table(&sum.row)), lift(c.w.slice(Tensor::FfnUp)), raw]
}
