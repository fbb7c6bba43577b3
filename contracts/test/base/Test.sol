// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {vm} from "./Vm.sol";

/// @dev Assertions that revert, and fuzz input helpers.
abstract contract Test {
    error NotEqual(uint256 left, uint256 right, string what);
    error NotTrue(string what);

    function eq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert NotEqual(left, right, what);
    }

    function eq(address left, address right, string memory what) internal pure {
        eq(uint160(left), uint160(right), what);
    }

    function eq(bytes32 left, bytes32 right, string memory what) internal pure {
        eq(uint256(left), uint256(right), what);
    }

    function isTrue(bool condition, string memory what) internal pure {
        if (!condition) revert NotTrue(what);
    }

    function atMost(uint256 left, uint256 right, string memory what) internal pure {
        if (left > right) revert NotEqual(left, right, what);
    }

    function near(uint256 left, uint256 right, uint256 by, string memory what) internal pure {
        if ((left > right ? left - right : right - left) > by) revert NotEqual(left, right, what);
    }

    /// @dev Maps a fuzzed value into [least, greatest].
    function within(uint256 x, uint256 least, uint256 greatest) internal pure returns (uint256) {
        if (x >= least && x <= greatest) return x;
        uint256 size = greatest - least + 1;
        return size == 0 ? x : least + x % size;
    }
}
