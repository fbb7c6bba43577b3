// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {System, Wired} from "./System.sol";

/// @notice OpenZeppelin's timelock, longer than unbonding for as long as it exists: who disagrees with
/// a decision can leave before it takes effect. Proposed to by the governor, executed by anyone,
/// administered by nobody but itself.
contract MonaiTimelock is TimelockController, Wired {
    /// @notice The delay would not be longer than unbonding.
    error DelayTooShort(uint256 delay, uint256 unbonding);

    constructor(System memory s, uint256 delay, address[] memory proposers, address[] memory executors)
        TimelockController(delay, proposers, executors, address(0))
        Wired(s)
    {
        _requireLonger(delay);
    }

    /// @dev Only through a proposal, like in the base.
    function updateDelay(uint256 newDelay) public override {
        _requireLonger(newDelay);
        super.updateDelay(newDelay);
    }

    function _requireLonger(uint256 delay) private view {
        uint256 unbonding = IParameters(PARAMETERS).valueAt(Param.UnbondingEpochs, type(uint48).max) * EPOCH_SECONDS;
        if (delay <= unbonding) revert DelayTooShort(delay, unbonding);
    }
}
