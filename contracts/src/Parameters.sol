// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {System, Wired, NotAuthorised} from "./System.sol";

contract Parameters is IParameters, Wired {
    using Checkpoints for Checkpoints.Trace208;

    uint256 private constant COUNT = uint256(type(Param).max) + 1;
    uint256 private constant MAX_PAUSE = 14 days;
    uint256 private constant PAUSE_GAP = 1 days;
    uint256 private constant MAX_CAP_TO_FLOOR = 8;

    mapping(Param param => Checkpoints.Trace208) private _history;
    /// @inheritdoc IParameters
    address public guardian;
    uint64 private _pausedUntil;

    constructor(System memory s, uint256[] memory initial, address guardian_) Wired(s) {
        if (initial.length != COUNT) revert LengthMismatch();
        for (uint256 i = 0; i < COUNT; ++i) {
            _push(Param(i), 0, initial[i]);
        }
        _checkRelations(false);
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IParameters
    function get(Param param) external view returns (uint256) {
        return _history[param].upperLookupRecent(currentEpoch());
    }

    /// @inheritdoc IParameters
    function valueAt(Param param, uint48 epoch) external view returns (uint256) {
        return _history[param].upperLookupRecent(epoch);
    }

    /// @inheritdoc IParameters
    function set(Param[] calldata params, uint256[] calldata values) external only(TIMELOCK) {
        if (params.length != values.length) revert LengthMismatch();
        uint48 from = currentEpoch() + 1;
        for (uint256 i = 0; i < params.length; ++i) {
            _push(params[i], from, values[i]);
        }
        _checkRelations(true);
    }

    /// @inheritdoc IParameters
    function paused() external view returns (bool) {
        return block.timestamp < _pausedUntil;
    }

    /// @inheritdoc IParameters
    function pause() external only(guardian) {
        if (_pausedUntil != 0 && block.timestamp < _pausedUntil + PAUSE_GAP) revert Inconsistent();
        _pausedUntil = uint64(block.timestamp + MAX_PAUSE);
        emit Paused(msg.sender, _pausedUntil);
    }

    /// @inheritdoc IParameters
    function unpause() external {
        if (msg.sender != guardian && msg.sender != TIMELOCK) revert NotAuthorised(msg.sender);
        if (block.timestamp < _pausedUntil) _pausedUntil = uint64(block.timestamp);
        emit Paused(msg.sender, _pausedUntil);
    }

    /// @inheritdoc IParameters
    function setGuardian(address account) external only(TIMELOCK) {
        guardian = account;
        emit GuardianSet(account);
    }

    /// @inheritdoc IParameters
    function bounds(Param p) public pure returns (uint256 least, uint256 greatest) {
        uint256 i = uint256(p);
        if (i <= uint256(Param.StakeCap)) return (1e18, 1e26);
        if (p == Param.SelfBondRatio) return (0.01e18, 1e18);
        if (p == Param.MaxCommission) return (0, 0.5e18);
        if (p == Param.CommissionNotice) return (1, 60);
        if (p == Param.UnbondingEpochs) return (2, 60);
        if (p == Param.BurnShare) return (0.1e18, 1e18);
        if (i >= uint256(Param.AuditSlash) && i <= uint256(Param.LivenessSlash)) return (1e15, 1e25);
        if (p == Param.SlashRebate) return (0, 0.1e18);
        if (p == Param.EscrowTime) return (1, 60 days);
        if (p == Param.BrakeShare) return (0.1e18, 1e18);
        if (p == Param.BrakeMinOperators) return (1, 100);
        if (p == Param.AuditRate) return (1e14, 1e18);
        if (p == Param.DemandFee) return (1e12, 1e24);
        if (p == Param.DemandBurn) return (0.05e18, 0.9e18);
        if (p == Param.DemandWindow || p == Param.FaultWindow || p == Param.OpeningWindow || p == Param.ProofWindow) {
            return (1, 14 days);
        }
        if (p == Param.OpeningBond || p == Param.LivenessBond) return (1e12, 1e24);
        if (p == Param.BeaconDelay) return (1, 256);
        if (p == Param.LivenessWindow) return (1, 7 days);
        if (p == Param.SequencerBond) return (1e18, 1e26);
        if (p == Param.SequencerFine || p == Param.InboxLateFine) return (1e15, 1e25);
        if (p == Param.SequencerTimeout) return (1, 14 days);
        if (p == Param.InboxDeadline) return (1, 7 days);
        if (p == Param.InboxPerEpoch) return (1, 10_000);
        if (p == Param.InboxMaxIds) return (1, 4096);
        if (p == Param.InboxMisses) return (1, 64);
        if (p == Param.TreasuryShare) return (0, 0.1e18);
        if (p == Param.EmissionMinStake) return (0, 1e27);
        if (p == Param.EmissionMinOperators) return (1, 1000);
        if (p == Param.ExitTimeout) return (1, 14 days);
        if (p == Param.ProposalBond) return (1e15, 1e25);
        if (i >= uint256(Param.RewardAdoptModel) && i <= uint256(Param.RewardReport)) return (0, 1e24);
        if (p == Param.WastefulSlash) return (1e15, 1e25);
        if (p == Param.UptimeMinimum) return (0, 0.89e18);
        if (p == Param.JailEpochs) return (1, 365);
        // An epoch proof reads every slot, and a transaction has at most 2^24 gas (EIP-7825).
        if (p == Param.MaxOperators) return (1, 256);
        if (p == Param.AlphaStake) return (0.05e18, 0.5e18);
        if (p == Param.WeightStep) return (0.001e18, 0.25e18);
        if (p == Param.WeightTolerance) return (0, 0.25e18);
        if (p == Param.WeightSmoothing) return (0.01e18, 1e18);
        if (p == Param.SpeedCeiling) return (1e18, 1e24);
        return (1, 60_000); // CountersignTolerance
    }

    function _push(Param param, uint48 from, uint256 value) private {
        (uint256 least, uint256 greatest) = bounds(param);
        if (value < least || value > greatest) revert OutOfBounds(param, value);
        _history[param].push(from, SafeCast.toUint208(value));
        emit ParameterSet(param, value, from);
    }

    /// @dev Relations between the newest values. Timelock and governor do not exist yet at construction;
    /// their own constructors check the same relations from their side.
    function _checkRelations(bool withTimelock) private view {
        uint256 floor = _history[Param.StakeFloor].latest();
        uint256 cap = _history[Param.StakeCap].latest();
        if (cap < floor || cap > MAX_CAP_TO_FLOOR * floor) revert Inconsistent();
        uint256 unbonding = uint256(_history[Param.UnbondingEpochs].latest()) * EPOCH_SECONDS;
        uint256 windows = uint256(_history[Param.FaultWindow].latest()) + _history[Param.OpeningWindow].latest()
            + _history[Param.DemandWindow].latest() + _history[Param.LivenessWindow].latest()
            + _history[Param.ProofWindow].latest();
        if (unbonding <= windows) revert Inconsistent();
        if (!withTimelock) return;
        if (TimelockController(payable(TIMELOCK)).getMinDelay() <= unbonding) revert Inconsistent();
        // Whoever proposes and leaves at once must still be there when the votes are counted.
        uint256 voting = IGovernor(GOVERNOR).votingDelay() + IGovernor(GOVERNOR).votingPeriod();
        if (voting >= _history[Param.UnbondingEpochs].latest()) revert Inconsistent();
    }
}
