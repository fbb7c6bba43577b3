// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev Coins that governance should not list, and that must do no harm if it does.
abstract contract Coin is ERC20 {
    constructor() ERC20("Coin", "COIN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Takes a hundredth of every transfer.
contract TaxCoin is Coin {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(to, address(0xfee), value / 100);
    }
}

/// @dev Can be halted, and refuses accounts on a list.
contract HaltCoin is Coin {
    bool public halted;
    mapping(address => bool) public refused;

    error Halted();

    function halt(bool on) external {
        halted = on;
    }

    function refuse(address account, bool on) external {
        refused[account] = on;
    }

    function _update(address from, address to, uint256 value) internal override {
        if (halted || refused[from] || refused[to]) revert Halted();
        super._update(from, to, value);
    }
}

interface IHooked {
    function tokensReceived(address from, uint256 amount) external;
}

/// @dev Calls whoever is registered when it receives, like ERC-777.
contract HookCoin is Coin {
    mapping(address => bool) public hooked;

    function hook(bool on) external {
        hooked[msg.sender] = on;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (hooked[to]) IHooked(to).tokensReceived(from, value);
    }
}
