//! What an opening needs of a Fiat–Shamir transcript, and the transcript that a contract can run.

use alloy_primitives::keccak256;
use ark_ff::PrimeField;
use monai_protocol::field::{self, Fr};

use super::Commitment;

/// A Fiat–Shamir transcript: each challenge depends on all that was absorbed before it.
///
/// The proof's own transcript (Poseidon over the scalar field) implements this; so does
/// [`KeccakTranscript`], for an opening that a contract verifies.
pub trait OpeningTranscript {
    /// Absorbs one scalar.
    fn absorb_scalar(&mut self, x: &Fr);

    /// Absorbs a commitment as its two coordinates, which the type keeps below the scalar modulus.
    fn absorb_commitment(&mut self, c: &Commitment) {
        let [x, y] = c.coordinates();
        self.absorb_scalar(&x);
        self.absorb_scalar(&y);
    }

    /// The next challenge. Two in a row differ.
    fn challenge(&mut self) -> Fr;
}

/// A transcript over keccak256, 32 bytes of state.
///
/// Absorbing sets `state = keccak(state ‖ 0 ‖ x)`, a challenge sets `state = keccak(state ‖ 1)` and is
/// the state modulo the scalar field. The reduction of 256 bits favours some scalars by 1.2 at most,
/// which changes a soundness error by that factor.
#[derive(Clone, Debug)]
pub struct KeccakTranscript {
    state: [u8; 32],
}

impl KeccakTranscript {
    /// Starts a transcript for one purpose.
    #[must_use]
    pub fn new(domain: &[u8]) -> Self {
        Self { state: keccak256(domain).0 }
    }
}

impl OpeningTranscript for KeccakTranscript {
    fn absorb_scalar(&mut self, x: &Fr) {
        let mut input = [0u8; 65];
        let (state, rest) = input.split_at_mut(32);
        state.copy_from_slice(&self.state);
        if let Some((_, body)) = rest.split_first_mut() {
            body.copy_from_slice(&field::to_bytes(*x));
        }
        self.state = keccak256(input).0;
    }

    fn challenge(&mut self) -> Fr {
        let mut input = [1u8; 33];
        let (state, _) = input.split_at_mut(32);
        state.copy_from_slice(&self.state);
        self.state = keccak256(input).0;
        Fr::from_be_bytes_mod_order(&self.state)
    }
}
