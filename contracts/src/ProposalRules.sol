// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IEpochs} from "./interfaces/IEpochs.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Evidence, IMonaiGovernor, ProposalKind} from "./interfaces/IMonaiGovernor.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {System, Wired} from "./System.sol";

/// @notice What each kind of proposal may call, and what a report must show. A contract of its own
/// because the governor with it would be larger than a contract may be.
contract ProposalRules is Wired {
    constructor(System memory s) Wired(s) {}

    /// @notice Reverts unless a proposal of this kind may make these calls.
    function check(
        ProposalKind kind,
        address[] calldata targets,
        bytes[] calldata calldatas,
        Evidence calldata evidence
    ) external view {
        _requireAllowed(kind, targets, calldatas);
        if (kind == ProposalKind.ReportOperator) _requireEvidence(targets, calldatas, evidence);
    }

    function _requireAllowed(ProposalKind kind, address[] calldata targets, bytes[] calldata calldatas) private view {
        for (uint256 i = 0; i < targets.length && i < calldatas.length; ++i) {
            bytes4 selector = calldatas[i].length < 4 ? bytes4(0) : bytes4(calldatas[i]);
            bool allowed;
            if (kind == ProposalKind.AdoptModel) {
                allowed = targets[i] == MODELS && selector != IModelRegistry.setHardware.selector;
            } else if (kind == ProposalKind.Hardware) {
                allowed = targets[i] == MODELS && selector == IModelRegistry.setHardware.selector;
            } else if (kind == ProposalKind.Methodology) {
                // The timelock itself would let one proposal smuggle in calls of another kind.
                allowed = targets[i] != MODELS && targets[i] != OPERATORS
                    && (targets[i] != TIMELOCK || selector == TimelockController.updateDelay.selector);
            } else {
                allowed = i == 0 && targets[i] == OPERATORS && selector == IOperators.jail.selector;
            }
            if (!allowed) revert IMonaiGovernor.ForbiddenCall(kind, targets[i], selector);
        }
    }

    function _requireEvidence(address[] calldata targets, bytes[] calldata calldatas, Evidence calldata e)
        private
        view
    {
        uint48 horizon = e.epoch + uint48(IParameters(PARAMETERS).get(Param.UnbondingEpochs));
        if (
            targets.length != 1 || calldatas.length != 1
                || keccak256(calldatas[0]) != keccak256(abi.encodeCall(IOperators.jail, (e.operator)))
                || IOperators(OPERATORS).operatorAt(e.row.slot, e.epoch) != e.operator || e.operator == address(0)
                || e.model >= e.row.cells.length || currentEpoch() > horizon
        ) revert IMonaiGovernor.InsufficientEvidence();
        IEpochs(EPOCHS).requireRow(e.epoch, e.row, e.proof);
        // A node that does not serve the model has no uptime to be measured by.
        uint256 mask = IOperators(OPERATORS).servedAt(e.operator, e.epoch);
        uint256 uptime = uint64(e.row.cells[e.model] >> 64);
        if ((mask >> e.model) & 1 == 0 || uptime >= IParameters(PARAMETERS).valueAt(Param.UptimeMinimum, e.epoch)) {
            revert IMonaiGovernor.InsufficientEvidence();
        }
    }
}
