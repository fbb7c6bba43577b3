//! The one table of protocol parameters, each with its unit, bounds and reason.
//!
//! Solidity and documents read the same values from [`Parameters::export`]. Governance changes values
//! within bounds; a change never reaches a batch that is already committed.

use crate::fixed::{ONE, WAD};
use crate::types::Amount;
use serde::{Deserialize, Serialize};

/// How a parameter is documented and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterInfo {
    /// The name in Rust and JSON.
    pub name: &'static str,
    /// The value, decimal.
    pub value: String,
    /// Smallest value that governance may set, decimal.
    pub min: String,
    /// Largest value that governance may set, decimal.
    pub max: String,
    /// The unit.
    pub unit: &'static str,
    /// Where it comes from and why.
    pub source: &'static str,
}

/// A parameter outside its bounds, or contradicting another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Outside its own bounds.
    #[error("{name} is {value}, must be in [{min}, {max}]")]
    Bounds {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
        /// Its lower bound.
        min: String,
        /// Its upper bound.
        max: String,
    },
    /// A relation between parameters is broken.
    #[error("parameters must satisfy {0}")]
    Relation(&'static str),
}

macro_rules! parameters {
    ($($name:ident: $ty:ty = $value:expr, [$min:expr, $max:expr], $unit:literal, $source:literal;)*) => {
        /// The protocol's parameters. All are decimal strings in JSON.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Parameters {
            $(
                #[doc = $source]
                #[doc = ""]
                #[doc = concat!("Unit: ", $unit, ".")]
                #[serde(with = "crate::codec::decimal")]
                pub $name: $ty,
            )*
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($name: $value,)* }
            }
        }

        impl Parameters {
            /// Every parameter with value, bounds, unit and source, in the order of the table.
            #[must_use]
            pub fn export(&self) -> Vec<ParameterInfo> {
                vec![$(ParameterInfo {
                    name: stringify!($name),
                    value: self.$name.to_string(),
                    min: (($min) as $ty).to_string(),
                    max: (($max) as $ty).to_string(),
                    unit: $unit,
                    source: $source,
                },)*]
            }

            fn check_bounds(&self) -> Result<(), ParameterError> {
                $(
                    let (min, max): ($ty, $ty) = ($min, $max);
                    if self.$name < min || self.$name > max {
                        return Err(ParameterError::Bounds {
                            name: stringify!($name),
                            value: self.$name.to_string(),
                            min: min.to_string(),
                            max: max.to_string(),
                        });
                    }
                )*
                Ok(())
            }
        }
    };
}

/// 10^-9 tokens in a token: the unit of stakes, which keeps them in 64 bits.
pub const STAKE_UNIT: u64 = 1_000_000_000;
const TOKEN: u128 = 1_000_000_000_000_000_000;

parameters! {
    alpha_stake: u64 = ONE / 4, [ONE / 20, ONE / 2], "Q32",
        "Weight of stake in the allocation score; set by governance, never by the epoch, because noise alone would erode it.";
    alpha_uptime_initial: u64 = ONE / 8 * 3, [ONE / 20, ONE / 10 * 9], "Q32",
        "Weight of uptime in the first epoch; speed gets the rest. Uptime and speed start equal.";
    alpha_min: u64 = ONE / 10, [ONE / 100, ONE / 5], "Q32",
        "Least weight of uptime and of speed: neither may be ignored however long the other suffers.";
    epsilon: u64 = ONE / 50, [0, ONE / 4], "Q32, relative to the old median",
        "A median that falls by no more than this is noise and changes no weight.";
    delta: u64 = ONE / 10, [ONE / 1000, ONE / 4], "Q32",
        "What a fallen median adds to its parameter's weight before smoothing (white paper, step 3).";
    beta: u64 = ONE / 10 * 3, [ONE / 100, ONE], "Q32",
        "Share of the new weight in the moving average (white paper, step 4).";
    stake_floor: u64 = 1_000 * STAKE_UNIT, [STAKE_UNIT, 1_000_000_000 * STAKE_UNIT], "10^-9 tokens",
        "S_f. A node below it is out: nothing at stake, nothing to answer (white paper, eq. 1).";
    stake_cap: u64 = 8_000 * STAKE_UNIT, [STAKE_UNIT, 8_000_000_000 * STAKE_UNIT], "10^-9 tokens",
        "S_c. Stake above it earns nothing (white paper, eq. 1); at most 8 times S_f.";
    uptime_min: u64 = ONE / 2, [0, ONE / 10 * 9], "Q32",
        "U_min. A node whose uptime falls below it is out for a while.";
    quarantine_epochs: u64 = 2, [1, 100], "epochs",
        "A node that is out for uptime is never drawn and so could never recover; after this many epochs it returns as a newcomer.";
    outage_share: u64 = ONE / 2, [ONE / 4, ONE], "Q32 of capped stake",
        "If more stake than this would be out for uptime at once, nobody is: that is an outage of the network, and excluding everyone would deadlock it.";
    min_samples: u64 = 8, [1, 1000], "attempts",
        "A node's uptime and speed are renewed once this many attempts have gathered; fewer are carried into the next epoch.";
    speed_ceiling: u64 = 2_000_000, [1_000, 1_000_000_000], "10^-3 output ids a second",
        "Raw speed is clipped here: one forged or cached answer must not define the scale.";
    newcomer_speed: u64 = ONE / 4, [1, ONE], "Q32",
        "N_speed of a node without samples.";
    clock_agreement: u64 = 2_000, [1, 60_000], "milliseconds",
        "Delta. A speed sample counts only if node's and sequencer's durations differ by no more.";
    max_attempts: u64 = 8, [1, 255], "attempts",
        "Attempts at a slot; afterwards, or when every node was tried, the slot ends without an answer.";
    emission_pot: u128 = 10_000 * TOKEN, [0, 10_000_000 * TOKEN], "10^-18 tokens",
        "A model's pot in its first epoch.";
    emission_decay: u64 = ONE / 1_000, [0, ONE / 10], "Q32 per epoch",
        "What each epoch's pot is smaller by than the one before.";
    emission_pot_cap: u128 = 20_000 * TOKEN, [0, 20_000_000 * TOKEN], "10^-18 tokens",
        "Most that one epoch pays for one model, carried-over amounts included.";
    emission_min_stake: u64 = 2_000 * STAKE_UNIT, [0, 1_000_000_000 * STAKE_UNIT], "10^-9 tokens",
        "No pot for a model with less capped stake in its table.";
    emission_min_operators: u64 = 2, [1, 1_000], "owners",
        "No pot for a model with fewer owners in its table: a lone node must not mint.";
    treasury_share: u64 = WAD / 40, [0, WAD / 5], "10^-18",
        "Share of what is paid that goes to the governance treasury (white paper: initially 2.5%). In L1's unit, because amounts are computed there.";
    epoch_seconds: u64 = 3_600, [10, 604_800], "seconds",
        "Length of an epoch.";
    audit_rate: u64 = ONE / 50, [ONE / 10_000, ONE], "Q32",
        "p: the share of sampled answers that must be proved; at least one an epoch.";
    audit_beacon_delay: u64 = 128, [1, 256], "blocks",
        "Blocks between commit and the beacon that selects its audits; within the chain's history of headers.";
}

impl Parameters {
    /// Checks all bounds and relations.
    ///
    /// # Errors
    /// The first parameter that is out of bounds or contradicts another.
    pub fn validate(&self) -> Result<(), ParameterError> {
        self.check_bounds()?;
        if self.stake_cap < self.stake_floor || self.stake_cap / 8 > self.stake_floor {
            return Err(ParameterError::Relation("stake_floor <= stake_cap <= 8 * stake_floor"));
        }
        let budget = ONE - self.alpha_stake;
        if 2 * self.alpha_min > budget {
            return Err(ParameterError::Relation("2 * alpha_min <= 1 - alpha_stake"));
        }
        if self.alpha_uptime_initial < self.alpha_min || self.alpha_uptime_initial > budget - self.alpha_min {
            return Err(ParameterError::Relation(
                "alpha_min <= alpha_uptime_initial <= 1 - alpha_stake - alpha_min",
            ));
        }
        Ok(())
    }

    /// The most that one epoch pays for one model.
    #[must_use]
    pub fn pot_cap(&self) -> Amount {
        Amount(self.emission_pot_cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_relations_bite() {
        assert_eq!(Parameters::default().validate(), Ok(()));
        let bad = |f: fn(&mut Parameters)| {
            let mut p = Parameters::default();
            f(&mut p);
            p.validate().is_err()
        };
        assert!(bad(|p| p.stake_cap = p.stake_floor - 1));
        assert!(bad(|p| p.stake_cap = 8 * p.stake_floor + 8));
        assert!(bad(|p| p.alpha_uptime_initial = ONE - p.alpha_stake));
        assert!(bad(|p| p.beta = ONE + 1));
        assert_eq!(Parameters::default().export().len(), 25);
    }

    #[test]
    fn json_round_trip() {
        let p = Parameters::default();
        let text = serde_json::to_string(&p).unwrap();
        assert_eq!(serde_json::from_str::<Parameters>(&text).unwrap(), p);
        assert!(serde_json::from_str::<Parameters>(&text.replacen("\"alpha_stake\"", "\"x\"", 1)).is_err());
    }
}
