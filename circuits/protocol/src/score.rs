//! The allocation score (white paper, eq. 1) and the stake-weighted statistics beneath it.

use crate::fixed::{ONE, ratio};
use crate::parameters::Parameters;
use serde::{Deserialize, Serialize};

/// The weights α of a model, Q32. They sum to exactly [`ONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// α_uptime.
    pub uptime: u64,
    /// α_speed.
    pub speed: u64,
    /// α_stake.
    pub stake: u64,
}

/// A node's normalised performance, Q32 in (0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performance {
    /// N_uptime.
    pub uptime: u64,
    /// N_speed.
    pub speed: u64,
}

/// min(S_c, S_i).
#[must_use]
pub fn capped(stake: u64, parameters: &Parameters) -> u64 {
    stake.min(parameters.stake_cap)
}

/// A_i in Q32, at most [`ONE`]: α_uptime·N_uptime + α_speed·N_speed + α_stake·max(S_f, min(S_c, S_i))/S_c,
/// each product rounded down. Nodes below S_f are out before they are scored; the floor never lifts.
#[must_use]
pub fn allocation_score(w: &Weights, n: Performance, stake: u64, parameters: &Parameters) -> u64 {
    let held = u128::from(capped(stake, parameters).max(parameters.stake_floor));
    let stake_term = u128::from(w.stake) * held / u128::from(parameters.stake_cap.max(1));
    let sum = u128::from(crate::fixed::mul(w.uptime, n.uptime))
        + u128::from(crate::fixed::mul(w.speed, n.speed))
        + stake_term;
    u64::try_from(sum).unwrap_or(u64::MAX)
}

/// A_i · min(S_c, S_i), the node's weight in the table. Exact: nothing is rounded here, so that a
/// stake T ≤ S_c split over several nodes never weighs more than as one.
#[must_use]
pub fn table_weight(score: u64, stake: u64, parameters: &Parameters) -> u128 {
    u128::from(score) * u128::from(capped(stake, parameters))
}

/// Output ids per second in thousandths, clipped to [1, ceiling]; `None` without time.
#[must_use]
pub fn raw_speed(tokens: u64, millis: u64, parameters: &Parameters) -> Option<u64> {
    if millis == 0 {
        return None;
    }
    let speed = u128::from(tokens) * 1_000_000 / u128::from(millis);
    Some(u64::try_from(speed).unwrap_or(u64::MAX).clamp(1, parameters.speed_ceiling))
}

/// Answered over drawn, Q32 in (0, 1]; `None` without attempts.
#[must_use]
pub fn raw_uptime(answered: u64, missed: u64) -> Option<u64> {
    let drawn = answered.checked_add(missed)?;
    (drawn > 0).then(|| ratio(answered, drawn).max(1))
}

/// A raw speed over the reference (the stake-weighted 90th percentile), Q32 in (0, 1].
#[must_use]
pub fn normalised_speed(speed: u64, reference: u64) -> u64 {
    ratio(speed, reference.max(1)).clamp(1, ONE)
}

/// The least value v such that values ≤ v hold at least num/den of all stake.
///
/// `values` are (value, stake) in any order; `None` if they hold no stake. The median is (1, 2): the
/// lower one where two would do. Being a value that somebody has, it needs no rounding.
#[must_use]
pub fn stake_quantile(values: &[(u64, u64)], num: u64, den: u64) -> Option<u64> {
    let mut sorted: Vec<_> = values.iter().copied().filter(|(_, s)| *s > 0).collect();
    sorted.sort_unstable();
    let total: u128 = sorted.iter().map(|(_, s)| u128::from(*s)).sum();
    let mut below = 0u128;
    for (value, stake) in sorted {
        below += u128::from(stake);
        if below * u128::from(den) >= total * u128::from(num) {
            return Some(value);
        }
    }
    None
}

/// The stake-weighted median.
#[must_use]
pub fn stake_median(values: &[(u64, u64)]) -> Option<u64> {
    stake_quantile(values, 1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::STAKE_UNIT;

    #[test]
    fn medians_weigh_stake() {
        // Three nodes at 10, 20, 30 tokens a second; the slow one holds most of the stake.
        assert_eq!(stake_median(&[(30, 1), (10, 3), (20, 1)]), Some(10));
        assert_eq!(stake_median(&[(30, 1), (10, 1), (20, 1)]), Some(20));
        // Half of the stake is enough: the lower median.
        assert_eq!(stake_median(&[(10, 1), (20, 1)]), Some(10));
        assert_eq!(stake_median(&[(10, 0)]), None);
        assert_eq!(stake_median(&[]), None);
        // One outlier with a twentieth of the stake does not set the scale of speed.
        assert_eq!(stake_quantile(&[(1_000_000, 5), (40, 45), (50, 50)], 9, 10), Some(50));
    }

    #[test]
    fn worked_score() {
        // alpha = (3/8, 3/8, 1/4), uptime 1, speed 1/2, stake half of the cap:
        // 3/8 + 3/16 + 1/8 = 11/16.
        let p = Parameters::default();
        let w = Weights { uptime: ONE / 8 * 3, speed: ONE / 8 * 3, stake: ONE / 4 };
        let n = Performance { uptime: ONE, speed: ONE / 2 };
        assert_eq!(allocation_score(&w, n, p.stake_cap / 2, &p), ONE / 16 * 11);
        // Stake above the cap counts as the cap.
        assert_eq!(allocation_score(&w, n, p.stake_cap * 3, &p), allocation_score(&w, n, p.stake_cap, &p));
        assert_eq!(
            table_weight(ONE, 9_000 * STAKE_UNIT, &p),
            u128::from(ONE) * 8_000 * u128::from(STAKE_UNIT)
        );
    }

    #[test]
    fn speeds_are_clipped_and_normalised() {
        let p = Parameters::default();
        assert_eq!(raw_speed(64, 2_000, &p), Some(32_000));
        assert_eq!(raw_speed(u64::MAX, 1, &p), Some(p.speed_ceiling));
        assert_eq!(raw_speed(0, 5, &p), Some(1));
        assert_eq!(raw_speed(5, 0, &p), None);
        assert_eq!(normalised_speed(32_000, 64_000), ONE / 2);
        assert_eq!(normalised_speed(99_000, 64_000), ONE);
        assert_eq!(normalised_speed(1, u64::MAX), 1);
        assert_eq!(raw_uptime(3, 1), Some(ONE / 4 * 3));
        assert_eq!(raw_uptime(0, 4), Some(1));
        assert_eq!(raw_uptime(0, 0), None);
    }
}
