//! Univariate polynomials by their coefficients, lowest first: what an opening computes with.

use ark_bn254::Fr;
use ark_ff::{Field, Zero};
use rayon::prelude::*;

/// Coefficients that one task of a parallel division handles.
const BLOCK: usize = 1 << 14;

/// `p(x)`.
pub(crate) fn evaluate(p: &[Fr], x: Fr) -> Fr {
    p.iter().rev().fold(Fr::zero(), |acc, c| acc * x + c)
}

/// The quotient of `p` by `X - x`; the remainder, `p(x)`, is dropped.
///
/// Synthetic division is a recurrence from the top. It is cut into blocks: each block's contribution as
/// if nothing came from above is a Horner evaluation, found in parallel; a short sequential pass then
/// tells each block what really comes from above.
pub(crate) fn divide(p: &[Fr], x: Fr) -> Vec<Fr> {
    let Some(n) = p.len().checked_sub(1) else { return Vec::new() };
    // quotient[i] = p[i + 1] + x quotient[i + 1].
    let upper = &p[1..];
    let step = x.pow([BLOCK as u64]);
    let sums: Vec<Fr> = upper.par_chunks(BLOCK).map(|block| evaluate(block, x)).collect();
    let mut above = vec![Fr::zero(); sums.len()];
    let mut carry = Fr::zero();
    for (above, sum) in above.iter_mut().zip(&sums).rev() {
        *above = carry;
        carry = carry * step + sum;
    }
    let mut quotient = vec![Fr::zero(); n];
    quotient.par_chunks_mut(BLOCK).zip(upper.par_chunks(BLOCK)).zip(above).for_each(
        |((out, block), above)| {
            let mut carry = above;
            for (q, c) in out.iter_mut().zip(block).rev() {
                carry = carry * x + c;
                *q = carry;
            }
        },
    );
    quotient
}

/// `target += factor * p`.
pub(crate) fn add_scaled(target: &mut [Fr], p: &[Fr], factor: Fr) {
    target.par_chunks_mut(BLOCK).zip(p.par_chunks(BLOCK)).for_each(|(target, p)| {
        for (t, c) in target.iter_mut().zip(p) {
            *t += factor * c;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_recomposes() {
        for n in [1usize, 2, 3, 100, BLOCK, BLOCK + 1, BLOCK + 2, 3 * BLOCK + 17] {
            let p: Vec<Fr> = (0..n as u64).map(|i| Fr::from(i * i + 5) * Fr::from(i ^ 77)).collect();
            let x = Fr::from(123_456_789u64).pow([7]);
            let q = divide(&p, x);
            assert_eq!(q.len(), n - 1);
            let value = evaluate(&p, x);
            let z = Fr::from(987_654_321u64).pow([5]);
            assert_eq!(evaluate(&q, z) * (z - x) + value, evaluate(&p, z));
        }
        assert!(divide(&[], Fr::from(3)).is_empty());
    }
}
