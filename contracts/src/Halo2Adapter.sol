// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVerifier} from "./interfaces/IVerifier.sol";
import {BN254_R} from "./libraries/PoseidonConstants.sol";

/// @notice Puts a generated halo2 verifier, which takes the instances followed by the proof as raw
/// calldata and reverts on rejection, behind `IVerifier`.
/// @dev The number of instances is pinned: a shorter list would shift proof bytes into instances.
contract Halo2Adapter is IVerifier {
    address public immutable GENERATED;
    uint256 public immutable INSTANCES;
    /// @inheritdoc IVerifier
    uint32 public immutable circuitVersion;

    constructor(address generated, uint256 instances, uint32 version) {
        GENERATED = generated;
        INSTANCES = instances;
        circuitVersion = version;
    }

    /// @inheritdoc IVerifier
    function verify(bytes calldata proof, uint256[] calldata publicInputs) external view returns (bool ok) {
        // An address without code would accept everything.
        if (publicInputs.length != INSTANCES || GENERATED.code.length == 0) return false;
        for (uint256 i = 0; i < publicInputs.length; ++i) {
            if (publicInputs[i] >= BN254_R) return false;
        }
        bytes memory returned;
        (ok, returned) = GENERATED.staticcall(abi.encodePacked(publicInputs, proof));
        // Some generators return a boolean instead of reverting.
        if (ok && returned.length >= 32) ok = abi.decode(returned, (uint256)) == 1;
    }
}
