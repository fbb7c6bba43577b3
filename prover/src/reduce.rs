//! From many claims to the values of all chunks at one point.
//!
//! The variables inside the smallest unit of any claim come first: there, each claim is the product of an equality
//! polynomial and of its tensor folded over units, so that one pass over the integers leaves a table of a few entries a
//! claim. A second pass folds every unit at the challenges, and the rest is dense over units.

use ark_ff::{One, Zero};
use monai_inference::multilinear::{eq_points, eq_table};
use monai_inference::party::Claim;
use monai_inference::reduction::{Span, merged};
use monai_inference::sumcheck::round_at;
use monai_inference::tensor::Owner;
use monai_inference::transcript::Label;
use monai_inference::{Batch, VerifyError};
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::channel::Channel;
use crate::kernels::{Values, fold_low, fold_units};
use crate::model::{ModelTensors, stored};
use crate::sumcheck::bind;

/// Proves all claims; returns the common point and sends the chunks' values there.
pub(crate) fn prove(
    batch: &Batch,
    witnesses: &[&[i32]],
    model: &ModelTensors,
    claims: &[Claim],
    channel: &mut Channel,
) -> Result<(Vec<Fr>, Vec<Fr>), VerifyError> {
    let chi = channel.challenge(Label::Batch);
    let mut claim = merged(claims, chi);
    let bits = claims.iter().map(|c| c.query.low.len()).min().unwrap_or(0).min(batch.chunk_bits());
    let spans: Vec<Span> = claims
        .iter()
        .map(|c| Span::new(batch.statement(c.answer)?, &c.query).map(|x| x.refined(bits)))
        .collect::<Result<_, _>>()?;
    let powers: Vec<Fr> =
        std::iter::successors(Some(Fr::one()), |x| Some(*x * chi)).take(claims.len()).collect();

    // Inside units.
    let mut tables: Vec<(Vec<Fr>, Vec<Fr>)> = spans
        .iter()
        .zip(claims)
        .zip(&powers)
        .map(|((span, claim), power)| {
            let mut folded = match span.owner {
                Owner::Witness => folded(witnesses[claim.answer], span, bits),
                Owner::Model => folded_model(model, span, bits),
            };
            folded.iter_mut().for_each(|x| *x *= power);
            (folded, eq_table(&span.low))
        })
        .collect();
    let mut point = Vec::with_capacity(batch.chunk_bits());
    for _ in 0..bits {
        let x = round(&tables, &mut claim, channel)?;
        tables.par_iter_mut().for_each(|(a, b)| {
            bind(a, x);
            bind(b, x);
        });
        point.push(x);
    }
    drop(tables);

    // Over units.
    let low = eq_table(&point);
    let chunk_units = 1usize << (batch.chunk_bits() - bits);
    let mut values: Vec<Vec<Fr>> = Vec::with_capacity(batch.witness_chunks() + batch.model_chunks());
    for witness in witnesses {
        values.extend(witness.chunks(chunk_units << bits).map(|chunk| fold_low(chunk, &low)));
    }
    // Tensors lie one after another and begin on whole units.
    let mut units = Vec::with_capacity(model.len() >> bits);
    for (start, tensor) in model.pieces() {
        debug_assert!(start == units.len() << bits);
        units.extend(stored!(tensor, v => fold_low(v, &low)));
    }
    values.extend(units.chunks(chunk_units).map(<[Fr]>::to_vec));
    let mut weights: Vec<Vec<Fr>> = values.iter().map(|v| vec![Fr::zero(); v.len()]).collect();
    for ((span, claim), power) in spans.iter().zip(claims).zip(&powers) {
        let scale = *power * eq_points(&span.low, &point);
        let base = batch.first_chunk(claim.answer, span.owner)?;
        for (i, w) in span.weights.iter().enumerate().filter(|(_, w)| !w.is_zero()) {
            let unit = span.first + i;
            weights[base + unit / chunk_units][unit % chunk_units] += scale * w;
        }
    }
    let mut tables: Vec<(Vec<Fr>, Vec<Fr>)> = values.into_iter().zip(weights).collect();
    for _ in bits..batch.chunk_bits() {
        let x = round(&tables, &mut claim, channel)?;
        tables.par_iter_mut().for_each(|(a, b)| {
            bind(a, x);
            bind(b, x);
        });
        point.push(x);
    }
    let values: Vec<Fr> = tables.iter().map(|(a, _)| a[0]).collect();
    for v in &values {
        channel.send(Label::ChunkValue, *v);
    }
    Ok((point, values))
}

fn folded<V: Values>(values: V, span: &Span, bits: usize) -> Vec<Fr> {
    fold_units(values.part(span.first << bits, span.weights.len() << bits), &span.weights, 1 << bits)
}

/// A span lies inside one tensor.
fn folded_model(model: &ModelTensors, span: &Span, bits: usize) -> Vec<Fr> {
    let at = span.first << bits;
    let found = model.pieces().take_while(|(start, _)| *start <= at).last();
    let Some((start, tensor)) = found else { return vec![Fr::zero(); 1 << bits] };
    stored!(tensor, v => {
        fold_units(v.part(at - start, span.weights.len() << bits), &span.weights, 1 << bits)
    })
}

/// One round of `sum over tables of sum a b`: sends the values at 0 and 2.
fn round(tables: &[(Vec<Fr>, Vec<Fr>)], claim: &mut Fr, channel: &mut Channel) -> Result<Fr, VerifyError> {
    let sums = tables
        .par_iter()
        .map(|(a, b)| {
            let mut sums = [Fr::zero(); 2];
            for i in 0..a.len().div_ceil(2) {
                let (a0, b0) = (a[2 * i], b[2 * i]);
                let high = |v: &[Fr]| v.get(2 * i + 1).copied().unwrap_or_else(Fr::zero);
                let (a1, b1) = (high(a), high(b));
                sums[0] += a0 * b0;
                sums[1] += (a1 + a1 - a0) * (b1 + b1 - b0);
            }
            sums
        })
        .reduce(|| [Fr::zero(); 2], |x, y| [x[0] + y[0], x[1] + y[1]]);
    for x in sums {
        channel.send(Label::Round, x);
    }
    let x = channel.challenge(Label::Round);
    *claim = round_at(*claim, &sums, x)?;
    Ok(x)
}
