// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Slash, SlashState} from "../../src/interfaces/IStaking.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";
import {Handler} from "./Handler.sol";

/// @dev Stake and rewards under any order of delegate, slash, unbond, claim and what else there is.
contract StakingInvariants is World {
    Handler internal handler;
    address[] internal ops;
    address[] internal people;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < 3; ++i) {
            ops.push(_operator(0xa0 + i, 1_000e18));
        }
        for (uint256 i = 0; i < 4; ++i) {
            people.push(_holder(vm.toString(i), 20 * FLOAT));
        }
        _epochs(2);
        handler = new Handler(sys, bank, ops, people);
        for (uint256 i = 0; i < 12; ++i) {
            handler.delegate(i % 4, i / 4, 1e21);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One campaign for all sentences below: each call of the handler is checked against all.
    function invariant_stake_and_rewards() external view {
        _stake_is_conserved();
        _books_balance();
        _rewards_claimed_never_exceed_rewards();
        _reward_per_share_never_decreases();
        _later_entrants_never_pay();
        _exits_are_never_blocked();
        _supply_is_within_the_cap();
        _votes_are_stake();
    }

    function _stake_is_conserved() internal view {
        uint256 owed;
        for (uint256 o = 0; o < 3; ++o) {
            owed += staking.bondAt(ops[o], staking.currentEpoch() + 1);
            (uint256 out,) = staking.unbonding(ops[o], ops[o]);
            owed += out + staking.claimable(ops[o], ops[o], 0);
            for (uint256 h = 0; h < 4; ++h) {
                (out,) = staking.unbonding(ops[o], people[h]);
                owed += out + staking.delegationAt(ops[o], people[h], staking.currentEpoch() + 1)
                    + staking.claimable(ops[o], people[h], 0);
            }
            owed += _escrow(ops[o]);
        }
        atMost(owed, token.balanceOf(sys.staking), "everything owed is there");
    }

    function _books_balance() internal view {
        uint256 held = handler.deposited() + 3_000e18 + handler.rewarded() - handler.withdrawn() - handler.claimed()
            - handler.disposed();
        eq(token.balanceOf(sys.staking), held, "nothing comes or goes but by the books");
    }

    function _rewards_claimed_never_exceed_rewards() internal view {
        atMost(handler.claimed(), handler.rewarded(), "rewards");
    }

    function _reward_per_share_never_decreases() internal view {
        isTrue(!handler.decreased(), "reward per share, or a slash above its amount");
    }

    function _later_entrants_never_pay() internal view {
        isTrue(!handler.lateEntrantPaid(), "late entrant");
    }

    function _exits_are_never_blocked() internal view {
        isTrue(!handler.exitBlocked(), "exit");
    }

    function _supply_is_within_the_cap() internal view {
        atMost(token.totalSupply(), token.cap(), "cap");
    }

    function _votes_are_stake() internal view {
        uint256 votes;
        uint48 e = staking.currentEpoch();
        for (uint256 o = 0; o < 3; ++o) {
            votes += staking.getPastVotes(ops[o], e);
            uint256 parts;
            for (uint256 h = 0; h < 4; ++h) {
                parts += staking.delegatorVotes(ops[o], people[h], e);
            }
            atMost(parts, staking.delegatedAt(ops[o], e), "parts of the operator's votes");
        }
        eq(staking.getPastTotalSupply(e), votes, "the total is the sum");
    }

    /// @dev What slashes hold that is neither disposed of nor given back.
    function _escrow(address op) internal view returns (uint256 sum) {
        for (uint256 k = 0; k < staking.slashCount(op); ++k) {
            Slash memory s = staking.slashAt(op, k);
            if (s.state != SlashState.Forgiven) sum += uint256(s.ownTaken) + s.collected - s.disposed;
        }
    }

    /// @dev Every action must do something in at least a fifth of its calls, or it proves little.
    function afterInvariant() external view {
        bytes32[13] memory actions = [
            bytes32("delegate"),
            "undelegate",
            "redelegate",
            "bond",
            "unbond",
            "withdraw",
            "slash",
            "settle",
            "release",
            "forgive",
            "reward",
            "claim",
            "pass"
        ];
        for (uint256 i = 0; i < actions.length; ++i) {
            uint256 n = handler.calls(actions[i]);
            // Too few calls in one run say nothing about a rate.
            if (n < 8) continue;
            isTrue(5 * handler.effective(actions[i]) >= n, string(abi.encodePacked(actions[i])));
        }
    }
}
