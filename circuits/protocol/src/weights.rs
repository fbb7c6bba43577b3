//! How the weights α move at the end of an epoch (white paper, steps 2 to 4).

use crate::fixed::{ONE, mul, ratio};
use crate::parameters::Parameters;
use crate::score::Weights;
use serde::{Deserialize, Serialize};

/// Stake-weighted medians of raw values; `None` until there was data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Medians {
    /// Median uptime, Q32.
    pub uptime: Option<u64>,
    /// Median speed, 10^-3 output ids a second.
    pub speed: Option<u64>,
}

/// The weights of the first epoch.
#[must_use]
pub fn initial(parameters: &Parameters) -> Weights {
    normalise(
        parameters.alpha_uptime_initial,
        (ONE - parameters.alpha_stake.min(ONE)).saturating_sub(parameters.alpha_uptime_initial),
        parameters,
    )
}

/// The weights after an epoch whose medians went from `old` to `new`.
///
/// If a median fell by more than ε of its old value, its parameter's new weight is the old one plus δ,
/// otherwise the old one; a rise or missing data changes nothing. Then α ← (1−β)·α_old + β·α_new, and
/// the two performance weights are scaled to 1 − α_stake, each at least the minimum.
#[must_use]
pub fn step(weights: &Weights, old: &Medians, new: &Medians, parameters: &Parameters) -> Weights {
    let uptime = moved(weights.uptime, old.uptime, new.uptime, parameters);
    let speed = moved(weights.speed, old.speed, new.speed, parameters);
    if uptime == weights.uptime
        && speed == weights.speed
        && weights.stake == parameters.alpha_stake
        && weights.uptime.min(weights.speed) >= parameters.alpha_min
    {
        // Unchanged means unchanged: renormalising would move the last bit by rounding.
        return *weights;
    }
    normalise(uptime, speed, parameters)
}

fn fell(old: Option<u64>, new: Option<u64>, parameters: &Parameters) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => new < old - mul(old, parameters.epsilon.min(ONE)),
        _ => false,
    }
}

fn moved(alpha: u64, old: Option<u64>, new: Option<u64>, parameters: &Parameters) -> u64 {
    if !fell(old, new, parameters) {
        return alpha;
    }
    let beta = parameters.beta.min(ONE);
    let raised = alpha.saturating_add(parameters.delta);
    // One division for both products, so that β = 1 gives exactly the new weight.
    let blended = u128::from(ONE - beta) * u128::from(alpha) + u128::from(beta) * u128::from(raised);
    u64::try_from(blended >> 32).unwrap_or(u64::MAX)
}

/// Scales (uptime, speed) to 1 − α_stake with the minimum each; speed takes the rounding, so that the
/// three sum to exactly one.
fn normalise(uptime: u64, speed: u64, parameters: &Parameters) -> Weights {
    let stake = parameters.alpha_stake.min(ONE);
    let budget = ONE - stake;
    let least = parameters.alpha_min.min(budget / 2);
    let both = uptime.saturating_add(speed);
    let share = if both == 0 { ONE / 2 } else { ratio(uptime, both) };
    let uptime = mul(budget, share).clamp(least, budget - least);
    Weights { uptime, speed: budget - uptime, stake }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medians(uptime: u64, speed: u64) -> Medians {
        Medians { uptime: Some(uptime), speed: Some(speed) }
    }

    #[test]
    fn start_equal_and_sum_to_one() {
        let w = initial(&Parameters::default());
        assert_eq!(w, Weights { uptime: ONE / 8 * 3, speed: ONE / 8 * 3, stake: ONE / 4 });
    }

    #[test]
    fn rises_small_falls_and_silence_change_nothing() {
        let p = Parameters::default();
        let w = initial(&p);
        let old = medians(ONE / 2, 100_000);
        assert_eq!(step(&w, &old, &medians(ONE, 200_000), &p), w);
        assert_eq!(step(&w, &old, &medians(ONE / 2, 98_001), &p), w); // within epsilon = 2%
        assert_eq!(step(&w, &old, &Medians::default(), &p), w);
        assert_eq!(step(&w, &Medians::default(), &old, &p), w);
    }

    #[test]
    fn worked_fall_of_speed() {
        // alpha_speed 0.375 -> smoothed 0.375 + 0.3 * 0.1 = 0.405; over 0.78 of budget 0.75:
        // speed 0.3894, uptime 0.3606.
        let p = Parameters::default();
        let w = step(&initial(&p), &medians(ONE, 100_000), &medians(ONE, 97_000), &p);
        let real = |x: u64| x as f64 / ONE as f64;
        assert!((real(w.speed) - 0.75 * 0.405 / 0.78).abs() < 1e-8, "{}", real(w.speed));
        assert!((real(w.uptime) - 0.75 * 0.375 / 0.78).abs() < 1e-8);
        assert_eq!(w.uptime + w.speed + w.stake, ONE);
    }

    #[test]
    fn the_minimum_holds_when_one_parameter_falls_for_ever() {
        let p = Parameters::default();
        let mut w = initial(&p);
        for _ in 0..1000 {
            w = step(&w, &medians(ONE, 100_000), &medians(ONE, 50_000), &p);
            assert_eq!(w.uptime + w.speed + w.stake, ONE);
        }
        assert_eq!(w.uptime, p.alpha_min);
    }

    #[test]
    fn both_falling_alike_keeps_equal_weights_equal() {
        let p = Parameters::default();
        let w = step(&initial(&p), &medians(ONE, 100_000), &medians(ONE / 2, 50_000), &p);
        assert_eq!(w, initial(&p));
    }
}
