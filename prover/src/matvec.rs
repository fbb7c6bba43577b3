//! One matrix-vector product with a committed matrix: what other provers' benches measure, by this prover's parts.
//!
//! **Statement.** Public: a commitment to the int8 matrix `W` (`SIZE` by `SIZE`, in units of 64 by 64 as everywhere), `x` and `y`.
//! `y = W x` over the integers.
//!
//! **Argument.** A random row `z` is drawn after `W`, `x` and `y` are absorbed; `sum_n eq(z, n) y_n = sum_i W_i E_i` with the
//! public `E = eq(z, n) x_k`, by one sumcheck of degree 2 over the matrix' places, ending in `W` at a point, which is
//! opened. **Soundness.** A wrong `y` passes the random row with probability (row variables) / |Fr|, the sumcheck with
//! 2 (variables) / |Fr|, the opening as in `docs/commitment.md`. Equality in the field is equality of integers: both sides
//! are below `2^7 SIZE 2^31`, and the verifier has the integers `y` themselves.
//!
//! No answer is proved this way; [`crate::prove`] batches all matrices of a model and ties their rows to lookups.

use ark_ff::{One, Zero};
use monai_inference::VerifyError;
use monai_inference::commitment::{Commitment, OpeningProof, VerifierKey, verify_opening};
use monai_inference::multilinear::{eq_range, eq_table};
use monai_inference::sumcheck::round_at;
use monai_inference::transcript::{Label, Transcript};
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::commit::{ChunkRef, Srs, open};
use crate::error::ProveError;
use crate::progress::{StageTime, Stopwatch};
use crate::sumcheck::bind;

/// Width of a block, as a log.
const BITS: usize = 6;
const BLOCK: usize = 1 << BITS;

/// A square matrix of int8 weights, in units of 64 by 64.
#[derive(Clone, Debug)]
pub struct Matrix {
    blocks: usize,
    units: Vec<i8>,
}

impl Matrix {
    /// From rows; `size` is a multiple of 64.
    ///
    /// # Errors
    /// [`ProveError::Model`] for another size.
    pub fn new(rows: &[i8], size: usize) -> Result<Self, ProveError> {
        if size == 0 || !size.is_multiple_of(BLOCK) || rows.len() != size * size {
            return Err(ProveError::Model("the size of the matrix"));
        }
        let blocks = size / BLOCK;
        let mut units = Vec::with_capacity(rows.len());
        for (nb, kb) in (0..blocks).flat_map(|nb| (0..blocks).map(move |kb| (nb, kb))) {
            for n in 0..BLOCK {
                let at = (nb * BLOCK + n) * size + kb * BLOCK;
                units.extend_from_slice(&rows[at..at + BLOCK]);
            }
        }
        Ok(Self { blocks, units })
    }

    /// Log of the smallest chunk that holds it.
    #[must_use]
    pub fn variables(&self) -> usize {
        self.units.len().next_power_of_two().ilog2() as usize
    }

    /// Commits to it.
    ///
    /// # Errors
    /// Where the setup is too small.
    pub fn commit(&self, srs: &Srs) -> Result<Commitment, ProveError> {
        Ok(srs.commit(ChunkRef::I8(&self.units))?)
    }

    /// `W x`.
    #[must_use]
    pub fn apply(&self, x: &[i32]) -> Vec<i64> {
        let mut y = vec![0i64; self.blocks * BLOCK];
        for (unit, values) in self.units.chunks(BLOCK * BLOCK).enumerate() {
            let (nb, kb) = (unit / self.blocks, unit % self.blocks);
            for (n, row) in values.chunks(BLOCK).enumerate() {
                let x = &x[kb * BLOCK..(kb + 1) * BLOCK];
                y[nb * BLOCK + n] +=
                    row.iter().zip(x).map(|(w, x)| i64::from(*w) * i64::from(*x)).sum::<i64>();
            }
        }
        y
    }
}

/// The proof.
#[derive(Clone, Debug)]
pub struct MatvecProof {
    rounds: Vec<[Fr; 2]>,
    value: Fr,
    opening: OpeningProof,
}

fn begin(t: &mut Transcript, commitment: &Commitment, x: &[i32], y: &[i64]) {
    for c in commitment.coordinates() {
        t.absorb(Label::Statement, &c);
    }
    for v in x.iter().map(|x| Fr::from(*x)).chain(y.iter().map(|y| Fr::from(*y))) {
        t.absorb(Label::Statement, &v);
    }
}

/// A row, block variables above those inside a block.
fn draw_row(t: &mut Transcript, size: usize) -> Vec<Fr> {
    let variables = size.next_power_of_two().ilog2() as usize;
    (0..variables).map(|_| t.challenge(Label::Batch)).collect()
}

fn claimed(row: &[Fr], y: &[i64]) -> Fr {
    eq_range(row, 0, y.len()).iter().zip(y).map(|(e, y)| *e * Fr::from(*y)).sum()
}

/// Proves `y = W x`; returns what each part took.
///
/// # Errors
/// Where the setup is too small.
pub fn prove_matvec(
    matrix: &Matrix,
    commitment: &Commitment,
    srs: &Srs,
    x: &[i32],
    y: &[i64],
) -> Result<(MatvecProof, Vec<StageTime>), ProveError> {
    let watch = Stopwatch::start();
    let mut t = Transcript::new();
    begin(&mut t, commitment, x, y);
    let row = draw_row(&mut t, y.len());
    let eq = eq_range(&row, 0, y.len());
    let mut weights: Vec<Fr> = (0..matrix.units.len() >> BITS)
        .into_par_iter()
        .flat_map_iter(|line| {
            let (unit, n) = (line >> BITS, line % BLOCK);
            let (nb, kb) = (unit / matrix.blocks, unit % matrix.blocks);
            let e = eq[nb * BLOCK + n];
            x[kb * BLOCK..(kb + 1) * BLOCK].iter().map(move |x| e * Fr::from(*x))
        })
        .collect();
    let mut values: Vec<Fr> = matrix.units.par_iter().map(|w| Fr::from(*w)).collect();
    let mut claim = claimed(&row, y);
    let variables = matrix.variables();
    let (mut rounds, mut point) = (Vec::with_capacity(variables), Vec::with_capacity(variables));
    for _ in 0..variables {
        let get = |v: &[Fr], i: usize| v.get(i).copied().unwrap_or_else(Fr::zero);
        let sent = (0..values.len().div_ceil(2))
            .into_par_iter()
            .with_min_len(1 << 10)
            .map(|i| {
                let (a0, b0) = (values[2 * i], weights[2 * i]);
                let (a1, b1) = (get(&values, 2 * i + 1), get(&weights, 2 * i + 1));
                [a0 * b0, (a1 + a1 - a0) * (b1 + b1 - b0)]
            })
            .reduce(|| [Fr::zero(); 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        for s in &sent {
            t.absorb(Label::Round, s);
        }
        let r = t.challenge(Label::Round);
        claim = round_at(claim, &sent, r)?;
        bind(&mut values, r);
        bind(&mut weights, r);
        rounds.push(sent);
        point.push(r);
    }
    let value = values[0];
    t.absorb(Label::ChunkValue, &value);
    let sums = watch.read("sumcheck");
    let watch = Stopwatch::start();
    let chunks = [ChunkRef::I8(&matrix.units)];
    let (_, opening) = open(srs, &chunks, &[*commitment], &[Fr::one()], &point, &mut t)?;
    Ok((MatvecProof { rounds, value, opening }, vec![sums, watch.read("opening")]))
}

/// Verifies that `y = W x` for the committed `W`.
///
/// # Errors
/// What does not hold.
pub fn verify_matvec(
    proof: &MatvecProof,
    commitment: &Commitment,
    key: &VerifierKey,
    x: &[i32],
    y: &[i64],
) -> Result<(), VerifyError> {
    let size = x.len();
    let blocks = size / BLOCK;
    let variables = (size * size).next_power_of_two().ilog2() as usize;
    if size != y.len() || blocks * BLOCK != size || size == 0 || proof.rounds.len() != variables {
        return Err(VerifyError::Check("the matrix' shape"));
    }
    let mut t = Transcript::new();
    begin(&mut t, commitment, x, y);
    let row = draw_row(&mut t, size);
    let mut claim = claimed(&row, y);
    let mut point = Vec::with_capacity(variables);
    for sent in &proof.rounds {
        for s in sent {
            t.absorb(Label::Round, s);
        }
        let r = t.challenge(Label::Round);
        claim = round_at(claim, sent, r)?;
        point.push(r);
    }
    // E at the point: equality of rows inside a block and x inside a block, summed over pairs of blocks.
    let (column, rest) = point.split_at(BITS);
    let (line, unit) = rest.split_at(BITS);
    let eq = eq_range(&row, 0, size);
    let fold = |values: &[Fr], at: &[Fr]| -> Vec<Fr> {
        let table = eq_table(at);
        values.chunks(BLOCK).map(|v| v.iter().zip(&table).map(|(a, b)| *a * b).sum()).collect()
    };
    let rows = fold(&eq, line);
    let columns = fold(&x.iter().map(|x| Fr::from(*x)).collect::<Vec<_>>(), column);
    let pairs = eq_range(unit, 0, blocks * blocks);
    let weight: Fr = pairs.iter().enumerate().map(|(u, e)| *e * rows[u / blocks] * columns[u % blocks]).sum();
    if claim != weight * proof.value {
        return Err(VerifyError::Check("the sum ends in the matrix' value"));
    }
    t.absorb(Label::ChunkValue, &proof.value);
    verify_opening(key, &[*commitment], &[Fr::one()], &point, &proof.value, &proof.opening, &mut t)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_verify_and_others_do_not() {
        let size = 192;
        let rows: Vec<i8> = (0..size * size).map(|i| (i * i + 31 * i) as u8 as i8).collect();
        let x: Vec<i32> = (0..size as i32).map(|i| i * 321 - 30_000).collect();
        let matrix = Matrix::new(&rows, size).unwrap();
        let direct: Vec<i64> = rows
            .chunks(size)
            .map(|r| r.iter().zip(&x).map(|(w, x)| i64::from(*w) * i64::from(*x)).sum())
            .collect();
        assert_eq!(matrix.apply(&x), direct);
        let srs = Srs::insecure_dev(matrix.variables(), b"matvec").unwrap();
        let commitment = matrix.commit(&srs).unwrap();
        let (proof, _) = prove_matvec(&matrix, &commitment, &srs, &x, &direct).unwrap();
        let check = |p: &MatvecProof, x: &[i32], y: &[i64]| verify_matvec(p, &commitment, srs.key(), x, y);
        assert_eq!(check(&proof, &x, &direct), Ok(()));
        let mut wrong = direct.clone();
        wrong[77] += 1;
        assert!(check(&proof, &x, &wrong).is_err());
        let (false_proof, _) = prove_matvec(&matrix, &commitment, &srs, &x, &wrong).unwrap();
        assert!(check(&false_proof, &x, &wrong).is_err());
        let mut other = x.clone();
        other[5] -= 1;
        assert!(check(&proof, &other, &direct).is_err());
        let mut bad = proof.clone();
        bad.value += Fr::one();
        assert!(check(&bad, &x, &direct).is_err());
        let mut bad = proof.clone();
        bad.rounds[3][1] += Fr::one();
        assert!(check(&bad, &x, &direct).is_err());
        assert!(Matrix::new(&rows, 191).is_err());
    }
}
