// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IEpochs} from "./interfaces/IEpochs.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IPayments, Plan, Session, Subscription} from "./interfaces/IPayments.sol";
import {IRollup} from "./interfaces/IRollup.sol";
import {Messages} from "./libraries/Messages.sol";
import {System, Wired, Zero} from "./System.sol";

contract Payments is IPayments, Wired, ReentrancyGuardTransient {
    using Checkpoints for Checkpoints.Trace208;
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    uint256 private constant PRICE_UNIT = 1e6;
    uint256 private constant MAX_PERIODS = 120;
    uint256 private constant MAX_PLAN_EPOCHS = 366;

    address[] private _assets;
    Checkpoints.Trace208 private _assetCount;
    mapping(uint256 asset => bool) public isAllowed;
    mapping(bytes32 model => mapping(uint256 asset => Checkpoints.Trace208)) private _prices;
    mapping(bytes32 id => Session) private _sessions;
    mapping(address user => uint256) private _nonces;
    mapping(uint256 id => Plan) private _plans;
    Subscription[] private _subscriptions;
    /// @inheritdoc IPayments
    mapping(uint48 epoch => mapping(uint256 asset => uint256)) public poolOf;
    /// @dev Change of the subscription income per epoch, at that epoch.
    mapping(uint48 epoch => mapping(uint256 asset => int256)) private _rateChange;
    mapping(uint256 asset => int256) private _rate;

    constructor(System memory s, address[] memory stablecoins) Wired(s) {
        _list(s.token, 0);
        for (uint256 i = 0; i < stablecoins.length; ++i) {
            _list(stablecoins[i], 0);
        }
    }

    // ------------------------------------------------------------------------------------- sessions

    /// @inheritdoc IPayments
    function openSession(address user, uint16 asset, uint256 amount) external nonReentrant returns (bytes32 id) {
        if (user == address(0)) revert Zero();
        id = keccak256(abi.encode(block.chainid, address(this), user, _nonces[user]++));
        Session storage s = _sessions[id];
        s.user = user;
        s.asset = asset;
        uint256 received = _receive(asset, amount);
        s.balance = received.toUint128();
        emit SessionOpened(id, user, asset, received);
    }

    /// @inheritdoc IPayments
    function fund(bytes32 id, uint256 amount) external nonReentrant {
        Session storage s = _session(id);
        if (s.exitAt != 0) revert Exiting();
        uint256 received = _receive(s.asset, amount);
        s.balance += received.toUint128();
        emit SessionFunded(id, received);
    }

    /// @inheritdoc IPayments
    function redeem(bytes32 id, uint256 cumulative, uint48 epoch, bytes calldata signature) external {
        Session storage s = _session(id);
        if (epoch < IEpochs(EPOCHS).nextEpoch() || epoch > currentEpoch()) revert EpochClosed(epoch);
        if (cumulative <= s.spent || cumulative > s.balance) revert OutOfRange(s.spent, cumulative, s.balance);
        if (!Messages.signedBy(ROLLUP, s.user, Messages.hashVoucher(id, cumulative), signature)) {
            revert BadVoucher(id);
        }
        uint256 amount = cumulative - s.spent;
        s.spent = uint128(cumulative);
        poolOf[epoch][s.asset] += amount;
        emit Redeemed(id, epoch, amount, cumulative);
    }

    /// @inheritdoc IPayments
    function startExit(bytes32 id) external {
        Session storage s = _session(id);
        if (msg.sender != s.user) revert NotYourSession(id);
        if (s.exitAt != 0) revert Exiting();
        s.exitAt = uint48(block.timestamp + IParameters(PARAMETERS).get(Param.ExitTimeout));
        emit ExitStarted(id, s.exitAt);
    }

    /// @inheritdoc IPayments
    function finishExit(bytes32 id) external nonReentrant returns (uint256 amount) {
        Session storage s = _session(id);
        if (s.exitAt == 0 || block.timestamp <= s.exitAt) revert ExitPending(s.exitAt);
        amount = _close(id, s);
    }

    /// @inheritdoc IPayments
    function closeNow(bytes32 id, bytes calldata signature) external nonReentrant returns (uint256 amount) {
        Session storage s = _session(id);
        if (msg.sender != s.user) revert NotYourSession(id);
        address sequencer = IRollup(ROLLUP).sequencerOf(IRollup(ROLLUP).currentTerm());
        if (!Messages.signedBy(ROLLUP, sequencer, Messages.hashClose(id, s.spent), signature)) revert BadVoucher(id);
        amount = _close(id, s);
    }

    // -------------------------------------------------------------------------------- subscriptions

    /// @inheritdoc IPayments
    function subscribe(address user, uint256 planId, uint256 periods) external nonReentrant returns (uint256 id) {
        Plan memory p = _plans[planId];
        if (!p.active) revert PlanInactive(planId);
        if (user == address(0) || periods == 0 || periods > MAX_PERIODS) revert Zero();
        uint48 from = currentEpoch() + 1;
        uint256 epochs = periods * p.epochs;
        uint48 until = from + uint48(epochs);
        uint256 received = _receive(p.asset, periods * p.price);
        uint256 perEpoch = received / epochs;
        id = _subscriptions.length;
        _subscriptions.push(Subscription(user, p.asset, from, until, perEpoch.toUint128()));
        _rateChange[from][p.asset] += int256(perEpoch);
        _rateChange[until][p.asset] -= int256(perEpoch);
        // The remainder of the division belongs to the first epoch.
        poolOf[from][p.asset] += received - perEpoch * epochs;
        emit Subscribed(id, user, planId, from, until, received);
    }

    /// @inheritdoc IPayments
    function unsubscribe(uint256 id) external nonReentrant returns (uint256 refund) {
        if (id >= _subscriptions.length) revert NothingToRefund();
        Subscription storage s = _subscriptions[id];
        if (msg.sender != s.user) revert NotYourSession(bytes32(id));
        uint48 end = currentEpoch() + 1;
        if (end < s.from) end = s.from;
        if (end >= s.until) revert NothingToRefund();
        refund = uint256(s.until - end) * s.perEpoch;
        int256 rate = int256(uint256(s.perEpoch));
        _rateChange[s.until][s.asset] += rate;
        _rateChange[end][s.asset] -= rate;
        s.until = end;
        emit Unsubscribed(id, refund);
        IERC20(_assets[s.asset]).safeTransfer(s.user, refund);
    }

    // ---------------------------------------------------------------------------------------- pools

    /// @inheritdoc IPayments
    function closeEpoch(uint48 epoch, uint256[] calldata totals) external only(EPOCHS) {
        for (uint256 i = 0; i < _assets.length; ++i) {
            _rate[i] += _rateChange[epoch][i];
            uint256 pool = poolOf[epoch][i] + uint256(_rate[i]);
            uint256 wanted = i < totals.length ? totals[i] : 0;
            if (wanted > pool) revert PoolExceeded(i, pool, wanted);
            if (pool == 0) continue;
            poolOf[epoch + 1][i] += pool - wanted;
            emit PoolClosed(epoch, i, wanted, pool - wanted);
        }
    }

    /// @inheritdoc IPayments
    function payFees(uint256 asset, uint256 amount, bool forfeited)
        external
        only(EMISSIONS)
        nonReentrant
        returns (uint256 received)
    {
        IERC20 token = IERC20(assetAt(asset));
        address to = forfeited ? TREASURY : STAKING;
        // What arrives is what is shared out: a coin that takes a fee must not leave Staking short.
        uint256 before = token.balanceOf(to);
        token.safeTransfer(to, amount);
        received = token.balanceOf(to) - before;
    }

    // ----------------------------------------------------------------------------------- governance

    /// @inheritdoc IPayments
    function listAsset(address token) external only(TIMELOCK) returns (uint256 asset) {
        return _list(token, currentEpoch() + 1);
    }

    /// @inheritdoc IPayments
    function allowAsset(uint256 asset, bool allowed) external only(TIMELOCK) {
        assetAt(asset);
        isAllowed[asset] = allowed;
        emit AssetAllowed(asset, allowed);
    }

    /// @inheritdoc IPayments
    function setPrice(bytes32 model, uint256 asset, uint256 perInput, uint256 perOutput) external only(TIMELOCK) {
        assetAt(asset);
        uint48 from = currentEpoch() + 1;
        uint208 packed = uint208(perInput.toUint104()) | uint208(perOutput.toUint104()) << 104;
        _prices[model][asset].push(from, packed);
        emit PriceSet(model, asset, perInput, perOutput, from);
    }

    /// @inheritdoc IPayments
    function setPlan(uint256 id, uint16 asset, uint48 epochs, uint128 price, bool active) external only(TIMELOCK) {
        assetAt(asset);
        if (epochs == 0 || epochs > MAX_PLAN_EPOCHS || price == 0) revert Zero();
        _plans[id] = Plan(asset, epochs, active, price);
        emit PlanSet(id, asset, epochs, price, active);
    }

    // -------------------------------------------------------------------------------------- reading

    /// @inheritdoc IPayments
    function quote(bytes32 model, uint256 asset, uint48 epoch, uint256 nIn, uint256 nOut)
        external
        view
        returns (uint256)
    {
        (uint256 perInput, uint256 perOutput) = priceAt(model, asset, epoch);
        return Math.ceilDiv(nIn * perInput + nOut * perOutput, PRICE_UNIT);
    }

    /// @inheritdoc IPayments
    function priceAt(bytes32 model, uint256 asset, uint48 epoch)
        public
        view
        returns (uint256 perInput, uint256 perOutput)
    {
        uint208 packed = _prices[model][asset].upperLookup(epoch);
        return (uint104(packed), packed >> 104);
    }

    /// @inheritdoc IPayments
    function assetAt(uint256 asset) public view returns (address) {
        if (asset >= _assets.length) revert UnknownAsset(asset);
        return _assets[asset];
    }

    /// @inheritdoc IPayments
    function assetCount() external view returns (uint256) {
        return _assets.length;
    }

    /// @inheritdoc IPayments
    function assetCountAt(uint48 epoch) external view returns (uint256) {
        return _assetCount.upperLookup(epoch);
    }

    /// @inheritdoc IPayments
    function session(bytes32 id) external view returns (Session memory) {
        return _sessions[id];
    }

    /// @inheritdoc IPayments
    function subscription(uint256 id) external view returns (Subscription memory) {
        return _subscriptions[id];
    }

    /// @inheritdoc IPayments
    function plan(uint256 id) external view returns (Plan memory) {
        return _plans[id];
    }

    // ------------------------------------------------------------------------------------ internals

    function _list(address token, uint48 from) private returns (uint256 asset) {
        if (token == address(0)) revert Zero();
        asset = _assets.length;
        _assets.push(token);
        _assetCount.push(from, uint208(asset + 1));
        isAllowed[asset] = true;
        emit AssetListed(asset, token);
    }

    function _session(bytes32 id) private view returns (Session storage s) {
        s = _sessions[id];
        if (s.user == address(0)) revert UnknownSession(id);
    }

    /// @dev Takes an allowed asset from the caller; what arrives is what counts.
    function _receive(uint256 asset, uint256 amount) private returns (uint256) {
        if (IParameters(PARAMETERS).paused()) revert Paused();
        IERC20 token = IERC20(assetAt(asset));
        if (!isAllowed[asset]) revert AssetNotAllowed(asset);
        if (amount == 0) revert Zero();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        return token.balanceOf(address(this)) - before;
    }

    function _close(bytes32 id, Session storage s) private returns (uint256 amount) {
        address user = s.user;
        uint256 asset = s.asset;
        amount = s.balance - s.spent;
        delete _sessions[id];
        emit SessionClosed(id, user, amount);
        if (amount > 0) IERC20(_assets[asset]).safeTransfer(user, amount);
    }
}
