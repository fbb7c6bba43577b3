//! Round constants and MDS matrix, derived once at first use by the Grain LFSR.

use crate::field::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, PrimeField};
use std::sync::LazyLock;

/// Elements of the state: one of capacity, two of rate.
pub const WIDTH: usize = 3;
/// Rounds with the S-box on every element, half before and half after the partial rounds.
pub const FULL_ROUNDS: usize = 8;
/// Rounds with the S-box on the first element only.
pub const PARTIAL_ROUNDS: usize = 57;
const ROUNDS: usize = FULL_ROUNDS + PARTIAL_ROUNDS;
/// Bits of the modulus, an input of the generator.
const FIELD_BITS: usize = 254;

/// The constants of the permutation.
pub struct Constants {
    /// What each round adds to the state.
    pub round: [[Fr; WIDTH]; ROUNDS],
    /// The matrix that ends each round; row i yields element i.
    pub mds: [[Fr; WIDTH]; WIDTH],
}

/// The constants, generated at the first call.
#[must_use]
pub fn constants() -> &'static Constants {
    static CONSTANTS: LazyLock<Constants> = LazyLock::new(generate);
    &CONSTANTS
}

fn generate() -> Constants {
    let mut grain = Grain::new();
    let mut round = [[Fr::ZERO; WIDTH]; ROUNDS];
    for slot in round.iter_mut().flatten() {
        *slot = grain.element_below_modulus();
    }
    // A Cauchy matrix: 1 / (x_i + y_j) over elements that are reduced rather than rejected, as the
    // reference generator does for the matrix alone.
    let xs: [Fr; WIDTH] = std::array::from_fn(|_| grain.element_reduced());
    let ys: [Fr; WIDTH] = std::array::from_fn(|_| grain.element_reduced());
    let mds = xs.map(|x| {
        ys.map(|y| {
            let sum = x + y;
            // Zero has probability 2^-250 and the known answers would fail on it.
            sum.inverse().unwrap_or(Fr::ZERO)
        })
    });
    Constants { round, mds }
}

/// The 80-bit Grain LFSR in self-shrinking mode.
struct Grain {
    state: [bool; 80],
    head: usize,
}

impl Grain {
    fn new() -> Self {
        let mut bits = Vec::with_capacity(80);
        let mut push = |value: usize, width: usize| {
            bits.extend((0..width).rev().map(|i| (value >> i) & 1 == 1));
        };
        push(1, 2); // a prime field
        push(0, 4); // S-box x^alpha
        push(FIELD_BITS, 12);
        push(WIDTH, 12);
        push(FULL_ROUNDS, 10);
        push(PARTIAL_ROUNDS, 10);
        push((1 << 30) - 1, 30);
        let mut state = [false; 80];
        state.copy_from_slice(&bits);
        let mut grain = Grain { state, head: 0 };
        for _ in 0..160 {
            grain.step();
        }
        grain
    }

    fn step(&mut self) -> bool {
        let at = |i: usize| self.state[(self.head + i) % 80];
        let bit = at(62) ^ at(51) ^ at(38) ^ at(23) ^ at(13) ^ at(0);
        self.state[self.head] = bit;
        self.head = (self.head + 1) % 80;
        bit
    }

    /// Of each pair of bits the second counts if the first is one.
    fn bit(&mut self) -> bool {
        loop {
            let keep = self.step();
            let bit = self.step();
            if keep {
                return bit;
            }
        }
    }

    fn bits(&mut self) -> Vec<bool> {
        (0..FIELD_BITS).map(|_| self.bit()).collect()
    }

    fn element_below_modulus(&mut self) -> Fr {
        loop {
            let bits = self.bits();
            if let Some(x) = Fr::from_bigint(ark_ff::BigInt::from_bits_be(&bits)) {
                return x;
            }
        }
    }

    fn element_reduced(&mut self) -> Fr {
        Fr::from_be_bytes_mod_order(&<ark_ff::BigInt<4>>::from_bits_be(&self.bits()).to_bytes_be())
    }
}
