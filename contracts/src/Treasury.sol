// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";
import {NotAuthorised, System, Wired} from "./System.sol";

contract Treasury is ITreasury, Wired {
    using SafeERC20 for IERC20;

    constructor(System memory s) Wired(s) {}

    /// @inheritdoc ITreasury
    function reward(uint256 amount) external only(GOVERNOR) returns (uint256 paid) {
        paid = Math.min(amount, IERC20(TOKEN).balanceOf(address(this)));
        emit Paid(TOKEN, STAKING, paid);
        IERC20(TOKEN).safeTransfer(STAKING, paid);
    }

    /// @inheritdoc ITreasury
    function pay(address asset, address to, uint256 amount) external only(TIMELOCK) {
        emit Paid(asset, to, amount);
        IERC20(asset).safeTransfer(to, amount);
    }
}
