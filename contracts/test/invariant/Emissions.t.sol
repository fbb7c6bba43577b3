// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Emissions} from "../../src/Emissions.sol";
import {Staking} from "../../src/Staking.sol";
import {System} from "../../src/System.sol";
import {Token} from "../../src/Token.sol";
import {EpochRecord, EpochStatus, IEpochs, Row} from "../../src/interfaces/IEpochs.sol";
import {Offence} from "../../src/interfaces/IStaking.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";
import {Counted} from "./Counted.sol";

/// @dev Epochs of two models and three operators, whose proofs are this handler's word; what was
/// emitted is kept a second time.
contract EmissionsHandler is Counted {
    Emissions internal immutable EMISSIONS;
    Staking internal immutable STAKING;
    Token internal immutable TOKEN;
    System internal sys;
    address[3] internal operators;
    uint256 internal constant MODELS = 2;
    uint256[2] internal WEIGHT = [uint256(0.7e18), 0.3e18];

    uint48 public next;
    mapping(uint48 epoch => uint64[6]) internal _shares; // operator-major
    mapping(uint48 epoch => bool) internal _idle;
    mapping(uint48 epoch => uint256[2]) public pots;

    // Books.
    uint256[2] public carry;
    uint256 public minted;
    uint256 public treasury;
    uint256 public claimed;
    uint256 public claimable; // most that rows not yet claimed may still take
    uint256 public rows; // claimed, each of which may leave dust behind
    uint256 internal _schedule = 10_000e18;
    bool public claimBlocked;
    bool public claimTooLarge;
    bool public earlyClaim;

    constructor(System memory s, address[3] memory operators_, uint48 first) {
        sys = s;
        EMISSIONS = Emissions(s.emissions);
        STAKING = Staking(s.staking);
        TOKEN = Token(s.token);
        operators = operators_;
        next = first;
        for (uint48 e = 0; e < first; ++e) {
            _decay();
            _record(e, EpochStatus.Idle);
            _idle[e] = true;
        }
    }

    function close(uint256 a, uint256 b, bool funded) external counted("close") {
        uint48 epoch = next++;
        if (EMISSIONS.currentEpoch() < epoch + 2) vm.warp(EMISSIONS.epochStart(epoch + 2));
        _record(epoch, EpochStatus.Proved);
        uint256[] memory earned = new uint256[](MODELS);
        for (uint256 m = 0; m < MODELS; ++m) {
            uint256 left = 1e18;
            for (uint256 o = 0; o < 3; ++o) {
                uint256 share = within(uint256(keccak256(abi.encode(a, b, m, o))), 0, left);
                if (o == 2 && b % 3 == 0) share = left; // everything earned
                left -= share;
                earned[m] += share;
                _shares[epoch][o * MODELS + m] = uint64(share);
            }
        }
        vm.prank(sys.epochs);
        // With no operator staked the epoch is not funded.
        EMISSIONS.closeEpoch(epoch, earned, funded || a % 2 == 0 ? 3 : 0);
        if (funded || a % 2 == 0) _book(epoch, earned);
        _decay();
        _did("close");
    }

    function _book(uint48 epoch, uint256[] memory earned) internal {
        uint256 paid;
        for (uint256 m = 0; m < MODELS; ++m) {
            uint256 own = _schedule * WEIGHT[m] / 1e18;
            minted += own;
            uint256 pot = own + carry[m] < 20_000e18 ? own + carry[m] : 20_000e18;
            uint256 part = pot * earned[m] / 1e18;
            pots[epoch][m] = pot;
            carry[m] = own + carry[m] - part;
            paid += (part * 25 + 999) / 1000;
            claimable += part - (part * 25 + 999) / 1000;
        }
        treasury += paid;
    }

    function idle() external counted("idle") {
        uint48 epoch = next++;
        _record(epoch, EpochStatus.Idle);
        _idle[epoch] = true;
        _decay();
        _did("idle");
    }

    function claim(uint256 o, uint256 wait) external counted("claim") {
        for (uint256 i = 0; i < 3; ++i) {
            uint256 k = (o % 3 + i) % 3;
            uint48 epoch = _due(k);
            if (epoch >= next) continue;
            uint256 until = EMISSIONS.vestsAt(epoch);
            if (block.timestamp <= until) {
                if (wait % 2 == 0) {
                    try EMISSIONS.claim(operators[k], _row(k, epoch), new bytes32[](0)) {
                        earlyClaim = true;
                    } catch {}
                }
                vm.warp(until + 1);
            }
            _claim(k, epoch);
            _did("claim");
            return;
        }
    }

    function _claim(uint256 k, uint48 epoch) internal {
        uint256 before = TOKEN.balanceOf(sys.staking);
        bool forfeited = STAKING.offendedIn(operators[k], epoch);
        try EMISSIONS.claim(operators[k], _row(k, epoch), new bytes32[](0)) {}
        catch {
            claimBlocked = true;
            return;
        }
        uint256 got = TOKEN.balanceOf(sys.staking) - before;
        uint256 net;
        for (uint256 m = 0; m < MODELS; ++m) {
            uint256 gross = pots[epoch][m] * _shares[epoch][k * MODELS + m] / 1e18;
            uint256 part = gross - (gross * 25 + 999) / 1000;
            net += part;
            if (forfeited) carry[m] += part;
        }
        if (got != (forfeited ? 0 : net)) claimTooLarge = true;
        claimed += got;
        claimable -= net;
        ++rows;
    }

    /// @dev A slash that forfeits an epoch not yet claimed.
    function offend(uint256 o) external counted("offend") {
        uint256 k = o % 3;
        uint48 epoch = _due(k);
        if (epoch > STAKING.currentEpoch()) return;
        vm.prank(sys.audits);
        STAKING.slash(operators[k], epoch, 1, Offence.Timeout, address(0));
        _did("offend");
    }

    /// @dev The epoch that an operator claims next, idle ones stepped over.
    function _due(uint256 k) internal returns (uint48 epoch) {
        epoch = EMISSIONS.nextClaim(operators[k]);
        if (_idle[epoch]) {
            EMISSIONS.skipIdle(operators[k], type(uint256).max);
            epoch = EMISSIONS.nextClaim(operators[k]);
        }
    }

    function _row(uint256 k, uint48 epoch) internal view returns (Row memory r) {
        r.slot = uint16(k);
        r.cells = new uint256[](MODELS);
        for (uint256 m = 0; m < MODELS; ++m) {
            r.cells[m] = _shares[epoch][k * MODELS + m];
        }
    }

    function _record(uint48 epoch, EpochStatus status) internal {
        vm.mockCall(
            sys.epochs,
            abi.encodeCall(IEpochs.record, (epoch)),
            abi.encode(EpochRecord(status, uint48(block.timestamp), 0))
        );
    }

    function _decay() internal {
        _schedule -= _schedule * 4_294_967 / 2 ** 32;
    }
}

contract EmissionsInvariants is World {
    EmissionsHandler internal handler;

    function setUp() public override {
        super.setUp();
        address[3] memory ops;
        for (uint256 i = 0; i < 3; ++i) {
            ops[i] = _operator(0xa0 + i, 1_000e18);
        }
        _epochs(2);
        vm.mockCall(sys.epochs, abi.encodePacked(IEpochs.requireRow.selector), "");
        bytes32[] memory ids = new bytes32[](2);
        (ids[0], ids[1]) = (MODEL, MODEL2);
        vm.startPrank(sys.timelock);
        models.register(_model(MODEL2, staking.currentEpoch() + 1));
        models.setEmissionWeights(ids, _list(0.7e18, 0.3e18));
        vm.stopPrank();
        _epochs(1);
        handler = new EmissionsHandler(sys, ops, staking.currentEpoch());
        handler.close(1, 2, true);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_what_is_emitted() external view {
        eq(emissions.minted(), handler.minted(), "minted by the schedule, decayed and weighted");
        atMost(token.totalSupply(), token.cap(), "cap");
        eq(token.balanceOf(sys.treasury), handler.treasury(), "the treasury's share, to the unit");
        atMost(handler.claimed() + handler.treasury(), handler.minted(), "no claim exceeds emission");
        for (uint256 m = 0; m < 2; ++m) {
            eq(emissions.carryOf(m), handler.carry(m), "what is not earned, or forfeited, carries over");
        }
        uint256 held = token.balanceOf(sys.emissions);
        eq(held, handler.minted() - handler.claimed() - handler.treasury(), "nothing comes or goes otherwise");
        uint256 owed = handler.carry(0) + handler.carry(1) + handler.claimable();
        // Rows round down, against the claimer: what they leave stays here.
        atMost(owed, held, "carry and rows are covered");
        isTrue(!handler.claimBlocked(), "vested rows can be claimed");
        isTrue(!handler.claimTooLarge(), "a row pays its share, or nothing if forfeited");
        isTrue(!handler.earlyClaim(), "nothing before it vests");
    }

    function afterInvariant() external view {
        bytes32[] memory actions = new bytes32[](4);
        (actions[0], actions[1], actions[2], actions[3]) = ("close", "idle", "claim", "offend");
        handler.requireEffective(actions);
    }
}
