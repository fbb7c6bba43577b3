// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IAudits} from "./interfaces/IAudits.sol";
import {IEmissions} from "./interfaces/IEmissions.sol";
import {EpochRecord, EpochStatus, IEpochs, Row} from "./interfaces/IEpochs.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IPayments} from "./interfaces/IPayments.sol";
import {IStaking} from "./interfaces/IStaking.sol";
import {IToken} from "./interfaces/IToken.sol";
import {System, Wired, Zero} from "./System.sol";

contract Emissions is IEmissions, Wired {
    using SafeERC20 for IERC20;

    /// @notice Tokens that exist from the start.
    struct Allocation {
        address to;
        uint256 amount;
    }

    uint256 private constant WAD = 1e18;
    uint256 private constant Q32 = 1 << 32;
    /// @dev Gas that must be left before fees are paid: with less, whoever calls could starve the payment
    /// and have it put off.
    uint256 private constant FEE_GAS = 500_000;

    /// @notice Emission of the first epoch.
    uint256 public immutable FIRST;
    /// @notice What each epoch's emission is smaller by than the one before, with 2^32 = 1.
    uint256 public immutable DECAY;
    /// @notice Most that one epoch pays for one model, carried-over amounts included.
    uint256 public immutable POT_CAP;
    /// @dev The schedule so far: emission of epoch `_reached`.
    uint208 private _emission;
    uint48 private _reached;

    /// @inheritdoc IEmissions
    mapping(uint48 epoch => mapping(uint256 model => uint256)) public potOf;
    /// @inheritdoc IEmissions
    mapping(uint256 model => uint256) public carryOf;
    /// @inheritdoc IEmissions
    uint256 public minted;
    mapping(address operator => uint48) private _next;
    /// @inheritdoc IEmissions
    mapping(address account => mapping(uint256 asset => uint256)) public deferredFees;

    constructor(System memory s, Allocation[] memory genesis, uint256 first, uint256 decay, uint256 potCap) Wired(s) {
        if (decay == 0 || potCap == 0) revert Zero();
        FIRST = first;
        DECAY = decay;
        POT_CAP = potCap;
        _emission = SafeCast.toUint208(first);
        // The whole geometric series, and a token for its tail: decay rounds down, so less than 2^32 wei
        // an epoch never decay away.
        uint256 needed = Math.mulDiv(first, Q32, decay, Math.Rounding.Ceil) + WAD;
        for (uint256 i = 0; i < genesis.length; ++i) {
            needed += genesis[i].amount;
            IToken(s.token).mint(genesis[i].to, genesis[i].amount);
        }
        uint256 cap = ERC20Capped(s.token).cap();
        if (needed > cap) revert ScheduleExceedsCap(needed, cap);
    }

    /// @inheritdoc IEmissions
    function closeEpoch(uint48 epoch, uint256[] calldata earned, uint256 operators) external only(EPOCHS) {
        uint256 emission = scheduled(epoch);
        _emission = SafeCast.toUint208(emission);
        _reached = epoch;
        // With too little stake or too few operators nothing is added and nothing paid, not even what was
        // carried over: a lone node must not mint by asking itself.
        if (!_due(epoch, operators)) return;
        uint256 fresh;
        uint256 paid;
        for (uint256 m = 0; m < earned.length; ++m) {
            uint256 own = _weighted(epoch, m, emission);
            fresh += own;
            paid += _closePot(epoch, m, own, earned[m]);
        }
        minted += fresh;
        emit TreasuryPaid(epoch, paid);
        IToken(TOKEN).mint(address(this), fresh);
        IERC20(TOKEN).safeTransfer(TREASURY, paid);
    }

    /// @inheritdoc IEmissions
    function claim(address operator, Row calldata row, bytes32[] calldata proof) external {
        uint48 epoch = nextClaim(operator);
        uint16 slot = IOperators(OPERATORS).slotOf(operator);
        if (row.slot != slot) revert WrongSlot(slot, row.slot);
        if (IOperators(OPERATORS).operatorAt(slot, epoch) != operator) revert NothingDue(epoch);
        EpochRecord memory r = IEpochs(EPOCHS).record(epoch);
        if (r.status != EpochStatus.Proved) revert NothingDue(epoch);
        IEpochs(EPOCHS).requireRow(epoch, row, proof);
        _requireVested(operator, epoch, r.closedAt);
        _next[operator] = epoch + 1;

        bool forfeited = IStaking(STAKING).offendedIn(operator, epoch);
        uint256 emission = _rowEmission(epoch, row.cells, forfeited);
        emit RowClaimed(operator, epoch, emission, forfeited);
        if (emission > 0 && !forfeited) {
            IERC20(TOKEN).safeTransfer(STAKING, emission);
            IStaking(STAKING).distribute(operator, 0, epoch, emission);
        }
        for (uint256 a = 0; a < row.fees.length; ++a) {
            uint256 fee = row.fees[a];
            if (fee == 0) continue;
            _payFees(operator, epoch, a, fee, forfeited);
        }
    }

    /// @inheritdoc IEmissions
    function retryFees(address account, uint256 asset) external {
        uint256 amount = deferredFees[account][asset];
        if (amount == 0) revert Zero();
        deferredFees[account][asset] = 0;
        uint256 received = IPayments(PAYMENTS).payFees(asset, amount, account == TREASURY);
        // Rewards come in the order of epochs, so these count for the last epoch claimed.
        if (account != TREASURY) IStaking(STAKING).distribute(account, 2 + asset, nextClaim(account) - 1, received);
    }

    /// @inheritdoc IEmissions
    function skipIdle(address operator, uint256 most) external {
        uint48 epoch = nextClaim(operator);
        uint48 first = epoch;
        for (; most > 0 && IEpochs(EPOCHS).record(epoch).status == EpochStatus.Idle; --most) {
            ++epoch;
        }
        if (epoch == first) revert NothingDue(epoch);
        _next[operator] = epoch;
    }

    /// @inheritdoc IEmissions
    function scheduled(uint48 epoch) public view returns (uint256 emission) {
        (emission, epoch) = epoch < _reached ? (FIRST, epoch) : (uint256(_emission), epoch - _reached);
        for (; epoch > 0; --epoch) {
            emission -= emission * DECAY / Q32;
        }
    }

    /// @inheritdoc IEmissions
    function nextClaim(address operator) public view returns (uint48) {
        if (!IOperators(OPERATORS).isKnown(operator)) revert NotAnOperator(operator);
        uint48 next = _next[operator];
        return next == 0 ? IOperators(OPERATORS).registeredFrom(operator) : next;
    }

    /// @inheritdoc IEmissions
    function vestsAt(uint48 epoch) public view returns (uint256) {
        return _vestsAt(epoch, IEpochs(EPOCHS).record(epoch).closedAt);
    }

    /// @dev A coin that is halted must not hold up the row, and with it all later ones.
    function _payFees(address operator, uint48 epoch, uint256 asset, uint256 fee, bool forfeited) private {
        if (gasleft() < FEE_GAS) revert GasTooLow(FEE_GAS);
        try IPayments(PAYMENTS).payFees(asset, fee, forfeited) returns (uint256 received) {
            if (!forfeited) IStaking(STAKING).distribute(operator, 2 + asset, epoch, received);
        } catch {
            address account = forfeited ? TREASURY : operator;
            deferredFees[account][asset] += fee;
            emit FeesDeferred(account, asset, fee);
        }
    }

    function _vestsAt(uint48 epoch, uint256 closedAt) private view returns (uint256) {
        IParameters p = IParameters(PARAMETERS);
        return closedAt + p.valueAt(Param.DemandWindow, epoch) + p.valueAt(Param.EscrowTime, epoch);
    }

    function _weighted(uint48 epoch, uint256 m, uint256 emission) private view returns (uint256) {
        IModelRegistry models = IModelRegistry(MODELS);
        bytes32 id = models.idAt(m);
        return models.isActive(id, epoch) ? Math.mulDiv(emission, models.emissionWeight(id, epoch), WAD) : 0;
    }

    /// @dev Returns the treasury's part of what the pot pays.
    function _closePot(uint48 epoch, uint256 m, uint256 own, uint256 earned) private returns (uint256) {
        uint256 available = own + carryOf[m];
        uint256 pot = Math.min(available, POT_CAP);
        uint256 paid = Math.mulDiv(pot, earned, WAD);
        potOf[epoch][m] = pot;
        carryOf[m] = available - paid;
        emit PotClosed(epoch, m, pot, paid, available - paid);
        return Math.mulDiv(paid, IParameters(PARAMETERS).valueAt(Param.TreasuryShare, epoch), WAD, Math.Rounding.Ceil);
    }

    function _due(uint48 epoch, uint256 operators) private view returns (bool) {
        IParameters p = IParameters(PARAMETERS);
        return operators >= p.valueAt(Param.EmissionMinOperators, epoch)
            && IStaking(STAKING).getPastTotalSupply(epoch) >= p.valueAt(Param.EmissionMinStake, epoch);
    }

    /// @dev Audits opened late extend the node's queue past the window, and the brake may mean that its
    /// slash will be forgiven: both are waited for.
    function _requireVested(address operator, uint48 epoch, uint256 closedAt) private view {
        uint256 until = Math.max(_vestsAt(epoch, closedAt), IAudits(AUDITS).holdUntil(operator));
        if (block.timestamp <= until) revert NotVested(until);
        // An audit that ran out must be reported before the row can be claimed, or the claim could come first.
        if (IAudits(AUDITS).openCount(operator) > 0) revert NotVested(type(uint256).max);
        if (IAudits(AUDITS).braked(epoch) && IStaking(STAKING).offendedIn(operator, epoch)) {
            revert NotVested(type(uint256).max);
        }
    }

    /// @dev What a row earns after the treasury's share; forfeited, it goes back to the pots.
    function _rowEmission(uint48 epoch, uint256[] calldata cells, bool forfeited) private returns (uint256 net) {
        uint256 share = IParameters(PARAMETERS).valueAt(Param.TreasuryShare, epoch);
        for (uint256 m = 0; m < cells.length; ++m) {
            uint256 gross = Math.mulDiv(potOf[epoch][m], uint64(cells[m]), WAD);
            uint256 part = gross - Math.mulDiv(gross, share, WAD, Math.Rounding.Ceil);
            if (forfeited) carryOf[m] += part;
            net += part;
        }
    }
}
