// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {NotAuthorised, Zero} from "../../src/System.sol";
import {Rollup} from "../../src/Rollup.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IStaking, Offence} from "../../src/interfaces/IStaking.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {Batch, BatchHeader, BatchStatus, IRollup, Opening} from "../../src/interfaces/IRollup.sol";
import {Circuit, IVerifierRegistry} from "../../src/interfaces/IVerifier.sol";
import {Leaves} from "../../src/libraries/Leaves.sol";
import {LeafCodec, LeafMeta} from "../../src/libraries/LeafCodec.sol";
import {Attestation, Intake, Messages, Response} from "../../src/libraries/Messages.sol";
import {BN254_R} from "../../src/libraries/PoseidonConstants.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

contract HashHarness {
    function intake(Intake calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }

    function response(Response calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }

    function attestation(Attestation calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }
}

contract RollupTest is World {
    address internal node;
    HashHarness internal hashes = new HashHarness();
    // The blob of zeros: its commitment and every proof are the point at infinity.
    bytes internal constant INFINITY =
        hex"c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        _epochs(1);
    }

    function _refuse(BatchHeader memory h, bytes memory data, bytes memory reason) internal {
        vm.expectRevert(reason);
        vm.prank(sequencer);
        rollup.commitBatchCalldata(h, data, "");
    }

    // -------------------------------------------------------------------------------------- commit

    function testFuzz_commits_and_finalises(uint8 n) public {
        n = uint8(within(n, 1, 20));
        (uint64 first,,) = _finalBatch(n, 0);
        (uint64 second, BatchHeader memory h,) = _finalBatch(n, 0);
        eq(second, first + 1, "numbers");
        eq(rollup.finalisedHash(), rollup.hashOf(second), "final");
        eq(rollup.headHash(), rollup.hashHeader(second, h), "head");
        eq(rollup.stateOf(h.epoch), h.stateRoot, "state");
        eq(rollup.capturedBelow(), type(uint48).max, "all captured");
        isTrue(rollup.batch(first).firstOfEpoch && !rollup.batch(second).firstOfEpoch, "first of epoch");
    }

    function testFuzz_commit_refusals(uint256 x) public {
        uint256[3][] memory leaves = _leaves(3, 0, 0);
        BatchHeader memory good = _header(leaves);
        bytes memory data = _encode(leaves);
        BatchHeader memory h = abi.decode(abi.encode(good), (BatchHeader));
        h.parent = bytes32(within(x, 1, type(uint256).max));
        _refuse(h, data, abi.encodeWithSelector(IRollup.WrongHeader.selector, bytes32(0), h.parent));
        h = abi.decode(abi.encode(good), (BatchHeader));
        h.leafCount = 0;
        h.data = keccak256("");
        _refuse(h, "", abi.encodeWithSelector(IRollup.BadLeafCount.selector, 0));
        h.leafCount = 1366;
        h.data = keccak256(new bytes(1366 * 96));
        _refuse(h, new bytes(1366 * 96), abi.encodeWithSelector(IRollup.BadLeafCount.selector, 1366));
        uint256 big = within(x, BN254_R, type(uint256).max);
        bytes memory no = abi.encodeWithSelector(IRollup.NotCanonical.selector, big);
        for (uint256 i = 0; i < 4; ++i) {
            h = abi.decode(abi.encode(good), (BatchHeader));
            if (i == 0) h.root = big;
            if (i == 1) h.stateRoot = big;
            if (i == 2) h.links = big;
            if (i == 3) h.nodeRoots = big;
            _refuse(h, data, no);
        }
        h = abi.decode(abi.encode(good), (BatchHeader));
        h.epoch = 2;
        _refuse(h, data, abi.encodeWithSelector(IRollup.WrongEpoch.selector, uint48(2)));
        h = abi.decode(abi.encode(good), (BatchHeader));
        h.model = bytes32(x);
        if (bytes32(x) != MODEL) {
            _refuse(h, data, abi.encodeWithSelector(IRollup.InactiveModel.selector, bytes32(x)));
        }
        _refuse(good, bytes.concat(data, "x"), abi.encodeWithSelector(IRollup.WrongData.selector));
        data[0] = data[0] ^ 0x01;
        _refuse(good, data, abi.encodeWithSelector(IRollup.WrongData.selector));
    }

    function testFuzz_epochs_of_batches_are_in_order(uint8 later) public {
        _epochs(within(later, 1, 50));
        uint256[3][] memory leaves = _leaves(1, 0, 0);
        BatchHeader memory h = _header(leaves);
        uint48 now_ = h.epoch;
        h.epoch = now_ - 1;
        vm.prank(sequencer);
        rollup.commitBatchCalldata(h, _encode(leaves), "");
        h = _header(leaves);
        vm.prank(sequencer);
        rollup.commitBatchCalldata(h, _encode(leaves), "");
        h = _header(leaves);
        h.epoch = now_ - 1;
        _refuse(h, _encode(leaves), abi.encodeWithSelector(IRollup.WrongEpoch.selector, now_ - 1));
        if (now_ >= 2) {
            h.epoch = now_ - 2;
            _refuse(h, _encode(leaves), abi.encodeWithSelector(IRollup.WrongEpoch.selector, now_ - 2));
        }
    }

    function testFuzz_blob_must_be_the_one_named(bytes32 hash) public {
        BatchHeader memory h = _header(_leaves(1, 0, 0));
        h.data = hash;
        vm.expectRevert(IRollup.WrongData.selector);
        vm.prank(sequencer);
        rollup.commitBatch(h, "");
        if (hash == 0) return;
        bytes32[] memory blobs = new bytes32[](1);
        blobs[0] = hash;
        vm.blobhashes(blobs);
        vm.prank(sequencer);
        rollup.commitBatch(h, "");
        isTrue(rollup.batch(0).inBlob, "in blob");
    }

    // -------------------------------------------------------------------------------------- prove

    function testFuzz_prove_refusals(uint256 x) public {
        (uint64 n, BatchHeader memory h) = _commit(_leaves(2, 0, 0));
        BatchHeader memory bad = abi.decode(abi.encode(h), (BatchHeader));
        bad.stateRoot = x % BN254_R;
        vm.assume(bad.stateRoot != h.stateRoot);
        bytes32 badHash = rollup.hashHeader(n, bad);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongHeader.selector, rollup.hashOf(n), badHash));
        rollup.proveBatch(n, bad, 0, h, "");
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Batch, 1));
        rollup.proveBatch(n, h, 0, h, abi.encode(x));
        _prove(n);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongStatus.selector, n, BatchStatus.Proven));
        rollup.proveBatch(n, h, 0, h, "");
        (uint64 m, BatchHeader memory g) = _commit(_leaves(2, 0, 9));
        badHash = rollup.hashHeader(n, bad);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongHeader.selector, g.parent, badHash));
        rollup.proveBatch(m, g, n, bad, "");
        _prove(m);
    }

    function testFuzz_finalise_refusals(uint256 wait) public {
        (uint64 n, BatchHeader memory h) = _commit(_leaves(2, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongStatus.selector, n, BatchStatus.Committed));
        rollup.finaliseBatch(n, h);
        _prove(n);
        uint256 until = block.timestamp + 20;
        _seconds(within(wait, 0, 20));
        vm.expectRevert(abi.encodeWithSelector(IRollup.WindowOpen.selector, until));
        rollup.finaliseBatch(n, h);
        vm.warp(until + 1);
        uint40 target = rollup.batch(n).beaconBlock;
        vm.expectRevert(abi.encodeWithSelector(IRollup.BeaconPending.selector, target));
        rollup.finaliseBatch(n, h);
        (uint64 m, BatchHeader memory g) = _commit(_leaves(2, 0, 9));
        _prove(m);
        bytes32 final_ = rollup.finalisedHash();
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongHeader.selector, final_, g.parent));
        rollup.finaliseBatch(m, g);
        _capture(n);
        rollup.finaliseBatch(n, h);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongStatus.selector, n, BatchStatus.Finalised));
        vm.prank(sys.disputes);
        rollup.revertFrom(n, h);
    }

    // -------------------------------------------------------------------------------------- beacon

    function testFuzz_beacon_is_the_header_of_its_block(bytes32 randao, bytes32 other) public {
        vm.assume(randao != other);
        (uint64 n,) = _commit(_leaves(1, 0, 0));
        uint40 target = rollup.batch(n).beaconBlock;
        eq(target, block.number + 4, "delay");
        vm.roll(target + 2);
        bytes memory h = _blockHeader(target, block.timestamp, 0, randao);
        vm.setBlockhash(target, keccak256(h));
        bytes memory forged = _blockHeader(target, block.timestamp, 0, other);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongBlockHeader.selector, uint256(target)));
        rollup.captureBeacon(forged);
        bytes memory future = _blockHeader(block.number + 5, block.timestamp, 0, other);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongBlockHeader.selector, block.number + 5));
        rollup.captureBeacon(future);
        eq(rollup.capturedBelow(), 1, "pending");
        // A commit can bring it along, from calldata or with a blob.
        uint256[3][] memory leaves = _leaves(1, 0, 1);
        BatchHeader memory g = _header(leaves);
        bytes memory data = _encode(leaves);
        vm.prank(sequencer);
        rollup.commitBatchCalldata(g, data, h);
        eq(rollup.beaconOf(target), randao, "captured");
        g = _header(leaves);
        bytes32[] memory blobs = new bytes32[](1);
        blobs[0] = g.data;
        vm.blobhashes(blobs);
        vm.prank(sequencer);
        rollup.commitBatch(g, h);
        if (randao != 0) eq(rollup.capturedBelow(), 1, "the second is pending");
    }

    function testFuzz_forgotten_beacons_are_rescheduled_at_a_price(uint256 later) public {
        (uint64 n,) = _commit(_leaves(1, 0, 0));
        uint40 target = rollup.batch(n).beaconBlock;
        vm.roll(target + within(later, 0, 8191));
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotLapsed.selector, target));
        rollup.rescheduleBeacon(n);
        vm.roll(target + 8192);
        uint256 bond = rollup.bondOf(0);
        rollup.rescheduleBeacon(n);
        eq(bond - rollup.bondOf(0), 500e18, "fined");
        eq(rollup.batch(n).beaconBlock, block.number + 4, "rescheduled");
        vm.expectRevert(abi.encodeWithSelector(IRollup.Reverted.selector, 77));
        rollup.rescheduleBeacon(77);
    }

    // ----------------------------------------------------------------------------------- sequencer

    function testFuzz_caretaker_starts_after_the_timeout(uint256 wait) public {
        vm.prank(sequencer);
        rollup.heartbeat();
        uint256 until = block.timestamp + 300;
        _seconds(within(wait, 0, 300));
        vm.expectRevert(abi.encodeWithSelector(IRollup.StillAlive.selector, until));
        rollup.startCaretaker();
        vm.warp(until + 1);
        rollup.startCaretaker();
        isTrue(rollup.caretaking(), "caretaking");
        vm.expectRevert(IRollup.Caretaking.selector);
        rollup.startCaretaker();
        vm.expectRevert(IRollup.Caretaking.selector);
        vm.prank(sequencer);
        rollup.heartbeat();
        vm.prank(sequencer);
        rollup.bondSequencer(1e18);
        isTrue(rollup.caretaking(), "more bond does not end it");
    }

    function testFuzz_rotation(uint256 bond) public {
        address next = _ownerOf(0x4e);
        _give(next, FLOAT);
        _approve(next, sys.rollup);
        vm.prank(sys.timelock);
        vm.expectRevert(Zero.selector);
        rollup.rotateSequencer(address(0), "");
        vm.prank(sys.timelock);
        rollup.rotateSequencer(next, "http://next.example");
        eq(rollup.sequencerOf(1), next, "next");
        bond = within(bond, 1, 10_000e18 - 1);
        vm.startPrank(next);
        vm.expectRevert(abi.encodeWithSelector(IRollup.BondTooSmall.selector, bond));
        rollup.bondSequencer(bond);
        vm.expectRevert(Zero.selector);
        rollup.bondSequencer(0);
        vm.expectRevert(IRollup.Caretaking.selector);
        rollup.heartbeat();
        rollup.bondSequencer(10_000e18);
        rollup.heartbeat();
        vm.expectRevert(abi.encodeWithSelector(IRollup.BondLocked.selector, type(uint256).max));
        rollup.withdrawBond(1);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IRollup.BondLocked.selector, block.timestamp + 240));
        rollup.withdrawBond(0);
        _seconds(241);
        uint256 before = token.balanceOf(sequencer);
        rollup.withdrawBond(0);
        eq(token.balanceOf(sequencer) - before, 20_000e18, "bond back");
        vm.expectRevert(Zero.selector);
        rollup.withdrawBond(0);
        bytes memory no = abi.encodeWithSelector(IRollup.UnknownTerm.selector, uint16(2));
        vm.expectRevert(no);
        rollup.withdrawBond(2);
        vm.expectRevert(no);
        rollup.sequencerOf(2);
        vm.expectRevert(no);
        rollup.bondOf(2);
        vm.expectRevert(no);
        vm.prank(sys.disputes);
        rollup.fine(2, 1, stranger, 1);
    }

    function testFuzz_fines_burn_and_reward_at_most_a_tenth(uint256 amount, uint256 reward) public {
        amount = within(amount, 1, 40_000e18);
        uint256 supply = token.totalSupply();
        vm.prank(sys.inbox);
        rollup.fine(0, amount, stranger, reward);
        uint256 taken = amount < 20_000e18 ? amount : 20_000e18;
        uint256 paid = reward < taken / 10 ? reward : taken / 10;
        eq(token.balanceOf(stranger), paid, "reward");
        eq(supply - token.totalSupply(), taken - paid, "burned");
        eq(rollup.bondOf(0), 20_000e18 - taken, "bond");
        isTrue(rollup.caretaking() == (20_000e18 - taken < 5_000e18), "too little bond");
    }

    function testFuzz_chains_are_registered_ahead(uint48 from, bytes32 tip) public {
        from = uint48(within(from, 2, 1e9));
        vm.assume(tip != 0);
        vm.startPrank(sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongEpoch.selector, uint48(1)));
        rollup.registerChain(1, tip, 5);
        vm.expectRevert(Zero.selector);
        rollup.registerChain(from, 0, 5);
        vm.expectRevert(Zero.selector);
        rollup.registerChain(from, tip, 0);
        rollup.registerChain(from, tip, 5);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongEpoch.selector, from));
        rollup.registerChain(from, tip, 5);
        vm.stopPrank();
        (bytes32 got,,) = rollup.chainAt(from - 1);
        eq(got, bytes32(0), "before");
        (got,,) = rollup.chainAt(from);
        eq(got, tip, "from");
    }

    function test_construction() public {
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotCanonical.selector, BN254_R));
        new Rollup(sys, BN254_R, sequencer, "");
        eq(
            rollup.domainSeparator(),
            keccak256(
                abi.encode(
                    keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                    keccak256("MonAI"),
                    keccak256("1"),
                    block.chainid,
                    sys.rollup
                )
            ),
            "domain"
        );
    }

    // ------------------------------------------------------------------------------------- disputes

    function _blobBatch(uint256[3][] memory leaves) internal returns (uint64 n, BatchHeader memory h) {
        h = _header(leaves);
        // All elements of the blob are zero.
        h.data = bytes32(uint256(sha256(INFINITY)) & (type(uint256).max >> 8) | uint256(1) << 248);
        bytes32[] memory blobs = new bytes32[](1);
        blobs[0] = h.data;
        vm.blobhashes(blobs);
        vm.prank(sequencer);
        n = rollup.commitBatch(h, "");
        headers.push(h);
    }

    function testFuzz_blob_faults_are_proved_by_point_evaluation(uint8 count, uint8 index, uint8 element) public {
        count = uint8(within(count, 1, 40));
        index = uint8(within(index, 0, count - 1));
        element %= 3;
        uint256[3][] memory leaves = _leaves(count, 0, 1);
        (uint64 n, BatchHeader memory h) = _blobBatch(leaves);
        Opening memory o = _open(leaves, index);
        uint256 supply = token.totalSupply();
        vm.prank(stranger);
        disputes.proveBlobFault(n, h, o, element, 0, INFINITY, INFINITY);
        isTrue(rollup.isReverted(n), "reverted");
        eq(rollup.headHash(), bytes32(0), "head");
        eq(token.balanceOf(stranger), 50e18, "reward");
        eq(supply - token.totalSupply(), 450e18, "burned");
        vm.expectRevert(abi.encodeWithSelector(IRollup.Reverted.selector, n));
        rollup.proveBatch(n, h, 0, h, "");
        eq(rollup.capturedBelow(), type(uint48).max, "no beacon is owed for it");
        // The chain goes on from where it was.
        (uint64 m,,) = _finalBatch(2, 0);
        eq(rollup.finalisedHash(), rollup.hashOf(m), "goes on");
        isTrue(rollup.batch(m).firstOfEpoch, "audited again");
    }

    function testFuzz_blob_fault_refusals(uint256 value) public {
        value = within(value, 1, type(uint256).max);
        uint256[3][] memory leaves = _leaves(3, 0, 1);
        leaves[2] = [uint256(0), 0, 0];
        (uint64 n, BatchHeader memory h) = _blobBatch(leaves);
        Opening memory o = _open(leaves, 0);
        Opening memory zero = _open(leaves, 2);
        vm.expectRevert(IDisputes.ElementMatches.selector);
        disputes.proveBlobFault(n, h, zero, 1, 0, INFINITY, INFINITY);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.BadElement.selector, 3));
        disputes.proveBlobFault(n, h, o, 3, 0, INFINITY, INFINITY);
        vm.assume(value != o.r);
        vm.expectRevert(IDisputes.PointEvaluationFailed.selector);
        disputes.proveBlobFault(n, h, o, 0, value, INFINITY, INFINITY);
        bytes memory wrong = bytes.concat(INFINITY);
        wrong[47] = 0x01;
        vm.expectRevert(IDisputes.WrongCommitment.selector);
        disputes.proveBlobFault(n, h, o, 0, 0, wrong, INFINITY);
        o.o += 1;
        vm.expectPartialRevert(Leaves.NotInTree.selector);
        disputes.proveBlobFault(n, h, o, 0, 0, INFINITY, INFINITY);
        o.index = 3;
        vm.expectRevert(abi.encodeWithSelector(Leaves.OutsideTree.selector, 3));
        disputes.proveBlobFault(n, h, o, 0, 0, INFINITY, INFINITY);
        o.index = 0;
        o.path = new uint256[](1);
        vm.expectRevert(abi.encodeWithSelector(Leaves.OutsideTree.selector, 0));
        disputes.proveBlobFault(n, h, o, 0, 0, INFINITY, INFINITY);
        vm.expectRevert(IDisputes.WrongData.selector);
        disputes.proveCalldataFault(n, h, o, "");
    }

    function testFuzz_calldata_faults(uint8 index, uint256 salt) public {
        index %= 5;
        uint256[3][] memory leaves = _leaves(5, 0, 1);
        uint256[3][] memory posted = _leaves(5, 0, 1);
        posted[index][salt % 3] += 1;
        BatchHeader memory h = _header(leaves);
        bytes memory data = _encode(posted);
        h.data = keccak256(data);
        vm.prank(sequencer);
        uint64 n = rollup.commitBatchCalldata(h, data, "");
        Opening memory fine = _open(leaves, (index + 1) % 5);
        vm.expectRevert(IDisputes.ElementMatches.selector);
        disputes.proveCalldataFault(n, h, fine, data);
        Opening memory bad = _open(leaves, index);
        vm.expectRevert(IDisputes.NotInBlob.selector);
        disputes.proveBlobFault(n, h, bad, 0, 0, INFINITY, INFINITY);
        vm.expectRevert(IDisputes.WrongData.selector);
        disputes.proveCalldataFault(n, h, bad, bytes.concat(data, "x"));
        disputes.proveCalldataFault(n, h, bad, data);
        isTrue(rollup.isReverted(n), "reverted");
    }

    function testFuzz_hidden_leaves_are_asked_for(uint8 index, bool given, uint256 wait) public {
        index %= 4;
        uint256[3][] memory leaves = _leaves(4, 0, 1);
        (uint64 n, BatchHeader memory h) = _commit(leaves);
        _give(stranger, 1e18);
        _approve(stranger, sys.disputes);
        vm.prank(stranger);
        bytes32 id = disputes.askOpening(n, h, index);
        eq(disputes.openChallenges(n), 1, "open");
        vm.expectRevert(abi.encodeWithSelector(IDisputes.AlreadyOpen.selector, id));
        disputes.askOpening(n, h, index);
        vm.expectRevert(abi.encodeWithSelector(Leaves.OutsideTree.selector, 4));
        disputes.askOpening(n, h, 4);
        Opening memory o = _open(leaves, index);
        uint256 until = block.timestamp + 20;
        if (given) {
            _seconds(within(wait, 0, 20));
            vm.expectRevert(abi.encodeWithSelector(IDisputes.WindowOpen.selector, until));
            disputes.missOpening(n, h, index);
            uint256 before = token.balanceOf(sequencer);
            disputes.giveOpening(n, h, o);
            eq(token.balanceOf(sequencer) - before, 1e18, "bond to the sequencer");
            vm.expectRevert(abi.encodeWithSelector(IDisputes.NotOpen.selector, id));
            disputes.giveOpening(n, h, o);
            vm.expectRevert(abi.encodeWithSelector(IDisputes.NotOpen.selector, id));
            disputes.missOpening(n, h, index);
            vm.expectRevert(abi.encodeWithSelector(IDisputes.AlreadyOpen.selector, id));
            disputes.askOpening(n, h, index);
            _finalise(n);
        } else {
            _prove(n);
            _capture(n);
            vm.warp(until + 1);
            vm.expectRevert(abi.encodeWithSelector(IRollup.OpenDispute.selector, n));
            rollup.finaliseBatch(n, h);
            vm.expectRevert(abi.encodeWithSelector(IDisputes.WindowOver.selector, until));
            disputes.giveOpening(n, h, o);
            disputes.missOpening(n, h, index);
            isTrue(rollup.isReverted(n), "reverted");
            eq(token.balanceOf(stranger), 51e18, "bond and reward");
        }
        eq(disputes.openChallenges(n), 0, "closed");
        vm.expectRevert();
        disputes.askOpening(n, h, index == 0 ? 1 : 0);
    }

    function test_a_question_without_object_gives_the_bond_back() public {
        uint256[3][] memory leaves = _leaves(4, 0, 1);
        (uint64 n, BatchHeader memory h) = _commit(leaves);
        _give(stranger, 2e18);
        _approve(stranger, sys.disputes);
        vm.startPrank(stranger);
        disputes.askOpening(n, h, 0);
        disputes.askOpening(n, h, 1);
        vm.stopPrank();
        _seconds(21);
        disputes.missOpening(n, h, 0);
        disputes.missOpening(n, h, 1);
        eq(token.balanceOf(stranger), 52e18, "both bonds, one reward");
        (n, h) = _commit(leaves);
        _seconds(21);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WindowOver.selector, block.timestamp - 1));
        disputes.askOpening(n, h, 0);
    }

    // ------------------------------------------------------------------------------ contradictions

    function _intake(bytes32 r, uint64 slot) internal view returns (Intake memory) {
        return Intake(r, MODEL, 1, slot, uint64(block.timestamp * 1000));
    }

    function _response(bytes32 r, bytes32 o, uint64 slot, uint8 finish) internal view returns (Response memory m) {
        m.requestCommitment = r;
        m.model = MODEL;
        m.lane = 1;
        m.slot = slot;
        m.outputCommitment = o;
        m.nIn = 10;
        m.nOut = 20;
        m.finish = finish;
        m.doneMs = uint64(block.timestamp * 1000);
    }

    function _signed(uint256 key, Intake memory m) internal view returns (bytes memory) {
        return _sign(key, hashes.intake(m));
    }

    function _signed(uint256 key, Response memory m) internal view returns (bytes memory) {
        return _sign(key, hashes.response(m));
    }

    /// @dev What the sequencer says of a response: an attempt of the epoch of the batch.
    function _attest(Response memory m, uint64 epoch)
        internal
        view
        returns (Attestation memory a, bytes memory signature)
    {
        a.response = Messages.digest(address(rollup), hashes.response(m));
        a.epoch = epoch;
        signature = _sign(SEQUENCER_KEY, hashes.attestation(a));
    }

    function testFuzz_two_intakes_of_one_slot(bytes32 r, bytes32 q, uint64 slot, uint256 key) public {
        key = within(key, 1, type(uint128).max);
        vm.assume(r != q && key != SEQUENCER_KEY);
        Intake memory x = _intake(r, slot);
        Intake memory y = _intake(q, slot);
        bytes memory sx = _signed(SEQUENCER_KEY, x);
        bytes memory sy = _signed(SEQUENCER_KEY, y);
        bytes memory forged = _signed(key, y);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongSigner.selector, sequencer));
        disputes.proveIntakes(0, x, sx, y, forged);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveIntakes(0, x, sx, x, sx);
        uint256 bond = rollup.bondOf(0);
        disputes.proveIntakes(0, x, sx, y, sy);
        eq(bond - rollup.bondOf(0), 500e18, "fined");
        vm.expectPartialRevert(IDisputes.AlreadyPunished.selector);
        disputes.proveIntakes(0, y, sy, x, sx);
    }

    function testFuzz_an_intake_against_the_leaf(bytes32 r, uint8 index) public {
        index %= 4;
        uint256[3][] memory leaves = _leaves(4, 0, 50);
        vm.assume(uint256(r) != leaves[index][0]);
        (uint64 n, BatchHeader memory h) = _commit(leaves);
        Opening memory o = _open(leaves, index);
        Intake memory same = _intake(bytes32(o.r), 50 + index);
        bytes memory sig = _signed(SEQUENCER_KEY, same);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveIntakeAgainstLeaf(same, sig, n, h, o);
        Intake memory x = _intake(r, 50 + index);
        sig = _signed(SEQUENCER_KEY, x);
        disputes.proveIntakeAgainstLeaf(x, sig, n, h, o);
        vm.expectPartialRevert(IDisputes.AlreadyPunished.selector);
        disputes.proveIntakeAgainstLeaf(x, sig, n, h, o);
    }

    function testFuzz_a_response_against_the_leaf(uint8 what) public {
        what %= 7;
        uint256[3][] memory leaves = _leaves(4, 0, 50);
        (uint64 n, BatchHeader memory h) = _commit(leaves);
        Opening memory o = _open(leaves, 2);
        Response memory x = _response(bytes32(o.r), bytes32(o.o), 52, 1);
        (Attestation memory a, bytes memory sig) = _attest(x, h.epoch);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponseAgainstLeaf(x, a, sig, n, h, o);
        x.slot = 51;
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponseAgainstLeaf(x, a, sig, n, h, o);
        (a, sig) = _attest(x, h.epoch);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponseAgainstLeaf(x, a, sig, n, h, o);
        x.slot = 52;
        x.finish = 5;
        (a, sig) = _attest(x, h.epoch);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponseAgainstLeaf(x, a, sig, n, h, o);
        x.finish = 1;
        if (what == 0) x.requestCommitment = "other";
        if (what == 1) x.outputCommitment = "other";
        if (what == 2) x.nIn = 11;
        if (what == 3) x.nOut = 21;
        if (what == 4) x.finish = 2;
        (a, sig) = _attest(x, h.epoch);
        if (what == 5) a.retry = 1;
        if (what == 6) a.epoch = h.epoch + 1;
        // The node's own signature over the response is not the sequencer's word.
        bytes memory other = _signed(SEQUENCER_KEY, x);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongSigner.selector, sequencer));
        disputes.proveResponseAgainstLeaf(x, a, other, n, h, o);
        sig = _sign(SEQUENCER_KEY, hashes.attestation(a));
        uint256 bond = rollup.bondOf(0);
        disputes.proveResponseAgainstLeaf(x, a, sig, n, h, o);
        eq(bond - rollup.bondOf(0), 500e18, "fined");
    }

    function testFuzz_a_signed_header_against_the_committed_one(bytes32 other) public {
        (uint64 n, BatchHeader memory h) = _commit(_leaves(4, 0, 50));
        bytes32 real = rollup.hashHeader(n, h);
        vm.assume(other != real);
        bytes memory sig = _sign(SEQUENCER_KEY, Messages.hashBatch(n, real));
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveBatchHeaders(0, n, real, sig);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveBatchHeaders(0, n + 1, other, sig);
        sig = _sign(SEQUENCER_KEY, Messages.hashBatch(n, other));
        disputes.proveBatchHeaders(0, n, other, sig);
        eq(rollup.bondOf(0), 19_500e18, "fined");
    }

    function testFuzz_two_answers_of_one_node(bytes32 o, bytes32 p, uint64 slot, uint64 done) public {
        vm.assume(o != p);
        Response memory x = _response("r", o, slot, 1);
        Response memory y = _response("r", p, slot, 1);
        x.doneMs = done;
        bytes memory sx = _signed(0xa1, x);
        bytes memory sy = _signed(0xa1, y);
        bytes memory forged = _signed(0xbad, y);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongSigner.selector, vm.addr(0xbad)));
        disputes.proveResponses(x, sx, y, forged);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponses(x, sx, x, sx);
        Response memory z = _response("r", p, slot, 5);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponses(x, sx, z, sy);
        z = _response("r", p, slot ^ 1, 1);
        vm.expectRevert(IDisputes.NoContradiction.selector);
        disputes.proveResponses(x, sx, z, sy);
        _epochs(within(slot, 0, 8));
        disputes.proveResponses(x, sx, y, sy);
        isTrue(staking.slashAt(node, 0).offence == Offence.Equivocation, "slashed");
        eq(staking.slashAt(node, 0).ownTaken, 500e18, "amount");
        vm.expectPartialRevert(IDisputes.AlreadyPunished.selector);
        disputes.proveResponses(x, sx, y, sy);
    }
}
