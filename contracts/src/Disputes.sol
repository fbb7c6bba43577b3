// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {Batch, BatchHeader, BatchStatus, IRollup, Opening} from "./interfaces/IRollup.sol";
import {IStaking, Offence} from "./interfaces/IStaking.sol";
import {Kzg} from "./libraries/Kzg.sol";
import {LeafCodec, LeafMeta} from "./libraries/LeafCodec.sol";
import {Leaves} from "./libraries/Leaves.sol";
import {Attestation, Intake, Messages, Response} from "./libraries/Messages.sol";
import {System, Wired} from "./System.sol";

contract Disputes is IDisputes, Wired {
    using SafeERC20 for IERC20;

    struct Question {
        address asker;
        uint48 until;
        uint256 bond;
    }

    mapping(bytes32 id => Question) private _questions;
    /// @inheritdoc IDisputes
    mapping(uint64 number => uint256) public openChallenges;
    mapping(bytes32 key => bool) private _punished;

    constructor(System memory s) Wired(s) {}

    /// @inheritdoc IDisputes
    function proveBlobFault(
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf,
        uint256 element,
        uint256 value,
        bytes calldata commitment,
        bytes calldata proof
    ) external {
        Batch memory b = _live(number, header);
        if (!b.inBlob) revert NotInBlob();
        if (element > 2) revert BadElement(element);
        Leaves.check(POSEIDON, header, leaf);
        if (value == (element == 0 ? leaf.r : element == 1 ? leaf.o : leaf.meta)) revert ElementMatches();
        if (Kzg.versionedHash(commitment) != header.data) revert WrongCommitment();
        if (!Kzg.opens(header.data, 3 * uint256(leaf.index) + element, value, commitment, proof)) {
            revert PointEvaluationFailed();
        }
        emit BlobFault(number, leaf.index, element);
        _revert(number, header, b.term, msg.sender);
    }

    /// @inheritdoc IDisputes
    function proveCalldataFault(uint64 number, BatchHeader calldata header, Opening calldata leaf, bytes calldata data)
        external
    {
        Batch memory b = _live(number, header);
        if (b.inBlob || keccak256(data) != header.data) revert WrongData();
        Leaves.check(POSEIDON, header, leaf);
        bytes calldata held = data[uint256(leaf.index) * 96:uint256(leaf.index) * 96 + 96];
        if (keccak256(held) == keccak256(abi.encode(leaf.r, leaf.o, leaf.meta))) revert ElementMatches();
        emit BlobFault(number, leaf.index, 0);
        _revert(number, header, b.term, msg.sender);
    }

    /// @inheritdoc IDisputes
    function askOpening(uint64 number, BatchHeader calldata header, uint32 index) external returns (bytes32 id) {
        Batch memory b = _live(number, header);
        uint256 end = uint256(b.committedAt) + b.faultWindow;
        if (block.timestamp > end || b.status == BatchStatus.Finalised) revert WindowOver(end);
        if (index >= header.leafCount) revert Leaves.OutsideTree(index);
        id = _questionId(number, index);
        if (_questions[id].asker != address(0)) revert AlreadyOpen(id);
        IParameters params = IParameters(PARAMETERS);
        uint256 bond = params.valueAt(Param.OpeningBond, b.epoch);
        uint256 until = block.timestamp + params.valueAt(Param.OpeningWindow, b.epoch);
        _questions[id] = Question(msg.sender, uint48(until), bond);
        ++openChallenges[number];
        emit OpeningAsked(id, number, index, msg.sender, until);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @inheritdoc IDisputes
    function giveOpening(uint64 number, BatchHeader calldata header, Opening calldata leaf) external {
        Batch memory b = _live(number, header);
        bytes32 id = _questionId(number, leaf.index);
        Question memory q = _questions[id];
        if (q.bond == 0) revert NotOpen(id);
        if (block.timestamp > q.until) revert WindowOver(q.until);
        Leaves.check(POSEIDON, header, leaf);
        // The asker stays on record, so that a question is asked once.
        _questions[id].bond = 0;
        --openChallenges[number];
        emit OpeningGiven(id, leaf.r, leaf.o, leaf.meta);
        IERC20(TOKEN).safeTransfer(IRollup(ROLLUP).sequencerOf(b.term), q.bond);
    }

    /// @inheritdoc IDisputes
    function missOpening(uint64 number, BatchHeader calldata header, uint32 index) external {
        bytes32 id = _questionId(number, index);
        Question memory q = _questions[id];
        if (q.bond == 0) revert NotOpen(id);
        bool dead = IRollup(ROLLUP).isReverted(number);
        if (!dead && block.timestamp <= q.until) revert WindowOpen(q.until);
        _questions[id].bond = 0;
        --openChallenges[number];
        emit OpeningMissed(id);
        // If the batch fell for another reason meanwhile, the question has no object: bond back.
        if (!dead) _revert(number, header, IRollup(ROLLUP).batch(number).term, q.asker);
        IERC20(TOKEN).safeTransfer(q.asker, q.bond);
    }

    /// @inheritdoc IDisputes
    function proveIntakes(
        uint16 term,
        Intake calldata a,
        bytes calldata signatureA,
        Intake calldata b,
        bytes calldata signatureB
    ) external {
        if (a.model != b.model || a.lane != b.lane || a.slot != b.slot || a.requestCommitment == b.requestCommitment) revert NoContradiction();
        _requireSequencer(term, Messages.hash(a), signatureA);
        _requireSequencer(term, Messages.hash(b), signatureB);
        _fineOnce(term, _slotKey(term, a.model, a.lane, a.slot));
    }

    /// @inheritdoc IDisputes
    function proveIntakeAgainstLeaf(
        Intake calldata intake,
        bytes calldata signature,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf
    ) external {
        Batch memory b = _live(number, header);
        Leaves.check(POSEIDON, header, leaf);
        LeafMeta memory m = LeafCodec.unpack(leaf.meta);
        if (
            intake.model != header.model || intake.lane != m.lane || intake.slot != m.slot
                || uint256(intake.requestCommitment) == leaf.r
        ) revert NoContradiction();
        _requireSequencer(b.term, Messages.hash(intake), signature);
        _fineOnce(b.term, _slotKey(b.term, intake.model, intake.lane, intake.slot));
    }

    /// @inheritdoc IDisputes
    function proveResponseAgainstLeaf(
        Response calldata response,
        Attestation calldata attestation,
        bytes calldata signature,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf
    ) external {
        Batch memory b = _live(number, header);
        Leaves.check(POSEIDON, header, leaf);
        LeafMeta memory m = LeafCodec.unpack(leaf.meta);
        // The attestation names the response by its digest, so without the digest it says nothing of it.
        if (attestation.response != Messages.digest(ROLLUP, Messages.hash(response))) revert NoContradiction();
        if (response.model != header.model || response.lane != m.lane || response.slot != m.slot) {
            revert NoContradiction();
        }
        // A miss or refusal and a later answer of the same slot are retries, not contradictions.
        if (!_answered(response.finish) || !_answered(m.finish)) revert NoContradiction();
        if (
            uint256(response.requestCommitment) == leaf.r && uint256(response.outputCommitment) == leaf.o
                && response.nIn == m.nIn && response.nOut == m.nOut && response.finish == m.finish
                && attestation.retry == m.retry && attestation.epoch == header.epoch
        ) revert NoContradiction();
        _requireSequencer(b.term, Messages.hash(attestation), signature);
        _fineOnce(b.term, _slotKey(b.term, response.model, response.lane, response.slot));
    }

    /// @inheritdoc IDisputes
    function proveBatchHeaders(uint16 term, uint64 number, bytes32 header, bytes calldata signature) external {
        bytes32 committed = IRollup(ROLLUP).hashOf(number);
        if (committed == 0 || committed == header || IRollup(ROLLUP).batch(number).term != term) {
            revert NoContradiction();
        }
        _requireSequencer(term, Messages.hashBatch(number, header), signature);
        _fineOnce(term, keccak256(abi.encode("batch", term, number)));
    }

    /// @inheritdoc IDisputes
    function proveResponses(
        Response calldata a,
        bytes calldata signatureA,
        Response calldata b,
        bytes calldata signatureB
    ) external {
        if (a.model != b.model || a.lane != b.lane || a.slot != b.slot) revert NoContradiction();
        if (!_answered(a.finish) || !_answered(b.finish)) revert NoContradiction();
        if (
            a.requestCommitment == b.requestCommitment && a.outputCommitment == b.outputCommitment && a.nIn == b.nIn
                && a.nOut == b.nOut && a.finish == b.finish
        ) revert NoContradiction();
        address hot = Messages.signer(ROLLUP, Messages.hash(a), signatureA);
        address other = Messages.signer(ROLLUP, Messages.hash(b), signatureB);
        address operator = IOperators(OPERATORS).operatorOfHotKey(hot);
        if (operator == address(0) || IOperators(OPERATORS).operatorOfHotKey(other) != operator) {
            revert WrongSigner(other);
        }
        bytes32 key = keccak256(abi.encode("node", operator, a.model, a.lane, a.slot));
        _punish(key, operator);
        uint48 epoch = _offenceEpoch(operator, hot, other, Math.max(a.doneMs, b.doneMs));
        IStaking(STAKING)
            .slash(
                operator,
                epoch,
                IParameters(PARAMETERS).valueAt(Param.EquivocationSlash, epoch),
                Offence.Equivocation,
                msg.sender
            );
    }

    function _live(uint64 number, BatchHeader calldata header) private view returns (Batch memory) {
        IRollup(ROLLUP).requireLive(number, header);
        return IRollup(ROLLUP).batch(number);
    }

    function _revert(uint64 number, BatchHeader calldata header, uint16 term, address beneficiary) private {
        uint256 amount = IParameters(PARAMETERS).valueAt(Param.SequencerFine, header.epoch);
        IRollup(ROLLUP).revertFrom(number, header);
        IRollup(ROLLUP).fine(term, amount, beneficiary, amount / 10);
    }

    function _fineOnce(uint16 term, bytes32 key) private {
        _punish(key, IRollup(ROLLUP).sequencerOf(term));
        uint256 amount = IParameters(PARAMETERS).get(Param.SequencerFine);
        IRollup(ROLLUP).fine(term, amount, msg.sender, amount / 10);
    }

    function _punish(bytes32 key, address who) private {
        if (_punished[key]) revert AlreadyPunished(key);
        _punished[key] = true;
        emit Equivocated(key, who);
    }

    function _requireSequencer(uint16 term, bytes32 structHash, bytes calldata signature) private view {
        // By key only: a contract could take back what it signed, and evidence must not expire.
        address account = IRollup(ROLLUP).sequencerOf(term);
        if (Messages.signer(ROLLUP, structHash, signature) != account) revert WrongSigner(account);
    }

    /// @dev The node wrote the time itself, so it only chooses among epochs in which it is liable and
    /// both keys were in force.
    function _offenceEpoch(address operator, address hot, address other, uint256 doneMs) private view returns (uint48) {
        IOperators operators = IOperators(OPERATORS);
        uint48 current = currentEpoch();
        uint48 from = operators.registeredFrom(operator);
        uint48 unbonding = uint48(IParameters(PARAMETERS).get(Param.UnbondingEpochs));
        if (current > from + unbonding) from = current - unbonding;
        uint256 until = Math.min(operators.hotKeyUntil(hot), operators.hotKeyUntil(other));
        if (until <= from) revert KeyRetired(hot);
        current = uint48(Math.min(current, until - 1));
        uint256 signed = doneMs / 1000 < GENESIS ? 0 : (doneMs / 1000 - GENESIS) / EPOCH_SECONDS;
        return uint48(Math.min(Math.max(signed, from), current));
    }

    function _answered(uint8 finish) private pure returns (bool) {
        return finish >= Messages.STOP && finish <= Messages.CANCELLED;
    }

    function _slotKey(uint16 term, bytes32 model, uint32 lane, uint64 slot) private pure returns (bytes32) {
        return keccak256(abi.encode("slot", term, model, lane, slot));
    }

    function _questionId(uint64 number, uint32 index) private pure returns (bytes32) {
        return keccak256(abi.encode(number, index));
    }
}
