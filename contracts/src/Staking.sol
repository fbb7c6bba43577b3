// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {IAudits} from "./interfaces/IAudits.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IPayments} from "./interfaces/IPayments.sol";
import {IRollup} from "./interfaces/IRollup.sol";
import {IStaking, Offence, Slash, SlashState} from "./interfaces/IStaking.sol";
import {IToken} from "./interfaces/IToken.sol";
import {Shares} from "./libraries/Shares.sol";
import {NotAuthorised, System, Wired, Zero} from "./System.sol";

/// @dev Positions are keyed by (operator, account); the position (operator, operator) is the own bond.
/// How a slash finds its payers without visiting them: see "Slashing" in README.md.
contract Staking is IStaking, Wired {
    using Checkpoints for Checkpoints.Trace208;
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    struct Exit {
        uint104 amount;
        uint48 last; // last epoch in which it was at stake
        uint48 release; // first epoch in which it may leave
    }

    struct Position {
        Checkpoints.Trace208 stake; // by epoch
        Exit[] exits;
        uint64 head; // first exit not yet withdrawn
        uint64 cursor; // slashes settled
        address target; // where stake was redelegated, still liable here
        uint48 targetUntil;
        address source; // where stake came from, still liable there
        uint48 sourceUntil;
        uint104 moved; // amount redelegated to the target
    }

    uint256 private constant WAD = 1e18;
    /// @dev Exits of one position that may wait at once. Slashes walk over them, so leaving in crumbs,
    /// epoch after epoch, must not make a slash dearer than a block.
    uint256 private constant MAX_EXITS = 128;

    mapping(address operator => mapping(address account => Position)) private _positions;
    /// @dev Delegated stake by epoch: raw in the low 104 bits, slashes not yet collected above.
    mapping(address operator => Checkpoints.Trace208) private _delegated;
    Checkpoints.Trace208 private _total;
    mapping(address operator => Slash[]) private _slashes;
    mapping(address operator => mapping(uint48 epoch => uint256)) private _offences;
    mapping(address operator => mapping(uint256 index => mapping(address account => uint256))) private _collectedFrom;
    mapping(address operator => mapping(uint256 stream => Checkpoints.Trace208)) private _perShare;
    mapping(address operator => mapping(uint256 stream => uint256)) private _ownRewards;
    mapping(address operator => mapping(address account => mapping(uint256 stream => uint48))) private _unpaidFrom;

    constructor(System memory s) Wired(s) {}

    // ------------------------------------------------------------------------------------ own stake

    /// @inheritdoc IStaking
    function bondFor(address operator, uint256 amount) external only(OPERATORS) {
        _bond(operator, amount);
    }

    /// @inheritdoc IStaking
    function bond(uint256 amount) external {
        _requireOpen(msg.sender);
        _bond(msg.sender, amount);
    }

    /// @inheritdoc IStaking
    function unbond(uint256 amount) external {
        if (amount == 0) revert Zero();
        Position storage p = _positions[msg.sender][msg.sender];
        _lower(p, amount, currentEpoch() + 1);
        _moveTotal(-int256(amount));
        emit UnbondStarted(msg.sender, amount, _exit(p, amount));
    }

    // ------------------------------------------------------------------------------ delegated stake

    /// @inheritdoc IStaking
    function delegate(address operator, uint256 amount) external {
        if (amount == 0) revert Zero();
        if (operator == msg.sender) revert SameOperator();
        _requireOpen(operator);
        _settle(operator, msg.sender);
        _raise(operator, msg.sender, amount);
        emit Delegated(operator, msg.sender, amount);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IStaking
    function undelegate(address operator, uint256 amount) external {
        if (amount == 0) revert Zero();
        if (operator == msg.sender) revert SameOperator();
        _settle(operator, msg.sender);
        Position storage p = _positions[operator][msg.sender];
        _lowerDelegated(operator, p, amount);
        emit Undelegated(operator, msg.sender, amount, _exit(p, amount));
    }

    /// @inheritdoc IStaking
    function redelegate(address from, address to, uint256 amount) external {
        if (amount == 0) revert Zero();
        if (from == to || from == msg.sender || to == msg.sender) revert SameOperator();
        _requireOpen(to);
        _settle(from, msg.sender);
        _settle(to, msg.sender);
        uint48 epoch = currentEpoch();
        Position storage p = _positions[from][msg.sender];
        Position storage q = _positions[to][msg.sender];
        // Chains of liability have length one: what came here can't hop on while its source may
        // still be slashed, and what left from here can't be followed by stake from elsewhere.
        if (p.source != address(0) || q.target != address(0) && epoch <= q.targetUntil) revert RedelegationPending();
        if (q.source != address(0) && q.source != from) revert RedelegationPending();
        if (p.target != to) {
            if (p.target != address(0) && epoch <= p.targetUntil) revert RedelegationPending();
            p.target = to;
            p.moved = 0;
        }
        uint48 until = epoch + 2 * _unbondingEpochs();
        p.targetUntil = until;
        p.moved += amount.toUint104();
        q.source = from;
        q.sourceUntil = until;
        _lowerDelegated(from, p, amount);
        _raise(to, msg.sender, amount);
        emit Redelegated(from, to, msg.sender, amount);
    }

    /// @inheritdoc IStaking
    function withdraw(address operator) external returns (uint256 amount) {
        _settle(operator, msg.sender);
        Position storage p = _positions[operator][msg.sender];
        uint48 epoch = currentEpoch();
        uint48 captured = IRollup(ROLLUP).capturedBelow();
        // An audit whose deadline is over counts until somebody has reported it: otherwise who failed it
        // could leave in the same block.
        bool held = block.timestamp <= IAudits(AUDITS).holdUntil(operator) || IAudits(AUDITS).openCount(operator) > 0;
        uint256 head = p.head;
        for (uint256 n = p.exits.length; head < n; ++head) {
            Exit storage x = p.exits[head];
            if (x.release > epoch) break;
            if (x.last >= captured) {
                if (amount == 0) revert BeaconPending(captured);
                break;
            }
            // An open demand may hold stake, but at most for a second unbonding time.
            if (held && epoch < 2 * x.release - x.last) break;
            amount += x.amount;
            delete p.exits[head];
        }
        if (amount == 0) revert NothingDue();
        p.head = uint64(head);
        emit Withdrawn(operator, msg.sender, amount);
        IERC20(TOKEN).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IStaking
    function settle(address operator, address delegator, uint256 most) external {
        _settleOwn(operator, delegator, most);
    }

    // -------------------------------------------------------------------------------------- rewards

    /// @inheritdoc IStaking
    function distribute(address operator, uint256 stream, uint48 epoch, uint256 amount) external {
        if (msg.sender != EMISSIONS && msg.sender != GOVERNOR) revert NotAuthorised(msg.sender);
        if (epoch > currentEpoch()) revert FutureLookup(epoch);
        uint256 toDelegators = _share(operator, stream, epoch, amount);
        _ownRewards[operator][stream] += amount - toDelegators;
        emit Distributed(operator, stream, epoch, amount, toDelegators);
    }

    /// @inheritdoc IStaking
    function claim(address operator, uint256 stream) external returns (uint256 amount) {
        if (operator == msg.sender) {
            amount = _ownRewards[operator][stream];
            _ownRewards[operator][stream] = 0;
        } else {
            _settle(operator, msg.sender);
            uint48 next;
            (amount, next) = _accrued(operator, msg.sender, stream);
            _unpaidFrom[operator][msg.sender][stream] = next;
        }
        if (amount == 0) revert NothingDue();
        emit Claimed(operator, msg.sender, stream, amount);
        IERC20(streamAsset(stream)).safeTransfer(msg.sender, amount);
    }

    // -------------------------------------------------------------------------------------- slashes

    /// @inheritdoc IStaking
    function slash(address operator, uint48 epoch, uint256 amount, Offence offence, address beneficiary)
        external
        returns (uint256 index, uint256 taken)
    {
        if (msg.sender != AUDITS && msg.sender != DISPUTES && msg.sender != GOVERNOR) {
            revert NotAuthorised(msg.sender);
        }
        if (epoch > currentEpoch()) revert FutureLookup(epoch);
        uint256 own = _takeOwn(operator, amount);
        (uint256 fraction, uint256 target) = _target(operator, epoch, amount - own);
        taken = own + target;
        index = _slashes[operator].length;
        Slash storage s = _slashes[operator].push();
        s.offenceEpoch = epoch;
        s.executedEpoch = currentEpoch();
        s.executedAt = uint64(block.timestamp);
        s.offence = offence;
        s.fraction = uint64(fraction);
        s.ownTaken = uint104(own);
        s.delegatedTarget = uint104(target);
        s.pending = uint104(target);
        s.beneficiary = beneficiary;
        ++_offences[operator][epoch];
        emit Slashed(operator, index, offence, epoch, own, target);
    }

    /// @inheritdoc IStaking
    function release(address operator, uint256 index) external {
        Slash storage s = _slash(operator, index);
        IParameters params = IParameters(PARAMETERS);
        uint48 epoch = s.executedEpoch;
        if (s.state == SlashState.Forgiven) revert NotReleasable();
        bool first = s.state == SlashState.Escrowed;
        if (first) {
            if (block.timestamp < s.executedAt + params.valueAt(Param.EscrowTime, epoch)) revert NotReleasable();
            if (s.offence == Offence.Timeout && IAudits(AUDITS).braked(s.offenceEpoch)) revert NotReleasable();
            s.state = SlashState.Burned;
        }
        uint256 amount = uint256(s.ownTaken) + s.collected - s.disposed;
        if (amount == 0 && !first) revert NotReleasable();
        s.disposed += uint104(amount);
        uint256 rebate;
        if (first && s.beneficiary != address(0)) {
            rebate = Math.mulDiv(amount, params.valueAt(Param.SlashRebate, epoch), WAD);
        }
        uint256 burned = Math.mulDiv(amount - rebate, params.valueAt(Param.BurnShare, epoch), WAD, Math.Rounding.Ceil);
        uint256 treasury = amount - rebate - burned;
        emit Released(operator, index, burned, treasury, rebate);
        IToken(TOKEN).burn(burned);
        IERC20(TOKEN).safeTransfer(TREASURY, treasury);
        if (rebate > 0) IERC20(TOKEN).safeTransfer(s.beneficiary, rebate);
    }

    /// @inheritdoc IStaking
    function forgive(address operator, uint256 index) external only(TIMELOCK) {
        Slash storage s = _slash(operator, index);
        if (s.state != SlashState.Escrowed) revert NotReleasable();
        s.state = SlashState.Forgiven;
        --_offences[operator][s.offenceEpoch];
        uint48 from = currentEpoch() + 1;
        if (s.ownTaken > 0) {
            Position storage p = _positions[operator][operator];
            p.stake.push(from, p.stake.latest() + s.ownTaken);
            _moveTotal(int256(uint256(s.ownTaken)));
        }
        (uint256 raw, uint256 pending) = _delegatedIn(operator, from);
        _setDelegated(operator, raw, pending - Math.min(pending, s.pending));
        s.pending = 0;
        emit Forgiven(operator, index);
    }

    /// @inheritdoc IStaking
    function reclaim(address operator, uint256 index) external returns (uint256 amount) {
        if (_slash(operator, index).state != SlashState.Forgiven) revert NotReleasable();
        amount = _collectedFrom[operator][index][msg.sender];
        if (amount == 0) revert NothingDue();
        _collectedFrom[operator][index][msg.sender] = 0;
        // It waits like any stake on its way out, so that forgiveness is no way around other slashes.
        _exit(_positions[operator][msg.sender], amount);
        emit Reclaimed(operator, index, msg.sender, amount);
    }

    // -------------------------------------------------------------------------------------- reading

    /// @inheritdoc IStaking
    function bondAt(address operator, uint48 epoch) public view returns (uint256) {
        return _positions[operator][operator].stake.upperLookupRecent(epoch);
    }

    /// @inheritdoc IStaking
    function delegatedAt(address operator, uint48 epoch) external view returns (uint256) {
        return _effective(operator, epoch);
    }

    /// @inheritdoc IStaking
    function delegationAt(address operator, address delegator, uint48 epoch) external view returns (uint256) {
        return _positions[operator][delegator].stake.upperLookupRecent(epoch);
    }

    /// @inheritdoc IStaking
    function countedStake(address operator, uint48 epoch) external view returns (uint256) {
        IParameters params = IParameters(PARAMETERS);
        uint256 own = bondAt(operator, epoch);
        uint256 most = Math.mulDiv(own, WAD, params.valueAt(Param.SelfBondRatio, epoch));
        uint256 stake = Math.min(own + _effective(operator, epoch), most);
        return stake < params.valueAt(Param.StakeFloor, epoch) ? 0 : stake;
    }

    /// @inheritdoc IStaking
    function slashable(address operator, uint48 epoch) external view returns (uint256 amount) {
        Position storage p = _positions[operator][operator];
        amount = p.stake.latest() + _unslashed(operator, epoch);
        for (uint256 i = p.head; i < p.exits.length; ++i) {
            amount += p.exits[i].amount;
        }
    }

    /// @inheritdoc IStaking
    function getPastVotes(address operator, uint256 epoch) external view returns (uint256) {
        uint48 e = _past(epoch);
        return bondAt(operator, e) + _effective(operator, e);
    }

    /// @inheritdoc IStaking
    function getPastTotalSupply(uint256 epoch) external view returns (uint256) {
        return _total.upperLookupRecent(_past(epoch));
    }

    /// @inheritdoc IStaking
    function delegatorVotes(address operator, address delegator, uint48 epoch) external view returns (uint256) {
        if (operator == delegator) return 0;
        uint256 stake = _positions[operator][delegator].stake.upperLookupRecent(_past(epoch));
        (uint256 raw,) = _delegatedIn(operator, epoch);
        return raw == 0 ? 0 : Math.mulDiv(stake, _effective(operator, epoch), raw);
    }

    /// @inheritdoc IStaking
    function unbonding(address operator, address account) external view returns (uint256 total, uint256 due) {
        Position storage p = _positions[operator][account];
        uint48 epoch = currentEpoch();
        for (uint256 i = p.head; i < p.exits.length; ++i) {
            total += p.exits[i].amount;
            if (p.exits[i].release <= epoch) due += p.exits[i].amount;
        }
    }

    /// @inheritdoc IStaking
    function claimable(address operator, address account, uint256 stream) external view returns (uint256 amount) {
        if (operator == account) return _ownRewards[operator][stream];
        (amount,) = _accrued(operator, account, stream);
    }

    /// @inheritdoc IStaking
    function rewardPerShare(address operator, uint256 stream, uint48 epoch) external view returns (uint256) {
        return _perShare[operator][stream].upperLookupRecent(epoch);
    }

    /// @inheritdoc IStaking
    function slashCount(address operator) external view returns (uint256) {
        return _slashes[operator].length;
    }

    /// @inheritdoc IStaking
    function slashAt(address operator, uint256 index) external view returns (Slash memory) {
        return _slash(operator, index);
    }

    /// @inheritdoc IStaking
    function offendedIn(address operator, uint48 epoch) external view returns (bool) {
        return _offences[operator][epoch] > 0;
    }

    /// @inheritdoc IStaking
    function unsettled(address operator, address delegator) external view returns (uint256) {
        Position storage p = _positions[operator][delegator];
        if (operator == delegator || p.stake.length() == 0) return 0;
        return _slashes[operator].length - p.cursor;
    }

    /// @inheritdoc IStaking
    function streamAsset(uint256 stream) public view returns (address) {
        return stream < 2 ? TOKEN : IPayments(PAYMENTS).assetAt(stream - 2);
    }

    function clock() external view returns (uint48) {
        return currentEpoch();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=epoch";
    }

    // ------------------------------------------------------------------------------------ internals

    function _requireOpen(address operator) private view {
        if (IParameters(PARAMETERS).paused()) revert Paused();
        if (!IOperators(OPERATORS).isActive(operator)) revert NotAnOperator(operator);
    }

    function _bond(address operator, uint256 amount) private {
        if (amount == 0) revert Zero();
        Position storage p = _positions[operator][operator];
        p.stake.push(currentEpoch() + 1, (uint256(p.stake.latest()) + amount).toUint104());
        _moveTotal(int256(amount));
        emit Bonded(operator, amount);
        IERC20(TOKEN).safeTransferFrom(operator, address(this), amount);
    }

    /// @dev Credits delegators with their part of a reward.
    function _share(address operator, uint256 stream, uint48 epoch, uint256 amount)
        private
        returns (uint256 toDelegators)
    {
        // Raw stake, uncollected slashes included: never less than the sum over delegators, so the
        // shares never add up to more than the reward.
        (uint256 raw,) = _delegatedIn(operator, epoch);
        Checkpoints.Trace208 storage perShare = _perShare[operator][stream];
        (bool exists, uint48 last, uint208 sum) = perShare.latestCheckpoint();
        if (exists && epoch < last) revert OutOfOrder(epoch);
        if (raw == 0) return 0;
        uint256 commission = IOperators(OPERATORS).commissionAt(operator, epoch);
        toDelegators = Shares.toDelegators(amount, raw, bondAt(operator, epoch), commission);
        perShare.push(epoch, (uint256(sum) + Shares.perShare(toDelegators, raw)).toUint208());
    }

    /// @dev Adds to a delegation from the next epoch.
    function _raise(address operator, address delegator, uint256 amount) private {
        Position storage p = _positions[operator][delegator];
        p.stake.push(currentEpoch() + 1, (uint256(p.stake.latest()) + amount).toUint104());
        (uint256 raw, uint256 pending) = _delegatedIn(operator, currentEpoch() + 1);
        _setDelegated(operator, raw + amount, pending);
    }

    function _lowerDelegated(address operator, Position storage p, uint256 amount) private {
        uint48 from = currentEpoch() + 1;
        _lower(p, amount, from);
        (uint256 raw, uint256 pending) = _delegatedIn(operator, from);
        _setDelegated(operator, raw - amount, pending);
    }

    function _lower(Position storage p, uint256 amount, uint48 from) private {
        uint256 stake = p.stake.latest();
        if (amount > stake) revert InsufficientStake(stake, amount);
        p.stake.push(from, uint208(stake - amount));
    }

    /// @dev Queues stake that leaves in this epoch; one entry an epoch. When too many wait, the newest entry
    /// takes the amount and waits as long as it; withdrawing what is due makes room.
    function _exit(Position storage p, uint256 amount) private returns (uint48 release_) {
        uint48 epoch = currentEpoch();
        release_ = epoch + _unbondingEpochs() + 1;
        uint256 n = p.exits.length;
        if (n > p.head && (p.exits[n - 1].last == epoch || n - p.head == MAX_EXITS)) {
            Exit storage newest = p.exits[n - 1];
            newest.amount += amount.toUint104();
            newest.last = epoch;
            if (release_ < newest.release) release_ = newest.release;
            newest.release = release_;
        } else {
            // Releases stay in order when governance shortens the unbonding time.
            if (n > p.head && p.exits[n - 1].release > release_) release_ = p.exits[n - 1].release;
            p.exits.push(Exit(amount.toUint104(), epoch, release_));
        }
    }

    function _unbondingEpochs() private view returns (uint48) {
        return uint48(IParameters(PARAMETERS).get(Param.UnbondingEpochs));
    }

    function _past(uint256 epoch) private view returns (uint48) {
        if (epoch > currentEpoch()) revert FutureLookup(epoch);
        return uint48(epoch);
    }

    function _delegatedIn(address operator, uint48 epoch) private view returns (uint256 raw, uint256 pending) {
        uint208 packed = _delegated[operator].upperLookupRecent(epoch);
        return (uint104(packed), packed >> 104);
    }

    function _effective(address operator, uint48 epoch) private view returns (uint256) {
        (uint256 raw, uint256 pending) = _delegatedIn(operator, epoch);
        return Math.saturatingSub(raw, pending);
    }

    function _setDelegated(address operator, uint256 raw, uint256 pending) private {
        uint48 from = currentEpoch() + 1;
        uint256 old = _effective(operator, from);
        _delegated[operator].push(from, uint208(raw.toUint104()) | uint208(pending.toUint104()) << 104);
        _moveTotal(int256(Math.saturatingSub(raw, pending)) - int256(old));
    }

    function _moveTotal(int256 by) private {
        if (by == 0) return;
        _total.push(currentEpoch() + 1, uint256(int256(uint256(_total.latest())) + by).toUint208());
    }

    function _slash(address operator, uint256 index) private view returns (Slash storage) {
        if (index >= _slashes[operator].length) revert UnknownSlash(operator, index);
        return _slashes[operator][index];
    }

    /// @dev Takes up to `amount` of the own bond, staked first, then on its way out, newest first.
    function _takeOwn(address operator, uint256 amount) private returns (uint256 taken) {
        Position storage p = _positions[operator][operator];
        taken = Math.min(p.stake.latest(), amount);
        if (taken > 0) {
            _lower(p, taken, currentEpoch() + 1);
            _moveTotal(-int256(taken));
        }
        taken += _takeExits(p, amount - taken, 0);
    }

    function _takeExits(Position storage p, uint256 amount, uint48 liableFrom) private returns (uint256 taken) {
        for (uint256 i = p.exits.length; i > p.head && taken < amount; --i) {
            Exit storage x = p.exits[i - 1];
            if (x.last < liableFrom) break;
            uint256 part = Math.min(x.amount, amount - taken);
            x.amount -= uint104(part);
            taken += part;
        }
    }

    /// @dev Delegated stake of `epoch` that slashes executed in or after it left. Two snapshots may
    /// hold different stake of the same delegator, so what another slash took counts in full: in
    /// doubt delegators lose less, never more than there was.
    function _unslashed(address operator, uint48 epoch) private view returns (uint256 left) {
        Slash[] storage all = _slashes[operator];
        left = _effective(operator, epoch);
        for (uint256 i = all.length; i > 0 && all[i - 1].executedEpoch >= epoch; --i) {
            if (all[i - 1].state != SlashState.Forgiven) left = Math.saturatingSub(left, all[i - 1].delegatedTarget);
        }
    }

    /// @dev Charges delegators of an epoch with `amount`, as a fraction of what they had then.
    function _target(address operator, uint48 epoch, uint256 amount)
        private
        returns (uint256 fraction, uint256 target)
    {
        target = Math.min(amount, _unslashed(operator, epoch));
        if (target == 0) return (0, 0);
        fraction = Shares.fraction(target, _effective(operator, epoch));
        (uint256 raw, uint256 pending) = _delegatedIn(operator, currentEpoch() + 1);
        _setDelegated(operator, raw, pending + target);
    }

    /// @dev Settles a position and the one that its stake came from; afterwards nothing is owed.
    function _settle(address operator, address account) private {
        Position storage p = _positions[operator][account];
        if (p.source != address(0)) {
            _settleOwn(p.source, account, type(uint256).max);
            if (currentEpoch() > p.sourceUntil) p.source = address(0);
        }
        _settleOwn(operator, account, type(uint256).max);
    }

    function _settleOwn(address operator, address account, uint256 most) private {
        uint256 n = _slashes[operator].length;
        Position storage p = _positions[operator][account];
        uint256 i = p.cursor;
        if (i == n || operator == account) return;
        if (p.stake.length() == 0) {
            i = n; // never at stake before
        } else {
            for (; i < n && most > 0; --most) {
                _collect(operator, account, i++);
            }
        }
        p.cursor = uint64(i);
    }

    /// @dev Collects one slash from one delegator. The reduction is written into the past, to the
    /// epoch after execution: any action of the delegator since then would have settled first, so no
    /// later entry can exist, and later slashes see the stake as it truly was.
    function _collect(address operator, address account, uint256 index) private {
        Slash storage s = _slashes[operator][index];
        if (s.state == SlashState.Forgiven || s.fraction == 0) return;
        Position storage p = _positions[operator][account];
        uint256 loss = Shares.loss(p.stake.upperLookup(s.offenceEpoch), s.fraction);
        if (loss == 0) return;

        uint256 active = Math.min(p.stake.latest(), loss);
        if (active > 0) _lower(p, active, s.executedEpoch + 1);
        uint256 settled = Math.min(loss, s.pending);
        s.pending -= uint104(settled);
        (uint256 raw, uint256 pending) = _delegatedIn(operator, currentEpoch() + 1);
        _setDelegated(operator, raw - active, Math.saturatingSub(pending, settled));

        uint256 taken = active + _takeExits(p, loss - active, s.offenceEpoch);
        if (taken < loss && p.moved > 0 && s.executedEpoch <= p.targetUntil) {
            uint256 part = _takeMoved(p.target, account, Math.min(loss - taken, p.moved));
            p.moved -= uint104(part);
            taken += part;
        }
        s.collected += taken.toUint104();
        _collectedFrom[operator][index][account] = taken;
        emit Collected(operator, index, account, taken);
    }

    /// @dev Takes stake that was redelegated to `operator`, after what it owes there itself.
    function _takeMoved(address operator, address account, uint256 amount) private returns (uint256 taken) {
        _settleOwn(operator, account, type(uint256).max);
        Position storage p = _positions[operator][account];
        taken = Math.min(p.stake.latest(), amount);
        if (taken > 0) _lowerDelegated(operator, p, taken);
        taken += _takeExits(p, amount - taken, 0);
    }

    /// @dev Reward of a delegator for the epochs not yet paid whose rewards can't grow any more.
    function _accrued(address operator, address account, uint256 stream)
        private
        view
        returns (uint256 amount, uint48 next)
    {
        Checkpoints.Trace208 storage perShare = _perShare[operator][stream];
        Checkpoints.Trace208 storage stake = _positions[operator][account].stake;
        uint48 first = _unpaidFrom[operator][account][stream];
        (bool exists, uint48 last,) = perShare.latestCheckpoint();
        uint48 epoch = currentEpoch();
        next = first;
        if (!exists || epoch == 0) return (0, next);
        if (last >= epoch) last = epoch - 1;
        if (last < first) return (0, next);
        next = last + 1;
        uint256 to = perShare.upperLookupRecent(last);
        uint48 end = last;
        for (uint256 i = stake.length(); i > 0; --i) {
            Checkpoints.Checkpoint208 memory c = stake.at(uint32(i - 1));
            if (c._key > end) continue;
            uint48 from = c._key > first ? c._key : first;
            uint256 before = from == 0 ? 0 : perShare.upperLookupRecent(from - 1);
            amount += uint256(c._value) * (to - before);
            if (from == first) break;
            end = from - 1;
            to = before;
        }
        amount /= Shares.PRECISION;
    }
}
