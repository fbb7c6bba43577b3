//! RMSNorm, of the residual and of heads, and the gain of heads.

use std::borrow::Cow;

use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::relations::{HeadGain, NormApply, NormRows, Norms, Squares};
use monai_inference::tensor::Tensor;
use monai_protocol::Fr;
use rayon::prelude::*;

use super::{Sources, lift, limbs, outer, unoffset};
use crate::kernels::{fold_rows, fold_units};

/// What is normalised, `[site, block]`, positions by channels.
fn input(c: Sources<'_>, norms: Norms) -> Cow<'_, [i64]> {
    match norms {
        Norms::Residual => Cow::Borrowed(&c.w.raw.residual),
        Norms::Heads => c.w.slice(Tensor::HeadT).iter().map(|t| i64::from(*t) - (1 << 15)).collect(),
    }
}

pub(crate) fn norm_apply(c: Sources<'_>, sum: &NormApply) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (n, sites, blocks) = (c.positions(), sum.norms.sites(shape), sum.norms.blocks(shape));
    let eq = eq_table(&sum.column);
    let row = n * eq.len();
    let h = input(c, sum.norms)
        .par_chunks(blocks * row)
        .zip(sum.weights.par_chunks(blocks))
        .flat_map_iter(|(site, weights)| {
            let folded = fold_units(site, weights, row);
            let eq = &eq;
            let at = |p: usize| folded[p * eq.len()..(p + 1) * eq.len()].iter();
            (0..n).map(|p| at(p).zip(eq).map(|(a, b)| *a * b).sum::<Fr>()).collect::<Vec<_>>()
        })
        .collect();
    let ones = vec![Fr::from(1u64); sites];
    vec![outer(&ones, &eq_table(&sum.row)), limbs(c.w, sum.norms.rows(), 0, 2, sites * n), h]
}

pub(crate) fn norm_rows(c: Sources<'_>, sum: &NormRows) -> Vec<Vec<Fr>> {
    let (n, sites) = (c.positions(), sum.norms.sites(&c.s.shape));
    let rows = |first, count| limbs(c.w, sum.norms.rows(), first, count, sites * n);
    let eq = eq_range(&sum.row, 0, sites * n);
    let squares = match sum.norms {
        Norms::Residual => &c.w.raw.squares,
        Norms::Heads => &c.w.raw.head_squares,
    };
    let eps = outer(&sum.norms.eps(&c.s.shape), &vec![Fr::from(1u64); n]);
    vec![eq, rows(0, 2), rows(2, 4), rows(6, 6), squares.clone(), eps]
}

pub(crate) fn squares(c: Sources<'_>, sum: &Squares) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let (position, site) = sum.row.split_at(shape.position_bits);
    let (blocks, channels) = (sum.norms.blocks(shape), 1usize << sum.norms.channel_bits(shape));
    let each = |weights: &[Fr], n: usize| -> Vec<Fr> {
        weights.iter().flat_map(|w| std::iter::repeat_n(*w, n)).collect()
    };
    let units = each(&eq_range(site, 0, sum.norms.sites(shape)), blocks);
    vec![outer(&units, &each(&eq_table(position), channels)), lift(&input(c, sum.norms))]
}

pub(crate) fn head_gain(c: Sources<'_>, sum: &HeadGain) -> Vec<Vec<Fr>> {
    let shape = &c.s.shape;
    let e = shape.head_dim();
    let kinds: Vec<&[i64]> = c.m.slice(Tensor::HeadGain).chunks(e).collect();
    let gains: Vec<i64> = HeadGain::spread(shape, &kinds).flat_map(|gain| gain.iter().copied()).collect();
    let rows = eq_table(&sum.row);
    let y: Vec<Fr> =
        c.w.slice(Tensor::HeadY)
            .par_chunks(c.positions() * e)
            .flat_map_iter(|unit| fold_rows(unit, &rows, e))
            .collect();
    vec![outer(&sum.weights, &eq_table(&sum.column)), lift(&gains), unoffset(y)]
}
