// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

enum ModelKind {
    Base,
    Chat,
    Instruct
}

/// @notice A registered model. Its id is the artefact digest.
struct Model {
    bytes32 weightCommitment; // M
    bytes32 artefact; // digest of the imported artefact
    bytes32 tokenizer; // digest of tokenizer and template
    bytes32 architecture; // digest of the architecture
    ModelKind kind;
    uint32 sMax; // positions, prompt and answer together
    uint32 deadlineBase; // D(S) = deadlineBase + S * deadlinePerPosition, in seconds
    uint32 deadlinePerPosition;
    uint32 verifierVersion; // of Circuit.Inference
    uint48 activation; // first epoch in which it is served
    uint48 retirement; // first epoch in which it no longer is
    string name;
}

/// @title Model registry
/// @notice The models that the network serves. Several are active at once.
/// @dev Registration is a vote that others have recomputed the weight commitment and the integer
/// bounds of the weights; the proofs rest on both.
interface IModelRegistry {
    error UnknownModel(bytes32 id);
    error AlreadyRegistered(bytes32 id);
    /// @notice A digest is zero, S_max or the deadline is zero, or the epochs are in the past or reversed.
    error InvalidModel(bytes32 id);
    error TooManyModels();
    /// @notice Emission weights exceed one in total, or the lists differ in length.
    error InvalidWeights();

    event ModelRegistered(bytes32 indexed id, uint256 indexed index, Model model);
    event ModelRetired(bytes32 indexed id, uint48 fromEpoch);
    event EmissionWeightsSet(bytes32[] ids, uint256[] weights, uint48 fromEpoch);
    event HardwareRequirementSet(bytes32 indexed id, bytes32 digest, string uri, uint48 fromEpoch);

    /// @notice Adds a model. Timelock only.
    function register(Model calldata model) external;

    /// @notice Ends a model from `epoch`, which must lie ahead. Timelock only.
    function retire(bytes32 id, uint48 epoch) external;

    /// @notice Sets emission weights of all models named, from the next epoch. Timelock only.
    function setEmissionWeights(bytes32[] calldata ids, uint256[] calldata weights) external;

    /// @notice Announces hardware requirements for a model (zero id: for all). Timelock only.
    function setHardware(bytes32 id, bytes32 digest, string calldata uri) external;

    function model(bytes32 id) external view returns (Model memory);
    /// @notice Position of a model in the list, which is its column in epoch statements.
    function indexOf(bytes32 id) external view returns (uint256);
    function idAt(uint256 index) external view returns (bytes32);
    function count() external view returns (uint256);
    /// @notice Models registered by the start of `epoch`; rows of an epoch statement have as many columns.
    function countAt(uint48 epoch) external view returns (uint256);
    function isActive(bytes32 id, uint48 epoch) external view returns (bool);
    /// @notice Share of an epoch's emission that is this model's pot.
    function emissionWeight(bytes32 id, uint48 epoch) external view returns (uint256);
    /// @notice D(S): seconds to prove an answer of `positions` positions.
    function deadline(bytes32 id, uint256 positions) external view returns (uint256);
}
