// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {Row} from "../../src/interfaces/IEpochs.sol";
import {Evidence, IMonaiGovernor, ProposalKind, Vote} from "../../src/interfaces/IMonaiGovernor.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {IStaking, Offence} from "../../src/interfaces/IStaking.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

contract GovernorTest is World {
    address internal a;
    address internal b;
    address internal alice;
    Evidence internal none;

    function setUp() public override {
        super.setUp();
        a = _operator(0xa1, 2_000e18);
        b = _operator(0xa2, 1_000e18);
        alice = _holder("alice", FLOAT);
        _delegate(alice, a, 4_000e18);
        _approve(a, sys.governor);
        _approve(b, sys.governor);
        _give(sys.treasury, 1_000e18);
        _epochs(1);
    }

    function _propose(ProposalKind kind, address target, bytes memory call, uint256 reward, string memory text)
        internal
        returns (uint256)
    {
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(target, call);
        vm.prank(a);
        return governor.proposeAs(kind, t, v, c, text, reward, none);
    }

    function _call(address target, bytes memory call)
        internal
        pure
        returns (address[] memory t, uint256[] memory v, bytes[] memory c)
    {
        t = new address[](1);
        v = new uint256[](1);
        c = new bytes[](1);
        t[0] = target;
        c[0] = call;
    }

    function _vote(uint256 id, address who, Vote v) internal {
        vm.prank(who);
        governor.castVote(id, uint8(v));
    }

    function _execute(address target, bytes memory call, string memory text) internal {
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(target, call);
        governor.queue(t, v, c, keccak256(bytes(text)));
        _seconds(5 * EPOCH + 1);
        governor.execute(t, v, c, keccak256(bytes(text)));
    }

    function _setCall(uint256 value) internal view returns (bytes memory) {
        Param[] memory ps = new Param[](1);
        ps[0] = Param.AuditSlash;
        return abi.encodeCall(parameters.set, (ps, _list(value)));
    }

    function testFuzz_a_methodology_passes_and_pays(uint256 reward) public {
        reward = within(reward, 0, 50e18);
        bytes memory call = _setCall(150e18);
        uint256 id = _propose(ProposalKind.Methodology, sys.parameters, call, reward, "lower the slash");
        eq(token.balanceOf(sys.governor), 100e18, "bond");
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NotSettled.selector, id));
        governor.settle(id);
        _epochs(2);
        _vote(id, a, Vote.For);
        _vote(id, b, Vote.Against);
        isTrue(governor.hasVoted(id, a), "voted");
        _epochs(4);
        _execute(sys.parameters, call, "lower the slash");
        _epochs(1);
        eq(parameters.get(Param.AuditSlash), 150e18, "in force");
        uint256 before = token.balanceOf(a);
        governor.settle(id);
        eq(token.balanceOf(a) - before, 100e18, "bond back");
        uint256 shared = reward * 2 / 3 * 9 / 10;
        _epochs(1);
        near(staking.claimable(a, alice, 1), shared, 5, "delegators share the reward");
        near(staking.claimable(a, a, 1), reward - shared, 5, "the operator has the rest");
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NotSettled.selector, id));
        governor.settle(id);
        isTrue(governor.terms(id).settled, "settled");
    }

    function test_a_model_is_adopted() public {
        bytes memory call = abi.encodeCall(models.register, (_model(MODEL2, 100)));
        uint256 id = _propose(ProposalKind.AdoptModel, sys.models, call, 50e18, "adopt");
        _epochs(2);
        _vote(id, a, Vote.For);
        _epochs(4);
        _execute(sys.models, call, "adopt");
        governor.settle(id);
        isTrue(models.isActive(MODEL2, 100), "adopted");
    }

    function test_hardware_is_announced_and_defeat_returns_the_bond() public {
        bytes memory call = abi.encodeCall(models.setHardware, (MODEL, "digest", "https://hardware.example"));
        uint256 id = _propose(ProposalKind.Hardware, sys.models, call, 25e18, "hardware");
        _epochs(2);
        _vote(id, a, Vote.Against);
        _epochs(4);
        uint256 before = token.balanceOf(a);
        governor.settle(id);
        eq(token.balanceOf(a) - before, 100e18, "bond back");
        eq(staking.slashCount(a), 0, "not wasteful, not slashed");
    }

    function test_a_degraded_operator_is_reported_on_proved_metrics() public {
        _finalBatch(2, 0);
        _skipTo(1);
        uint256[] memory cells = _list(_cell(0.5e18, 1e18, 5e9), _cell(0.1e18, 0.3e18, 5e9));
        uint256[] memory fees = new uint256[](4);
        _proveEpoch(cells, fees);
        Evidence memory e;
        e.operator = b;
        e.epoch = 1;
        e.row = Row(1, _list(cells[1]), _list(0, 0));
        e.proof = new bytes32[](1);
        e.proof[0] = keccak256(bytes.concat(keccak256(abi.encode(uint16(0), _list(cells[0]), _list(0, 0)))));
        _refuseOtherEvidence(e, cells);
        bytes memory call = abi.encodeCall(operators.jail, (b));
        uint256 id = _report(b, e);
        _epochs(2);
        _vote(id, a, Vote.For);
        _epochs(4);
        uint256 stake = staking.bondAt(b, staking.currentEpoch());
        _execute(sys.operators, call, "report");
        governor.settle(id);
        isTrue(operators.isJailed(b, staking.currentEpoch() + 1), "jailed");
        eq(staking.bondAt(b, staking.currentEpoch() + 1), stake, "never takes");
    }

    function _refuseOtherEvidence(Evidence memory e, uint256[] memory cells) internal {
        Evidence memory bad = abi.decode(abi.encode(e), (Evidence));
        bad.operator = a;
        _noEvidence(b, bad);
        bad = abi.decode(abi.encode(e), (Evidence));
        bad.model = 1;
        _noEvidence(b, bad);
        bad = abi.decode(abi.encode(e), (Evidence));
        bad.row = Row(0, _list(cells[0]), _list(0, 0));
        _noEvidence(b, bad);
        // A node above the minimum can't be reported with its own row.
        bad.operator = a;
        bad.proof[0] = keccak256(bytes.concat(keccak256(abi.encode(uint16(1), _list(cells[1]), _list(0, 0)))));
        _noEvidence(a, bad);
    }

    function _report(address who, Evidence memory e) internal returns (uint256) {
        (address[] memory t, uint256[] memory v, bytes[] memory c) =
            _call(sys.operators, abi.encodeCall(operators.jail, (who)));
        vm.prank(a);
        return governor.proposeAs(ProposalKind.ReportOperator, t, v, c, "report", 10e18, e);
    }

    function _noEvidence(address who, Evidence memory e) internal {
        (address[] memory t, uint256[] memory v, bytes[] memory c) =
            _call(sys.operators, abi.encodeCall(operators.jail, (who)));
        vm.expectRevert(IMonaiGovernor.InsufficientEvidence.selector);
        vm.prank(a);
        governor.proposeAs(ProposalKind.ReportOperator, t, v, c, "report", 1e18, e);
    }

    function test_wasteful_proposals_cost_the_bond_and_slash_the_node() public {
        uint256 id = _propose(ProposalKind.Methodology, sys.parameters, _setCall(150e18), 1e18, "waste");
        _epochs(2);
        _vote(id, b, Vote.Wasteful);
        vm.prank(alice);
        governor.castOverride(id, a, uint8(Vote.Wasteful));
        _vote(id, a, Vote.For);
        isTrue(governor.isWasteful(id), "wasteful");
        _epochs(4);
        uint256 supply = token.totalSupply();
        governor.settle(id);
        eq(supply - token.totalSupply(), 100e18, "bond burned");
        isTrue(staking.slashAt(a, 0).offence == Offence.Wasteful, "slashed");
        eq(staking.slashAt(a, 0).ownTaken, 100e18, "own bond");
    }

    function testFuzz_delegators_override_before_or_after(bool before, uint8 support) public {
        support = uint8(within(support, 0, 3));
        uint256 id = _propose(ProposalKind.Methodology, sys.parameters, _setCall(150e18), 0, "override");
        _epochs(2);
        if (!before) _vote(id, a, Vote.For);
        vm.prank(alice);
        eq(governor.castOverride(id, a, support), 4_000e18, "weight");
        if (before) _vote(id, a, Vote.For);
        uint256[4] memory v = governor.tally(id);
        eq(v[uint8(Vote.For)], support == uint8(Vote.For) ? 6_000e18 : 2_000e18, "for");
        eq(v[0] + v[1] + v[2] + v[3], 6_000e18, "each token once");
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.AlreadyVoted.selector, alice));
        governor.castOverride(id, a, support);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NoVotes.selector, alice));
        governor.castOverride(id, b, support);
        vm.prank(a);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.AlreadyVoted.selector, a));
        governor.castVote(id, support);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NoVotes.selector, stranger));
        governor.castVote(id, support);
    }

    function testFuzz_vote_refusals(uint8 support) public {
        support = uint8(within(support, 4, 255));
        uint256 id = _propose(ProposalKind.Methodology, sys.parameters, _setCall(150e18), 0, "refuse");
        vm.prank(alice);
        vm.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        governor.castOverride(id, a, 1);
        _epochs(2);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.InvalidVote.selector, support));
        governor.castOverride(id, a, support);
        vm.prank(a);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.InvalidVote.selector, support));
        governor.castVote(id, support);
    }

    function testFuzz_kinds_may_call_only_their_own(address target, bytes4 selector, uint8 which) public {
        vm.assume(target != sys.models && target != sys.operators);
        ProposalKind kind = ProposalKind(which % 4);
        if (kind == ProposalKind.Methodology) target = which % 8 < 4 ? sys.models : sys.operators;
        _forbidden(kind, target, selector);
        _forbidden(ProposalKind.AdoptModel, sys.models, models.setHardware.selector);
        if (selector != models.setHardware.selector) _forbidden(ProposalKind.Hardware, sys.models, selector);
        if (selector != timelock.updateDelay.selector) _forbidden(ProposalKind.Methodology, sys.timelock, selector);
        if (selector != operators.jail.selector) _forbidden(ProposalKind.ReportOperator, sys.operators, selector);
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(sys.models, "ab");
        vm.prank(a);
        vm.expectRevert(
            abi.encodeWithSelector(IMonaiGovernor.ForbiddenCall.selector, ProposalKind.Hardware, sys.models, bytes4(0))
        );
        governor.proposeAs(ProposalKind.Hardware, t, v, c, "x", 0, none);
    }

    function _forbidden(ProposalKind kind, address target, bytes4 selector) internal {
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(target, abi.encodePacked(selector));
        vm.prank(a);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.ForbiddenCall.selector, kind, target, selector));
        governor.proposeAs(kind, t, v, c, "x", 0, none);
    }

    function testFuzz_rewards_are_capped(uint8 which, uint256 reward) public {
        which %= 3;
        uint256 cap = parameters.get(Param(uint256(Param.RewardAdoptModel) + which));
        reward = within(reward, cap + 1, type(uint256).max);
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(
            which == 2 ? sys.parameters : sys.models,
            abi.encodePacked(which == 1 ? models.setHardware.selector : models.register.selector)
        );
        vm.prank(a);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.RewardAboveCap.selector, reward, cap));
        governor.proposeAs(ProposalKind(which), t, v, c, "x", reward, none);
    }

    function test_cancelled_proposals_return_the_bond() public {
        bytes memory call = _setCall(150e18);
        uint256 id = _propose(ProposalKind.Methodology, sys.parameters, call, 0, "cancel");
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _call(sys.parameters, call);
        vm.prank(a);
        governor.cancel(t, v, c, keccak256("cancel"));
        uint256 before = token.balanceOf(a);
        governor.settle(id);
        eq(token.balanceOf(a) - before, 100e18, "bond back");
    }

    function test_settings() public {
        eq(governor.votingDelay(), 1, "delay");
        eq(governor.votingPeriod(), 2, "period");
        eq(governor.proposalThreshold(), 0, "threshold");
        _epochs(1);
        eq(governor.quorum(1), 700e18, "quorum");
        eq(governor.clock(), 2, "clock");
        eq(keccak256(bytes(governor.CLOCK_MODE())), keccak256("mode=epoch"), "mode");
        isTrue(bytes(governor.COUNTING_MODE()).length > 0, "counting");
        isTrue(governor.proposalNeedsQueuing(1), "queued");
    }
}
