// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Treasury
/// @notice Holds the treasury share of emissions, the part of slashes that does not burn, and
/// forfeited fees.
interface ITreasury {
    event Paid(address indexed asset, address indexed to, uint256 amount);

    /// @notice Pays a proposal reward, or what is left, to Staking for distribution. Governor only.
    function reward(uint256 amount) external returns (uint256 paid);

    /// @notice Pays anything to anyone. Timelock only.
    function pay(address asset, address to, uint256 amount) external;
}
