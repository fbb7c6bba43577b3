//! Small constants of the field.

use ark_ff::{AdditiveGroup, Field, One, Zero};
use monai_protocol::field::Fr;

/// `1/2`.
#[must_use]
pub fn half() -> Fr {
    Fr::one().double().inverse().unwrap_or_else(Fr::zero)
}

/// A signed integer.
#[must_use]
pub fn signed(x: i64) -> Fr {
    let magnitude = Fr::from(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}
