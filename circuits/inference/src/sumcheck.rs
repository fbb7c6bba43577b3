//! Round polynomials: their encoding, and their values at a challenge.
//!
//! A round of a general sumcheck of degree `d` sends `s(0), s(2), ..., s(d)`; `s(1)` follows from the claim, so the check
//! `s(0) + s(1) = claim` can't be forgotten. A round of a fraction tree sends `t(0)` and the leading coefficient of the
//! quadratic `t` with `s(X) = l(X) t(X)`, where `l` is the linear equality factor that the verifier knows (Gruen).

use std::sync::OnceLock;

use ark_ff::{Field, One, Zero, batch_inversion};
use monai_protocol::field::Fr;

use crate::error::VerifyError;

/// The value at `x` of the polynomial of degree `sent.len()` with `s(0) + s(1) = claim` and the sent values
/// `s(0), s(2), s(3), ...`.
///
/// # Errors
/// [`VerifyError::Truncated`] for an empty round.
pub fn round_at(claim: Fr, sent: &[Fr], x: Fr) -> Result<Fr, VerifyError> {
    let (first, rest) = sent.split_first().ok_or(VerifyError::Truncated)?;
    let mut values = vec![*first, claim - first];
    values.extend(rest);
    Ok(interpolate(&values, x))
}

/// Nodes of the longest round polynomial: degree 5.
const MAX_NODES: usize = 6;

/// Lagrange weights of the nodes `0 .. n - 1`, for each `n`: `1 / prod_(j != i) (i - j)`.
fn lagrange_weights() -> &'static [Vec<Fr>; MAX_NODES + 1] {
    static WEIGHTS: OnceLock<[Vec<Fr>; MAX_NODES + 1]> = OnceLock::new();
    WEIGHTS.get_or_init(|| std::array::from_fn(weights_of))
}

fn weights_of(n: usize) -> Vec<Fr> {
    let nodes: Vec<Fr> = (0u64..).map(Fr::from).take(n).collect();
    let mut weights: Vec<Fr> = nodes
        .iter()
        .map(|node| nodes.iter().filter(|other| *other != node).fold(Fr::one(), |acc, x| acc * (*node - x)))
        .collect();
    // Nodes are distinct small integers, so no product is 0.
    batch_inversion(&mut weights);
    weights
}

/// The value at `x` of the polynomial with the values `values[i]` at `i = 0, 1, ...`.
#[must_use]
pub fn interpolate(values: &[Fr], x: Fr) -> Fr {
    let long;
    let weights = match lagrange_weights().get(values.len()) {
        Some(weights) => weights,
        None => {
            long = weights_of(values.len());
            &long
        }
    };
    let distances: Vec<Fr> = (0u64..).map(|i| x - Fr::from(i)).take(values.len()).collect();
    let mut sum = Fr::zero();
    for (i, (value, weight)) in values.iter().zip(weights).enumerate() {
        let others = distances.iter().enumerate().filter(|(j, _)| *j != i);
        sum += others.fold(*value * weight, |acc, (_, d)| acc * d);
    }
    sum
}

/// State of a tree layer's sumcheck: the claim and the equality polynomial of the coordinates bound so far.
#[derive(Clone, Copy, Debug)]
pub struct Stripped {
    /// The remaining claim.
    pub claim: Fr,
    /// `eq` of the bound coordinates.
    pub bound: Fr,
}

impl Stripped {
    /// A round for coordinate `r` of the outer point: from `t(0)` and the leading coefficient to the next state at the
    /// challenge `x`.
    ///
    /// # Errors
    /// [`VerifyError::Degenerate`] where the equality factor vanishes at 1.
    pub fn round(self, r: Fr, t0: Fr, leading: Fr, x: Fr) -> Result<Self, VerifyError> {
        let (l0, l1) = (self.bound * (Fr::one() - r), self.bound * r);
        let t1 = (self.claim - l0 * t0) * l1.inverse().ok_or(VerifyError::Degenerate)?;
        let middle = t1 - t0 - leading;
        let bound = l0 + x * (l1 - l0);
        Ok(Self { claim: bound * (t0 + x * (middle + x * leading)), bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_agrees_with_the_polynomial() {
        let f = |x: &Fr| x.square().square() * Fr::from(3u64) - x.square() + Fr::from(9u64);
        let values: Vec<Fr> = (0..5u64).map(|i| f(&Fr::from(i))).collect();
        let x = Fr::from(123_456u64);
        assert_eq!(interpolate(&values, x), f(&x));
        let sent = [values[0], values[2], values[3], values[4]];
        assert_eq!(round_at(values[0] + values[1], &sent, x).unwrap(), f(&x));
        assert_ne!(round_at(values[0], &sent, x).unwrap(), f(&x));
    }

    #[test]
    fn stripped_rounds_agree_with_the_product() {
        let (r, x) = (Fr::from(77u64), Fr::from(1234u64));
        let t = |x: &Fr| Fr::from(5u64) + Fr::from(7u64) * x + Fr::from(11u64) * x * x;
        let l = |x: &Fr| Fr::one() - r + (r + r - Fr::one()) * x;
        let (zero, one) = (Fr::zero(), Fr::one());
        let state = Stripped { claim: l(&zero) * t(&zero) + l(&one) * t(&one), bound: one };
        let next = state.round(r, t(&zero), Fr::from(11u64), x).unwrap();
        assert_eq!(next.claim, l(&x) * t(&x));
        assert_eq!(next.bound, l(&x));
    }
}
