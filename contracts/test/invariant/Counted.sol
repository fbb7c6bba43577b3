// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "../base/Test.sol";

/// @dev A handler that counts how often each of its actions was called and did something.
abstract contract Counted is Test {
    mapping(bytes32 action => uint256) public calls;
    mapping(bytes32 action => uint256) public effective;

    modifier counted(bytes32 action) {
        ++calls[action];
        _;
    }

    function _did(bytes32 action) internal {
        ++effective[action];
    }

    /// @dev Every action must do something in at least a fifth of its calls, or it proves little. Too
    /// few calls in one run say nothing about a rate.
    function requireEffective(bytes32[] calldata actions) external view {
        for (uint256 i = 0; i < actions.length; ++i) {
            uint256 n = calls[actions[i]];
            if (n >= 8) isTrue(5 * effective[actions[i]] >= n, string(abi.encodePacked(actions[i])));
        }
    }
}
