// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IModelRegistry, Model} from "./interfaces/IModelRegistry.sol";
import {System, Wired} from "./System.sol";

contract ModelRegistry is IModelRegistry, Wired {
    using Checkpoints for Checkpoints.Trace208;

    /// @dev Served models are a bit mask of 208 bits.
    uint256 private constant MAX_MODELS = 208;

    bytes32[] private _ids;
    Checkpoints.Trace208 private _count;
    mapping(bytes32 id => Model) private _models;
    mapping(bytes32 id => uint256) private _indexPlusOne;
    mapping(bytes32 id => Checkpoints.Trace208) private _weights;

    constructor(System memory s, Model[] memory initial, uint256[] memory weights) Wired(s) {
        if (initial.length != weights.length) revert InvalidWeights();
        for (uint256 i = 0; i < initial.length; ++i) {
            _add(initial[i], 0);
            if (weights[i] > 1e18) revert InvalidWeights();
            _weights[initial[i].artefact].push(0, uint208(weights[i]));
        }
        _checkWeights();
    }

    /// @inheritdoc IModelRegistry
    function register(Model calldata m) external only(TIMELOCK) {
        _add(m, currentEpoch() + 1);
    }

    /// @inheritdoc IModelRegistry
    function retire(bytes32 id, uint48 epoch) external only(TIMELOCK) {
        _known(id);
        if (epoch <= currentEpoch()) revert InvalidModel(id);
        _models[id].retirement = epoch;
        emit ModelRetired(id, epoch);
    }

    /// @inheritdoc IModelRegistry
    function setEmissionWeights(bytes32[] calldata ids, uint256[] calldata weights) external only(TIMELOCK) {
        if (ids.length != weights.length) revert InvalidWeights();
        uint48 from = currentEpoch() + 1;
        for (uint256 i = 0; i < ids.length; ++i) {
            _known(ids[i]);
            if (weights[i] > 1e18) revert InvalidWeights();
            _weights[ids[i]].push(from, uint208(weights[i]));
        }
        _checkWeights();
        emit EmissionWeightsSet(ids, weights, from);
    }

    /// @inheritdoc IModelRegistry
    function setHardware(bytes32 id, bytes32 digest, string calldata uri) external only(TIMELOCK) {
        if (id != 0) _known(id);
        emit HardwareRequirementSet(id, digest, uri, currentEpoch() + 1);
    }

    /// @inheritdoc IModelRegistry
    function model(bytes32 id) external view returns (Model memory) {
        _known(id);
        return _models[id];
    }

    /// @inheritdoc IModelRegistry
    function indexOf(bytes32 id) external view returns (uint256) {
        _known(id);
        return _indexPlusOne[id] - 1;
    }

    /// @inheritdoc IModelRegistry
    function idAt(uint256 index) external view returns (bytes32) {
        return _ids[index];
    }

    /// @inheritdoc IModelRegistry
    function count() external view returns (uint256) {
        return _ids.length;
    }

    /// @inheritdoc IModelRegistry
    function countAt(uint48 epoch) external view returns (uint256) {
        return _count.upperLookup(epoch);
    }

    /// @inheritdoc IModelRegistry
    function isActive(bytes32 id, uint48 epoch) external view returns (bool) {
        // An unknown model has retirement zero, so one slot tells.
        return _models[id].activation <= epoch && epoch < _models[id].retirement;
    }

    /// @inheritdoc IModelRegistry
    function emissionWeight(bytes32 id, uint48 epoch) external view returns (uint256) {
        return _weights[id].upperLookup(epoch);
    }

    /// @inheritdoc IModelRegistry
    function deadline(bytes32 id, uint256 positions) external view returns (uint256) {
        _known(id);
        return _models[id].deadlineBase + positions * _models[id].deadlinePerPosition;
    }

    function _add(Model memory m, uint48 earliest) private {
        bytes32 id = m.artefact;
        if (_indexPlusOne[id] != 0) revert AlreadyRegistered(id);
        if (_ids.length == MAX_MODELS) revert TooManyModels();
        if (
            id == 0 || m.weightCommitment == 0 || m.tokenizer == 0 || m.architecture == 0 || m.sMax == 0
                || m.deadlineBase == 0 || m.activation < earliest || m.retirement <= m.activation
        ) revert InvalidModel(id);
        _ids.push(id);
        _indexPlusOne[id] = _ids.length;
        _count.push(earliest, uint208(_ids.length));
        _models[id] = m;
        emit ModelRegistered(id, _ids.length - 1, m);
    }

    function _known(bytes32 id) private view {
        if (_indexPlusOne[id] == 0) revert UnknownModel(id);
    }

    function _checkWeights() private view {
        uint256 total;
        for (uint256 i = 0; i < _ids.length; ++i) {
            total += _weights[_ids[i]].latest();
        }
        if (total > 1e18) revert InvalidWeights();
    }
}
