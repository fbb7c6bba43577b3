// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IVerifier} from "../interfaces/IVerifier.sol";

/// @notice DEVELOPMENT STAND-IN. Accepts any statement whose proof is `stamp` of its public inputs,
/// which everybody can compute. It proves nothing; only the devnet profile deploys it.
contract InsecureVerifier is IVerifier {
    /// @inheritdoc IVerifier
    uint32 public immutable circuitVersion;

    constructor(uint32 version) {
        circuitVersion = version;
    }

    /// @inheritdoc IVerifier
    function verify(bytes calldata proof, uint256[] calldata publicInputs) external view returns (bool) {
        return keccak256(proof) == keccak256(stamp(publicInputs));
    }

    /// @notice The bytes that this stand-in accepts for `publicInputs`.
    function stamp(uint256[] calldata publicInputs) public view returns (bytes memory) {
        return abi.encodePacked(keccak256(abi.encode("insecure", circuitVersion, publicInputs)));
    }
}
