// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Shares} from "../../src/libraries/Shares.sol";

/// @dev Conservation of stake and rewards, proved by halmos for every split of the bounded amounts
/// below. The total, the reward and the slash run through concrete values, the split is unknown:
/// products of several unknowns are out of reach of the solvers, and the fuzz tests and invariants
/// cover the full range. Names begin with check_, so that forge does not run them.
contract SharesProofs {
    uint256 private constant TOTAL = 5;

    /// @dev Two delegators who hold all of the stake never get more than the reward.
    function check_rewards_never_exceed_what_was_distributed(uint8 a) external pure {
        if (a > TOTAL) return;
        for (uint256 part = 1; part <= 4; ++part) {
            uint256 rate = Shares.perShare(part, TOTAL);
            assert((a * rate) / Shares.PRECISION + ((TOTAL - a) * rate) / Shares.PRECISION <= part);
        }
    }

    /// @dev Delegators' part never exceeds the reward, whatever the own bond.
    function check_delegators_get_at_most_the_reward(uint8 amount) external pure {
        for (uint256 own = 0; own <= 4; ++own) {
            assert(Shares.toDelegators(amount, TOTAL, own, 0.1e18) <= amount);
        }
    }

    /// @dev The losses of all delegators cover the target of a slash, and exceed it by less than one
    /// unit a delegator and one for the rounding of the fraction.
    function check_losses_cover_the_slash(uint8 a) external pure {
        if (a > TOTAL) return;
        for (uint256 target = 1; target <= 4; ++target) {
            uint256 f = Shares.fraction(target, TOTAL);
            uint256 sum = Shares.loss(a, f) + Shares.loss(TOTAL - a, f);
            assert(sum >= target);
            assert(sum <= target + 3);
        }
    }

    /// @dev Nobody loses more than everything.
    function check_a_loss_is_at_most_the_stake(uint8 stake) external pure {
        for (uint256 target = 1; target <= 4; ++target) {
            assert(Shares.loss(stake, Shares.fraction(target, TOTAL)) <= stake);
        }
    }

    /// @dev Who was not there loses nothing.
    function check_no_stake_no_loss(uint64 fraction) external pure {
        if (fraction > Shares.WAD) return;
        assert(Shares.loss(0, fraction) == 0);
    }
}
