// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @dev The arithmetic of rewards and slashes, apart from storage, so that it can be proved.
library Shares {
    uint256 internal constant WAD = 1e18;
    /// @dev Precision of rewards per share.
    uint256 internal constant PRECISION = 1e27;

    /// @dev Delegators' part of a reward after commission, rounded down.
    function toDelegators(uint256 amount, uint256 raw, uint256 own, uint256 commission)
        internal
        pure
        returns (uint256 part)
    {
        part = Math.mulDiv(amount, raw, raw + own);
        part -= Math.mulDiv(part, commission, WAD, Math.Rounding.Ceil);
    }

    /// @dev What one unit of stake gets, rounded down.
    function perShare(uint256 part, uint256 raw) internal pure returns (uint256) {
        return Math.mulDiv(part, PRECISION, raw);
    }

    /// @dev Fraction of a snapshot that a slash takes, rounded up.
    function fraction(uint256 target, uint256 base) internal pure returns (uint256) {
        return Math.mulDiv(target, WAD, base, Math.Rounding.Ceil);
    }

    /// @dev A delegator's loss, rounded up.
    function loss(uint256 stake, uint256 fraction_) internal pure returns (uint256) {
        return Math.mulDiv(stake, fraction_, WAD, Math.Rounding.Ceil);
    }
}
