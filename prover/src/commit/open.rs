//! The prover of a Mercury opening.
//!
//! The combined polynomial's `2^n` coefficients are a matrix of `2^high` rows of `b = 2^low` columns.
//! Two full-width multi-scalar products over all coefficients (`q` and the witness at `zeta`) are the
//! cost; everything else is linear in field operations or of the size of one row.

use ark_bn254::Fr;
use ark_ff::{Field, One, Zero};
use monai_inference::commitment::{
    Commitment, OpeningError, OpeningProof, OpeningTranscript, combine as combine_commitments, schedule,
    split_variables,
};
use rayon::prelude::*;

use super::chunk::ChunkRef;
use super::eq::{eq_table, fold_rows};
use super::error::CommitError;
use super::fold::combine;
use super::srs::Srs;
use super::univariate::{add_scaled, divide, evaluate};
use crate::progress::{Progress, Stage, check};

/// Opens `sum_c coefficients[c] * chunks[c]` at `point`; returns the value and the proof.
///
/// `commitments` are those of the chunks, in the same order. The transcript must be where the verifier's
/// will be: see `monai_inference::commitment::verify_opening` for what the caller absorbs before.
///
/// # Errors
/// [`CommitError::Unpaired`], [`CommitError::TooLong`] where a chunk has more than `2^n` values for a
/// point of `n` coordinates, [`CommitError::Opening`] for an unsupported size.
pub fn open<T: OpeningTranscript>(
    srs: &Srs,
    chunks: &[ChunkRef<'_>],
    commitments: &[Commitment],
    coefficients: &[Fr],
    point: &[Fr],
    transcript: &mut T,
) -> Result<(Fr, OpeningProof), CommitError> {
    open_watched(srs, chunks, commitments, coefficients, point, transcript, &())
}

/// [`open`] that tells how far it is and can be cancelled.
///
/// # Errors
/// As [`open`], and [`CommitError::Cancelled`].
pub fn open_watched<T: OpeningTranscript>(
    srs: &Srs,
    chunks: &[ChunkRef<'_>],
    commitments: &[Commitment],
    coefficients: &[Fr],
    point: &[Fr],
    transcript: &mut T,
    progress: &dyn Progress,
) -> Result<(Fr, OpeningProof), CommitError> {
    if point.is_empty() || point.len() > srs.variables() {
        return Err(OpeningError::Variables { got: point.len(), most: srs.variables() }.into());
    }
    if chunks.len() != commitments.len() {
        return Err(CommitError::Unpaired {
            what: "chunks and commitments",
            left: chunks.len(),
            right: commitments.len(),
        });
    }
    let size = 1usize << point.len();
    for chunk in chunks {
        chunk.check()?;
        if chunk.len() > size {
            return Err(CommitError::TooLong { values: chunk.len(), points: size });
        }
    }
    progress.step(Stage::Opening, "combining chunks", 0, STEPS);
    let combined = combine_commitments(commitments, coefficients)?;
    let f = combine(chunks, coefficients, size);
    check(progress)?;
    prove(srs, &f, &combined, point, &Honest, transcript, progress)
}

/// Steps that are told: combining, quotient, witness, done.
const STEPS: usize = 10;

/// The messages that a prover may choose. The provided methods are honest; tests override them, so that
/// each check of the verifier meets a prover who breaks it and nothing else.
trait Moves {
    /// The value that is claimed.
    fn value(&self, honest: Fr) -> Fr {
        honest
    }
    /// The folded rows, `h`.
    fn fold(&self, honest: Vec<Fr>) -> Vec<Fr> {
        honest
    }
    /// Quotient and remainder.
    fn divide(&self, q: Vec<Fr>, g: Vec<Fr>, _h_alpha: Fr, _alpha: Fr) -> (Vec<Fr>, Vec<Fr>) {
        (q, g)
    }
    /// `X^(b-1) g(1/X)`.
    fn reverse(&self, g: &[Fr], b: usize) -> Vec<Fr> {
        g.iter().take(b).rev().copied().collect()
    }
}

struct Honest;

impl Moves for Honest {}

/// Opens one polynomial, given by `2^n` evaluations.
fn prove<T: OpeningTranscript>(
    srs: &Srs,
    f: &[Fr],
    combined: &Commitment,
    point: &[Fr],
    moves: &impl Moves,
    transcript: &mut T,
    progress: &dyn Progress,
) -> Result<(Fr, OpeningProof), CommitError> {
    let (low, high) = split_variables(point.len());
    let (b, rows) = (1usize << low, 1usize << high);
    let (u_low, u_high) = point.split_at(low);

    // Fold the rows; what is left, folded with the high coordinates, is the value.
    let h = fold_rows(f, &eq_table(u_low), rows);
    let value = moves.value(h.iter().zip(eq_table(u_high)).map(|(a, e)| *a * e).sum());
    let h = moves.fold(h);
    schedule::statement(transcript, combined, point, &value);
    let c_h = srs.commit(ChunkRef::Fr(&h))?;
    let alpha = schedule::folded(transcript, &c_h);

    // Divide by X^b - alpha: each column is a polynomial in X^b, divided by X^b - alpha on its own.
    let h_alpha = evaluate(&h, alpha);
    let (q, g) = divide_columns(f, b, alpha);
    let (q, g) = moves.divide(q, g, h_alpha, alpha);
    let commit = |v: &[Fr]| srs.commit_watched(ChunkRef::Fr(v), progress);
    progress.step(Stage::Opening, "quotient", 2, STEPS);
    let (c_g, c_q) = (commit(&g)?, commit(&q)?);
    let gamma = schedule::divided(transcript, &c_g, &c_q, &h_alpha);

    let s = product_terms(&g, u_low, &h, u_high, gamma);
    let d = moves.reverse(&g, b);
    let (c_s, c_d) = (srs.commit(ChunkRef::Fr(&s))?, srs.commit(ChunkRef::Fr(&d))?);
    let zeta = schedule::products(transcript, &c_s, &c_d);
    let inverse = zeta.inverse().ok_or(OpeningError::ZeroChallenge)?;

    let (g_zeta, g_inverse) = (evaluate(&g, zeta), evaluate(&g, inverse));
    let (h_zeta, h_inverse) = (evaluate(&h, zeta), evaluate(&h, inverse));
    let s_inverse = evaluate(&s, inverse);
    let beta = schedule::evaluated(transcript, &[g_zeta, g_inverse, h_zeta, h_inverse, s_inverse]);
    let beta2 = beta.square();

    progress.step(Stage::Opening, "witness at zeta", 6, STEPS);
    // At zeta: f - (zeta^b - alpha) q, g, h, S, D. The values are dropped with the remainder.
    let mut all = f.to_vec();
    add_scaled(&mut all, &q, alpha - zeta.pow([b as u64]));
    for (p, factor) in [(&g, beta), (&h, beta2), (&s, beta2 * beta), (&d, beta2.square())] {
        add_scaled(&mut all, p, factor);
    }
    let at_zeta = commit(&divide(&all, zeta))?;
    drop(all);
    let mut few = g.clone();
    add_scaled(&mut few, &h, beta);
    add_scaled(&mut few, &s, beta2);
    let at_inverse = srs.commit(ChunkRef::Fr(&divide(&few, inverse)))?;
    let at_alpha = srs.commit(ChunkRef::Fr(&divide(&h, alpha)))?;
    schedule::witnessed(transcript, [&at_zeta, &at_inverse, &at_alpha]);

    let proof = OpeningProof {
        h: c_h,
        g: c_g,
        q: c_q,
        s: c_s,
        d: c_d,
        at_zeta,
        at_inverse,
        at_alpha,
        h_alpha,
        g_zeta,
        g_inverse,
        h_zeta,
        h_inverse,
        s_inverse,
    };
    Ok((value, proof))
}

/// Quotient and remainder of `f` modulo `X^b - alpha`.
///
/// Row `i - 1` of the quotient is row `i` of `f` plus `alpha` times row `i` of the quotient. Columns are
/// independent; a task takes a group of them down all rows.
fn divide_columns(f: &[Fr], b: usize, alpha: Fr) -> (Vec<Fr>, Vec<Fr>) {
    let rows = f.len() / b;
    let group = (b / (4 * rayon::current_num_threads())).clamp(1, 64).min(b);
    let columns: Vec<Vec<Fr>> = (0..b.div_ceil(group))
        .into_par_iter()
        .map(|index| {
            let from = index * group;
            let width = group.min(b - from);
            let mut carried = vec![Fr::zero(); rows * width];
            for row in (0..rows).rev() {
                let (this, above) = carried[row * width..].split_at_mut(width);
                let source = &f[row * b + from..][..width];
                for (i, (q, c)) in this.iter_mut().zip(source).enumerate() {
                    *q = *c + above.get(i).map_or_else(Fr::zero, |a| alpha * a);
                }
            }
            carried
        })
        .collect();
    let gather = |row: usize, out: &mut [Fr]| {
        for (out, column) in out.chunks_mut(group).zip(&columns) {
            let width = out.len();
            out.copy_from_slice(&column[row * width..][..width]);
        }
    };
    let mut g = vec![Fr::zero(); b];
    gather(0, &mut g);
    let mut q = vec![Fr::zero(); (rows - 1) * b];
    q.par_chunks_mut(b).enumerate().for_each(|(row, out)| gather(row + 1, out));
    (q, g)
}

/// `S(X)` with `g(X) P_low(1/X) + g(1/X) P_low(X) + gamma (h(X) P_high(1/X) + h(1/X) P_high(X))
/// = constant + X S(X) + S(1/X) / X`, where `P_u = prod_i (1 - u_i + u_i X^(2^i))`.
fn product_terms(g: &[Fr], u_low: &[Fr], h: &[Fr], u_high: &[Fr], gamma: Fr) -> Vec<Fr> {
    let mut s = mirrored_terms(g, u_low);
    for (s, t) in s.iter_mut().zip(mirrored_terms(h, u_high)) {
        *s += gamma * t;
    }
    s
}

/// The coefficients of `X^1, X^2, ..` in `p(X) P_u(1/X) + p(1/X) P_u(X)`.
///
/// `P_u` is a product of binomials, so `p(X) P_u(1/X)` takes one pass a coordinate and no transform.
fn mirrored_terms(p: &[Fr], u: &[Fr]) -> Vec<Fr> {
    // Entry i is the coefficient of X^(i - origin).
    let origin = (1usize << u.len()) - 1;
    let mut terms = vec![Fr::zero(); origin + p.len()];
    terms[origin..].copy_from_slice(p);
    for (i, u_i) in u.iter().enumerate() {
        let shift = 1usize << i;
        let stay = Fr::one() - u_i;
        // Multiply by (1 - u_i) + u_i X^(-shift): an entry takes from the one `shift` above, not yet changed.
        for at in 0..terms.len() {
            let from_above = terms.get(at + shift).map_or_else(Fr::zero, |t| *u_i * t);
            terms[at] = terms[at] * stay + from_above;
        }
    }
    let at = |power: usize, up: bool| {
        let index = if up { origin.checked_add(power) } else { origin.checked_sub(power) };
        index.and_then(|i| terms.get(i)).copied().unwrap_or_default()
    };
    (1..=origin.max(p.len() - 1)).map(|k| at(k, true) + at(k, false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: u64) -> Fr {
        Fr::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5555).pow([5])
    }

    #[test]
    fn columns_divide_like_the_whole_polynomial() {
        for (n, b) in [(4usize, 2usize), (64, 8), (512, 32), (2048, 64), (8, 8)] {
            let f: Vec<Fr> = (0..n as u64).map(noise).collect();
            let alpha = noise(99);
            let (q, g) = divide_columns(&f, b, alpha);
            let x = noise(1234);
            let product = evaluate(&q, x) * (x.pow([b as u64]) - alpha) + evaluate(&g, x);
            assert_eq!(product, evaluate(&f, x));
            assert_eq!(g.len(), b);
        }
    }

    #[test]
    fn product_terms_satisfy_their_identity() {
        for (low, high) in [(1usize, 0usize), (1, 1), (3, 2), (4, 4), (0, 0)] {
            let u: Vec<Fr> = (0..(low + high) as u64).map(|i| noise(i + 40)).collect();
            let (u_low, u_high) = u.split_at(low);
            let g: Vec<Fr> = (0..1u64 << low).map(noise).collect();
            let h: Vec<Fr> = (0..1u64 << high).map(|i| noise(i + 500)).collect();
            let gamma = noise(3);
            let s = product_terms(&g, u_low, &h, u_high, gamma);
            let dot = |a: &[Fr], b: Vec<Fr>| -> Fr { a.iter().zip(b).map(|(x, y)| *x * y).sum() };
            let constant = (dot(&g, eq_table(u_low)) + gamma * dot(&h, eq_table(u_high))) * Fr::from(2);
            let (p_low, p_high) = (eq_table(u_low), eq_table(u_high));
            let x = noise(77);
            let y = x.inverse().unwrap();
            let left = evaluate(&g, x) * evaluate(&p_low, y)
                + evaluate(&g, y) * evaluate(&p_low, x)
                + gamma * (evaluate(&h, x) * evaluate(&p_high, y) + evaluate(&h, y) * evaluate(&p_high, x));
            assert_eq!(left, constant + x * evaluate(&s, x) + y * evaluate(&s, y));
        }
    }

    /// Opens a polynomial of five variables with the given moves; whether the verifier accepts.
    fn accepts(moves: &impl Moves) -> bool {
        use monai_inference::commitment::{KeccakTranscript, verify_opening};
        let srs = Srs::insecure_dev(7, b"bad witnesses").unwrap();
        let f: Vec<Fr> = (0..32).map(noise).collect();
        let commitments = [srs.commit(ChunkRef::Fr(&f)).unwrap()];
        let t = || KeccakTranscript::new(b"bad witnesses");
        let (value, proof) = prove(&srs, &f, &commitments[0], &point(), moves, &mut t(), &()).unwrap();
        verify_opening(srs.key(), &commitments, &[Fr::one()], &point(), &value, &proof, &mut t()).is_ok()
    }

    fn point() -> Vec<Fr> {
        (0..5).map(|i| noise(i + 900)).collect()
    }

    /// Adds 1 to the claimed value, and to the constant term of `h` what makes that its inner product.
    fn false_fold(mut h: Vec<Fr>) -> Vec<Fr> {
        h[0] += eq_table(&point()[3..])[0].inverse().unwrap();
        h
    }

    #[test]
    fn an_honest_prover_convinces() {
        assert!(accepts(&Honest));
    }

    /// Breaks `<P_high, h> = value` alone.
    #[test]
    fn a_false_value_is_rejected() {
        struct False;
        impl Moves for False {
            fn value(&self, honest: Fr) -> Fr {
                honest + Fr::one()
            }
        }
        assert!(!accepts(&False));
    }

    /// Breaks `<P_low, g> = h(alpha)` alone: `h` has the inner product that the false value needs.
    #[test]
    fn rows_folded_wrongly_are_rejected() {
        struct False;
        impl Moves for False {
            fn value(&self, honest: Fr) -> Fr {
                honest + Fr::one()
            }
            fn fold(&self, honest: Vec<Fr>) -> Vec<Fr> {
                false_fold(honest)
            }
        }
        assert!(!accepts(&False));
    }

    /// Breaks `f = q (X^b - alpha) + g` alone: `g` has the inner product that the false `h` needs.
    #[test]
    fn a_false_remainder_is_rejected() {
        struct False;
        impl Moves for False {
            fn value(&self, honest: Fr) -> Fr {
                honest + Fr::one()
            }
            fn fold(&self, honest: Vec<Fr>) -> Vec<Fr> {
                false_fold(honest)
            }
            fn divide(&self, q: Vec<Fr>, mut g: Vec<Fr>, h_alpha: Fr, _: Fr) -> (Vec<Fr>, Vec<Fr>) {
                let weights = eq_table(&point()[..3]);
                let product: Fr = g.iter().zip(&weights).map(|(a, e)| *a * e).sum();
                g[0] += (h_alpha - product) * weights[0].inverse().unwrap();
                (q, g)
            }
        }
        assert!(!accepts(&False));
    }

    /// A remainder that is too long: `g + c (X^b - alpha)` with quotient `q - c` satisfies the division,
    /// and its low coefficients have whatever inner product the false `h` needs.
    struct LongRemainder {
        /// Whether to send for D the reversal of the low coefficients, or of all of them.
        truncated: bool,
    }

    impl Moves for LongRemainder {
        fn value(&self, honest: Fr) -> Fr {
            honest + Fr::one()
        }
        fn fold(&self, honest: Vec<Fr>) -> Vec<Fr> {
            false_fold(honest)
        }
        fn divide(&self, mut q: Vec<Fr>, mut g: Vec<Fr>, h_alpha: Fr, alpha: Fr) -> (Vec<Fr>, Vec<Fr>) {
            let weights = eq_table(&point()[..3]);
            let product: Fr = g.iter().zip(&weights).map(|(a, e)| *a * e).sum();
            let c = (product - h_alpha) * (alpha * weights[0]).inverse().unwrap();
            g[0] -= c * alpha;
            g.push(c);
            q[0] -= c;
            // All but the degree is as it should be.
            let low: Fr = g.iter().zip(&weights).map(|(a, e)| *a * e).sum();
            assert_eq!(low, h_alpha);
            let (f, x): (Vec<Fr>, Fr) = ((0..32).map(noise).collect(), noise(5));
            assert_eq!(evaluate(&q, x) * (x.pow([8u64]) - alpha) + evaluate(&g, x), evaluate(&f, x));
            (q, g)
        }
        fn reverse(&self, g: &[Fr], b: usize) -> Vec<Fr> {
            let length = if self.truncated { b } else { g.len() };
            g.iter().take(length).rev().copied().collect()
        }
    }

    /// Breaks `deg g < b` alone.
    #[test]
    fn a_remainder_of_too_high_a_degree_is_rejected() {
        assert!(!accepts(&LongRemainder { truncated: true }));
        assert!(!accepts(&LongRemainder { truncated: false }));
    }
}
