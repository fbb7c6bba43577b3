//! The equality polynomial's values, and folding a matrix of coefficients with them.

use ark_bn254::Fr;
use ark_ff::One;
use rayon::prelude::*;

/// `eq(i, u)` for every `i < 2^len(u)`, bit `j` of `i` with `u[j]`.
#[must_use]
pub fn eq_table(u: &[Fr]) -> Vec<Fr> {
    let mut table = Vec::with_capacity(1 << u.len());
    table.push(Fr::one());
    for u_j in u {
        let n = table.len();
        for i in 0..n {
            let high = table[i] * u_j;
            table[i] -= high;
            table.push(high);
        }
    }
    table
}

/// The dot product of each row of `b` values with `weights`, zero-padded.
pub(crate) fn fold_rows(values: &[Fr], weights: &[Fr], rows: usize) -> Vec<Fr> {
    let mut out: Vec<Fr> = values
        .par_chunks(weights.len())
        .map(|row| row.iter().zip(weights).map(|(a, b)| *a * b).sum())
        .collect();
    out.resize(rows, Fr::default());
    out
}
