//! Errors of the contracts as sentences.

use crate::error::Error;
use alloy_primitives::Selector;
use alloy_sol_types::{Panic, Revert, SolError as _, SolInterface};
use monai_contracts as c;

/// What a contract says when it refuses: a sentence, and the error's own name and values.
pub(crate) fn explain(data: &[u8]) -> String {
    if data.is_empty() {
        return "the contract refuses without a reason; is something deployed at this address?".into();
    }
    if let Ok(revert) = Revert::abi_decode(data) {
        return revert.reason;
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        return panic.to_string();
    }
    let Some((name, values)) = decoded(data) else {
        return format!("an error that this version does not know: 0x{}", hex::encode(data));
    };
    match sentence(name) {
        Some(sentence) => format!("{sentence} ({values})"),
        None => values,
    }
}

/// The same as an error of this program.
pub(crate) fn refused(data: &[u8]) -> Error {
    Error::Invalid(explain(data))
}

fn decoded(data: &[u8]) -> Option<(&'static str, String)> {
    named::<c::staking::Staking::StakingErrors>(data, c::staking::Staking::StakingErrors::name_by_selector)
        .or_else(|| {
            named::<c::token::Token::TokenErrors>(data, c::token::Token::TokenErrors::name_by_selector)
        })
        .or_else(|| {
            named::<c::operators::Operators::OperatorsErrors>(
                data,
                c::operators::Operators::OperatorsErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::payments::Payments::PaymentsErrors>(
                data,
                c::payments::Payments::PaymentsErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::governor::MonaiGovernor::MonaiGovernorErrors>(
                data,
                c::governor::MonaiGovernor::MonaiGovernorErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::emissions::Emissions::EmissionsErrors>(
                data,
                c::emissions::Emissions::EmissionsErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::rollup::Rollup::RollupErrors>(data, c::rollup::Rollup::RollupErrors::name_by_selector)
        })
        .or_else(|| {
            named::<c::timelock::MonaiTimelock::MonaiTimelockErrors>(
                data,
                c::timelock::MonaiTimelock::MonaiTimelockErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::parameters::Parameters::ParametersErrors>(
                data,
                c::parameters::Parameters::ParametersErrors::name_by_selector,
            )
        })
        .or_else(|| {
            named::<c::models::ModelRegistry::ModelRegistryErrors>(
                data,
                c::models::ModelRegistry::ModelRegistryErrors::name_by_selector,
            )
        })
}

fn named<E: SolInterface + std::fmt::Debug>(
    data: &[u8],
    name: impl Fn([u8; 4]) -> Option<&'static str>,
) -> Option<(&'static str, String)> {
    let selector = Selector::try_from(data.get(..4)?).ok()?;
    let name = name(selector.0)?;
    let error = E::abi_decode(data).ok()?;
    Some((name, format!("{error:?}")))
}

/// What an error means to the one who gets it.
fn sentence(name: &str) -> Option<&'static str> {
    Some(match name {
        "NotAnOperator" => "this account is no active operator",
        "AlreadyRegistered" => "this operator is registered already",
        "InvalidHotKey" => "the hot key is or was used, or did not sign its registration",
        "CommissionTooHigh" => "the commission is above what governance allows",
        "ModelNotServed" => "this model is not served by the network",
        "TableFull" => "the node table has no free slot",
        "BondTooSmall" => "the own bond is below the least that a node needs",
        "InsufficientStake" => "there is less stake than that",
        "Paused" => "new commitments are paused by the guardian; exits never are",
        "NothingDue" => "nothing is due yet",
        "BeaconPending" => "an epoch's beacon is not captured yet; anyone may capture it, then try again",
        "RedelegationPending" => "stake that was moved is still liable at its old operator and can't move on",
        "SameOperator" => "it is there already",
        "NotReleasable" => "the slash is still in escrow, settled, or held by the brake",
        "FutureLookup" => "that epoch has not begun",
        "ERC20InsufficientBalance" => "the account holds less than that",
        "ERC20InsufficientAllowance" => "the contract may not take that much from the account",
        "UnknownAsset" => "there is no such asset",
        "AssetNotAllowed" => "this asset is not accepted for new payments",
        "UnknownSession" => "there is no such session",
        "NotYourSession" => "the session belongs to another account",
        "BadVoucher" => "the signature is not by the session's user, or not by the sequencer",
        "OutOfRange" => "a voucher must exceed the last one and stay within the deposit",
        "Exiting" => "the session is leaving already",
        "ExitPending" => "the timeout of the exit is not over",
        "PlanInactive" => "there is no such plan now",
        "NothingToRefund" => "nothing is left to pay back",
        "KindRequired" => "a proposal needs one of the four kinds",
        "ForbiddenCall" => "a proposal of this kind may not make this call",
        "InsufficientEvidence" => "the metrics given don't show an uptime below the minimum",
        "RewardAboveCap" => "the reward asked for is above the cap of this kind",
        "NotSettled" => "the proposal has not ended",
        "AlreadyVoted" | "GovernorAlreadyCastVote" => "this account has voted",
        "InvalidVote" => "votes are for, against, abstain or wasteful",
        "NoVotes" => "the account had no stake in the snapshot's epoch",
        "GovernorUnexpectedProposalState" => "the proposal is not in a state that allows this",
        "GovernorNonexistentProposal" => "there is no such proposal",
        "TimelockUnexpectedOperationState" => "the timelock's delay is not over",
        "OutOfBounds" => "the value lies outside the bounds that are fixed in the code",
        "Inconsistent" => "the values contradict each other",
        "NotVested" => "the rewards vest later",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U256};

    #[test]
    fn custom_errors_become_sentences() {
        let error =
            c::staking::Staking::InsufficientStake { available: U256::from(1), wanted: U256::from(2) };
        let text = explain(&error.abi_encode());
        assert!(text.starts_with("there is less stake than that"), "{text}");
        assert!(text.contains('1') && text.contains('2'), "{text}");
        let error = c::operators::Operators::NotAnOperator { account: Address::repeat_byte(7) };
        assert!(explain(&error.abi_encode()).starts_with("this account is no active operator"));
        assert!(explain(&Revert::from("why not").abi_encode()).contains("why not"));
        assert!(explain(&[1, 2, 3, 4]).contains("0x01020304"));
        assert!(explain(&[]).contains("without a reason"));
    }
}
