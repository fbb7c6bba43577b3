// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Circuit, IVerifier, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {System, Wired, Zero} from "./System.sol";

contract VerifierRegistry is IVerifierRegistry, Wired {
    struct Entry {
        Circuit circuit;
        uint32 version;
        address verifier;
    }

    /// @inheritdoc IVerifierRegistry
    mapping(Circuit circuit => mapping(uint32 version => address)) public verifierOf;

    /// @inheritdoc IVerifierRegistry
    mapping(Circuit circuit => mapping(uint32 version => uint48)) public retiredFrom;

    constructor(System memory s, Entry[] memory initial) Wired(s) {
        for (uint256 i = 0; i < initial.length; ++i) {
            _register(initial[i].circuit, initial[i].version, initial[i].verifier);
        }
    }

    /// @inheritdoc IVerifierRegistry
    function register(Circuit circuit, uint32 version, address verifier) external only(TIMELOCK) {
        _register(circuit, version, verifier);
    }

    /// @inheritdoc IVerifierRegistry
    function retire(Circuit circuit, uint32 version) external only(TIMELOCK) {
        if (verifierOf[circuit][version] == address(0)) revert UnknownVerifier(circuit, version);
        // A model names its verifier for good; without one its nodes could not answer an audit.
        if (circuit == Circuit.Inference) revert NotRetirable(circuit);
        if (retiredFrom[circuit][version] != 0) revert Retired(circuit, version);
        uint48 from = currentEpoch() + 1;
        retiredFrom[circuit][version] = from;
        emit VerifierRetired(circuit, version, from);
    }

    /// @inheritdoc IVerifierRegistry
    function check(Circuit circuit, uint32 version, uint48 epoch, bytes calldata proof, uint256[] calldata publicInputs)
        external
        view
    {
        address verifier = verifierOf[circuit][version];
        if (verifier == address(0)) revert UnknownVerifier(circuit, version);
        uint48 retired = retiredFrom[circuit][version];
        if (retired != 0 && epoch >= retired) revert Retired(circuit, version);
        try IVerifier(verifier).verify(proof, publicInputs) returns (bool ok) {
            if (!ok) revert ProofRejected(circuit, version);
        } catch {
            revert ProofRejected(circuit, version);
        }
    }

    function _register(Circuit circuit, uint32 version, address verifier) private {
        if (verifier == address(0)) revert Zero();
        if (verifierOf[circuit][version] != address(0)) revert AlreadyRegistered(circuit, version);
        uint32 reported = IVerifier(verifier).circuitVersion();
        if (reported != version) revert WrongVersion(version, reported);
        verifierOf[circuit][version] = verifier;
        emit VerifierRegistered(circuit, version, verifier);
    }
}
