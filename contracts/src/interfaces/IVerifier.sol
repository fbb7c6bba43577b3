// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Proof verifier
/// @notice The one interface through which proofs are checked. Verifiers generated from circuits are
/// plugged in behind it, directly or through `Halo2Adapter`.
/// @dev Assumes that an implementation is stateless and accepts only true statements. A false proof
/// must make it return false or revert; both count as rejection.
interface IVerifier {
    /// @notice Version of the circuit, as named in batches and model records.
    function circuitVersion() external view returns (uint32);

    /// @notice Whether `proof` proves the statement with these public inputs, each below the BN254 order.
    function verify(bytes calldata proof, uint256[] calldata publicInputs) external view returns (bool);
}

/// @notice What a verifier decides.
enum Circuit {
    Batch, // one batch: state transition from its parent's state
    Epoch, // one epoch: draws, counters, weights, shares and charges
    Inference, // one answer of one model
    BatchKey, // possession of a circuit-friendly key
    Output // opening of an output commitment to published ids
}

/// @title Verifier registry
/// @notice Verifiers by circuit and version. Entries are added by governance and never replaced, so
/// a batch is always judged by the verifier of the version that it names. A version that turns out to be
/// unsound is retired: it still judges what belongs to epochs before, and nothing later.
interface IVerifierRegistry {
    error AlreadyRegistered(Circuit circuit, uint32 version);
    error UnknownVerifier(Circuit circuit, uint32 version);
    /// @notice The contract reports another version than the one it is registered for.
    error WrongVersion(uint32 expected, uint32 reported);
    /// @notice The verifier rejected the proof.
    error ProofRejected(Circuit circuit, uint32 version);

    /// @notice The version is not accepted for this epoch any more, or is retired already.
    error Retired(Circuit circuit, uint32 version);
    /// @notice Verifiers of answers end with the models that name them.
    error NotRetirable(Circuit circuit);

    event VerifierRetired(Circuit indexed circuit, uint32 indexed version, uint48 fromEpoch);
    event VerifierRegistered(Circuit indexed circuit, uint32 indexed version, address verifier);

    /// @notice Adds a verifier. Timelock only, except for those named at construction.
    function register(Circuit circuit, uint32 version, address verifier) external;

    /// @notice Verifier of a circuit and version; zero if there is none.
    function verifierOf(Circuit circuit, uint32 version) external view returns (address);

    /// @notice Stops a version from the next epoch on. Timelock only.
    function retire(Circuit circuit, uint32 version) external;

    /// @notice First epoch for which a version is not accepted; zero if it is not retired.
    function retiredFrom(Circuit circuit, uint32 version) external view returns (uint48);

    /// @notice Reverts unless the registered verifier accepts the proof of something of this epoch.
    function check(Circuit circuit, uint32 version, uint48 epoch, bytes calldata proof, uint256[] calldata publicInputs)
        external
        view;
}
