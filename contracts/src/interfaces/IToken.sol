// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title MonAI token
/// @notice ERC-20 with permit (ERC-2612), transfer and receive with authorisation (ERC-3009), votes
/// (ERC-5805) and burning. Only Emissions mints, and supply never exceeds the cap. Governance counts
/// staked tokens, not held ones; the votes of the token itself are there for outside uses.
interface IToken is IERC20 {
    /// @notice Creates tokens. Emissions only.
    function mint(address to, uint256 amount) external;

    /// @notice Destroys tokens of the caller.
    function burn(uint256 amount) external;
}
