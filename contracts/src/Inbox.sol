// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ForcedRequest, IInbox, RequestState} from "./interfaces/IInbox.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IPayments} from "./interfaces/IPayments.sol";
import {BatchHeader, BatchStatus, IRollup, Opening} from "./interfaces/IRollup.sol";
import {Circuit, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {LeafCodec, LeafMeta} from "./libraries/LeafCodec.sol";
import {Leaves} from "./libraries/Leaves.sol";
import {Messages} from "./libraries/Messages.sol";
import {System, Wired, Zero} from "./System.sol";

contract Inbox is IInbox, Wired, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    ForcedRequest[] private _requests;
    /// @inheritdoc IInbox
    mapping(uint48 epoch => uint256) public madeIn;
    /// @inheritdoc IInbox
    mapping(address account => mapping(uint256 asset => uint256)) public owed;

    constructor(System memory s) Wired(s) {}

    /// @inheritdoc IInbox
    function force(bytes32 model, uint256 r, bytes calldata ids, uint32 maxOut, uint16 asset, uint256 fee)
        external
        nonReentrant
        returns (uint256 id)
    {
        if (maxOut == 0) revert Zero();
        _requireAcceptable(model, ids.length, asset);
        id = _requests.length;
        ForcedRequest storage q = _requests.push();
        q.user = msg.sender;
        q.asset = asset;
        q.state = RequestState.Open;
        q.due = uint48(block.timestamp + IParameters(PARAMETERS).get(Param.InboxDeadline));
        q.epoch = currentEpoch();
        q.model = model;
        q.r = r;
        q.fee = _receive(asset, fee);
        // A coin that takes a fee on transfer must not let the request in below its price.
        uint256 quote = _quote(model, asset, ids.length, maxOut);
        if (q.fee < quote) revert FeeTooSmall(q.fee, quote);
        emit Forced(id, msg.sender, model, r, maxOut, q.fee, ids);
    }

    /// @inheritdoc IInbox
    function dischargeByAnswer(
        uint256 id,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf,
        bytes calldata ids,
        bytes calldata opening
    ) external nonReentrant {
        ForcedRequest storage q = _open(id);
        LeafMeta memory m = _leaf(q, number, header, leaf);
        if (m.finish != Messages.STOP && m.finish != Messages.LENGTH) revert WrongLeaf();
        if (ids.length != uint256(m.nOut) * 4) revert BadLength(ids.length);
        _checkOutput(header, leaf.o, m, ids, opening);

        q.state = RequestState.Answered;
        address operator = IOperators(OPERATORS).operatorAt(m.node, header.epoch);
        uint256 charge = Math.min(q.fee, IPayments(PAYMENTS).quote(q.model, q.asset, q.epoch, m.nIn, m.nOut));
        if (operator == address(0)) charge = 0;
        emit Answered(id, operator, charge, ids);
        _pay(q.asset, operator, charge);
        _pay(q.asset, q.user, q.fee - charge);
    }

    /// @inheritdoc IInbox
    function dischargeByMiss(uint256 id, uint64 number, BatchHeader calldata header, Opening calldata leaf)
        external
        nonReentrant
    {
        ForcedRequest storage q = _open(id);
        LeafMeta memory m = _leaf(q, number, header, leaf);
        // Busy does not count: the sequencer can fill a node's streams itself.
        if (m.finish != Messages.REFUSED && m.finish != Messages.MISSED) revert WrongLeaf();
        if (q.retries >> m.retry & 1 == 1) revert RetryCounted(m.retry);
        q.retries |= 1 << m.retry;
        emit MissCounted(id, m.retry);
        if (++q.misses >= IParameters(PARAMETERS).valueAt(Param.InboxMisses, q.epoch)) {
            q.state = RequestState.Missed;
            emit Missed(id);
            _pay(q.asset, q.user, q.fee);
        }
    }

    /// @inheritdoc IInbox
    function late(uint256 id) external {
        ForcedRequest storage q = _open(id);
        IParameters params = IParameters(PARAMETERS);
        uint256 deadline = params.valueAt(Param.InboxDeadline, q.epoch);
        // A new sequencer gets the same time for what it inherits: otherwise requests that piled up
        // without a sequencer would burn its bond in its first block.
        uint256 due = Math.max(q.due, IRollup(ROLLUP).startOf(IRollup(ROLLUP).currentTerm()) + deadline);
        if (block.timestamp <= due) revert NotDue(due);
        q.due = uint48(block.timestamp + deadline);
        emit Late(id, q.due);
        uint256 amount = params.valueAt(Param.InboxLateFine, q.epoch);
        IRollup(ROLLUP).fine(IRollup(ROLLUP).currentTerm(), amount, q.user, amount / 10);
    }

    /// @inheritdoc IInbox
    function cancel(uint256 id) external nonReentrant {
        ForcedRequest storage q = _open(id);
        if (msg.sender != q.user) revert NotYours(id);
        // After `late` the request has a new time, but it has been late all the same.
        uint256 due = uint256(q.due);
        uint256 first = epochStart(q.epoch + 1) + IParameters(PARAMETERS).valueAt(Param.InboxDeadline, q.epoch);
        if (block.timestamp <= Math.min(due, first)) revert NotDue(Math.min(due, first));
        q.state = RequestState.Cancelled;
        emit Cancelled(id);
        _pay(q.asset, q.user, q.fee);
    }

    /// @inheritdoc IInbox
    function collect(uint256 asset, address to) external nonReentrant returns (uint256 amount) {
        amount = owed[msg.sender][asset];
        if (amount == 0) revert Zero();
        owed[msg.sender][asset] = 0;
        IERC20(IPayments(PAYMENTS).assetAt(asset)).safeTransfer(to, amount);
    }

    /// @inheritdoc IInbox
    function request(uint256 id) external view returns (ForcedRequest memory) {
        return _requests[id];
    }

    /// @inheritdoc IInbox
    function count() external view returns (uint256) {
        return _requests.length;
    }

    function _requireAcceptable(bytes32 model, uint256 length, uint16 asset) private {
        IParameters params = IParameters(PARAMETERS);
        if (params.paused()) revert Paused();
        uint48 epoch = currentEpoch();
        if (++madeIn[epoch] > params.get(Param.InboxPerEpoch)) revert RateLimited(epoch);
        if (length == 0 || length % 4 != 0 || length / 4 > params.get(Param.InboxMaxIds)) revert BadLength(length);
        if (!IModelRegistry(MODELS).isActive(model, epoch)) revert InactiveModel(model);
        if (!IPayments(PAYMENTS).isAllowed(asset)) revert AssetNotAllowed(asset);
    }

    function _quote(bytes32 model, uint16 asset, uint256 length, uint32 maxOut) private view returns (uint256 quote) {
        quote = IPayments(PAYMENTS).quote(model, asset, currentEpoch(), length / 4, maxOut);
        // A zero quote means that the asset has no price for this model.
        if (quote == 0) revert FeeTooSmall(0, 0);
    }

    function _open(uint256 id) private view returns (ForcedRequest storage q) {
        if (id >= _requests.length || _requests[id].state != RequestState.Open) revert NotOpen(id);
        return _requests[id];
    }

    /// @dev A leaf of a proven batch for this request.
    function _leaf(ForcedRequest storage q, uint64 number, BatchHeader calldata header, Opening calldata leaf)
        private
        view
        returns (LeafMeta memory)
    {
        IRollup(ROLLUP).requireLive(number, header);
        BatchStatus status = IRollup(ROLLUP).batch(number).status;
        if (status != BatchStatus.Proven && status != BatchStatus.Finalised) revert NotProven(number);
        Leaves.check(POSEIDON, header, leaf);
        if (leaf.r != q.r || header.model != q.model) revert WrongLeaf();
        return LeafCodec.unpack(leaf.meta);
    }

    function _checkOutput(
        BatchHeader calldata header,
        uint256 o,
        LeafMeta memory m,
        bytes calldata ids,
        bytes calldata opening
    ) private view {
        uint256 digest = uint256(keccak256(ids));
        uint256[] memory s = new uint256[](5);
        s[0] = o;
        s[1] = m.nOut;
        s[2] = m.finish;
        s[3] = digest >> 128;
        s[4] = uint128(digest);
        IVerifierRegistry(VERIFIERS).check(Circuit.Output, header.circuitVersion, header.epoch, opening, s);
    }

    function _receive(uint16 asset, uint256 fee) private returns (uint256) {
        IERC20 token = IERC20(IPayments(PAYMENTS).assetAt(asset));
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), fee);
        return token.balanceOf(address(this)) - before;
    }

    /// @dev A coin may refuse an account, by a list or by a hook. That must not keep a request open,
    /// which would fine the sequencer for ever; so what is refused waits for its owner.
    function _pay(uint256 asset, address to, uint256 amount) private {
        if (amount == 0) return;
        if (!IERC20(IPayments(PAYMENTS).assetAt(asset)).trySafeTransfer(to, amount)) {
            owed[to][asset] += amount;
            emit Owed(to, asset, amount);
        }
    }
}
