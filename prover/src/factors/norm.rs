//! RMSNorm.

use ark_ff::Zero;
use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::relations::{NormApply, NormRows, Squares};
use monai_inference::shape::BLOCK;
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;
use rayon::prelude::*;

use super::{Sources, lift, limbs, outer};
use crate::kernels::fold_units;

pub(crate) fn norm_apply(c: Sources<'_>, sum: &NormApply) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (n, sites) = (c.positions(), shape.sites());
    let eq = eq_table(&sum.column);
    let h =
        c.w.raw
            .residual
            .par_chunks(shape.hidden * n * BLOCK)
            .zip(sum.weights.par_chunks(shape.hidden))
            .flat_map_iter(|(site, weights)| {
                let folded = fold_units(site, weights, n * BLOCK);
                let eq = &eq;
                (0..n).map(move |p| {
                    folded[p * BLOCK..(p + 1) * BLOCK].iter().zip(eq).map(|(a, b)| *a * b).sum::<Fr>()
                })
            })
            .collect();
    let ones = vec![Fr::from(1u64); sites];
    vec![outer(&ones, &eq_table(&sum.row)), limbs(c.w, Tensor::NormRows, 0, 2, sites * n), h]
}

pub(crate) fn norm_rows(c: Sources<'_>, sum: &NormRows) -> Vec<Vec<Fr>> {
    let (n, sites) = (c.positions(), c.s.shape.sites());
    let rows = |first, count| limbs(c.w, Tensor::NormRows, first, count, sites * n);
    let eq = eq_range(&sum.row, 0, sites * n);
    vec![eq, rows(0, 2), rows(2, 4), rows(6, 6), c.w.raw.squares.clone()]
}

pub(crate) fn squares(c: Sources<'_>, sum: &Squares) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (position, site) = sum.row.split_at(shape.position_bits);
    let sites = eq_range(site, 0, shape.sites());
    let units: Vec<Fr> = sites.iter().flat_map(|w| std::iter::repeat_n(*w, shape.hidden)).collect();
    let rows: Vec<Fr> = eq_table(position).iter().flat_map(|w| std::iter::repeat_n(*w, BLOCK)).collect();
    debug_assert!(rows.iter().any(|r| !r.is_zero()));
    vec![outer(&units, &rows), lift(&c.w.raw.residual)]
}
