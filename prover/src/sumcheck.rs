//! The general sumcheck: any summand over dense factors.

use ark_ff::Zero;
use monai_inference::party::SumClaim;
use monai_inference::relations::Summand;
use monai_inference::sumcheck::round_at;
use monai_inference::transcript::Label;
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::channel::Channel;

/// Most factors of a summand, and its degree plus one.
const MAX_FACTORS: usize = 6;
const MAX_VALUES: usize = 6;

/// Proves `sum over x of summand(factors(x)) = claim`. Factors are prefixes; beyond their end they are 0. Variable 0 is the
/// lowest index bit and is bound first. Returns the claim at the end and the factors' values there.
pub(crate) fn prove<S: Summand + Sync>(
    summand: &S,
    mut factors: Vec<Vec<Fr>>,
    variables: usize,
    mut claim: Fr,
    channel: &mut Channel,
) -> (SumClaim, Vec<Fr>) {
    debug_assert!(factors.len() == S::FACTORS && S::FACTORS <= MAX_FACTORS && S::DEGREE < MAX_VALUES);
    let len = factors.iter().map(Vec::len).max().unwrap_or(0).max(1);
    debug_assert!(len <= 1 << variables);
    for f in &mut factors {
        f.resize(len, Fr::zero());
    }
    let mut point = Vec::with_capacity(variables);
    for _ in 0..variables {
        let values = round(summand, &factors);
        let sent: Vec<Fr> =
            values.iter().take(S::DEGREE + 1).enumerate().filter(|(i, _)| *i != 1).map(|(_, v)| *v).collect();
        for x in &sent {
            channel.send(Label::Round, *x);
        }
        let x = channel.challenge(Label::Round);
        claim = round_at(claim, &sent, x).unwrap_or_else(|_| Fr::zero());
        factors.par_iter_mut().for_each(|f| bind(f, x));
        point.push(x);
    }
    let ends = factors.iter().map(|f| f[0]).collect();
    (SumClaim { point, value: claim }, ends)
}

/// The round polynomial's values at 0, 1, ..., `DEGREE`. The value at 1 is not sent and not computed.
fn round<S: Summand + Sync>(summand: &S, factors: &[Vec<Fr>]) -> [Fr; MAX_VALUES] {
    let pairs = factors[0].len().div_ceil(2);
    let zero = [Fr::zero(); MAX_VALUES];
    (0..pairs)
        .into_par_iter()
        .with_min_len(1 << 9)
        .fold(
            || zero,
            |mut sums, i| {
                let mut at = [Fr::zero(); MAX_FACTORS];
                let mut step = [Fr::zero(); MAX_FACTORS];
                for (k, f) in factors.iter().enumerate() {
                    let low = f[2 * i];
                    at[k] = low;
                    step[k] = f.get(2 * i + 1).copied().unwrap_or_else(Fr::zero) - low;
                }
                sums[0] += summand.combine(&at[..S::FACTORS]);
                for k in 0..S::FACTORS {
                    at[k] += step[k];
                }
                for value in sums.iter_mut().take(S::DEGREE + 1).skip(2) {
                    for k in 0..S::FACTORS {
                        at[k] += step[k];
                    }
                    *value += summand.combine(&at[..S::FACTORS]);
                }
                sums
            },
        )
        .reduce(
            || zero,
            |mut a, b| {
                for (a, b) in a.iter_mut().zip(b) {
                    *a += b;
                }
                a
            },
        )
}

/// Binds the lowest variable.
pub(crate) fn bind(f: &mut Vec<Fr>, x: Fr) {
    let n = f.len().div_ceil(2);
    for i in 0..n {
        let low = f[2 * i];
        let high = f.get(2 * i + 1).copied().unwrap_or_else(Fr::zero);
        f[i] = low + x * (high - low);
    }
    f.truncate(n.max(1));
}
