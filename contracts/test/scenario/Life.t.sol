// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deployer} from "../../script/Deployer.sol";
import {AuditState} from "../../src/interfaces/IAudits.sol";
import {BatchHeader, Opening} from "../../src/interfaces/IRollup.sol";
import {SlashState} from "../../src/interfaces/IStaking.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

/// @dev Whole lives through all contracts.
contract LifeTest is World {
    address internal node;
    address internal alice;

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        alice = _holder("alice", 10_000e18);
        _delegate(alice, node, 3_000e18);
        _epochs(1);
    }

    function test_wiring_is_verified() public view {
        Deployer.verify(sys);
    }

    function test_epoch_is_proved_and_its_rewards_reach_the_delegator() public {
        (uint64 number,,) = _finalBatch(3, 0);
        _skipTo(1);
        eq(rollup.batch(number).epoch, 1, "epoch");
        uint256[] memory cells = _list(_cell(0.5e18, 1e18, 50e9));
        uint256[] memory fees = _list(0, 0);
        _proveEpoch(cells, fees);
        uint256 pot = emissions.scheduled(1) * 8 / 10;
        eq(emissions.potOf(1, 0), pot, "pot is the model's weight of the schedule");
        uint256 tax = pot / 80;
        near(token.balanceOf(address(treasury)), tax, 1, "treasury gets 2.5% of what is earned");
        _vest(1);
        emissions.claim(node, _row(0, cells, fees), new bytes32[](0));
        uint256 net = pot / 2 - tax;
        uint256 delegators = net * 3 / 4 * 9 / 10;
        near(staking.claimable(node, alice, 0), delegators, 10, "alice");
        near(staking.claimable(node, node, 0), net - delegators, 10, "node");
        uint256 before = token.balanceOf(alice);
        vm.prank(alice);
        staking.claim(node, 0);
        near(token.balanceOf(alice) - before, delegators, 10, "paid");
    }

    function test_a_demand_that_times_out_slashes_own_bond_first_and_burns_after_escrow() public {
        (uint64 number, BatchHeader memory h, uint256[3][] memory leaves) = _finalBatch(3, 0);
        _give(stranger, 100e18);
        vm.prank(stranger);
        token.approve(address(audits), type(uint256).max);
        Opening memory o = _open(leaves, 1);
        vm.prank(stranger);
        bytes32 id = audits.demand(number, h, o);
        _seconds(61);
        audits.timeout(id);
        isTrue(audits.audit(id).state == AuditState.Failed, "failed");
        eq(token.balanceOf(stranger), 100e18, "fee back");
        eq(staking.bondAt(node, staking.currentEpoch() + 1), 800e18, "own bond first");
        eq(staking.delegatedAt(node, staking.currentEpoch() + 1), 3_000e18, "delegators untouched");
        _seconds(21);
        uint256 supply = token.totalSupply();
        staking.release(node, 0);
        isTrue(staking.slashAt(node, 0).state == SlashState.Burned, "burned");
        eq(supply - token.totalSupply(), 95e18, "half of what is left after the rebate burns");
        eq(token.balanceOf(stranger), 110e18, "rebate of 5%");
        eq(token.balanceOf(address(treasury)), 95e18, "treasury");
    }
}
