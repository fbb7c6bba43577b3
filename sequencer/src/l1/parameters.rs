//! Governed parameters: which entry of the contract's list is which field here, and in which unit.
//!
//! Not from L1, because the contracts have no such number or because receipts are checked against one value for
//! all epochs: attempts, agreement of clocks, quarantine, samples, outages, newcomers, smallest weight, and the pot's
//! schedule, which Emissions keeps itself. They stay as configured.

use alloy_primitives::U256;
use monai_protocol::Parameters;
use monai_protocol::fixed::ONE;
use monai_protocol::parameters::ParameterError;

/// Position of a parameter in the contract's enumeration.
pub(crate) type Index = u8;

const STAKE_FLOOR: Index = 0;
const STAKE_CAP: Index = 1;
const AUDIT_RATE: Index = 14;
const BEACON_DELAY: Index = 21;
const TREASURY_SHARE: Index = 32;
const EMISSION_MIN_STAKE: Index = 33;
const EMISSION_MIN_OPERATORS: Index = 34;
const UPTIME_MINIMUM: Index = 42;
const ALPHA_STAKE: Index = 45;
const WEIGHT_STEP: Index = 46;
const WEIGHT_TOLERANCE: Index = 47;
const WEIGHT_SMOOTHING: Index = 48;
const SPEED_CEILING: Index = 49;

/// All that are read.
pub(crate) const READ: [Index; 13] = [
    STAKE_FLOOR,
    STAKE_CAP,
    AUDIT_RATE,
    BEACON_DELAY,
    TREASURY_SHARE,
    EMISSION_MIN_STAKE,
    EMISSION_MIN_OPERATORS,
    UPTIME_MINIMUM,
    ALPHA_STAKE,
    WEIGHT_STEP,
    WEIGHT_TOLERANCE,
    WEIGHT_SMOOTHING,
    SPEED_CEILING,
];

/// 10^18, one in the contracts' fixed point and one token.
const WAD: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);
/// Wei in the unit of stakes.
const WEI_PER_STAKE_UNIT: u64 = 1_000_000_000;

/// Token wei in units of 10^-9 tokens, rounded down.
pub(crate) fn stake_units(wei: U256) -> u64 {
    saturate(wei / U256::from(WEI_PER_STAKE_UNIT))
}

/// The configured parameters with those that L1 governs in their place.
///
/// # Errors
/// [`ParameterError`] if the contract's bounds are wider than the protocol's and governance used that.
pub(crate) fn overlay(
    configured: &Parameters,
    epoch_seconds: u64,
    value: impl Fn(Index) -> U256,
) -> Result<Parameters, ParameterError> {
    let q32 = |i| saturate(value(i).saturating_mul(U256::from(ONE)) / WAD);
    let alpha_stake = q32(ALPHA_STAKE);
    let parameters = Parameters {
        epoch_seconds,
        stake_floor: stake_units(value(STAKE_FLOOR)),
        stake_cap: stake_units(value(STAKE_CAP)),
        audit_rate: q32(AUDIT_RATE),
        audit_beacon_delay: saturate(value(BEACON_DELAY)),
        treasury_share: saturate(value(TREASURY_SHARE)),
        emission_min_stake: stake_units(value(EMISSION_MIN_STAKE)),
        emission_min_operators: saturate(value(EMISSION_MIN_OPERATORS)),
        uptime_min: q32(UPTIME_MINIMUM),
        alpha_stake,
        // Uptime and speed start equal; only genesis looks at it.
        alpha_uptime_initial: ONE.saturating_sub(alpha_stake) / 2,
        delta: q32(WEIGHT_STEP),
        epsilon: q32(WEIGHT_TOLERANCE),
        beta: q32(WEIGHT_SMOOTHING),
        speed_ceiling: saturate(value(SPEED_CEILING).saturating_mul(U256::from(1_000)) / WAD),
        ..configured.clone()
    };
    parameters.validate()?;
    Ok(parameters)
}

fn saturate(value: U256) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(n: u64) -> U256 {
        U256::from(n) * WAD
    }

    /// The production profile of the contracts' deployment.
    fn production(i: Index) -> U256 {
        match i {
            STAKE_FLOOR => tokens(50_000),
            STAKE_CAP => tokens(400_000),
            AUDIT_RATE => WAD / U256::from(100),
            BEACON_DELAY => U256::from(128),
            TREASURY_SHARE => WAD / U256::from(40),
            EMISSION_MIN_STAKE => tokens(500_000),
            EMISSION_MIN_OPERATORS => U256::from(5),
            UPTIME_MINIMUM => WAD * U256::from(4) / U256::from(5),
            ALPHA_STAKE => WAD / U256::from(3),
            WEIGHT_STEP => WAD / U256::from(20),
            WEIGHT_TOLERANCE => WAD / U256::from(50),
            WEIGHT_SMOOTHING => WAD / U256::from(5),
            SPEED_CEILING => tokens(200),
            _ => U256::MAX,
        }
    }

    #[test]
    fn units_are_the_protocols() {
        let p = overlay(&Parameters::default(), 86_400, production).unwrap();
        assert_eq!(p.stake_floor, 50_000_000_000_000);
        assert_eq!(p.stake_cap, 8 * p.stake_floor);
        assert_eq!(p.speed_ceiling, 200_000);
        assert_eq!(p.alpha_stake, ONE / 3);
        assert_eq!(p.treasury_share, 25_000_000_000_000_000);
        assert_eq!(p.epoch_seconds, 86_400);
        assert_eq!(p.max_attempts, Parameters::default().max_attempts);
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_refused() {
        let wild = |i| if i == STAKE_CAP { tokens(500_000) } else { production(i) };
        assert!(overlay(&Parameters::default(), 60, wild).is_err());
        assert!(overlay(&Parameters::default(), 1, production).is_err());
        assert!(overlay(&Parameters::default(), 60, |_| U256::MAX).is_err());
    }
}
