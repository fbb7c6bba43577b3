//! Names of governed parameters, and values as people write them.

use super::amount::{TOKEN_DECIMALS, parse};
use crate::error::{Error, Result};
use alloy_primitives::U256;

/// In the order of the contract's enumeration.
pub(super) const NAMES: [&str; 52] = [
    "StakeFloor",
    "StakeCap",
    "SelfBondRatio",
    "MaxCommission",
    "CommissionNotice",
    "UnbondingEpochs",
    "BurnShare",
    "AuditSlash",
    "EquivocationSlash",
    "LivenessSlash",
    "SlashRebate",
    "EscrowTime",
    "BrakeShare",
    "BrakeMinOperators",
    "AuditRate",
    "DemandFee",
    "DemandBurn",
    "DemandWindow",
    "FaultWindow",
    "OpeningBond",
    "OpeningWindow",
    "BeaconDelay",
    "LivenessBond",
    "LivenessWindow",
    "SequencerBond",
    "SequencerFine",
    "SequencerTimeout",
    "InboxDeadline",
    "InboxPerEpoch",
    "InboxMaxIds",
    "InboxMisses",
    "InboxLateFine",
    "TreasuryShare",
    "EmissionMinStake",
    "EmissionMinOperators",
    "ExitTimeout",
    "ProposalBond",
    "RewardAdoptModel",
    "RewardHardware",
    "RewardMethodology",
    "RewardReport",
    "WastefulSlash",
    "UptimeMinimum",
    "JailEpochs",
    "MaxOperators",
    "AlphaStake",
    "WeightStep",
    "WeightTolerance",
    "WeightSmoothing",
    "SpeedCeiling",
    "CountersignTolerance",
    "ProofWindow",
];

/// `NAME=VALUE`: the parameter's number and value. `tokens` stands for 10^18, `%` for 10^16.
pub(super) fn change(text: &str) -> Result<(u8, U256)> {
    let wrong = |why: &str| Error::Usage(format!("{text:?}: {why}"));
    let (name, value) = text.split_once('=').ok_or_else(|| wrong("write NAME=VALUE"))?;
    let index = NAMES
        .iter()
        .position(|n| n.eq_ignore_ascii_case(name))
        .and_then(|i| u8::try_from(i).ok())
        .ok_or_else(|| wrong("there is no parameter of that name"))?;
    let value = if let Some(tokens) = value.strip_suffix("tokens") {
        parse(tokens.trim(), TOKEN_DECIMALS)?
    } else if let Some(percent) = value.strip_suffix('%') {
        parse(percent.trim(), TOKEN_DECIMALS)? / U256::from(100)
    } else if value.is_empty() {
        // The number's own parser reads nothing as zero.
        return Err(wrong("a value is 20, 150tokens or 2%"));
    } else {
        value.parse().map_err(|_| wrong("a value is 20, 150tokens or 2%"))?
    };
    Ok((index, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract_in_its_order() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../contracts/src/interfaces/IParameters.sol");
        let text = std::fs::read_to_string(path).unwrap();
        let body = text.split_once("enum Param {").unwrap().1.split_once("\n}").unwrap().0;
        let found: Vec<&str> = body
            .lines()
            .map(|l| l.split("//").next().unwrap().trim().trim_end_matches(','))
            .filter(|l| !l.is_empty())
            .collect();
        assert_eq!(found, NAMES);
    }

    #[test]
    fn values_have_units() {
        assert_eq!(change("AuditSlash=150tokens").unwrap(), (7, parse("150", 18).unwrap()));
        assert_eq!(change("auditrate=2%").unwrap(), (14, U256::from(20_000_000_000_000_000u64)));
        assert_eq!(change("UnbondingEpochs=4").unwrap(), (5, U256::from(4)));
        for text in ["AuditSlash", "Nothing=1", "AuditSlash=", "AuditSlash=x", "AuditSlash=-1"] {
            assert!(change(text).is_err(), "{text}");
        }
    }
}
