// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IToken} from "./interfaces/IToken.sol";
import {System, Wired} from "./System.sol";

contract Token is IToken, Wired, ERC20Burnable, ERC20Capped, ERC20Permit, ERC20Votes, ERC3009 {
    constructor(System memory s, uint256 cap_)
        Wired(s)
        ERC20("MonAI", "MONAI")
        ERC20Capped(cap_)
        ERC20Permit("MonAI")
    {}

    /// @inheritdoc IToken
    function mint(address to, uint256 amount) external only(EMISSIONS) {
        _mint(to, amount);
    }

    /// @inheritdoc IToken
    function burn(uint256 amount) public override(IToken, ERC20Burnable) {
        super.burn(amount);
    }

    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped, ERC20Votes) {
        super._update(from, to, value);
    }
}
