// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Circuit, IVerifier} from "../src/interfaces/IVerifier.sol";
import {InsecureStablecoin} from "../src/insecure/InsecureStablecoin.sol";
import {InsecureVerifier} from "../src/insecure/InsecureVerifier.sol";
import {Config} from "./Deployer.sol";

/// @dev What a deployment for real must have. Whether a verifier or coin is a stand-in is found out by
/// asking it to do what only a stand-in does, since its name or code could be anything.
library Production {
    error Missing(string field);
    error NoCode(string field, address account);
    /// @notice It accepts a proof that anyone can make.
    error InsecureVerifierGiven(address verifier);
    /// @notice Anyone mints it.
    error InsecureStablecoinGiven(address coin);
    error NoVerifier(Circuit circuit);
    /// @notice Epochs this short leave no time for windows, and exits would queue without end.
    error EpochTooShort(uint64 epochSeconds);
    /// @notice The pots must be worth what a model earns in the first epoch.
    error PotCapTooSmall(uint256 potCap, uint256 firstEmission);

    uint64 internal constant LEAST_EPOCH = 1 hours;

    function check(Config memory c) internal {
        if (c.guardian == address(0)) revert Missing("guardian");
        if (c.sequencer == address(0)) revert Missing("sequencer");
        if (bytes(c.sequencerUrl).length == 0) revert Missing("sequencerUrl");
        if (c.genesisState == 0) revert Missing("genesisState");
        if (c.models.length == 0) revert Missing("models");
        if (c.stablecoins.length == 0) revert Missing("stablecoins");
        if (c.epochSeconds < LEAST_EPOCH) revert EpochTooShort(c.epochSeconds);
        if (c.potCap < c.firstEmission) revert PotCapTooSmall(c.potCap, c.firstEmission);
        for (uint256 i = 0; i < c.allocations.length; ++i) {
            if (c.allocations[i].to == address(0)) revert Missing("allocationTo");
        }
        for (uint256 i = 0; i < c.stablecoins.length; ++i) {
            _coin(c.stablecoins[i]);
        }
        _verifiers(c);
    }

    function _verifiers(Config memory c) private view {
        bool[5] memory has;
        for (uint256 i = 0; i < c.verifiers.length; ++i) {
            address v = c.verifiers[i].verifier;
            if (v == address(0)) revert Missing("verifiers");
            if (v.code.length == 0) revert NoCode("verifiers", v);
            uint256[] memory inputs = new uint256[](1);
            inputs[0] = uint256(keccak256("probe")) >> 8;
            (bool made, bytes memory stamp) = v.staticcall(abi.encodeCall(InsecureVerifier.stamp, (inputs)));
            bytes memory proof = made && stamp.length >= 64 ? abi.decode(stamp, (bytes)) : bytes("");
            (bool ok, bytes memory said) = v.staticcall(abi.encodeCall(IVerifier.verify, (proof, inputs)));
            if (ok && said.length == 32 && abi.decode(said, (uint256)) != 0) revert InsecureVerifierGiven(v);
            has[uint256(c.verifiers[i].circuit)] = true;
        }
        for (uint256 i = 0; i < has.length; ++i) {
            if (!has[i]) revert NoVerifier(Circuit(i));
        }
    }

    /// @dev The call is made in the simulation only, before anything is broadcast.
    function _coin(address coin) private {
        if (coin.code.length == 0) revert NoCode("stablecoins", coin);
        address anyone = address(uint160(uint256(keccak256("anyone"))));
        uint256 before = IERC20(coin).balanceOf(anyone);
        (bool ok,) = coin.call(abi.encodeCall(InsecureStablecoin.mint, (anyone, 1)));
        if (ok && IERC20(coin).balanceOf(anyone) != before) revert InsecureStablecoinGiven(coin);
    }
}
