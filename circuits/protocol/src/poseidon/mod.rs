//! The one Poseidon permutation of the protocol: BN254, t = 3, R_F = 8, R_P = 57, S-box x^5.
//!
//! Its constants are those of the reference generator (the Grain LFSR), the same as circomlib's, so
//! Rust, circuits and Solidity share published known answers.

mod constants;
mod sparse;

pub use constants::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, WIDTH, constants};

use crate::field::Fr;
use ark_ff::{Field, Zero};
use std::sync::LazyLock;

/// Applies the permutation, with partial rounds in sparse form (see `sparse.rs`).
#[must_use]
pub fn permute(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
    static SPARSE: LazyLock<sparse::Sparse> = LazyLock::new(|| sparse::sparse(constants()));
    let c = constants();
    let s = &*SPARSE;
    let half = FULL_ROUNDS / 2;
    for (round, added) in c.round.iter().enumerate().take(half) {
        state = full_round(&state, added, if round + 1 == half { &s.before } else { &c.mds });
    }
    for p in &s.partial {
        // The rest's share does not wait for the S-box: the processor computes both at once.
        let rest = p.row[1] * state[1] + p.row[2] * state[2];
        let first = fifth(state[0] + p.constant);
        state = [p.row[0] * first + rest, state[1] + p.column[0] * first, state[2] + p.column[1] * first];
    }
    state = full_round(&state, &s.after, &c.mds);
    for added in &c.round[half + PARTIAL_ROUNDS + 1..] {
        state = full_round(&state, added, &c.mds);
    }
    state
}

fn full_round(state: &[Fr; WIDTH], added: &[Fr; WIDTH], matrix: &[[Fr; WIDTH]; WIDTH]) -> [Fr; WIDTH] {
    mix(matrix, &std::array::from_fn(|i| fifth(state[i] + added[i])))
}

/// The permutation in its textbook form: the reference of [`permute`].
///
/// # Soundness
/// Every round adds constants, applies the S-box (to all elements in the first and last `R_F/2`
/// rounds, to the first only in between) and multiplies by the MDS matrix.
#[must_use]
pub fn permute_reference(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
    let c = constants();
    let half = FULL_ROUNDS / 2;
    for (round, added) in c.round.iter().enumerate() {
        for (x, k) in state.iter_mut().zip(added) {
            *x += k;
        }
        state[0] = fifth(state[0]);
        if round < half || round >= half + PARTIAL_ROUNDS {
            state[1] = fifth(state[1]);
            state[2] = fifth(state[2]);
        }
        state = mix(&c.mds, &state);
    }
    state
}

/// The Merkle node over two children, `permute([0, left, right])[0]`.
#[must_use]
pub fn poseidon2(left: Fr, right: Fr) -> Fr {
    permute([Fr::zero(), left, right])[0]
}

fn fifth(x: Fr) -> Fr {
    x.square().square() * x
}

fn mix(mds: &[[Fr; WIDTH]; WIDTH], s: &[Fr; WIDTH]) -> [Fr; WIDTH] {
    // The fused sum of products reduces once per row instead of once per product.
    [Fr::sum_of_products(&mds[0], s), Fr::sum_of_products(&mds[1], s), Fr::sum_of_products(&mds[2], s)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr;

    #[test]
    fn known_answer_of_circomlib() {
        let want =
            Fr::from_str("7853200120776062878684798364095072458815029376092732009249414926327459813530");
        assert_eq!(poseidon2(Fr::from(1u64), Fr::from(2u64)), want.unwrap());
    }

    #[test]
    fn sparse_form_is_the_same_permutation() {
        let mut state = [Fr::from(0u64), -Fr::from(1u64), Fr::from(u128::MAX)];
        for _ in 0..50 {
            let next = permute(state);
            assert_eq!(next, permute_reference(state));
            state = next;
        }
    }

    /// Prints the time of a permutation: `cargo test -p monai-protocol --lib -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn time_of_a_permutation() {
        // The least of many short, alternating rounds: what the machine does without its neighbours.
        let mut least = [f64::MAX; 2];
        let mut state = [Fr::from(1u64); WIDTH];
        for _ in 0..200 {
            for (best, f) in least.iter_mut().zip([permute as fn(_) -> _, permute_reference]) {
                let start = std::time::Instant::now();
                for _ in 0..200 {
                    state = f(state);
                }
                *best = best.min(start.elapsed().as_secs_f64() * 5000.0);
            }
        }
        println!("sparse {:.2} us, reference {:.2} us ({})", least[0], least[1], state[0]);
    }

    #[test]
    fn swapped_children_differ() {
        assert_ne!(poseidon2(Fr::from(1u64), Fr::from(2u64)), poseidon2(Fr::from(2u64), Fr::from(1u64)));
    }
}
