// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Zero} from "../../src/System.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {IStaking, Offence, SlashState} from "../../src/interfaces/IStaking.sol";
import {IOperators, Registration} from "../../src/interfaces/IOperators.sol";
import {IVerifierRegistry, Circuit} from "../../src/interfaces/IVerifier.sol";
import {Messages} from "../../src/libraries/Messages.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

abstract contract Staked is World {
    address internal a;
    address internal b;
    address internal c;
    address internal alice;
    address internal bob;

    function setUp() public virtual override {
        super.setUp();
        a = _operator(0xa1, 1_000e18);
        b = _operator(0xa2, 1_000e18);
        c = _operator(0xa3, 1_000e18);
        alice = _holder("alice", FLOAT);
        bob = _holder("bob", FLOAT);
    }

    function _slash(address operator, uint48 epoch, uint256 amount) internal returns (uint256 index, uint256 taken) {
        vm.prank(sys.audits);
        return staking.slash(operator, epoch, amount, Offence.Equivocation, address(0));
    }

    function _undelegate(address who, address operator, uint256 amount) internal {
        vm.prank(who);
        staking.undelegate(operator, amount);
    }

    function _withdraw(address who, address operator) internal returns (uint256) {
        vm.prank(who);
        return staking.withdraw(operator);
    }

    function _settle(address operator, address who) internal {
        staking.settle(operator, who, type(uint256).max);
    }

    function _now() internal view returns (uint48) {
        return staking.currentEpoch();
    }

    /// @dev Everything an account has in a position: at stake next epoch, and on its way out.
    function _holds(address operator, address who) internal view returns (uint256) {
        (uint256 out,) = staking.unbonding(operator, who);
        return staking.delegationAt(operator, who, _now() + 1) + out;
    }
}

contract StakingTest is Staked {
    // ------------------------------------------------------------------------------- stake by epoch

    function testFuzz_stake_counts_from_the_next_epoch(uint256 x) public {
        x = within(x, 1, FLOAT);
        _delegate(alice, a, x);
        eq(staking.delegatedAt(a, _now()), 0, "not yet");
        eq(staking.delegatedAt(a, _now() + 1), x, "next");
        eq(staking.delegationAt(a, alice, _now() + 1), x, "position");
        _epochs(2);
        eq(staking.delegatedAt(a, 1), x, "history");
        eq(staking.getPastVotes(a, 1), 1_000e18 + x, "votes");
        eq(staking.getPastTotalSupply(1), 3_000e18 + x, "all votes");
        eq(staking.delegatorVotes(a, alice, 1), x, "own votes");
        eq(staking.delegatorVotes(a, a, 1), 0, "an operator overrides nothing");
        eq(staking.clock(), 2, "clock");
        eq(keccak256(bytes(staking.CLOCK_MODE())), keccak256("mode=epoch"), "clock mode");
    }

    function testFuzz_counted_stake(uint256 own, uint256 x) public {
        own = within(own, 100e18, 5_000e18);
        address d = _operator(0xd1, own);
        x = within(x, 1, FLOAT);
        _delegate(alice, d, x);
        uint256 most = own * 10;
        uint256 stake = own + x < most ? own + x : most;
        eq(staking.countedStake(d, 1), stake < 1_000e18 ? 0 : stake, "floor excludes, bond limits");
    }

    function testFuzz_undelegated_stake_leaves_after_unbonding(uint256 x, uint256 y, uint8 wait) public {
        x = within(x, 1, FLOAT);
        y = within(y, 1, x);
        _delegate(alice, a, x);
        _epochs(1);
        _undelegate(alice, a, y);
        eq(staking.delegatedAt(a, _now()), x, "liable this epoch");
        _epochs(within(wait, 0, 4));
        vm.expectRevert(IStaking.NothingDue.selector);
        _withdraw(alice, a);
        _epochs(5);
        (uint256 total, uint256 due) = staking.unbonding(a, alice);
        eq(total, y, "total");
        eq(due, y, "due");
        uint256 before = token.balanceOf(alice);
        eq(_withdraw(alice, a), y, "amount");
        eq(token.balanceOf(alice) - before, y, "paid");
    }

    function testFuzz_one_exit_an_epoch_and_release_stays_in_order(uint256 x) public {
        x = within(x, 10, FLOAT);
        _delegate(alice, a, x);
        _undelegate(alice, a, 1);
        _undelegate(alice, a, 2);
        // Votes must be counted before stake can leave, so the voting time shrinks first.
        vm.mockCall(sys.governor, abi.encodeCall(governor.votingPeriod, ()), abi.encode(uint256(1)));
        _set(Param.ProofWindow, 10);
        _set(Param.UnbondingEpochs, 3);
        _epochs(1);
        _undelegate(alice, a, 3);
        _epochs(4);
        eq(_withdraw(alice, a), 6, "all at once: the later exit waits for the earlier");
    }

    function testFuzz_own_bond_leaves_like_delegations(uint256 x) public {
        x = within(x, 1, 1_000e18);
        vm.prank(a);
        staking.unbond(x);
        eq(staking.bondAt(a, 1), 1_000e18 - x, "bond");
        _epochs(5);
        eq(_withdraw(a, a), x, "paid");
    }

    function testFuzz_operator_adds_bond(uint256 x) public {
        x = within(x, 1, FLOAT - 1_000e18);
        vm.prank(a);
        staking.bond(x);
        eq(staking.bondAt(a, 1), 1_000e18 + x, "bond");
    }

    // -------------------------------------------------------------------------------------- reverts

    function testFuzz_zero_is_refused(address to) public {
        vm.startPrank(alice);
        vm.expectRevert(Zero.selector);
        staking.delegate(to, 0);
        vm.expectRevert(Zero.selector);
        staking.undelegate(to, 0);
        vm.expectRevert(Zero.selector);
        staking.redelegate(to, a, 0);
        vm.expectRevert(Zero.selector);
        staking.unbond(0);
        vm.stopPrank();
        vm.prank(a);
        vm.expectRevert(Zero.selector);
        staking.bond(0);
    }

    function testFuzz_only_active_operators_take_stake(address to, uint256 x) public {
        vm.assume(to != a && to != b && to != c && to != alice);
        x = within(x, 1, FLOAT);
        bytes memory no = abi.encodeWithSelector(IStaking.NotAnOperator.selector, to);
        vm.prank(alice);
        vm.expectRevert(no);
        staking.delegate(to, x);
        vm.prank(to);
        vm.expectRevert(no);
        staking.bond(x);
        _delegate(alice, a, x);
        vm.prank(alice);
        vm.expectRevert(no);
        staking.redelegate(a, to, x);
        vm.prank(a);
        operators.exit();
        vm.prank(bob);
        vm.expectRevert(abi.encodeWithSelector(IStaking.NotAnOperator.selector, a));
        staking.delegate(a, x);
    }

    function testFuzz_more_than_there_is(uint256 x, uint256 y) public {
        x = within(x, 1, FLOAT);
        y = within(y, x + 1, type(uint104).max);
        _delegate(alice, a, x);
        bytes memory no = abi.encodeWithSelector(IStaking.InsufficientStake.selector, x, y);
        vm.startPrank(alice);
        vm.expectRevert(no);
        staking.undelegate(a, y);
        vm.expectRevert(no);
        staking.redelegate(a, b, y);
        vm.stopPrank();
        vm.prank(a);
        vm.expectRevert(abi.encodeWithSelector(IStaking.InsufficientStake.selector, 1_000e18, 1_000e18 + x));
        staking.unbond(1_000e18 + x);
    }

    function testFuzz_own_stake_is_bond_not_delegation(uint256 x) public {
        x = within(x, 1, FLOAT);
        vm.startPrank(a);
        vm.expectRevert(IStaking.SameOperator.selector);
        staking.delegate(a, x);
        vm.expectRevert(IStaking.SameOperator.selector);
        staking.undelegate(a, x);
        vm.expectRevert(IStaking.SameOperator.selector);
        staking.redelegate(a, b, x);
        vm.expectRevert(IStaking.SameOperator.selector);
        staking.redelegate(b, a, x);
        vm.expectRevert(IStaking.SameOperator.selector);
        staking.redelegate(b, b, x);
        vm.stopPrank();
    }

    function testFuzz_pause_stops_entries_never_exits(uint256 x) public {
        x = within(x, 2, FLOAT);
        _delegate(alice, a, x);
        vm.prank(guardian);
        parameters.pause();
        vm.startPrank(alice);
        vm.expectRevert(IStaking.Paused.selector);
        staking.delegate(a, 1);
        vm.expectRevert(IStaking.Paused.selector);
        staking.redelegate(a, b, 1);
        staking.undelegate(a, x);
        vm.stopPrank();
        vm.startPrank(a);
        vm.expectRevert(IStaking.Paused.selector);
        staking.bond(1);
        staking.unbond(1_000e18);
        operators.exit();
        vm.stopPrank();
        _epochs(5);
        eq(_withdraw(alice, a), x, "alice is out");
        eq(_withdraw(a, a), 1_000e18, "a is out");
    }

    function testFuzz_future_is_unknown(uint48 epoch) public {
        epoch = uint48(within(epoch, 1, type(uint48).max));
        bytes memory no = abi.encodeWithSelector(IStaking.FutureLookup.selector, uint256(epoch));
        vm.expectRevert(no);
        staking.getPastVotes(a, epoch);
        vm.expectRevert(no);
        staking.getPastTotalSupply(epoch);
        vm.expectRevert(no);
        staking.delegatorVotes(a, alice, epoch);
        vm.expectRevert(no);
        vm.prank(sys.audits);
        staking.slash(a, epoch, 1, Offence.Timeout, address(0));
        vm.expectRevert(no);
        vm.prank(sys.emissions);
        staking.distribute(a, 0, epoch, 1);
    }

    // -------------------------------------------------------------------------------------- slashes

    function testFuzz_own_bond_goes_first(uint256 x, uint256 amount) public {
        x = within(x, 1e6, FLOAT);
        _delegate(alice, a, x);
        _epochs(1);
        amount = within(amount, 1, 1_000e18);
        (, uint256 taken) = _slash(a, 1, amount);
        eq(taken, amount, "taken");
        eq(staking.bondAt(a, 2), 1_000e18 - amount, "bond");
        _settle(a, alice);
        eq(staking.delegationAt(a, alice, 2), x, "alice untouched");
    }

    function testFuzz_delegators_pay_by_the_snapshot(uint256 x, uint256 y, uint256 late, uint256 amount) public {
        x = within(x, 1e18, FLOAT / 2);
        y = within(y, 1e18, FLOAT / 4);
        late = within(late, 1e18, FLOAT / 4);
        _delegate(alice, a, x);
        _delegate(bob, a, y);
        _epochs(1);
        _delegate(bob, a, late); // counts from epoch 2
        address carol = _holder("carol", late);
        _delegate(carol, a, late);
        _epochs(1);
        uint256 rest = within(amount, 1, x + y);
        (, uint256 taken) = _slash(a, 1, 1_000e18 + rest);
        near(taken, 1_000e18 + rest, 1, "taken");
        eq(staking.delegatedAt(a, _now() + 1), x + y + 2 * late - (taken - 1_000e18), "counted at once");
        _settle(a, alice);
        _settle(a, bob);
        _settle(a, carol);
        uint256 lossAlice = x - _holds(a, alice);
        uint256 lossBob = y + late - _holds(a, bob);
        eq(_holds(a, carol), late, "a later entrant never pays");
        near(lossAlice, rest * x / (x + y), x / 1e18 + 2, "in proportion");
        near(lossBob, rest * y / (x + y), y / 1e18 + 2, "in proportion, of the snapshot only");
        isTrue(lossAlice + lossBob + 1 >= taken - 1_000e18, "rounded against the delegator");
        eq(staking.slashAt(a, 0).collected, lossAlice + lossBob, "collected is what was lost");
        eq(staking.delegatedAt(a, _now() + 1), x + y + 2 * late - lossAlice - lossBob, "settled");
    }

    function testFuzz_unbonding_is_no_dodge(uint256 x, uint256 part, uint8 wait) public {
        x = within(x, 1e18, FLOAT);
        _delegate(alice, a, x);
        _epochs(1);
        _undelegate(alice, a, within(part, 1, x));
        _epochs(within(wait, 0, 4));
        _slash(a, 1, 1_000e18 + x);
        _settle(a, alice);
        eq(_holds(a, alice), 0, "all gone, wherever it was");
        eq(staking.slashAt(a, 0).collected, x, "all collected");
        _epochs(6);
        vm.expectRevert(IStaking.NothingDue.selector);
        _withdraw(alice, a);
    }

    function testFuzz_redelegating_is_no_dodge(uint256 x, uint256 part, bool leave) public {
        x = within(x, 1e18, FLOAT);
        part = within(part, 1, x);
        _delegate(alice, a, x);
        _epochs(1);
        vm.prank(alice);
        staking.redelegate(a, b, part);
        eq(staking.delegatedAt(b, 2), part, "moved");
        _epochs(1);
        if (leave) _undelegate(alice, b, part);
        _slash(a, 1, 1_000e18 + x);
        // Withdrawing from b settles what is owed at a first.
        _epochs(6);
        vm.expectRevert(IStaking.NothingDue.selector);
        _withdraw(alice, b);
        _settle(a, alice);
        eq(_holds(a, alice) + _holds(b, alice), 0, "all gone");
        eq(staking.slashAt(a, 0).collected, x, "all collected");
        eq(staking.delegatedAt(b, _now() + 1), 0, "b lost it too");
    }

    function testFuzz_redelegated_stake_pays_at_the_new_operator(uint256 x, uint256 amount) public {
        x = within(x, 1e18, FLOAT);
        _delegate(alice, a, x);
        _epochs(1);
        vm.prank(alice);
        staking.redelegate(a, b, x);
        _epochs(1);
        amount = within(amount, 1, x);
        _slash(b, 2, 1_000e18 + amount);
        _settle(b, alice);
        near(_holds(b, alice), x - amount, x / 1e18 + 1, "slashed at b");
        _slash(a, 1, 1_000e18 + x);
        _settle(a, alice);
        eq(_holds(b, alice), 0, "and the rest for a's older offence");
    }

    function testFuzz_redelegation_does_not_chain(uint256 x, uint8 wait) public {
        x = within(x, 3, FLOAT / 2);
        _delegate(alice, a, x);
        _delegate(alice, c, x / 3);
        vm.startPrank(alice);
        staking.redelegate(a, b, x / 3);
        vm.stopPrank();
        _epochs(within(wait, 0, 8));
        vm.startPrank(alice);
        vm.expectRevert(IStaking.RedelegationPending.selector);
        staking.redelegate(b, c, 1); // hop on
        vm.expectRevert(IStaking.RedelegationPending.selector);
        staking.redelegate(a, c, 1); // second target
        vm.expectRevert(IStaking.RedelegationPending.selector);
        staking.redelegate(c, b, 1); // second source
        vm.expectRevert(IStaking.RedelegationPending.selector);
        staking.redelegate(c, a, 1); // into a position with a target
        staking.redelegate(a, b, 1); // the same way again
        vm.stopPrank();
        _epochs(9);
        vm.startPrank(alice);
        staking.redelegate(b, c, 1);
        vm.stopPrank();
    }

    function testFuzz_own_unbonding_is_slashed_too(uint256 part, uint256 amount) public {
        part = within(part, 1, 1_000e18);
        amount = within(amount, 1, 1_000e18);
        vm.prank(a);
        staking.unbond(part);
        _epochs(2);
        eq(staking.slashable(a, 2), 1_000e18, "slashable");
        (, uint256 taken) = _slash(a, 2, amount);
        eq(taken, amount, "taken");
        (uint256 out,) = staking.unbonding(a, a);
        eq(out + staking.bondAt(a, 3), 1_000e18 - amount, "left");
    }

    function testFuzz_slashes_of_one_epoch_never_take_more_than_all(uint256 x, uint256 s1, uint256 s2, uint256 s3)
        public
    {
        x = within(x, 1e18, FLOAT);
        _delegate(alice, a, x);
        _epochs(1);
        s1 = within(s1, 1, 2 * x);
        s2 = within(s2, 1, 2 * x);
        s3 = within(s3, 1, 2 * x);
        (, uint256 t1) = _slash(a, 1, s1);
        _epochs(1);
        (, uint256 t2) = _slash(a, 1, s2);
        (, uint256 t3) = _slash(a, 2, s3);
        atMost(t1 + t2 + t3, 1_000e18 + x + 3, "no more than there was");
        _settle(a, alice);
        atMost(
            1_000e18 + x,
            _holds(a, alice) + staking.bondAt(a, _now() + 1) + t1 + t2 + t3 + 10 + 3 * x / 1e18,
            "what is gone was taken"
        );
        eq(
            _holds(a, alice) + staking.slashAt(a, 0).collected + staking.slashAt(a, 1).collected
                + staking.slashAt(a, 2).collected,
            x,
            "conserved"
        );
    }

    function testFuzz_settling_early_or_late_is_the_same(uint256 x, uint256 s1, uint256 s2) public {
        x = within(x, 1e18, FLOAT / 2);
        _delegate(alice, a, x);
        _delegate(bob, a, x);
        _epochs(1);
        _slash(a, 1, 1_000e18);
        s1 = within(s1, 1, x);
        s2 = within(s2, 1, x);
        _slash(a, 1, s1);
        _settle(a, alice);
        _epochs(2);
        _slash(a, 3, s2);
        _settle(a, bob);
        _settle(a, alice);
        eq(_holds(a, alice), _holds(a, bob), "the same loss");
    }

    function testFuzz_settling_can_be_done_in_parts(uint256 x, uint8 n) public {
        x = within(x, 1e18, FLOAT);
        n = uint8(within(n, 2, 20));
        _delegate(alice, a, x);
        _epochs(1);
        for (uint256 i = 0; i < n; ++i) {
            _slash(a, 1, 1_000e18 + x / 40);
        }
        eq(staking.unsettled(a, alice), n, "unsettled");
        eq(staking.unsettled(a, bob), 0, "bob was never there");
        staking.settle(a, alice, 1);
        eq(staking.unsettled(a, alice), n - 1, "one less");
        _settle(a, alice);
        eq(staking.unsettled(a, alice), 0, "done");
        _settle(a, bob);
        _delegate(bob, a, 1);
        eq(staking.unsettled(a, bob), 0, "new positions start settled");
    }

    function testFuzz_slashing_oneself_never_pays(uint256 own, uint256 x) public {
        own = within(own, 1_000e18, FLOAT);
        address me = _operator(0xe1, own);
        _epochs(1);
        uint256 amount = within(x, 1, own);
        vm.prank(sys.audits);
        (uint256 i,) = staking.slash(me, 1, amount, Offence.Equivocation, stranger);
        _seconds(21);
        staking.release(me, i);
        atMost(token.balanceOf(stranger), amount / 10, "the rebate is a tenth at most");
        isTrue(token.balanceOf(stranger) < amount, "a loss");
    }

    // ------------------------------------------------------------------------------ release, forgive

    function testFuzz_release_waits_and_splits(uint256 amount) public {
        amount = within(amount, 1, 1_000e18);
        _epochs(1);
        _slash(a, 1, amount);
        vm.expectRevert(IStaking.NotReleasable.selector);
        staking.release(a, 0);
        _seconds(20);
        uint256 supply = token.totalSupply();
        staking.release(a, 0);
        uint256 burned = supply - token.totalSupply();
        eq(burned, (amount + 1) / 2, "burn share, rounded up");
        eq(token.balanceOf(sys.treasury), amount - burned, "treasury");
        vm.expectRevert(IStaking.NotReleasable.selector);
        staking.release(a, 0);
        vm.expectRevert(IStaking.NotReleasable.selector);
        vm.prank(sys.timelock);
        staking.forgive(a, 0);
    }

    function testFuzz_what_is_collected_late_burns_late(uint256 x) public {
        x = within(x, 1e18, FLOAT);
        _delegate(alice, a, x);
        _epochs(1);
        _slash(a, 1, 1_000e18 + x);
        _seconds(20);
        staking.release(a, 0);
        _settle(a, alice);
        uint256 supply = token.totalSupply();
        staking.release(a, 0);
        eq(supply - token.totalSupply(), (x + 1) / 2, "the rest burns");
        eq(token.balanceOf(address(staking)), 2_000e18, "nothing of it is left");
    }

    function testFuzz_forgiven_slashes_are_returned(uint256 x, uint256 amount, bool settledBefore) public {
        x = within(x, 1e18, FLOAT);
        amount = within(amount, 1, x);
        _delegate(alice, a, x);
        _epochs(1);
        _slash(a, 1, 1_000e18 + amount);
        isTrue(staking.offendedIn(a, 1), "offended");
        if (settledBefore) _settle(a, alice);
        vm.prank(sys.timelock);
        staking.forgive(a, 0);
        isTrue(!staking.offendedIn(a, 1), "no longer");
        isTrue(staking.slashAt(a, 0).state == SlashState.Forgiven, "state");
        eq(staking.bondAt(a, 2), 1_000e18, "own bond back");
        _settle(a, alice);
        if (settledBefore) {
            vm.prank(alice);
            staking.reclaim(a, 0);
        } else {
            vm.expectRevert(IStaking.NothingDue.selector);
            vm.prank(alice);
            staking.reclaim(a, 0);
        }
        eq(_holds(a, alice), x, "whole again");
        eq(staking.delegatedAt(a, 2), settledBefore ? staking.delegationAt(a, alice, 2) : x, "counted");
        vm.expectRevert(IStaking.NotReleasable.selector);
        staking.release(a, 0);
        _slash(a, 1, 5);
        vm.expectRevert(IStaking.NotReleasable.selector);
        vm.prank(alice);
        staking.reclaim(a, 1);
    }

    function testFuzz_unknown_slashes(uint256 i) public {
        bytes memory no = abi.encodeWithSelector(IStaking.UnknownSlash.selector, a, i);
        vm.expectRevert(no);
        staking.release(a, i);
        vm.expectRevert(no);
        staking.slashAt(a, i);
        vm.expectRevert(no);
        staking.reclaim(a, i);
        vm.expectRevert(no);
        vm.prank(sys.timelock);
        staking.forgive(a, i);
        eq(staking.slashCount(a), 0, "none");
    }

    // -------------------------------------------------------------------------------------- rewards

    function _reward(address operator, uint48 epoch, uint256 amount) internal {
        vm.prank(bank);
        token.transfer(address(staking), amount);
        vm.prank(sys.emissions);
        staking.distribute(operator, 0, epoch, amount);
    }

    function testFuzz_rewards_follow_the_stake_of_their_epoch(uint256 x, uint256 y, uint256 reward) public {
        x = within(x, 1e18, FLOAT);
        y = within(y, 1e18, FLOAT);
        reward = within(reward, 1, 1e24);
        _delegate(alice, a, x);
        _epochs(1);
        _delegate(bob, a, y); // too late for epoch 1
        _epochs(1);
        _reward(a, 1, reward);
        uint256 pool = reward * x / (x + 1_000e18);
        uint256 forAlice = pool - (pool + 9) / 10;
        eq(staking.claimable(a, bob, 0), 0, "bob was not there");
        near(staking.claimable(a, alice, 0), forAlice, 2 + x / 1e18, "alice");
        atMost(staking.claimable(a, alice, 0), forAlice, "rounded down");
        eq(staking.claimable(a, a, 0), reward - forAlice, "the operator has the rest");
        vm.prank(a);
        staking.claim(a, 0);
        _reward(a, 2, reward);
        _epochs(1);
        uint256 before = token.balanceOf(alice);
        uint256 due = staking.claimable(a, alice, 0);
        if (due == 0) return;
        vm.prank(alice);
        staking.claim(a, 0);
        eq(token.balanceOf(alice) - before, due, "paid");
        eq(staking.claimable(a, alice, 0), 0, "once");
    }

    function testFuzz_claims_over_changing_stake(uint256 x, uint256 y, uint256 reward) public {
        x = within(x, 1e18, FLOAT / 2);
        y = within(y, 1e18, FLOAT / 2);
        reward = within(reward, 1e6, 1e24);
        vm.prank(a);
        staking.unbond(1_000e18);
        _delegate(alice, a, x);
        _epochs(1);
        _reward(a, 1, reward);
        _delegate(alice, a, y);
        _epochs(1);
        _delegate(bob, a, x + y);
        _reward(a, 2, reward);
        _epochs(1);
        _reward(a, 3, reward);
        _epochs(1);
        uint256 net = reward - (reward + 9) / 10;
        near(staking.claimable(a, alice, 0), net * 5 / 2, 5 + 3 * (x + y) / 1e18, "all, all, half");
        isTrue(
            staking.rewardPerShare(a, 0, 1) <= staking.rewardPerShare(a, 0, 2)
                && staking.rewardPerShare(a, 0, 2) <= staking.rewardPerShare(a, 0, 3),
            "never decreases"
        );
    }

    function testFuzz_rewards_come_in_order(uint48 first, uint48 second) public {
        _delegate(alice, a, 1e18);
        _epochs(30);
        first = uint48(within(first, 2, 30));
        second = uint48(within(second, 0, first - 1));
        _reward(a, first, 5);
        vm.expectRevert(abi.encodeWithSelector(IStaking.OutOfOrder.selector, second));
        vm.prank(sys.emissions);
        staking.distribute(a, 0, second, 5);
        vm.prank(alice);
        vm.expectRevert(IStaking.NothingDue.selector);
        staking.claim(b, 0);
        vm.prank(b);
        vm.expectRevert(IStaking.NothingDue.selector);
        staking.claim(b, 0);
    }

    function testFuzz_a_reward_of_the_current_epoch_waits(uint256 reward) public {
        reward = within(reward, 1e6, 1e24);
        _delegate(alice, a, 1_000e18);
        _epochs(1);
        vm.prank(bank);
        token.transfer(address(staking), 2 * reward);
        vm.startPrank(sys.governor);
        staking.distribute(a, 1, 1, reward);
        eq(staking.claimable(a, alice, 1), 0, "more may come for this epoch");
        staking.distribute(a, 1, 1, reward);
        vm.stopPrank();
        _epochs(1);
        near(staking.claimable(a, alice, 1), reward * 9 / 10, 4, "both");
        eq(staking.streamAsset(1), sys.token, "stream");
        eq(staking.streamAsset(3), address(usd), "stream of fees");
    }

    function testFuzz_beacons_hold_exits(uint256 x) public {
        x = within(x, 1, 5e18);
        _delegate(alice, a, 5e18);
        _epochs(1);
        (uint64 n,) = _commit(_leaves(1, 0, 0));
        _undelegate(alice, a, x);
        _epochs(6);
        vm.expectRevert(abi.encodeWithSelector(IStaking.BeaconPending.selector, uint48(1)));
        _withdraw(alice, a);
        _capture(n);
        eq(_withdraw(alice, a), x, "anyone frees the exit");
    }

    // ----------------------------------------------------------------------------------- operators

    function testFuzz_registration(uint256 key) public {
        key = within(key, 0x1000, type(uint128).max);
        address d = _operator(key, 100e18);
        isTrue(operators.isActive(d) && operators.isKnown(d), "active");
        eq(operators.slotOf(d), 3, "slot");
        eq(operators.operatorAt(3, 0), address(0), "not yet");
        eq(operators.operatorAt(3, 1), d, "next epoch");
        eq(operators.tableSize(1), 4, "size");
        eq(operators.registeredFrom(d), 1, "from");
        (address hot, uint256 x, uint256 y) = operators.keysAt(d, 1);
        eq(hot, vm.addr(key), "hot");
        eq(x + y, 8 * key, "batch key");
        (hot,,) = operators.keysAt(d, 0);
        eq(hot, address(0), "no keys before");
        eq(operators.operatorOfHotKey(vm.addr(key)), d, "by key");
        eq(operators.commissionAt(d, 1), 0.1e18, "commission");
        eq(operators.servedAt(d, 1), 1, "models");
        Registration memory r = _registration(d, key + 1, 100e18);
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IOperators.AlreadyRegistered.selector, d));
        operators.register(r, "");
        vm.prank(d);
        operators.setUrl("http://elsewhere.example");
    }

    function testFuzz_registration_refusals(uint256 bond, uint256 key) public {
        key = within(key, 0x1000, type(uint128).max);
        address d = _ownerOf(key);
        _give(d, FLOAT);
        _approve(d, sys.staking);
        bond = within(bond, 0, 100e18 - 1);
        Registration memory r = _registration(d, key, bond);
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IOperators.BondTooSmall.selector, bond));
        operators.register(r, "");

        r = _registration(d, 0xa1, 100e18);
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IOperators.InvalidHotKey.selector, vm.addr(0xa1)));
        operators.register(r, "");

        r = _registration(d, key, 100e18);
        r.hotSignature = _sign(key + 1, Messages.hashHotKey(d, r.hotKey, 0));
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IOperators.InvalidHotKey.selector, r.hotKey));
        operators.register(r, "");

        r = _registration(d, key, 100e18);
        r.batchX += 1;
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.BatchKey, 1));
        operators.register(r, "");

        r = _registration(d, key, 100e18);
        r.commission = within(bond, 0.3e18 + 1, type(uint128).max);
        vm.prank(d);
        vm.expectRevert(abi.encodeWithSelector(IOperators.CommissionTooHigh.selector, r.commission));
        operators.register(r, "");

        _set(Param.MaxOperators, 3);
        _epochs(1);
        r = _registration(d, key, 100e18);
        vm.prank(d);
        vm.expectRevert(IOperators.TableFull.selector);
        operators.register(r, "");

        vm.prank(guardian);
        parameters.pause();
        vm.prank(d);
        vm.expectRevert(IOperators.Paused.selector);
        operators.register(r, "");
    }

    function testFuzz_keys_rotate_once_an_epoch(uint256 key) public {
        key = within(key, 0x1000, type(uint128).max);
        bytes memory sig = _sign(key, Messages.hashHotKey(a, vm.addr(key), 1));
        bytes memory proof = _keyProof(a, 7, 8, 1);
        vm.prank(a);
        vm.expectRevert(IOperators.RotationTooSoon.selector);
        operators.rotateKeys(vm.addr(key), sig, 7, 8, 1, proof);
        _epochs(1);
        vm.prank(a);
        operators.rotateKeys(vm.addr(key), sig, 7, 8, 1, proof);
        (address hot,,) = operators.keysAt(a, 1);
        eq(hot, vm.addr(0xa1), "old key this epoch");
        (hot,,) = operators.keysAt(a, 2);
        eq(hot, vm.addr(key), "new key next epoch");
        eq(operators.operatorOfHotKey(vm.addr(0xa1)), a, "old signatures still bind");
    }

    function testFuzz_commission_waits_for_its_notice(uint256 x) public {
        x = within(x, 0, 0.3e18);
        vm.startPrank(a);
        operators.setCommission(x);
        vm.expectRevert(abi.encodeWithSelector(IOperators.CommissionTooHigh.selector, 0.3e18 + 1));
        operators.setCommission(0.3e18 + 1);
        vm.stopPrank();
        eq(operators.commissionAt(a, 1), 0.1e18, "announced");
        eq(operators.commissionAt(a, 2), x, "effective");
        _set(Param.CommissionNotice, 10);
        _epochs(1);
        vm.prank(a);
        operators.setCommission(0.05e18); // from 12
        _set(Param.CommissionNotice, 1);
        _epochs(1);
        vm.prank(a);
        operators.setCommission(0.06e18);
        eq(operators.commissionAt(a, 11), x, "does not overtake");
        eq(operators.commissionAt(a, 12), 0.06e18, "replaces the announcement");
    }

    function testFuzz_slots_are_reused_late(uint256 key) public {
        key = within(key, 0x1000, type(uint128).max);
        _epochs(1);
        vm.prank(b);
        operators.exit();
        eq(operators.operatorAt(1, 1), b, "until the end of the epoch");
        eq(operators.operatorAt(1, 2), address(0), "gone");
        isTrue(!operators.isActive(b) && operators.isKnown(b), "exited");
        vm.prank(b);
        vm.expectRevert(abi.encodeWithSelector(IOperators.NotAnOperator.selector, b));
        operators.setModels(new bytes32[](0));
        address d = _operator(key, 100e18);
        eq(operators.slotOf(d), 3, "a new slot");
        _epochs(20);
        address e = _operator(key + 1, 100e18);
        eq(operators.slotOf(e), 1, "the old one");
        eq(operators.operatorAt(1, 1), b, "history");
    }

    function testFuzz_jail(uint8 again) public {
        vm.expectRevert(abi.encodeWithSelector(IOperators.NotAnOperator.selector, stranger));
        vm.prank(sys.timelock);
        operators.jail(stranger);
        vm.prank(sys.timelock);
        operators.jail(a);
        isTrue(!operators.isJailed(a, 0) && operators.isJailed(a, 1) && operators.isJailed(a, 3), "jailed");
        isTrue(!operators.isJailed(a, 4), "free");
        _epochs(within(again, 1, 9));
        uint48 from = _now() + 1;
        vm.prank(sys.timelock);
        operators.jail(a);
        isTrue(operators.isJailed(a, from) && operators.isJailed(a, from + 2), "again");
        isTrue(operators.isJailed(a, 1), "history");
        vm.expectRevert(abi.encodeWithSelector(IOperators.NotAnOperator.selector, stranger));
        operators.slotOf(stranger);
        vm.prank(a);
        operators.setModels(new bytes32[](0));
        eq(operators.servedAt(a, from), 0, "serves nothing");
    }
}
