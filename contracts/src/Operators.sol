// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperators, Registration} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IStaking} from "./interfaces/IStaking.sol";
import {Circuit, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {Messages} from "./libraries/Messages.sol";
import {System, Wired} from "./System.sol";

contract Operators is IOperators, Wired {
    using Checkpoints for Checkpoints.Trace208;

    struct Operator {
        uint48 from;
        uint48 exit;
        uint16 slot;
        uint256 keyNonce;
    }

    struct Keys {
        address hot;
        uint48 from;
        uint256 batchX;
        uint256 batchY;
    }

    struct KeyOwner {
        address operator;
        uint48 index; // in the operator's keys
    }

    struct FreeSlot {
        uint16 slot;
        uint48 reusable;
    }

    mapping(address hotKey => KeyOwner) private _keyOwners;
    mapping(address operator => Operator) private _operators;
    mapping(address operator => Keys[]) private _keys;
    mapping(address operator => Checkpoints.Trace208) private _commission;
    mapping(address operator => Checkpoints.Trace208) private _served;
    mapping(address operator => Checkpoints.Trace208) private _jailedUntil;
    mapping(uint16 slot => Checkpoints.Trace208) private _slots;
    Checkpoints.Trace208 private _tableSize;
    FreeSlot[] private _free;
    uint256 private _freeHead;

    constructor(System memory s) Wired(s) {}

    /// @inheritdoc IOperators
    function register(Registration calldata r, string calldata url) external returns (uint16 slot) {
        IParameters p = IParameters(PARAMETERS);
        if (p.paused()) revert Paused();
        if (isKnown(msg.sender)) revert AlreadyRegistered(msg.sender);
        uint256 least = Math.mulDiv(p.get(Param.StakeFloor), p.get(Param.SelfBondRatio), 1e18, Math.Rounding.Ceil);
        if (r.bond < least) revert BondTooSmall(r.bond);

        uint48 from = currentEpoch() + 1;
        slot = _takeSlot(from, p.get(Param.MaxOperators));
        _slots[slot].push(from, uint160(msg.sender));
        Operator storage o = _operators[msg.sender];
        o.from = from;
        o.slot = slot;
        _setKeys(r.hotKey, r.hotSignature, r.batchX, r.batchY, r.batchKeyVersion, r.batchProof);
        _announceCommission(r.commission, from);
        _setModels(r.models, from);
        emit Registered(msg.sender, slot, from, url);
        IStaking(STAKING).bondFor(msg.sender, r.bond);
    }

    /// @inheritdoc IOperators
    function rotateKeys(
        address hotKey,
        bytes calldata hotSignature,
        uint256 batchX,
        uint256 batchY,
        uint32 batchKeyVersion,
        bytes calldata batchProof
    ) external {
        _requireActive();
        Keys[] storage keys = _keys[msg.sender];
        if (keys[keys.length - 1].from > currentEpoch()) revert RotationTooSoon();
        _setKeys(hotKey, hotSignature, batchX, batchY, batchKeyVersion, batchProof);
    }

    /// @inheritdoc IOperators
    function setCommission(uint256 commission) external {
        _requireActive();
        _announceCommission(
            commission, currentEpoch() + uint48(IParameters(PARAMETERS).get(Param.CommissionNotice)) + 1
        );
    }

    /// @inheritdoc IOperators
    function setModels(bytes32[] calldata models) external {
        _requireActive();
        _setModels(models, currentEpoch() + 1);
    }

    /// @inheritdoc IOperators
    function setUrl(string calldata url) external {
        _requireActive();
        emit UrlSet(msg.sender, url);
    }

    /// @inheritdoc IOperators
    function exit() external {
        _requireActive();
        Operator storage o = _operators[msg.sender];
        uint48 from = currentEpoch() + 1;
        o.exit = from;
        _slots[o.slot].push(from, 0);
        uint48 reusable = from + 2 * uint48(IParameters(PARAMETERS).get(Param.UnbondingEpochs)) + 1;
        _free.push(FreeSlot(o.slot, reusable));
        emit Exited(msg.sender, o.slot, from);
    }

    /// @inheritdoc IOperators
    function jail(address operator) external only(TIMELOCK) {
        if (!isKnown(operator)) revert NotAnOperator(operator);
        uint48 from = currentEpoch() + 1;
        uint48 until = from + uint48(IParameters(PARAMETERS).get(Param.JailEpochs));
        _jailedUntil[operator].push(from, until);
        emit Jailed(operator, from, until);
    }

    /// @inheritdoc IOperators
    function isActive(address operator) external view returns (bool) {
        return isKnown(operator) && _operators[operator].exit == 0;
    }

    /// @inheritdoc IOperators
    function isKnown(address operator) public view returns (bool) {
        return _operators[operator].from != 0;
    }

    /// @inheritdoc IOperators
    function registeredFrom(address operator) external view returns (uint48) {
        return _operators[operator].from;
    }

    /// @inheritdoc IOperators
    function slotOf(address operator) external view returns (uint16) {
        if (!isKnown(operator)) revert NotAnOperator(operator);
        return _operators[operator].slot;
    }

    /// @inheritdoc IOperators
    function operatorAt(uint16 slot, uint48 epoch) external view returns (address) {
        return address(uint160(_slots[slot].upperLookupRecent(epoch)));
    }

    /// @inheritdoc IOperators
    function tableSize(uint48 epoch) external view returns (uint256) {
        return _tableSize.upperLookupRecent(epoch);
    }

    /// @inheritdoc IOperators
    function keysAt(address operator, uint48 epoch)
        external
        view
        returns (address hotKey, uint256 batchX, uint256 batchY)
    {
        Keys[] storage keys = _keys[operator];
        for (uint256 i = keys.length; i > 0; --i) {
            Keys storage k = keys[i - 1];
            if (k.from <= epoch) return (k.hot, k.batchX, k.batchY);
        }
    }

    /// @inheritdoc IOperators
    function operatorOfHotKey(address hotKey) external view returns (address) {
        return _keyOwners[hotKey].operator;
    }

    /// @inheritdoc IOperators
    function hotKeyUntil(address hotKey) external view returns (uint48) {
        KeyOwner memory o = _keyOwners[hotKey];
        if (o.operator == address(0)) return 0;
        Keys[] storage keys = _keys[o.operator];
        return o.index + 1 < keys.length ? keys[o.index + 1].from : type(uint48).max;
    }

    /// @inheritdoc IOperators
    function commissionAt(address operator, uint48 epoch) external view returns (uint256) {
        return _commission[operator].upperLookupRecent(epoch);
    }

    /// @inheritdoc IOperators
    function servedAt(address operator, uint48 epoch) external view returns (uint208) {
        return _served[operator].upperLookupRecent(epoch);
    }

    /// @inheritdoc IOperators
    function isJailed(address operator, uint48 epoch) external view returns (bool) {
        return epoch < _jailedUntil[operator].upperLookupRecent(epoch);
    }

    /// @inheritdoc IOperators
    function keyNonce(address operator) external view returns (uint256) {
        return _operators[operator].keyNonce;
    }

    function _requireActive() private view {
        if (!isKnown(msg.sender) || _operators[msg.sender].exit != 0) revert NotAnOperator(msg.sender);
    }

    /// @dev The limit is on slots, those that wait to be reused included: an epoch proof reads them all,
    /// so whoever registers and exits again and again must not make the table longer.
    function _takeSlot(uint48 from, uint256 most) private returns (uint16 slot) {
        if (_freeHead < _free.length && _free[_freeHead].reusable <= from) {
            slot = _free[_freeHead++].slot;
        } else {
            uint208 size = _tableSize.latest();
            if (size >= most) revert TableFull();
            slot = SafeCast.toUint16(size);
            _tableSize.push(from, size + 1);
        }
    }

    function _setKeys(
        address hotKey,
        bytes calldata hotSignature,
        uint256 batchX,
        uint256 batchY,
        uint32 version,
        bytes calldata batchProof
    ) private {
        uint256 nonce = _operators[msg.sender].keyNonce++;
        if (hotKey == address(0) || _keyOwners[hotKey].operator != address(0)) revert InvalidHotKey(hotKey);
        if (Messages.signer(ROLLUP, Messages.hashHotKey(msg.sender, hotKey, nonce), hotSignature) != hotKey) {
            revert InvalidHotKey(hotKey);
        }
        _keyOwners[hotKey] = KeyOwner(msg.sender, uint48(_keys[msg.sender].length));
        uint48 from = currentEpoch() + 1;
        _keys[msg.sender].push(Keys(hotKey, from, batchX, batchY));
        emit KeysRotated(msg.sender, hotKey, batchX, batchY, from);
        uint256[] memory statement = new uint256[](4);
        statement[0] = batchX;
        statement[1] = batchY;
        statement[2] = uint160(msg.sender);
        statement[3] = nonce;
        IVerifierRegistry(VERIFIERS).check(Circuit.BatchKey, version, from, batchProof, statement);
    }

    function _announceCommission(uint256 commission, uint48 from) private {
        if (commission > IParameters(PARAMETERS).get(Param.MaxCommission)) revert CommissionTooHigh(commission);
        // A shorter notice must not overtake an announcement made under a longer one.
        (bool exists, uint48 last,) = _commission[msg.sender].latestCheckpoint();
        if (exists && last > from) from = last;
        _commission[msg.sender].push(from, SafeCast.toUint208(commission));
        emit CommissionAnnounced(msg.sender, commission, from);
    }

    function _setModels(bytes32[] calldata models, uint48 from) private {
        uint208 mask;
        for (uint256 i = 0; i < models.length; ++i) {
            mask |= uint208(1) << uint8(IModelRegistry(MODELS).indexOf(models[i]));
        }
        _served[msg.sender].push(from, mask);
        emit ModelsSet(msg.sender, mask, from);
    }
}
