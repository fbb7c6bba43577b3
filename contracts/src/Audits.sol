// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Audit, AuditState, IAudits, Liveness} from "./interfaces/IAudits.sol";
import {IModelRegistry, Model} from "./interfaces/IModelRegistry.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {Batch, BatchHeader, BatchStatus, IRollup, Opening} from "./interfaces/IRollup.sol";
import {IStaking, Offence} from "./interfaces/IStaking.sol";
import {IToken} from "./interfaces/IToken.sol";
import {Circuit, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {LeafCodec, LeafMeta} from "./libraries/LeafCodec.sol";
import {Leaves} from "./libraries/Leaves.sol";
import {Messages} from "./libraries/Messages.sol";
import {System, Wired} from "./System.sol";

contract Audits is IAudits, Wired {
    using SafeERC20 for IERC20;

    uint256 private constant WAD = 1e18;

    struct Tally {
        uint256 audited;
        uint256 timedOut;
        uint256 operators;
        bool resolved;
        mapping(address operator => uint256) weight;
        mapping(address operator => bool) failed;
    }

    mapping(bytes32 id => Audit) private _audits;
    /// @inheritdoc IAudits
    mapping(address operator => uint256) public holdUntil;
    /// @inheritdoc IAudits
    mapping(address operator => uint256) public openCount;
    mapping(uint48 epoch => Tally) private _tallies;
    Liveness[] private _liveness;
    mapping(address operator => bool) private _challenged;

    constructor(System memory s) Wired(s) {}

    /// @inheritdoc IAudits
    function openSelected(uint64 number, BatchHeader calldata header, Opening calldata leaf)
        external
        returns (bytes32 id)
    {
        if (!isSelected(number, header.leafCount, leaf.index)) revert NotSelected(number, leaf.index);
        id = _open(number, header, leaf, 0);
    }

    /// @inheritdoc IAudits
    function demand(uint64 number, BatchHeader calldata header, Opening calldata leaf) external returns (bytes32 id) {
        uint256 fee = IParameters(PARAMETERS).valueAt(Param.DemandFee, header.epoch);
        id = _open(number, header, leaf, fee);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), fee);
    }

    /// @inheritdoc IAudits
    function prove(bytes32 id, bytes32 model, uint256 r, uint256 o, uint256 meta, bytes calldata proof) external {
        Audit storage a = _audits[id];
        if (a.state != AuditState.Open) revert NotOpen(id);
        if (block.timestamp > a.deadline) revert WindowOver(a.deadline);
        bytes32 given = keccak256(abi.encode(model, r, o, meta));
        if (given != a.statement) revert WrongStatement(a.statement, given);
        a.state = AuditState.Passed;
        --openCount[a.operator];
        emit AuditPassed(id, a.operator);
        _verify(model, r, o, LeafCodec.unpack(meta), proof);
        if (a.fee > 0) {
            uint256 burned =
                Math.mulDiv(a.fee, IParameters(PARAMETERS).valueAt(Param.DemandBurn, a.epoch), WAD, Math.Rounding.Ceil);
            IToken(TOKEN).burn(burned);
            IERC20(TOKEN).safeTransfer(a.operator, a.fee - burned);
        }
    }

    /// @inheritdoc IAudits
    function timeout(bytes32 id) external {
        Audit storage a = _audits[id];
        if (a.state != AuditState.Open) revert NotOpen(id);
        if (block.timestamp <= a.deadline) revert WindowOpen(a.deadline);
        a.state = AuditState.Failed;
        --openCount[a.operator];
        Tally storage t = _tallies[a.epoch];
        if (!t.failed[a.operator]) {
            t.failed[a.operator] = true;
            t.timedOut += t.weight[a.operator];
            ++t.operators;
        }
        uint256 amount = IParameters(PARAMETERS).valueAt(Param.AuditSlash, a.epoch);
        (uint256 index, uint256 taken) = IStaking(STAKING).slash(a.operator, a.epoch, amount, Offence.Timeout, a.opener);
        emit AuditFailed(id, a.operator, index, taken);
        if (a.fee > 0) IERC20(TOKEN).safeTransfer(a.opener, a.fee);
    }

    /// @inheritdoc IAudits
    function resolveBrake(uint48 epoch) external only(TIMELOCK) {
        _tallies[epoch].resolved = true;
        emit BrakeResolved(epoch);
    }

    /// @inheritdoc IAudits
    function challengeLiveness(address operator) external returns (uint256 id) {
        if (!IOperators(OPERATORS).isActive(operator)) revert WrongSigner(operator);
        if (_challenged[operator]) revert ChallengeOpen(operator);
        _challenged[operator] = true;
        IParameters params = IParameters(PARAMETERS);
        uint256 bond = params.get(Param.LivenessBond);
        uint256 deadline = block.timestamp + params.get(Param.LivenessWindow);
        id = _liveness.length;
        _liveness.push(Liveness(operator, msg.sender, uint48(deadline), AuditState.Open, bond));
        emit LivenessChallenged(id, operator, deadline);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @inheritdoc IAudits
    function answerLiveness(uint256 id, bytes calldata signature) external {
        Liveness storage c = _openChallenge(id);
        if (block.timestamp > c.deadline) revert WindowOver(c.deadline);
        address signer = Messages.signer(ROLLUP, Messages.hashLiveness(id, c.operator), signature);
        if (IOperators(OPERATORS).operatorOfHotKey(signer) != c.operator) revert WrongSigner(signer);
        c.state = AuditState.Passed;
        _challenged[c.operator] = false;
        emit LivenessAnswered(id);
        IERC20(TOKEN).safeTransfer(c.operator, c.bond);
    }

    /// @inheritdoc IAudits
    function missLiveness(uint256 id) external {
        Liveness storage c = _openChallenge(id);
        if (block.timestamp <= c.deadline) revert WindowOpen(c.deadline);
        c.state = AuditState.Failed;
        _challenged[c.operator] = false;
        emit LivenessMissed(id);
        uint48 epoch = currentEpoch();
        IStaking(STAKING)
            .slash(c.operator, epoch, IParameters(PARAMETERS).get(Param.LivenessSlash), Offence.Liveness, c.challenger);
        IERC20(TOKEN).safeTransfer(c.challenger, c.bond);
    }

    /// @inheritdoc IAudits
    function audit(bytes32 id) external view returns (Audit memory) {
        return _audits[id];
    }

    /// @inheritdoc IAudits
    function liveness(uint256 id) external view returns (Liveness memory) {
        return _liveness[id];
    }

    /// @inheritdoc IAudits
    function auditId(uint64 number, uint32 index) public pure returns (bytes32) {
        return bytes32(uint256(number) << 32 | index);
    }

    /// @inheritdoc IAudits
    function isSelected(uint64 number, uint32 leafCount, uint32 index) public view returns (bool) {
        Batch memory b = IRollup(ROLLUP).batch(number);
        bytes32 beacon = IRollup(ROLLUP).beaconOf(b.beaconBlock);
        if (beacon == 0 || leafCount == 0) return false;
        if (b.firstOfEpoch && uint256(keccak256(abi.encode(beacon, ROLLUP, number))) % leafCount == index) return true;
        uint256 rate = IParameters(PARAMETERS).valueAt(Param.AuditRate, b.epoch);
        // p·2^256 without overflow: p has 18 decimals, so dividing first loses less than 1e18 of 2^256.
        return
            rate == WAD
                || uint256(keccak256(abi.encode(beacon, ROLLUP, number, index))) < type(uint256).max / WAD * rate;
    }

    /// @inheritdoc IAudits
    function braked(uint48 epoch) external view returns (bool) {
        Tally storage t = _tallies[epoch];
        IParameters params = IParameters(PARAMETERS);
        return !t.resolved && t.operators >= params.valueAt(Param.BrakeMinOperators, epoch)
            && t.timedOut * WAD > t.audited * params.valueAt(Param.BrakeShare, epoch);
    }

    /// @inheritdoc IAudits
    function tally(uint48 epoch) external view returns (uint256 audited, uint256 timedOut, uint256 operators) {
        Tally storage t = _tallies[epoch];
        return (t.audited, t.timedOut, t.operators);
    }

    function _open(uint64 number, BatchHeader calldata header, Opening calldata leaf, uint256 fee)
        private
        returns (bytes32 id)
    {
        id = auditId(number, leaf.index);
        Audit storage a = _audits[id];
        if (a.state != AuditState.None) revert AlreadyAudited(id);
        _requireWindow(number, header);
        Leaves.check(POSEIDON, header, leaf);
        LeafMeta memory m = LeafCodec.unpack(leaf.meta);
        // Misses, refusals and answers that were cancelled before their first id claim nothing that could be proved.
        if (m.finish < Messages.STOP || m.finish > Messages.CANCELLED || m.nOut == 0) revert NotAuditable(leaf.meta);
        address operator = IOperators(OPERATORS).operatorAt(m.node, header.epoch);
        if (operator == address(0)) revert NoSuchNode(m.node, header.epoch);

        uint256 deadline = Math.max(block.timestamp, holdUntil[operator])
            + IModelRegistry(MODELS).deadline(header.model, uint256(m.nIn) + m.nOut);
        holdUntil[operator] = deadline;
        ++openCount[operator];
        a.statement = keccak256(abi.encode(header.model, leaf.r, leaf.o, leaf.meta));
        a.operator = operator;
        a.opener = msg.sender;
        a.epoch = header.epoch;
        a.deadline = uint48(deadline);
        a.state = AuditState.Open;
        a.demanded = fee > 0;
        a.fee = fee;
        _weigh(operator, header.epoch);
        emit AuditOpened(id, operator, number, leaf.index, fee > 0, deadline);
    }

    function _requireWindow(uint64 number, BatchHeader calldata header) private view {
        IRollup(ROLLUP).requireLive(number, header);
        Batch memory b = IRollup(ROLLUP).batch(number);
        if (b.status != BatchStatus.Finalised) revert NotFinal(number);
        uint256 until = b.finalisedAt + IParameters(PARAMETERS).valueAt(Param.DemandWindow, b.epoch);
        if (block.timestamp > until) revert WindowOver(until);
    }

    /// @dev Counts a node's stake once an epoch, when first audited.
    function _weigh(address operator, uint48 epoch) private {
        Tally storage t = _tallies[epoch];
        if (t.weight[operator] != 0) return;
        uint256 weight = IStaking(STAKING).bondAt(operator, epoch) + IStaking(STAKING).delegatedAt(operator, epoch);
        t.weight[operator] = weight;
        t.audited += weight;
    }

    function _verify(bytes32 model, uint256 r, uint256 o, LeafMeta memory m, bytes calldata proof) private view {
        Model memory record = IModelRegistry(MODELS).model(model);
        uint256[] memory s = new uint256[](7);
        s[0] = uint256(record.weightCommitment) >> 128;
        s[1] = uint128(uint256(record.weightCommitment));
        s[2] = r;
        s[3] = o;
        s[4] = m.nIn;
        s[5] = m.nOut;
        s[6] = m.finish;
        // Verifiers of answers are not retired, so the epoch does not matter.
        IVerifierRegistry(VERIFIERS).check(Circuit.Inference, record.verifierVersion, 0, proof, s);
    }

    function _openChallenge(uint256 id) private view returns (Liveness storage c) {
        if (id >= _liveness.length || _liveness[id].state != AuditState.Open) revert NotOpen(bytes32(id));
        return _liveness[id];
    }
}
