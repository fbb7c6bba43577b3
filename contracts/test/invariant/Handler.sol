// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Emissions} from "../../src/Emissions.sol";
import {Staking} from "../../src/Staking.sol";
import {Token} from "../../src/Token.sol";
import {Offence, Slash, SlashState} from "../../src/interfaces/IStaking.sol";
import {System} from "../../src/System.sol";
import {Test} from "../base/Test.sol";
import {vm} from "../base/Vm.sol";

/// @dev Bounded moves of holders, operators and time on the staking of three operators. Each keeps
/// its own books, so that the invariants compare two independent accounts of the same money.
contract Handler is Test {
    Staking internal immutable STAKING;
    Token internal immutable TOKEN;
    System internal sys;
    address[] public operators;
    address[] public holders;
    address internal immutable BANK;

    // Books.
    uint256 public deposited; // bonds and delegations paid in
    uint256 public rewarded; // rewards paid in
    uint256 public withdrawn; // stake paid out
    uint256 public claimed; // rewards paid out
    uint256 public disposed; // slashes burned, rebated or sent to the treasury
    uint256 public rebates;
    uint256 public slashedTotal;
    mapping(address operator => uint48) public lastReward;
    /// @dev Stake that an account lost to slashes, by what it should have been.
    mapping(address operator => mapping(address holder => uint256)) public since;
    /// @dev Greatest reward per share seen.
    mapping(address operator => uint256) public seenPerShare;
    bool public decreased;
    bool public lateEntrantPaid;
    bool public exitBlocked;

    mapping(bytes32 action => uint256) public calls;
    mapping(bytes32 action => uint256) public effective;

    constructor(System memory s, address bank, address[] memory operators_, address[] memory holders_) {
        sys = s;
        STAKING = Staking(s.staking);
        TOKEN = Token(s.token);
        BANK = bank;
        operators = operators_;
        holders = holders_;
    }

    modifier counted(bytes32 action) {
        ++calls[action];
        _;
    }

    function operatorCount() external view returns (uint256) {
        return operators.length;
    }

    function holderCount() external view returns (uint256) {
        return holders.length;
    }

    function _op(uint256 seed) internal view returns (address) {
        return operators[seed % operators.length];
    }

    function _holder(uint256 seed) internal view returns (address) {
        return holders[seed % holders.length];
    }

    function _now() internal view returns (uint48) {
        return STAKING.currentEpoch();
    }

    function delegate(uint256 h, uint256 o, uint256 amount) public counted("delegate") {
        address who = _holder(h);
        amount = within(amount, 1, 1e23);
        if (TOKEN.balanceOf(who) < amount) return;
        vm.prank(who);
        STAKING.delegate(_op(o), amount);
        deposited += amount;
        ++effective["delegate"];
    }

    function undelegate(uint256 h, uint256 o, uint256 part) external counted("undelegate") {
        // Half of the calls collect what is owed first, the others look for somebody who owes nothing.
        if (part % 2 == 0) _settleAll(_holder(h % holders.length));
        (address who, address op, uint256 stake) = _position(h, o);
        if (stake == 0) {
            _fresh(h, o);
            (who, op, stake) = _position(h, o);
        }
        if (stake == 0) return;
        uint256 amount = within(part, 1, stake);
        vm.prank(who);
        try STAKING.undelegate(op, amount) {}
        catch {
            exitBlocked = true;
        }
        ++effective["undelegate"];
    }

    function _settleAll(address who) internal {
        for (uint256 k = 0; k < operators.length; ++k) {
            STAKING.settle(operators[k], who, type(uint256).max);
        }
    }

    function redelegate(uint256 h, uint256 o, uint256 part) external counted("redelegate") {
        if (!_redelegate(h, o, part)) {
            // All stake is tied to where it came from: time frees it.
            _pass(9);
            _fresh(h, o);
            if (!_redelegate(h, o, part)) return;
        }
        ++effective["redelegate"];
    }

    function _redelegate(uint256 h, uint256 o, uint256 part) internal returns (bool) {
        for (uint256 i = 0; i < holders.length * operators.length; ++i) {
            (address who, address op, uint256 stake) = _position(h % 97 + i, o % 97 + i / holders.length);
            if (stake == 0) continue;
            uint256 amount = within(part, 1, stake);
            for (uint256 k = 1; k < operators.length; ++k) {
                address to = _op(o % 97 + i / holders.length + k);
                if (to == op) continue;
                vm.prank(who);
                try STAKING.redelegate(op, to, amount) {
                    return true;
                } catch {}
            }
        }
        return false;
    }

    /// @dev Stake of a holder who owes nothing.
    function _fresh(uint256 h, uint256 o) internal {
        delegate(h % holders.length, o % operators.length, 1e18);
        _settleAll(_holder(h % holders.length));
    }

    function bond(uint256 o, uint256 amount) external counted("bond") {
        amount = within(amount, 1, 1e22);
        address op = _op(o);
        vm.prank(op);
        STAKING.bond(amount);
        deposited += amount;
        ++effective["bond"];
    }

    function unbond(uint256 o, uint256 part) external counted("unbond") {
        for (uint256 i = 0; i < operators.length; ++i) {
            address op = _op(o % 97 + i);
            uint256 stake = STAKING.bondAt(op, _now() + 1);
            if (stake == 0) continue;
            vm.prank(op);
            STAKING.unbond(within(part, 1, stake));
            ++effective["unbond"];
            return;
        }
        // Nobody has a bond left, so somebody brings one.
        vm.startPrank(_op(o));
        STAKING.bond(1e18);
        STAKING.unbond(1e18);
        vm.stopPrank();
        deposited += 1e18;
        ++effective["unbond"];
    }

    function withdraw(uint256 h, uint256 o) external counted("withdraw") {
        // Time passes first, so that something is due in many of the calls; otherwise something is made due.
        _pass(3);
        if (!_withdraw(h, o)) {
            address op = _op(o % 97);
            vm.startPrank(op);
            STAKING.bond(1e18);
            STAKING.unbond(1e18);
            vm.stopPrank();
            deposited += 1e18;
            _pass(5);
            if (!_withdraw(h, o)) return;
        }
        ++effective["withdraw"];
    }

    function _withdraw(uint256 h, uint256 o) internal returns (bool) {
        uint256 n = holders.length + 1;
        for (uint256 i = 0; i < n * operators.length; ++i) {
            address op = _op(o % 97 + i / n);
            uint256 which = (h % n + i) % n;
            address who = which == holders.length ? op : holders[which];
            // Collect first: a slash may take what is due.
            if (who != op) _settleAll(who);
            (, uint256 due) = STAKING.unbonding(op, who);
            if (due == 0) continue;
            vm.prank(who);
            try STAKING.withdraw(op) returns (uint256 amount) {
                if (amount != due) exitBlocked = true;
                withdrawn += amount;
            } catch {
                exitBlocked = true;
            }
            return true;
        }
        return false;
    }

    function slash(uint256 o, uint256 back, uint256 amount) external counted("slash") {
        address op = _op(o);
        uint48 epoch = _now() - uint48(within(back, 0, _now() < 4 ? _now() : 4));
        amount = within(amount, 1, 2e22);
        uint256[] memory before = new uint256[](holders.length);
        for (uint256 i = 0; i < holders.length; ++i) {
            STAKING.settle(op, holders[i], type(uint256).max);
            before[i] = _everything(holders[i]);
        }
        vm.prank(sys.audits);
        (uint256 index, uint256 taken) = STAKING.slash(op, epoch, amount, Offence.Equivocation, address(0xbe4ef));
        slashedTotal += taken;
        if (taken > amount) decreased = true;
        // Half of the slashes are settled now, the others whenever.
        if (amount % 2 == 0) {
            for (uint256 i = 0; i < holders.length; ++i) {
                bool liable = STAKING.delegationAt(op, holders[i], epoch) > 0;
                STAKING.settle(op, holders[i], type(uint256).max);
                if (!liable && _everything(holders[i]) < before[i]) lateEntrantPaid = true;
            }
        }
        index;
        ++effective["slash"];
    }

    function settle(uint256 h, uint256 o) external counted("settle") {
        uint256 n = holders.length;
        // Few slashes are left unsettled by the other moves, so a small one comes first.
        uint48 epoch = _now();
        vm.prank(sys.audits);
        (, uint256 taken) = STAKING.slash(_op(o % 97), epoch, 1 + h % 1e21, Offence.Liveness, address(0));
        slashedTotal += taken;
        for (uint256 i = 0; i < n * operators.length; ++i) {
            address who = _holder(h % n + i);
            address op = _op(o % 97 + i / n);
            if (STAKING.unsettled(op, who) == 0) continue;
            STAKING.settle(op, who, 1);
            ++effective["settle"];
            return;
        }
    }

    function release(uint256 o) external counted("release") {
        vm.warp(block.timestamp + 21);
        if (!_release(o)) {
            _smallSlash(_op(o % 97));
            vm.warp(block.timestamp + 21);
            if (!_release(o)) return;
        }
        ++effective["release"];
    }

    function _release(uint256 o) internal returns (bool) {
        for (uint256 i = 0; i < operators.length; ++i) {
            address op = _op(o % 97 + i);
            for (uint256 k = 0; k < STAKING.slashCount(op); ++k) {
                Slash memory s = STAKING.slashAt(op, k);
                uint256 left = uint256(s.ownTaken) + s.collected - s.disposed;
                if (s.state == SlashState.Forgiven || left == 0) continue;
                if (s.state == SlashState.Escrowed && block.timestamp < s.executedAt + 20) continue;
                STAKING.release(op, k);
                disposed += left;
                return true;
            }
        }
        return false;
    }

    function forgive(uint256 o, uint256 h) external counted("forgive") {
        if (!_forgive(o, h)) {
            _smallSlash(_op(o % 97));
            if (!_forgive(o, h)) return;
        }
        ++effective["forgive"];
    }

    function _forgive(uint256 o, uint256 h) internal returns (bool) {
        for (uint256 i = 0; i < operators.length; ++i) {
            address op = _op(o % 97 + i);
            for (uint256 k = STAKING.slashCount(op); k > 0; --k) {
                Slash memory s = STAKING.slashAt(op, k - 1);
                if (s.state != SlashState.Escrowed) continue;
                vm.prank(sys.timelock);
                STAKING.forgive(op, k - 1);
                for (uint256 j = 0; j < holders.length; ++j) {
                    if ((h >> j) & 1 == 0) continue;
                    vm.prank(holders[j]);
                    try STAKING.reclaim(op, k - 1) {} catch {}
                }
                return true;
            }
        }
        return false;
    }

    function reward(uint256 o, uint256 amount) external counted("reward") {
        if (_reward(_op(o), within(amount, 1, 1e23))) ++effective["reward"];
    }

    function _reward(address op, uint256 amount) internal returns (bool) {
        uint48 epoch = lastReward[op] + 1;
        if (epoch > _now()) _pass(1);
        if (epoch > _now()) return false;
        lastReward[op] = epoch;
        vm.prank(BANK);
        TOKEN.transfer(address(STAKING), amount);
        vm.prank(sys.emissions);
        STAKING.distribute(op, 0, epoch, amount);
        rewarded += amount;
        uint256 perShare = STAKING.rewardPerShare(op, 0, epoch);
        if (perShare < seenPerShare[op]) decreased = true;
        seenPerShare[op] = perShare;
        return true;
    }

    function claim(uint256 h, uint256 o) external counted("claim") {
        // Takes what is there; if there is nothing, a reward comes first.
        if (!_claim(h, o)) {
            _reward(_op(o % 97), 1e18);
            _pass(1);
            if (!_claim(h, o)) return;
        }
        ++effective["claim"];
    }

    function _claim(uint256 h, uint256 o) internal returns (bool) {
        uint256 n = holders.length + 1;
        for (uint256 i = 0; i < n * operators.length; ++i) {
            address op = _op(o % 97 + i / n);
            uint256 which = (h % n + i) % n;
            address who = which == holders.length ? op : holders[which];
            if (who != op) STAKING.settle(op, who, type(uint256).max);
            if (STAKING.claimable(op, who, 0) == 0) continue;
            vm.prank(who);
            try STAKING.claim(op, 0) returns (uint256 amount) {
                claimed += amount;
                return true;
            } catch {
                exitBlocked = true;
            }
        }
        return false;
    }

    function pass(uint256 n) external counted("pass") {
        _pass(within(n, 1, 3));
        ++effective["pass"];
    }

    /// @dev A slash that certainly takes something, so that there is one to release or forgive.
    function _smallSlash(address op) internal {
        vm.prank(op);
        STAKING.bond(1e18);
        deposited += 1e18;
        uint48 epoch = _now();
        vm.prank(sys.audits);
        (, uint256 taken) = STAKING.slash(op, epoch, 1e15, Offence.Liveness, address(0));
        slashedTotal += taken;
    }

    function _pass(uint256 n) internal {
        vm.warp(STAKING.epochStart(_now() + uint48(n)));
    }

    /// @dev A position with stake, searched for from a random start.
    function _position(uint256 h, uint256 o) internal view returns (address who, address op, uint256 stake) {
        uint256 n = holders.length;
        for (uint256 i = 0; i < n * operators.length && stake == 0; ++i) {
            who = _holder(h % n + i);
            op = _op(o % 97 + i / n);
            if (_owes(who)) continue;
            stake = STAKING.delegationAt(op, who, _now() + 1);
        }
    }

    /// @dev Whether slashes are still to be collected from a holder. They may be anywhere: a slash of the
    /// operator that stake came from is collected from where the stake is now.
    function _owes(address who) internal view returns (bool owes) {
        for (uint256 i = 0; i < operators.length; ++i) {
            owes = owes || STAKING.unsettled(operators[i], who) > 0;
        }
    }

    /// @dev All stake of a holder, anywhere.
    function _everything(address who) internal view returns (uint256 sum) {
        for (uint256 i = 0; i < operators.length; ++i) {
            (uint256 out,) = STAKING.unbonding(operators[i], who);
            sum += out + STAKING.delegationAt(operators[i], who, _now() + 1);
        }
    }

    function everything(address who) external view returns (uint256) {
        return _everything(who);
    }
}
