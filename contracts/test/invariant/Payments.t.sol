// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Parameters} from "../../src/Parameters.sol";
import {Payments} from "../../src/Payments.sol";
import {System} from "../../src/System.sol";
import {InsecureStablecoin} from "../../src/insecure/InsecureStablecoin.sol";
import {Session, Subscription} from "../../src/interfaces/IPayments.sol";
import {Messages} from "../../src/libraries/Messages.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";
import {Counted} from "./Counted.sol";

/// @dev Users with a stablecoin and nothing else, the sequencer that redeems, and the epochs that share
/// out. Pools are kept a second time, by what came and went.
contract PaymentsHandler is Counted {
    Payments internal immutable PAYMENTS;
    InsecureStablecoin internal immutable USD;
    Parameters internal immutable PARAMETERS;
    address internal immutable GUARDIAN;
    System internal sys;
    uint256 internal immutable SEQUENCER;

    bytes32[] public sessions;
    mapping(bytes32 session => uint256 key) internal _keys;
    uint256[] internal _open; // subscriptions with epochs to come

    // Books.
    mapping(uint48 epoch => uint256) internal _pool;
    uint48 public next; // epoch to be closed
    uint256 public ahead; // in pools of epochs to come
    uint256 public shared; // promised to nodes and not yet paid
    bool public exitBlocked;
    bool public wrongPool;

    constructor(System memory s, Payments payments, InsecureStablecoin usd, address guardian, uint256 sequencer) {
        sys = s;
        PAYMENTS = payments;
        USD = usd;
        PARAMETERS = Parameters(s.parameters);
        GUARDIAN = guardian;
        SEQUENCER = sequencer;
    }

    function sessionCount() external view returns (uint256) {
        return sessions.length;
    }

    function open(uint256 u, uint256 amount) public counted("open") {
        if (_paused()) return;
        amount = within(amount, 1, 1e12);
        (uint256 key, address user) = _user(u, amount);
        vm.prank(user);
        bytes32 id = PAYMENTS.openSession(user, 1, amount);
        sessions.push(id);
        _keys[id] = key;
        _did("open");
    }

    function fund(uint256 s, uint256 amount) external counted("fund") {
        (bytes32 id, Session memory x) = _session(s);
        if (x.user == address(0) || x.exitAt != 0) (id, x) = _newest(s, amount);
        if (x.user == address(0) || x.exitAt != 0 || _paused()) return;
        amount = within(amount, 1, 1e12);
        _user(_keys[id], amount);
        vm.prank(x.user);
        PAYMENTS.fund(id, amount);
        _did("fund");
    }

    function redeem(uint256 s, uint256 part, uint256 later) external counted("redeem") {
        (bytes32 id, Session memory x) = _session(s);
        if (x.balance == x.spent) (id, x) = _newest(s, part);
        if (x.balance == x.spent) return;
        uint256 cumulative = within(part, x.spent + 1, x.balance);
        uint48 epoch = uint48(within(later, next, PAYMENTS.currentEpoch()));
        PAYMENTS.redeem(id, cumulative, epoch, _signed(_keys[id], Messages.hashVoucher(id, cumulative)));
        _pool[epoch] += cumulative - x.spent;
        ahead += cumulative - x.spent;
        _did("redeem");
    }

    /// @dev Leaves, at once with the sequencer or after the timeout without, paused or not.
    function leave(uint256 s, bool agreed) external counted("leave") {
        (bytes32 id, Session memory x) = _session(s);
        if (x.user == address(0)) (id, x) = _newest(s, s);
        if (x.user == address(0)) return;
        uint256 before = USD.balanceOf(x.user);
        bytes memory signature = _signed(SEQUENCER, Messages.hashClose(id, x.spent));
        if (agreed) {
            vm.prank(x.user);
            try PAYMENTS.closeNow(id, signature) {}
            catch {
                exitBlocked = true;
            }
        } else {
            if (x.exitAt == 0) {
                vm.prank(x.user);
                try PAYMENTS.startExit(id) {}
                catch {
                    exitBlocked = true;
                }
            }
            vm.warp(block.timestamp + 61);
            try PAYMENTS.finishExit(id) {}
            catch {
                exitBlocked = true;
            }
        }
        if (USD.balanceOf(x.user) - before != x.balance - x.spent) exitBlocked = true;
        _did("leave");
    }

    function subscribe(uint256 u, uint256 periods) public counted("subscribe") {
        if (_paused()) return;
        periods = within(periods, 1, 4);
        (, address user) = _user(u, 1000 * periods);
        vm.prank(user);
        uint256 id = PAYMENTS.subscribe(user, 7, periods);
        _open.push(id);
        Subscription memory x = PAYMENTS.subscription(id);
        uint256 left = 1000 * periods;
        for (uint48 e = x.from + 1; e < x.until; ++e) {
            _pool[e] += x.perEpoch;
            left -= x.perEpoch;
        }
        _pool[x.from] += left; // the remainder of the division, too
        ahead += 1000 * periods;
        _did("subscribe");
    }

    function unsubscribe(uint256 i) external counted("unsubscribe") {
        if (!_unsubscribe(i)) {
            subscribe(i, 4);
            if (!_unsubscribe(i)) return;
        }
        _did("unsubscribe");
    }

    function _unsubscribe(uint256 i) internal returns (bool) {
        for (uint256 k = 0; k < _open.length; ++k) {
            Subscription memory x = PAYMENTS.subscription(_open[(i % 97 + k) % _open.length]);
            uint48 end = PAYMENTS.currentEpoch() + 1;
            if (end < x.from) end = x.from;
            if (end >= x.until) continue;
            vm.prank(x.user);
            try PAYMENTS.unsubscribe(_open[(i % 97 + k) % _open.length]) returns (uint256 refund) {
                for (uint48 e = end; e < x.until; ++e) {
                    _pool[e] -= x.perEpoch;
                    ahead -= x.perEpoch;
                    refund -= x.perEpoch;
                }
                if (refund != 0) wrongPool = true;
            } catch {
                exitBlocked = true;
            }
            return true;
        }
        return false;
    }

    /// @dev Shares out an epoch: one unit more than its pool is refused, any part of it is not.
    function close(uint256 part) public counted("close") {
        uint48 epoch = next;
        if (PAYMENTS.currentEpoch() < epoch + 2) vm.warp(PAYMENTS.epochStart(epoch + 2));
        uint256[] memory totals = new uint256[](2);
        totals[1] = _pool[epoch] + 1;
        vm.prank(sys.epochs);
        try PAYMENTS.closeEpoch(epoch, totals) {
            wrongPool = true;
        } catch {}
        totals[1] = within(part, 0, _pool[epoch]);
        vm.prank(sys.epochs);
        PAYMENTS.closeEpoch(epoch, totals);
        next = epoch + 1;
        vm.mockCall(sys.epochs, abi.encodeWithSignature("nextEpoch()"), abi.encode(next));
        _pool[next] += _pool[epoch] - totals[1];
        ahead -= totals[1];
        shared += totals[1];
        _did("close");
    }

    function pay(uint256 part, bool forfeited) external counted("pay") {
        if (shared == 0) close(type(uint256).max - 1);
        if (shared == 0) return;
        uint256 amount = within(part, 1, shared);
        vm.prank(sys.emissions);
        PAYMENTS.payFees(1, amount, forfeited);
        shared -= amount;
        _did("pay");
    }

    /// @dev The guardian pauses for as long as it may; users must get out all the same.
    function pause(bool on) external counted("pause") {
        vm.prank(GUARDIAN);
        if (on) {
            try PARAMETERS.pause() {} catch {}
        } else {
            PARAMETERS.unpause();
        }
        // Most of the time should be for those who pay.
        if (uint160(msg.sender) % 4 != 0) {
            vm.prank(GUARDIAN);
            PARAMETERS.unpause();
        }
        _did("pause");
    }

    function _paused() internal returns (bool) {
        if (PARAMETERS.paused() && block.timestamp % 2 == 0) {
            vm.prank(GUARDIAN);
            PARAMETERS.unpause();
        }
        return PARAMETERS.paused();
    }

    function _user(uint256 seed, uint256 amount) internal returns (uint256 key, address user) {
        key = seed > 0 && seed <= 4 ? seed : 1 + seed % 4;
        user = vm.addr(key);
        USD.mint(user, amount);
        vm.prank(user);
        USD.approve(address(PAYMENTS), type(uint256).max);
    }

    function userOf(uint256 key) external pure returns (address) {
        return vm.addr(key);
    }

    /// @dev A session of its own for a call that found none.
    function _newest(uint256 s, uint256 amount) internal returns (bytes32 id, Session memory x) {
        open(s, amount);
        id = sessions[sessions.length - 1];
        x = PAYMENTS.session(id);
    }

    /// @dev An open session, searched for from a random start; empty if there is none.
    function _session(uint256 s) internal view returns (bytes32 id, Session memory x) {
        uint256 n = sessions.length;
        for (uint256 i = 0; i < n && x.user == address(0); ++i) {
            id = sessions[(s % n + i) % n];
            x = PAYMENTS.session(id);
        }
    }

    function _signed(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, Messages.digest(sys.rollup, structHash));
        return abi.encodePacked(r, s, v);
    }
}

contract PaymentsInvariants is World {
    PaymentsHandler internal handler;

    function setUp() public override {
        super.setUp();
        vm.prank(sys.timelock);
        payments.setPlan(7, 1, 3, 1000, true);
        handler = new PaymentsHandler(sys, payments, usd, guardian, SEQUENCER_KEY);
        handler.open(1, 1e9);
        handler.subscribe(2, 3);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_money_of_users() external view {
        uint256 escrow;
        for (uint256 i = 0; i < handler.sessionCount(); ++i) {
            Session memory s = payments.session(handler.sessions(i));
            atMost(s.spent, s.balance, "vouchers stay within the escrow");
            escrow += s.balance - s.spent;
        }
        uint256 owed = escrow + handler.ahead() + handler.shared();
        eq(usd.balanceOf(sys.payments), owed, "escrows, pools and shares are all there is");
        isTrue(!handler.exitBlocked(), "everyone can leave with the rest");
        isTrue(!handler.wrongPool(), "pools are what was paid for their epochs");
        for (uint256 key = 1; key <= 4; ++key) {
            eq(token.balanceOf(handler.userOf(key)), 0, "users never need the token");
        }
    }

    function afterInvariant() external view {
        bytes32[] memory actions = new bytes32[](9);
        (actions[0], actions[1], actions[2], actions[3]) = ("open", "fund", "redeem", "leave");
        (actions[4], actions[5], actions[6]) = ("subscribe", "unsubscribe", "close");
        (actions[7], actions[8]) = ("pay", "pause");
        handler.requireEffective(actions);
    }
}
