// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev The arithmetic of rewards and slashes, apart from storage, so that it can be proved. Stake is
/// below 2^104 and rewards below 2^128, so every product fits a word; checked arithmetic would revert.
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
        part = amount * raw / (raw + own);
        part -= (part * commission + WAD - 1) / WAD;
    }

    /// @dev What one unit of stake gets, rounded down.
    function perShare(uint256 part, uint256 raw) internal pure returns (uint256) {
        return part * PRECISION / raw;
    }

    /// @dev Fraction of a snapshot that a slash takes, rounded up.
    function fraction(uint256 target, uint256 base) internal pure returns (uint256) {
        return (target * WAD + base - 1) / base;
    }

    /// @dev A delegator's loss, rounded up.
    function loss(uint256 stake, uint256 fraction_) internal pure returns (uint256) {
        return (stake * fraction_ + WAD - 1) / WAD;
    }
}
