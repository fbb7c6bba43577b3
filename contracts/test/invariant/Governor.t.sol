// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {MonaiGovernor} from "../../src/MonaiGovernor.sol";
import {Parameters} from "../../src/Parameters.sol";
import {Staking} from "../../src/Staking.sol";
import {System} from "../../src/System.sol";
import {Token} from "../../src/Token.sol";
import {Evidence, ProposalKind, Vote} from "../../src/interfaces/IMonaiGovernor.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";
import {Counted} from "./Counted.sol";

/// @dev Two operators who propose, vote and settle, and a delegator who overrides.
contract GovernorHandler is Counted {
    MonaiGovernor internal immutable GOVERNOR;
    Staking internal immutable STAKING;
    Token internal immutable TOKEN;
    System internal sys;
    address[2] internal operators;
    address internal immutable DELEGATOR;
    uint256 internal constant BOND = 100e18;
    uint256 internal constant CAP = 50e18;

    struct Proposed {
        uint256 id;
        address target;
        bytes call;
        string text;
        bool settled;
        address operator;
    }

    Proposed[] internal _all;

    // Books.
    uint256 public locked;
    uint256 public rewarded;
    uint256 public burned;
    uint256 public wasteful;
    bool public settledTwice;
    bool public bondKept;

    constructor(System memory s, address[2] memory operators_, address delegator) {
        sys = s;
        GOVERNOR = MonaiGovernor(payable(s.governor));
        STAKING = Staking(s.staking);
        TOKEN = Token(s.token);
        operators = operators_;
        DELEGATOR = delegator;
    }

    function propose(uint256 o, uint256 reward) public counted("propose") {
        Proposed storage p = _all.push();
        p.operator = operators[o % 2];
        p.text = vm.toString(_all.length);
        Param[] memory ps = new Param[](1);
        uint256[] memory vs = new uint256[](1);
        // Some can't be executed: the value is out of bounds, so the bond would be stuck.
        (ps[0], vs[0]) = (Param.AuditSlash, reward % 5 == 0 ? 0 : 200e18);
        (p.target, p.call) = (sys.parameters, abi.encodeCall(Parameters.set, (ps, vs)));
        p.id = _submit(p, within(reward, 0, CAP));
        locked += BOND;
        _did("propose");
    }

    function _submit(Proposed storage p, uint256 reward) internal returns (uint256) {
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _calls(p);
        Evidence memory none;
        vm.prank(p.operator);
        return GOVERNOR.proposeAs(ProposalKind.Methodology, t, v, c, p.text, reward, none);
    }

    function cancel(uint256 i) public counted("cancel") {
        propose(i, 1);
        Proposed storage p = _all[_all.length - 1];
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _calls(p);
        vm.prank(p.operator);
        GOVERNOR.cancel(t, v, c, keccak256(bytes(p.text)));
        _did("cancel");
    }

    function vote(uint256 i, uint8 a, uint8 b, bool overrides) external counted("vote") {
        (Proposed storage p, bool found) = _in(i, IGovernor.ProposalState.Active, true);
        if (!found) return;
        for (uint256 k = 0; k < 2; ++k) {
            if (GOVERNOR.hasVoted(p.id, operators[k])) continue;
            vm.prank(operators[k]);
            GOVERNOR.castVote(p.id, _support(k == 0 ? a : b));
        }
        if (overrides) {
            vm.prank(DELEGATOR);
            try GOVERNOR.castOverride(p.id, operators[0], _support(b)) {} catch {}
        }
        _did("vote");
    }

    /// @dev For more often than not, so that something passes.
    function _support(uint8 x) internal pure returns (uint8) {
        return x < 128 ? uint8(Vote.For) : x % 4;
    }

    function run(uint256 i) external counted("run") {
        // Takes what has passed; if nothing has, a proposal of its own does.
        (Proposed storage p, bool found) = _in(i, IGovernor.ProposalState.Succeeded, false);
        if (!found) {
            _passing(i);
            (p, found) = _in(i, IGovernor.ProposalState.Succeeded, false);
        }
        if (!found) return;
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _calls(p);
        bytes32 hash = keccak256(bytes(p.text));
        GOVERNOR.queue(t, v, c, hash);
        vm.warp(GOVERNOR.proposalEta(p.id) + 1);
        try GOVERNOR.execute(t, v, c, hash) {}
        catch {
            vm.warp(block.timestamp + 30 days);
        }
        _did("run");
    }

    /// @dev A proposal that both operators vote for.
    function _passing(uint256 i) internal {
        propose(i, i % 9);
        uint256 id = _all[_all.length - 1].id;
        _pass(2);
        for (uint256 k = 0; k < 2; ++k) {
            vm.prank(operators[k]);
            GOVERNOR.castVote(id, uint8(Vote.For));
        }
        _pass(2);
    }

    function settle(uint256 i) external counted("settle") {
        if (!_settleOne(i)) {
            cancel(i);
            if (!_settleOne(i)) return;
        }
        _did("settle");
    }

    function _settleOne(uint256 i) internal returns (bool) {
        uint256 n = _all.length;
        for (uint256 k = 0; k < n; ++k) {
            Proposed storage p = _all[(i % n + k) % n];
            if (_settle(p)) return true;
        }
        return false;
    }

    function _settle(Proposed storage p) internal returns (bool) {
        bool again = p.settled;
        uint256 mine = TOKEN.balanceOf(p.operator);
        uint256 supply = TOKEN.totalSupply();
        uint256 treasury = TOKEN.balanceOf(sys.treasury);
        uint256 slashes = STAKING.slashCount(p.operator);
        try GOVERNOR.settle(p.id) {}
        catch {
            return false;
        }
        if (again) settledTwice = true;
        p.settled = true;
        locked -= BOND;
        rewarded += treasury - TOKEN.balanceOf(sys.treasury);
        if (STAKING.slashCount(p.operator) > slashes) {
            ++wasteful;
            burned += supply - TOKEN.totalSupply();
        } else if (TOKEN.balanceOf(p.operator) - mine != BOND) {
            bondKept = true;
        }
        return true;
    }

    function pass(uint256 n) external counted("pass") {
        _pass(within(n, 1, 2));
        _did("pass");
    }

    function _pass(uint256 n) internal {
        vm.warp(STAKING.epochStart(STAKING.currentEpoch() + uint48(n)));
    }

    /// @dev A proposal in a state, from a random start; time may pass until there is one.
    function _in(uint256 i, IGovernor.ProposalState state, bool wait)
        internal
        returns (Proposed storage p, bool found)
    {
        p = _all[0];
        for (uint256 t = 0; t < 3; ++t) {
            for (uint256 k = 0; k < _all.length; ++k) {
                p = _all[(i % 97 + k) % _all.length];
                if (GOVERNOR.state(p.id) == state) return (p, true);
            }
            if (!wait) break;
            if (t == 0 && state == IGovernor.ProposalState.Active) propose(i, i % 9);
            _pass(1);
        }
    }

    function _calls(Proposed storage p)
        internal
        view
        returns (address[] memory t, uint256[] memory v, bytes[] memory c)
    {
        (t, v, c) = (new address[](1), new uint256[](1), new bytes[](1));
        (t[0], c[0]) = (p.target, p.call);
    }

    function unsettled() external view returns (uint256 n) {
        for (uint256 i = 0; i < _all.length; ++i) {
            if (!GOVERNOR.terms(_all[i].id).settled) ++n;
        }
    }

    function count() external view returns (uint256) {
        return _all.length;
    }
}

contract GovernorInvariants is World {
    GovernorHandler internal handler;

    function setUp() public override {
        super.setUp();
        address[2] memory ops = [_operator(0xa0, 50_000e18), _operator(0xa1, 20_000e18)];
        address alice = _holder("alice", FLOAT);
        _delegate(alice, ops[0], 10_000e18);
        for (uint256 i = 0; i < 2; ++i) {
            _approve(ops[i], sys.governor);
        }
        _give(sys.treasury, 10_000e18);
        _epochs(1);
        handler = new GovernorHandler(sys, ops, alice);
        handler.propose(0, 1);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_bonds_of_proposals() external view {
        eq(token.balanceOf(sys.governor), handler.locked(), "the governor holds the bonds of open proposals");
        eq(handler.locked(), 100e18 * handler.unsettled(), "one bond each");
        eq(handler.burned(), 100e18 * handler.wasteful(), "only waste burns a bond");
        isTrue(!handler.settledTwice(), "settled once");
        isTrue(!handler.bondKept(), "everyone else gets it back, whole");
        atMost(handler.rewarded(), 50e18 * handler.count(), "rewards stay below their cap");
        eq(token.balanceOf(sys.treasury), 10_000e18 - handler.rewarded(), "the treasury pays nothing else");
    }

    function afterInvariant() external view {
        bytes32[] memory actions = new bytes32[](6);
        (actions[0], actions[1], actions[2]) = ("propose", "cancel", "vote");
        (actions[3], actions[4], actions[5]) = ("run", "settle", "pass");
        handler.requireEffective(actions);
    }
}
