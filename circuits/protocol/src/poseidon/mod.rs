//! The one Poseidon permutation of the protocol: BN254, t = 3, R_F = 8, R_P = 57, S-box x^5.
//!
//! Its constants are those of the reference generator (the Grain LFSR), the same as circomlib's, so
//! Rust, circuits and Solidity share published known answers.

mod constants;

pub use constants::{Constants, FULL_ROUNDS, PARTIAL_ROUNDS, WIDTH, constants};

use crate::field::Fr;
use ark_ff::{Field, Zero};

/// Applies the permutation.
///
/// # Soundness
/// This is the textbook form: every round adds constants, applies the S-box (to all elements in the
/// first and last `R_F/2` rounds, to the first only in between) and multiplies by the MDS matrix.
#[must_use]
pub fn permute(mut state: [Fr; WIDTH]) -> [Fr; WIDTH] {
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
    fn swapped_children_differ() {
        assert_ne!(poseidon2(Fr::from(1u64), Fr::from(2u64)), poseidon2(Fr::from(2u64), Fr::from(1u64)));
    }
}
