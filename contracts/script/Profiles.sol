// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Param} from "../src/interfaces/IParameters.sol";
import {vm} from "../test/base/Vm.sol";

/// @dev Reads the parameters of a profile, `config/*.json`, by name. Production values are starting
/// points for governance; devnet ones are the protocol's defaults, with windows that make everything
/// happen within minutes on a local chain.
library Profiles {
    /// @notice The file has names that are no parameters, or lacks some.
    error WrongParameters(uint256 expected, uint256 found);

    uint256 internal constant COUNT = uint256(type(Param).max) + 1;

    function read(string memory json) internal view returns (uint256[] memory v) {
        uint256 found = vm.parseJsonKeys(json, ".parameters").length;
        if (found != COUNT) revert WrongParameters(COUNT, found);
        string[52] memory all = names();
        v = new uint256[](COUNT);
        for (uint256 i = 0; i < COUNT; ++i) {
            v[i] = vm.parseJsonUint(json, string.concat(".parameters.", all[i]));
        }
    }

    /// @dev In the order of `Param`.
    function names() internal pure returns (string[52] memory) {
        return [
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
            "ProofWindow"
        ];
    }
}
