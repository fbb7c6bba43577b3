// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {BN254_R} from "./PoseidonConstants.sol";

/// @dev Agreement of contract and circuit on a list by its value at one point.
library Binding {
    function pointOf(bytes32 digest, uint256 commitment) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(digest, commitment))) % BN254_R;
    }

    /// @dev Continues a Horner evaluation from the end of a list: with `value` zero, and lists given
    /// last first, the result is the sum of element_i · point^i.
    function horner(uint256[] memory list, uint256 point, uint256 value) internal pure returns (uint256) {
        for (uint256 i = list.length; i > 0; --i) {
            value = addmod(mulmod(value, point, BN254_R), list[i - 1], BN254_R);
        }
        return value;
    }
}
