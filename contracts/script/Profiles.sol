// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Param} from "../src/interfaces/IParameters.sol";

/// @dev Parameters of the two profiles. Production values are starting points for governance; devnet
/// ones make everything happen within minutes on a local chain.
library Profiles {
    uint256 internal constant COUNT = uint256(type(Param).max) + 1;

    function production() internal pure returns (uint256[] memory v) {
        v = new uint256[](COUNT);
        _set(v, Param.StakeFloor, 50_000e18);
        _set(v, Param.StakeCap, 400_000e18);
        _set(v, Param.SelfBondRatio, 0.1e18);
        _set(v, Param.MaxCommission, 0.3e18);
        _set(v, Param.CommissionNotice, 7);
        _set(v, Param.UnbondingEpochs, 21);
        _set(v, Param.BurnShare, 0.5e18);
        _set(v, Param.AuditSlash, 2_000e18);
        _set(v, Param.EquivocationSlash, 10_000e18);
        _set(v, Param.LivenessSlash, 100e18);
        _set(v, Param.SlashRebate, 0.05e18);
        _set(v, Param.EscrowTime, 7 days);
        _set(v, Param.BrakeShare, uint256(1e18) / 3);
        _set(v, Param.BrakeMinOperators, 3);
        _set(v, Param.AuditRate, 0.01e18);
        _set(v, Param.DemandFee, 20e18);
        _set(v, Param.DemandBurn, 0.2e18);
        _set(v, Param.DemandWindow, 5 days);
        _set(v, Param.FaultWindow, 2 days);
        _set(v, Param.OpeningBond, 50e18);
        _set(v, Param.OpeningWindow, 1 days);
        _set(v, Param.BeaconDelay, 128);
        _set(v, Param.LivenessBond, 50e18);
        _set(v, Param.LivenessWindow, 1 days);
        _set(v, Param.SequencerBond, 500_000e18);
        _set(v, Param.SequencerFine, 20_000e18);
        _set(v, Param.SequencerTimeout, 1 days);
        _set(v, Param.InboxDeadline, 12 hours);
        _set(v, Param.InboxPerEpoch, 500);
        _set(v, Param.InboxMaxIds, 1024);
        _set(v, Param.InboxMisses, 3);
        _set(v, Param.InboxLateFine, 1_000e18);
        _set(v, Param.TreasuryShare, 0.025e18);
        _set(v, Param.EmissionMinStake, 500_000e18);
        _set(v, Param.EmissionMinOperators, 5);
        _set(v, Param.ExitTimeout, 3 days);
        _set(v, Param.ProposalBond, 5_000e18);
        _set(v, Param.RewardAdoptModel, 10_000e18);
        _set(v, Param.RewardHardware, 5_000e18);
        _set(v, Param.RewardMethodology, 10_000e18);
        _set(v, Param.RewardReport, 2_000e18);
        _set(v, Param.WastefulSlash, 5_000e18);
        _set(v, Param.UptimeMinimum, 0.8e18);
        _set(v, Param.JailEpochs, 14);
        _set(v, Param.MaxOperators, 512);
        _set(v, Param.AlphaStake, uint256(1e18) / 3);
        _set(v, Param.WeightStep, 0.05e18);
        _set(v, Param.WeightTolerance, 0.02e18);
        _set(v, Param.WeightSmoothing, 0.2e18);
        _set(v, Param.SpeedCeiling, 200e18);
        _set(v, Param.CountersignTolerance, 500);
    }

    function devnet() internal pure returns (uint256[] memory v) {
        v = production();
        _set(v, Param.StakeFloor, 1_000e18);
        _set(v, Param.StakeCap, 8_000e18);
        _set(v, Param.CommissionNotice, 1);
        _set(v, Param.UnbondingEpochs, 4);
        _set(v, Param.AuditSlash, 200e18);
        _set(v, Param.EquivocationSlash, 500e18);
        _set(v, Param.LivenessSlash, 10e18);
        _set(v, Param.EscrowTime, 20);
        _set(v, Param.AuditRate, 0.2e18);
        _set(v, Param.DemandFee, 1e18);
        _set(v, Param.DemandWindow, 60);
        _set(v, Param.FaultWindow, 20);
        _set(v, Param.OpeningBond, 1e18);
        _set(v, Param.OpeningWindow, 20);
        _set(v, Param.BeaconDelay, 4);
        _set(v, Param.LivenessBond, 1e18);
        _set(v, Param.LivenessWindow, 60);
        _set(v, Param.SequencerBond, 10_000e18);
        _set(v, Param.SequencerFine, 500e18);
        _set(v, Param.SequencerTimeout, 300);
        _set(v, Param.InboxDeadline, 120);
        _set(v, Param.InboxLateFine, 50e18);
        _set(v, Param.EmissionMinStake, 1_000e18);
        _set(v, Param.EmissionMinOperators, 1);
        _set(v, Param.ExitTimeout, 60);
        _set(v, Param.ProposalBond, 100e18);
        _set(v, Param.RewardAdoptModel, 50e18);
        _set(v, Param.RewardHardware, 25e18);
        _set(v, Param.RewardMethodology, 50e18);
        _set(v, Param.RewardReport, 10e18);
        _set(v, Param.WastefulSlash, 100e18);
        _set(v, Param.JailEpochs, 3);
        _set(v, Param.MaxOperators, 64);
    }

    function _set(uint256[] memory v, Param p, uint256 value) private pure {
        v[uint256(p)] = value;
    }
}
