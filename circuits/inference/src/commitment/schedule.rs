//! The order in which prover and verifier feed an opening to the transcript. Both sides call these
//! functions, so the order can't differ between them.
//!
//! Inventory: every message is absorbed before the first challenge that depends on it.
//!
//! | function | absorbs | returns |
//! |---|---|---|
//! | [`statement`] | variables, combined commitment, point, value | |
//! | [`folded`] | `h` | `alpha` |
//! | [`divided`] | `g`, `q`, `h(alpha)` | `gamma` |
//! | [`products`] | `S`, `D` | `zeta` |
//! | [`evaluated`] | `g(zeta)`, `g(1/zeta)`, `h(zeta)`, `h(1/zeta)`, `S(1/zeta)` | `beta` |
//! | [`witnessed`] | the three witnesses | `rho` |

use monai_protocol::field::Fr;

use super::{Commitment, OpeningTranscript};

/// Binds what is claimed.
pub fn statement<T: OpeningTranscript>(t: &mut T, combined: &Commitment, point: &[Fr], value: &Fr) {
    t.absorb_scalar(&Fr::from(u64::try_from(point.len()).unwrap_or(u64::MAX)));
    t.absorb_commitment(combined);
    for u in point {
        t.absorb_scalar(u);
    }
    t.absorb_scalar(value);
}

/// After `h`: where the rows of the matrix are compared with it.
pub fn folded<T: OpeningTranscript>(t: &mut T, h: &Commitment) -> Fr {
    t.absorb_commitment(h);
    t.challenge()
}

/// After the division: what batches the two inner products.
pub fn divided<T: OpeningTranscript>(t: &mut T, g: &Commitment, q: &Commitment, h_alpha: &Fr) -> Fr {
    t.absorb_commitment(g);
    t.absorb_commitment(q);
    t.absorb_scalar(h_alpha);
    t.challenge()
}

/// After the inner products' other terms and the degree witness: where all identities are checked.
pub fn products<T: OpeningTranscript>(t: &mut T, s: &Commitment, d: &Commitment) -> Fr {
    t.absorb_commitment(s);
    t.absorb_commitment(d);
    t.challenge()
}

/// After the values, in the order `g(zeta), g(1/zeta), h(zeta), h(1/zeta), S(1/zeta)`: what batches
/// the polynomials that are opened at the same place.
pub fn evaluated<T: OpeningTranscript>(t: &mut T, values: &[Fr; 5]) -> Fr {
    for v in values {
        t.absorb_scalar(v);
    }
    t.challenge()
}

/// After the witnesses at `zeta`, `1/zeta`, `alpha`: what merges the three places.
pub fn witnessed<T: OpeningTranscript>(t: &mut T, witnesses: [&Commitment; 3]) -> Fr {
    for w in witnesses {
        t.absorb_commitment(w);
    }
    t.challenge()
}
