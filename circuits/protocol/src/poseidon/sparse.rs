//! The constants in the form that the fast permutation uses: sparse partial rounds.
//!
//! A partial round is `x → M·S(x + c)` with S raising only the first element. Write M = X·D with
//! D = diag(1, M̂), M̂ the lower right 2×2 block, and X = [[m₀₀, v·M̂⁻¹], [w, I]]. D leaves the first
//! element alone and is linear on the others, so it commutes with S and can be carried backwards into
//! the matrix of the round before, which is then factored the same way. What remains of each partial
//! round is X: five multiplications instead of nine. Constants of the last two elements pass through
//! S unchanged and are carried forwards, so each partial round adds one constant. The test against the
//! textbook form is what shows that this is the same permutation.

use super::constants::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, WIDTH};
use crate::field::Fr;
use ark_ff::{AdditiveGroup, Field};

type Matrix = [[Fr; WIDTH]; WIDTH];

/// One partial round: add `constant` to the first element and raise it; the new first element is `row`
/// times the state; each other element gains `column` times the raised first.
#[derive(Clone, Copy)]
pub(super) struct PartialRound {
    pub(super) constant: Fr,
    pub(super) row: [Fr; WIDTH],
    pub(super) column: [Fr; WIDTH - 1],
}

/// The constants of the fast permutation.
pub(super) struct Sparse {
    /// The matrix of the last full round before the partial ones, with D carried into it.
    pub(super) before: Matrix,
    pub(super) partial: Vec<PartialRound>,
    /// The constants of the first full round after the partial ones, with the carried ones added.
    pub(super) after: [Fr; WIDTH],
}

pub(super) fn sparse(c: &Constants) -> Sparse {
    let half = FULL_ROUNDS / 2;
    // Backwards: factor each round's matrix and carry D into the one before.
    let mut matrix = c.mds;
    let mut factors = Vec::with_capacity(PARTIAL_ROUNDS);
    for _ in 0..PARTIAL_ROUNDS {
        let (x, d) = factor(&matrix);
        factors.push((x, d));
        matrix = multiply(&d, &c.mds);
    }
    factors.reverse();
    // Forwards: constants in the coordinates of D, the last two carried on through X.
    let mut carried = [Fr::ZERO; WIDTH];
    let mut partial = Vec::with_capacity(PARTIAL_ROUNDS);
    for (i, (x, d)) in factors.iter().enumerate() {
        let own = apply(d, &c.round[half + i]);
        let sum: [Fr; WIDTH] = std::array::from_fn(|k| own[k] + carried[k]);
        partial.push(PartialRound { constant: sum[0], row: x[0], column: [x[1][0], x[2][0]] });
        carried = apply(x, &[Fr::ZERO, sum[1], sum[2]]);
    }
    let after = std::array::from_fn(|k| c.round[half + PARTIAL_ROUNDS][k] + carried[k]);
    Sparse { before: matrix, partial, after }
}

/// M = X·D.
fn factor(m: &Matrix) -> (Matrix, Matrix) {
    let (zero, one) = (Fr::ZERO, Fr::ONE);
    let [[a, b], [c, d]] = [[m[1][1], m[1][2]], [m[2][1], m[2][2]]];
    // Every square block of a Cauchy matrix is invertible, and so is M̂ after multiplying by others; a
    // zero here would fail every known answer.
    let det = (a * d - b * c).inverse().unwrap_or(zero);
    let v = [(m[0][1] * d - m[0][2] * c) * det, (m[0][2] * a - m[0][1] * b) * det];
    let x = [[m[0][0], v[0], v[1]], [m[1][0], one, zero], [m[2][0], zero, one]];
    let diagonal = [[one, zero, zero], [zero, a, b], [zero, c, d]];
    (x, diagonal)
}

fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..WIDTH).map(|k| a[i][k] * b[k][j]).sum()))
}

fn apply(m: &Matrix, v: &[Fr; WIDTH]) -> [Fr; WIDTH] {
    std::array::from_fn(|i| (0..WIDTH).map(|k| m[i][k] * v[k]).sum())
}
