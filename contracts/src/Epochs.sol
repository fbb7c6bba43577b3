// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {BlockHeader} from "@openzeppelin/contracts/utils/BlockHeader.sol";
import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {Memory} from "@openzeppelin/contracts/utils/Memory.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IEmissions} from "./interfaces/IEmissions.sol";
import {EpochRecord, EpochStatement, EpochStatus, IEpochs, Row} from "./interfaces/IEpochs.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IPayments} from "./interfaces/IPayments.sol";
import {BatchHeader, IRollup} from "./interfaces/IRollup.sol";
import {IStaking} from "./interfaces/IStaking.sol";
import {Circuit, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {Binding} from "./libraries/Binding.sol";
import {BN254_R} from "./libraries/PoseidonConstants.sol";
import {System, Wired} from "./System.sol";

contract Epochs is IEpochs, Wired {
    uint256 private constant WAD = 1e18;
    uint256 private constant ELEMENTS = 5;
    uint256 private constant INPUTS = 24;
    /// @dev A block this far back is as good as forgotten; the history reaches 8191.
    uint256 private constant ALMOST_FORGOTTEN = 8000;

    /// @inheritdoc IEpochs
    uint48 public nextEpoch;
    /// @inheritdoc IEpochs
    mapping(uint48 epoch => bytes32) public beaconOf;
    mapping(uint48 epoch => uint256) private _notBefore;
    mapping(uint48 epoch => EpochRecord) private _records;
    /// @dev State at the end of the last settled epoch.
    uint256 private _state;

    constructor(System memory s, uint256 genesisState) Wired(s) {
        _state = genesisState;
    }

    /// @inheritdoc IEpochs
    function captureBeacon(uint48 epoch, bytes calldata blockHeader, bytes calldata parentHeader) external {
        if (beaconOf[epoch] != 0) revert AlreadyCaptured(epoch);
        Memory.Slice[] memory fields = BlockHeader.parseHeader(blockHeader);
        uint256 number = BlockHeader.getNumber(fields);
        bytes32 known = Blockhash.blockHash(number);
        uint256 start = beaconTime(epoch);
        if (
            known == 0 || known != keccak256(blockHeader)
                || BlockHeader.getParentHash(fields) != keccak256(parentHeader)
                || BlockHeader.getTimestamp(fields) < start || BlockHeader.getTimestamp(parentHeader) >= start
        ) revert WrongBlockHeader();
        bytes32 beacon = BlockHeader.getPrevRandao(fields);
        beaconOf[epoch] = beacon;
        emit EpochBeaconCaptured(epoch, number, beacon);
    }

    /// @inheritdoc IEpochs
    function rescheduleBeacon(uint48 epoch, bytes calldata oldHeader) external {
        if (beaconOf[epoch] != 0) revert AlreadyCaptured(epoch);
        Memory.Slice[] memory fields = BlockHeader.parseHeader(oldHeader);
        uint256 number = BlockHeader.getNumber(fields);
        bytes32 known = Blockhash.blockHash(number);
        if (known == 0 || known != keccak256(oldHeader)) revert WrongBlockHeader();
        if (number + ALMOST_FORGOTTEN > block.number || BlockHeader.getTimestamp(fields) < beaconTime(epoch)) {
            revert NotLapsed(epoch);
        }
        _notBefore[epoch] = block.timestamp + 1;
        emit EpochBeaconRescheduled(epoch, block.timestamp + 1);
    }

    /// @inheritdoc IEpochs
    function prove(
        EpochStatement calldata statement,
        uint256[] calldata cells,
        uint256[] calldata fees,
        uint64 nextNumber,
        BatchHeader calldata next,
        bytes calldata proof
    ) external {
        if (statement.epoch != nextEpoch) revert WrongEpoch(nextEpoch, statement.epoch);
        _requireComplete(statement.epoch, nextNumber, next);
        _settle(statement, cells, fees, proof);
    }

    /// @inheritdoc IEpochs
    function skip(uint64 nextNumber, BatchHeader calldata next) external {
        uint48 epoch = nextEpoch;
        _requireComplete(epoch, nextNumber, next);
        if (IRollup(ROLLUP).stateOf(epoch) != 0) revert HasBatches(epoch);
        _records[epoch] = EpochRecord(EpochStatus.Idle, uint48(block.timestamp), 0);
        nextEpoch = epoch + 1;
        emit EpochIdle(epoch);
        IPayments(PAYMENTS).closeEpoch(epoch, new uint256[](0));
    }

    /// @inheritdoc IEpochs
    function bindTable(uint48 epoch, uint256 commitment)
        public
        view
        returns (uint256 size, bytes32 digest, uint256 point, uint256 value)
    {
        return _bind(epoch, nodeTable(epoch), commitment);
    }

    function _bind(uint48 epoch, uint256[] memory elements, uint256 commitment)
        private
        pure
        returns (uint256 size, bytes32 digest, uint256 point, uint256 value)
    {
        size = elements.length / ELEMENTS;
        digest = keccak256(abi.encode(epoch, elements));
        point = Binding.pointOf(digest, commitment);
        value = Binding.horner(elements, point, 0);
    }

    /// @inheritdoc IEpochs
    function bindLists(uint48 epoch, uint256[] calldata cells, uint256[] calldata fees, uint256 commitment)
        public
        pure
        returns (uint256 point, uint256 value)
    {
        point = Binding.pointOf(keccak256(abi.encode(epoch, cells, fees)), commitment);
        value = Binding.horner(cells, point, Binding.horner(fees, point, 0));
    }

    /// @inheritdoc IEpochs
    function nodeTable(uint48 epoch) public view returns (uint256[] memory elements) {
        IOperators operators = IOperators(OPERATORS);
        uint256 size = operators.tableSize(epoch);
        elements = new uint256[](ELEMENTS * size);
        for (uint16 slot = 0; slot < size; ++slot) {
            address operator = operators.operatorAt(slot, epoch);
            if (operator == address(0) || operators.isJailed(operator, epoch)) continue;
            uint256 i = ELEMENTS * slot;
            elements[i] = IStaking(STAKING).countedStake(operator, epoch);
            (address hotKey, uint256 x, uint256 y) = operators.keysAt(operator, epoch);
            elements[i + 1] = uint160(hotKey);
            elements[i + 2] = x;
            elements[i + 3] = y;
            elements[i + 4] = operators.servedAt(operator, epoch);
        }
    }

    /// @inheritdoc IEpochs
    function requireRow(uint48 epoch, Row calldata row, bytes32[] calldata proof) external view {
        bytes32 leaf = _leaf(row.slot, row.cells, row.fees);
        if (
            _records[epoch].status != EpochStatus.Proved
                || !MerkleProof.verifyCalldata(proof, _records[epoch].root, leaf)
        ) revert NotInEpoch(epoch, row.slot);
    }

    /// @inheritdoc IEpochs
    function record(uint48 epoch) external view returns (EpochRecord memory) {
        return _records[epoch];
    }

    /// @inheritdoc IEpochs
    function beaconTime(uint48 epoch) public view returns (uint256) {
        return _notBefore[epoch] == 0 ? epochStart(epoch) : _notBefore[epoch];
    }

    /// @dev No batch of the epoch can come any more, and all there are, are final.
    function _requireComplete(uint48 epoch, uint64 nextNumber, BatchHeader calldata next) private view {
        if (currentEpoch() < epoch + 2) revert TooEarly();
        IRollup rollup = IRollup(ROLLUP);
        bytes32 last = rollup.finalisedHash();
        if (rollup.headHash() == last) return;
        rollup.requireLive(nextNumber, next);
        if (next.parent != last || next.epoch <= epoch) revert BatchesPending();
    }

    function _settle(
        EpochStatement calldata statement,
        uint256[] calldata cells,
        uint256[] calldata fees,
        bytes calldata proof
    ) private {
        uint48 epoch = statement.epoch;
        if (beaconOf[epoch] == 0) revert BeaconPending(epoch);
        uint256 state = IRollup(ROLLUP).stateOf(epoch);
        if (state == 0) revert NoBatches(epoch);
        (uint256[] memory inputs, uint256 staked) = _inputs(statement, cells, fees, state);
        IVerifierRegistry(VERIFIERS).check(Circuit.Epoch, statement.circuitVersion, epoch, proof, inputs);
        _state = state;
        nextEpoch = epoch + 1;
        _close(epoch, cells, fees, inputs, staked);
    }

    /// @dev The shape of the lists comes with the inputs: 7 table size, 8 models, 9 assets.
    function _close(
        uint48 epoch,
        uint256[] calldata cells,
        uint256[] calldata fees,
        uint256[] memory inputs,
        uint256 staked
    ) private {
        bytes32 root = _root(cells, fees, inputs[7], inputs[8], inputs[9]);
        _records[epoch] = EpochRecord(EpochStatus.Proved, uint48(block.timestamp), root);
        emit EpochProved(epoch, root, cells, fees);
        IPayments(PAYMENTS).closeEpoch(epoch, _totals(fees, inputs[7], inputs[9]));
        IEmissions(EMISSIONS).closeEpoch(epoch, _earned(cells, inputs[7], inputs[8]), staked);
    }

    function _inputs(EpochStatement calldata st, uint256[] calldata cells, uint256[] calldata fees, uint256 state)
        private
        view
        returns (uint256[] memory s, uint256 staked)
    {
        s = new uint256[](INPUTS);
        s[0] = st.epoch;
        s[1] = _state;
        s[2] = state;
        (s[3], s[4]) = _split(beaconOf[st.epoch]);
        (bytes32 tip,,) = IRollup(ROLLUP).chainAt(st.epoch);
        (s[5], s[6]) = _split(tip);
        s[8] = IModelRegistry(MODELS).countAt(st.epoch);
        s[9] = IPayments(PAYMENTS).assetCountAt(st.epoch);
        s[10] = _canonical(st.tableCommitment);
        // Read once: the table is most of what a proof costs.
        uint256[] memory table = nodeTable(st.epoch);
        staked = _staked(table);
        (s[7],, s[11], s[12]) = _bind(st.epoch, table, st.tableCommitment);
        if (cells.length != s[7] * s[8]) revert WrongShape(s[7] * s[8], cells.length);
        if (fees.length != s[7] * s[9]) revert WrongShape(s[7] * s[9], fees.length);
        s[13] = _canonical(st.listCommitment);
        (s[14], s[15]) = bindLists(st.epoch, cells, fees, st.listCommitment);
        _routing(st.epoch, s);
    }

    function _routing(uint48 epoch, uint256[] memory s) private view {
        IParameters p = IParameters(PARAMETERS);
        s[16] = p.valueAt(Param.StakeFloor, epoch);
        s[17] = p.valueAt(Param.StakeCap, epoch);
        s[18] = p.valueAt(Param.AlphaStake, epoch);
        s[19] = p.valueAt(Param.WeightStep, epoch);
        s[20] = p.valueAt(Param.WeightTolerance, epoch);
        s[21] = p.valueAt(Param.WeightSmoothing, epoch);
        s[22] = p.valueAt(Param.SpeedCeiling, epoch);
        s[23] = p.valueAt(Param.UptimeMinimum, epoch);
    }

    /// @dev Sum of the shares of each model, at most one.
    function _earned(uint256[] calldata cells, uint256 size, uint256 models)
        private
        pure
        returns (uint256[] memory earned)
    {
        earned = new uint256[](models);
        for (uint256 i = 0; i < size; ++i) {
            for (uint256 m = 0; m < models; ++m) {
                uint256 cell = cells[i * models + m];
                if (cell >> 192 != 0) revert BadCell(cell);
                earned[m] += uint64(cell);
            }
        }
        for (uint256 m = 0; m < models; ++m) {
            if (earned[m] > WAD) revert SharesExceedPot(m, earned[m]);
        }
    }

    function _totals(uint256[] calldata fees, uint256 size, uint256 assets)
        private
        pure
        returns (uint256[] memory totals)
    {
        totals = new uint256[](assets);
        for (uint256 i = 0; i < size; ++i) {
            for (uint256 a = 0; a < assets; ++a) {
                uint256 fee = fees[i * assets + a];
                if (fee >> 128 != 0) revert BadCell(fee);
                totals[a] += fee;
            }
        }
    }

    /// @dev Nodes with counted stake.
    function _staked(uint256[] memory elements) private pure returns (uint256 count) {
        for (uint256 i = 0; i < elements.length; i += ELEMENTS) {
            if (elements[i] > 0) ++count;
        }
    }

    function _root(uint256[] calldata cells, uint256[] calldata fees, uint256 size, uint256 models, uint256 assets)
        private
        pure
        returns (bytes32)
    {
        if (size == 0) return 0;
        bytes32[] memory nodes = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            nodes[i] = _leaf(uint16(i), cells[i * models:(i + 1) * models], fees[i * assets:(i + 1) * assets]);
        }
        for (uint256 n = size; n > 1; n = (n + 1) / 2) {
            for (uint256 i = 0; i < n / 2; ++i) {
                nodes[i] = Hashes.commutativeKeccak256(nodes[2 * i], nodes[2 * i + 1]);
            }
            if (n % 2 == 1) nodes[n / 2] = nodes[n - 1];
        }
        return nodes[0];
    }

    /// @dev Hashed twice, so that no inner node can be shown as a row.
    function _leaf(uint16 slot, uint256[] calldata cells, uint256[] calldata fees) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(slot, cells, fees))));
    }

    function _split(bytes32 word) private pure returns (uint256 high, uint256 low) {
        return (uint256(word) >> 128, uint128(uint256(word)));
    }

    function _canonical(uint256 value) private pure returns (uint256) {
        if (value >= BN254_R) revert NotCanonical(value);
        return value;
    }
}
