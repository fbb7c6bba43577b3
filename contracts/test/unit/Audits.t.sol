// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {AuditState, IAudits} from "../../src/interfaces/IAudits.sol";
import {IInbox, RequestState} from "../../src/interfaces/IInbox.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {BatchHeader, Opening} from "../../src/interfaces/IRollup.sol";
import {IStaking} from "../../src/interfaces/IStaking.sol";
import {Circuit, IVerifierRegistry} from "../../src/interfaces/IVerifier.sol";
import {LeafCodec, LeafMeta} from "../../src/libraries/LeafCodec.sol";
import {Messages} from "../../src/libraries/Messages.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

contract AuditsTest is World {
    address internal node;
    uint64 internal number;
    BatchHeader internal header;
    uint256[3][] internal leaves;

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        _epochs(1);
        uint256[3][] memory l;
        (number, header, l) = _finalBatch(6, 0);
        for (uint256 i = 0; i < l.length; ++i) {
            leaves.push(l[i]);
        }
        _give(stranger, 1_000e18);
        _approve(stranger, sys.audits);
    }

    function _inferenceProof(Opening memory o) internal view returns (bytes memory) {
        LeafMeta memory m = LeafCodec.unpack(o.meta);
        uint256[] memory s = new uint256[](7);
        bytes32 w = models.model(MODEL).weightCommitment;
        s[0] = uint256(w) >> 128;
        s[1] = uint128(uint256(w));
        s[2] = o.r;
        s[3] = o.o;
        s[4] = m.nIn;
        s[5] = m.nOut;
        s[6] = m.finish;
        return _stamp(s);
    }

    function _demand(uint32 index) internal returns (bytes32 id, Opening memory o) {
        o = _open(leaves, index);
        vm.prank(stranger);
        id = audits.demand(number, header, o);
    }

    function testFuzz_selection_can_be_recomputed(uint32 index) public {
        index %= 6;
        bytes32 beacon = rollup.beaconOf(rollup.batch(number).beaconBlock);
        bool forced = uint256(keccak256(abi.encode(beacon, sys.rollup, number))) % 6 == index;
        bool drawn =
            uint256(keccak256(abi.encode(beacon, sys.rollup, number, index))) < type(uint256).max / 1e18 * 0.2e18;
        isTrue(audits.isSelected(number, 6, index) == (forced || drawn), "rule");
        Opening memory o = _open(leaves, index);
        if (forced || drawn) {
            bytes32 id = audits.openSelected(number, header, o);
            isTrue(!audits.audit(id).demanded && audits.audit(id).fee == 0, "no fee");
            eq(audits.openCount(node), 1, "open");
        } else {
            vm.expectRevert(abi.encodeWithSelector(IAudits.NotSelected.selector, number, index));
            audits.openSelected(number, header, o);
        }
        (uint64 n,) = _commit(_leaves(2, 0, 77));
        isTrue(!audits.isSelected(n, 2, 0), "no beacon, no selection");
        isTrue(!audits.isSelected(number, 0, 0), "no leaves, no selection");
    }

    function testFuzz_a_proof_earns_the_fee(uint32 index) public {
        (bytes32 id, Opening memory o) = _demand(index % 6);
        uint256 before = token.balanceOf(node);
        audits.prove(id, MODEL, o.r, o.o, o.meta, _inferenceProof(o));
        eq(token.balanceOf(node) - before, 0.8e18, "fee less the burned part");
        isTrue(audits.audit(id).state == AuditState.Passed, "passed");
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotOpen.selector, id));
        audits.prove(id, MODEL, o.r, o.o, o.meta, "");
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotOpen.selector, id));
        audits.timeout(id);
        vm.expectRevert(abi.encodeWithSelector(IAudits.AlreadyAudited.selector, id));
        audits.demand(number, header, o);
    }

    function testFuzz_proof_refusals(uint256 x) public {
        (bytes32 id, Opening memory o) = _demand(0);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Inference, 1));
        audits.prove(id, MODEL, o.r, o.o, o.meta, abi.encode(x));
        bytes memory proof = _inferenceProof(o);
        vm.assume(x != o.o);
        vm.expectPartialRevert(IAudits.WrongStatement.selector);
        audits.prove(id, MODEL, o.r, x, o.meta, proof);
        uint256 deadline = audits.audit(id).deadline;
        eq(deadline, block.timestamp + 60, "D(S)");
        vm.warp(deadline + within(x, 1, 1e6));
        vm.expectRevert(abi.encodeWithSelector(IAudits.WindowOver.selector, deadline));
        audits.prove(id, MODEL, o.r, o.o, o.meta, proof);
    }

    function testFuzz_queue_gives_each_its_time(uint8 n) public {
        n = uint8(within(n, 1, 6));
        bytes32 id;
        for (uint32 i = 0; i < n; ++i) {
            (id,) = _demand(i);
            eq(audits.audit(id).deadline, block.timestamp + 60 * (i + 1), "one after the other");
        }
        eq(audits.holdUntil(node), block.timestamp + 60 * uint256(n), "stake is held");
        vm.prank(node);
        staking.unbond(1e18);
    }

    function testFuzz_timeouts_wait_and_slash_once(uint256 wait) public {
        (bytes32 id,) = _demand(0);
        uint256 deadline = audits.audit(id).deadline;
        vm.warp(within(wait, block.timestamp, deadline));
        vm.expectRevert(abi.encodeWithSelector(IAudits.WindowOpen.selector, deadline));
        audits.timeout(id);
        vm.warp(deadline + 1);
        audits.timeout(id);
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotOpen.selector, id));
        audits.timeout(id);
        eq(staking.slashCount(node), 1, "once");
        eq(token.balanceOf(stranger), 1_000e18, "fee back, nothing more");
        isTrue(staking.offendedIn(node, 1), "rewards are forfeited");
    }

    function testFuzz_what_claims_no_answer_is_not_audited(uint8 finish, uint16 slot, uint8 wait) public {
        uint256[3][] memory l = _leaves(2, 0, 500);
        LeafMeta memory m = LeafCodec.unpack(l[0][2]);
        m.finish = finish % 2 == 0 ? 0 : uint8(within(finish, 4, 15));
        if (finish % 3 == 0) (m.finish, m.nOut) = (Messages.CANCELLED, 0);
        l[0][2] = LeafCodec.pack(m);
        (m.finish, m.nOut) = (1, 20);
        m.node = uint16(within(slot, 1, type(uint16).max));
        l[1][2] = LeafCodec.pack(m);
        (uint64 n, BatchHeader memory h) = _commit(l);
        Opening memory o = _open(l, 0);
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotFinal.selector, n));
        audits.demand(n, h, o);
        _finalise(n);
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotAuditable.selector, o.meta));
        audits.demand(n, h, o);
        o = _open(l, 1);
        vm.expectRevert(abi.encodeWithSelector(IAudits.NoSuchNode.selector, m.node, h.epoch));
        audits.demand(n, h, o);
        uint256 until = uint256(rollup.batch(n).finalisedAt) + 60;
        vm.warp(until + within(wait, 1, 255));
        vm.expectRevert(abi.encodeWithSelector(IAudits.WindowOver.selector, until));
        audits.demand(n, h, o);
    }

    function testFuzz_open_demands_hold_stake_but_not_for_ever(uint8 n) public {
        n = uint8(within(n, 1, 6));
        vm.prank(node);
        staking.unbond(100e18);
        _epochs(4);
        // A demand this late is possible for a batch that was finalised just now.
        (uint64 m, BatchHeader memory h, uint256[3][] memory l) = _finalBatch(6, 0);
        for (uint32 i = 0; i < n; ++i) {
            Opening memory o = _open(l, i);
            vm.prank(stranger);
            audits.demand(m, h, o);
        }
        vm.warp(staking.epochStart(6));
        if (audits.holdUntil(node) >= block.timestamp) {
            vm.expectRevert(IStaking.NothingDue.selector);
            vm.prank(node);
            staking.withdraw(node);
        }
        _epochs(6);
        vm.prank(node);
        eq(staking.withdraw(node), 100e18, "out at last");
    }

    function test_mass_timeout_suspends_burning_until_governance_looks() public {
        address[] memory nodes = new address[](4);
        for (uint256 i = 0; i < 4; ++i) {
            nodes[i] = _operator(0xb0 + i, 1_000e18);
        }
        _epochs(1);
        for (uint16 i = 0; i < 4; ++i) {
            (uint64 n, BatchHeader memory h, uint256[3][] memory l) = _finalBatch(1, i + 1);
            Opening memory o = _open(l, 0);
            vm.prank(stranger);
            bytes32 id = audits.demand(n, h, o);
            if (i == 3) audits.prove(id, MODEL, o.r, o.o, o.meta, _inferenceProof(o));
        }
        _seconds(61);
        for (uint64 i = 0; i < 3; ++i) {
            audits.timeout(audits.auditId(number + 1 + i, 0));
        }
        uint48 e = rollup.batch(number + 1).epoch;
        (uint256 audited, uint256 timedOut, uint256 count) = audits.tally(e);
        isTrue(audited >= 3_000e18 && timedOut >= 2_000e18 && count >= 2, "tally");
        if (!audits.braked(e)) return; // the batches fell into two epochs
        _seconds(100);
        vm.expectRevert(IStaking.NotReleasable.selector);
        staking.release(nodes[0], 0);
        vm.prank(sys.timelock);
        staking.forgive(nodes[1], 0);
        vm.prank(sys.timelock);
        audits.resolveBrake(e);
        isTrue(!audits.braked(e), "resolved");
        staking.release(nodes[0], 0);
        eq(staking.bondAt(nodes[1], staking.currentEpoch() + 1), 1_000e18, "forgiven");
    }

    // ------------------------------------------------------------------------------------- liveness

    function testFuzz_liveness(uint256 wait, bool answers) public {
        vm.expectRevert(abi.encodeWithSelector(IAudits.WrongSigner.selector, stranger));
        audits.challengeLiveness(stranger);
        vm.prank(stranger);
        uint256 id = audits.challengeLiveness(node);
        vm.expectRevert(abi.encodeWithSelector(IAudits.ChallengeOpen.selector, node));
        audits.challengeLiveness(node);
        uint256 deadline = audits.liveness(id).deadline;
        bytes memory sig = _sign(0xa1, Messages.hashLiveness(id, node));
        bytes memory forged = _sign(0xbad, Messages.hashLiveness(id, node));
        if (answers) {
            vm.warp(within(wait, block.timestamp, deadline));
            vm.expectRevert(abi.encodeWithSelector(IAudits.WindowOpen.selector, deadline));
            audits.missLiveness(id);
            vm.expectRevert(abi.encodeWithSelector(IAudits.WrongSigner.selector, vm.addr(0xbad)));
            audits.answerLiveness(id, forged);
            uint256 before = token.balanceOf(node);
            audits.answerLiveness(id, sig);
            eq(token.balanceOf(node) - before, 1e18, "bond to the node");
        } else {
            vm.warp(deadline + 1);
            vm.expectRevert(abi.encodeWithSelector(IAudits.WindowOver.selector, deadline));
            audits.answerLiveness(id, sig);
            audits.missLiveness(id);
            eq(token.balanceOf(stranger), 1_000e18, "bond back");
            eq(staking.slashAt(node, 0).ownTaken, 10e18, "slashed");
        }
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotOpen.selector, bytes32(id)));
        audits.missLiveness(id);
        vm.expectRevert(abi.encodeWithSelector(IAudits.NotOpen.selector, bytes32(id + 1)));
        audits.answerLiveness(id + 1, sig);
        vm.prank(stranger);
        audits.challengeLiveness(node);
    }

    // ---------------------------------------------------------------------------------------- inbox

    function _price() internal {
        vm.startPrank(sys.timelock);
        payments.setPrice(MODEL, 0, 1e24, 2e24);
        payments.setPrice(MODEL, 1, 1e6, 2e6);
        vm.stopPrank();
        _epochs(1);
        _approve(stranger, sys.inbox);
        usd.mint(stranger, 1e9);
        vm.prank(stranger);
        usd.approve(sys.inbox, type(uint256).max);
    }

    function _force(uint256 fee) internal returns (uint256) {
        vm.prank(stranger);
        return inbox.force(MODEL, 100, new bytes(40), 20, 0, fee);
    }

    function _outputProof(uint256 o, bytes memory ids) internal view returns (bytes memory) {
        uint256[] memory s = new uint256[](5);
        s[0] = o;
        s[1] = 20;
        s[2] = 1;
        s[3] = uint256(keccak256(ids)) >> 128;
        s[4] = uint128(uint256(keccak256(ids)));
        return _stamp(s);
    }

    function testFuzz_forced_requests_are_answered_paid_and_refunded(uint256 fee, bytes32 salt) public {
        _price();
        uint256 quote = payments.quote(MODEL, 0, staking.currentEpoch(), 10, 20);
        eq(quote, 50e18, "quote");
        fee = within(fee, quote, 900e18);
        uint256 id = _force(fee);
        (uint64 n, BatchHeader memory h, uint256[3][] memory l) = _finalBatch(2, 0);
        Opening memory o = _open(l, 0);
        bytes memory ids = abi.encode(salt, salt, bytes16(salt));
        ids = _first(ids, 80);
        bytes memory proof = _outputProof(o.o, ids);
        Opening memory other = _open(l, 1);
        vm.expectRevert(IInbox.WrongLeaf.selector);
        inbox.dischargeByAnswer(id, n, h, other, ids, proof);
        vm.expectRevert(IInbox.WrongLeaf.selector);
        inbox.dischargeByMiss(id, n, h, o);
        bytes memory shorter = _first(ids, 76);
        vm.expectRevert(abi.encodeWithSelector(IInbox.BadLength.selector, 76));
        inbox.dischargeByAnswer(id, n, h, o, shorter, proof);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Output, 1));
        inbox.dischargeByAnswer(id, n, h, o, ids, "");
        uint256 before = token.balanceOf(node);
        inbox.dischargeByAnswer(id, n, h, o, ids, proof);
        eq(token.balanceOf(node) - before, quote, "node is paid");
        eq(token.balanceOf(stranger), 1_000e18 - quote, "the rest is refunded");
        isTrue(inbox.request(id).state == RequestState.Answered, "answered");
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotOpen.selector, id));
        inbox.late(id);
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotOpen.selector, id + 1));
        inbox.late(id + 1);
    }

    function _first(bytes memory data, uint256 n) internal pure returns (bytes memory out) {
        out = new bytes(n);
        for (uint256 i = 0; i < n; ++i) {
            out[i] = data[i];
        }
    }

    function testFuzz_forced_requests_are_discharged_by_misses(bool refused) public {
        _price();
        uint256 id = _force(100e18);
        uint256[3][] memory l = _leaves(4, 0, 900);
        for (uint8 i = 0; i < 4; ++i) {
            LeafMeta memory m = LeafCodec.unpack(l[i][2]);
            m.finish = refused ? 4 : 5;
            m.retry = i < 2 ? 0 : i;
            l[i] = [uint256(100), 0, LeafCodec.pack(m)];
        }
        (uint64 n, BatchHeader memory h) = _commit(l);
        Opening memory o = _open(l, 0);
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotProven.selector, n));
        inbox.dischargeByMiss(id, n, h, o);
        _prove(n);
        vm.expectRevert(IInbox.WrongLeaf.selector);
        inbox.dischargeByAnswer(id, n, h, o, "", "");
        inbox.dischargeByMiss(id, n, h, o);
        o = _open(l, 1);
        vm.expectRevert(abi.encodeWithSelector(IInbox.RetryCounted.selector, 0));
        inbox.dischargeByMiss(id, n, h, o);
        inbox.dischargeByMiss(id, n, h, _open(l, 2));
        inbox.dischargeByMiss(id, n, h, _open(l, 3));
        isTrue(inbox.request(id).state == RequestState.Missed, "missed");
        eq(token.balanceOf(stranger), 1_000e18, "refunded");
    }

    function testFuzz_lateness_costs_bond_and_the_user_can_leave(uint256 wait) public {
        _price();
        uint256 id = _force(100e18);
        uint256 due = inbox.request(id).due;
        vm.warp(within(wait, block.timestamp, due));
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotDue.selector, due));
        inbox.late(id);
        vm.warp(due + 1);
        uint256 bond = rollup.bondOf(0);
        inbox.late(id);
        eq(bond - rollup.bondOf(0), 50e18, "fined");
        eq(token.balanceOf(stranger), 905e18, "a tenth to the user");
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotYours.selector, id));
        inbox.cancel(id);
        uint256 first = inbox.request(id).due;
        uint256 epochEnd = staking.epochStart(inbox.request(id).epoch + 1) + 120;
        if (epochEnd < first) first = epochEnd;
        if (block.timestamp <= first) {
            vm.prank(stranger);
            vm.expectRevert(abi.encodeWithSelector(IInbox.NotDue.selector, first));
            inbox.cancel(id);
        }
        vm.warp(first + 1);
        vm.prank(guardian);
        parameters.pause();
        vm.prank(stranger);
        inbox.cancel(id);
        eq(token.balanceOf(stranger), 1_005e18, "whole fee back");
    }

    function testFuzz_force_refusals(uint256 fee, uint256 length) public {
        _price();
        fee = within(fee, 0, 50e18 - 1);
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IInbox.FeeTooSmall.selector, fee, 50e18));
        inbox.force(MODEL, 100, new bytes(40), 20, 0, fee);
        length = within(length, 0, 3);
        vm.expectRevert(abi.encodeWithSelector(IInbox.BadLength.selector, length));
        inbox.force(MODEL, 100, new bytes(length), 20, 0, 900e18);
        vm.expectRevert(abi.encodeWithSelector(IInbox.BadLength.selector, 4100));
        inbox.force(MODEL, 100, new bytes(4100), 20, 0, 900e18);
        vm.expectRevert(abi.encodeWithSelector(IInbox.InactiveModel.selector, MODEL2));
        inbox.force(MODEL2, 100, new bytes(40), 20, 0, 900e18);
        vm.expectRevert(abi.encodeWithSelector(IInbox.AssetNotAllowed.selector, 7));
        inbox.force(MODEL, 100, new bytes(40), 20, 7, 900e18);
        vm.stopPrank();
        _set(Param.InboxPerEpoch, 1);
        _epochs(1);
        _force(100e18);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IInbox.RateLimited.selector, staking.currentEpoch()));
        inbox.force(MODEL, 100, new bytes(40), 20, 0, 900e18);
        vm.prank(guardian);
        parameters.pause();
        vm.prank(stranger);
        vm.expectRevert(IInbox.Paused.selector);
        inbox.force(MODEL, 100, new bytes(40), 20, 0, 900e18);
        eq(inbox.count(), 1, "one");
    }

    function test_forced_requests_in_a_stablecoin() public {
        _price();
        vm.prank(stranger);
        uint256 id = inbox.force(MODEL, 100, new bytes(40), 20, 1, 100);
        (uint64 n, BatchHeader memory h, uint256[3][] memory l) = _finalBatch(2, 0);
        bytes memory ids = new bytes(80);
        Opening memory o = _open(l, 0);
        inbox.dischargeByAnswer(id, n, h, o, ids, _outputProof(o.o, ids));
        eq(usd.balanceOf(node), 50, "paid in the stablecoin");
    }
}
