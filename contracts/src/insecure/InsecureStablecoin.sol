// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @notice DEVELOPMENT STAND-IN for a stablecoin with six decimals. Anyone mints.
contract InsecureStablecoin is ERC20, ERC20Permit {
    constructor() ERC20("Insecure USD", "iUSD") ERC20Permit("Insecure USD") {}

    function decimals() public pure override returns (uint8) {
        return 6;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
