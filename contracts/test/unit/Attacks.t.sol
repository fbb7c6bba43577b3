// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {NotAuthorised, Zero} from "../../src/System.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Payments} from "../../src/Payments.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IEmissions} from "../../src/interfaces/IEmissions.sol";
import {IInbox, RequestState} from "../../src/interfaces/IInbox.sol";
import {Evidence, IMonaiGovernor, ProposalKind, Vote} from "../../src/interfaces/IMonaiGovernor.sol";
import {IOperators, Registration} from "../../src/interfaces/IOperators.sol";
import {IParameters, Param} from "../../src/interfaces/IParameters.sol";
import {IPayments} from "../../src/interfaces/IPayments.sol";
import {BatchHeader, BatchStatus, IRollup, Opening} from "../../src/interfaces/IRollup.sol";
import {IStaking, Offence} from "../../src/interfaces/IStaking.sol";
import {Circuit, IVerifierRegistry} from "../../src/interfaces/IVerifier.sol";
import {Intake, Messages, Response} from "../../src/libraries/Messages.sol";
import {HaltCoin, HookCoin, IHooked, TaxCoin} from "../base/Coins.sol";
import {HashHarness} from "./Rollup.t.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

/// @dev A user that calls back into Payments whenever it is paid.
contract Reentrant is IHooked {
    Payments internal immutable PAYMENTS;
    bytes32 public session;
    bytes32 public other;
    uint256 public tries;

    constructor(Payments payments, HookCoin coin) {
        PAYMENTS = payments;
        coin.approve(address(payments), type(uint256).max);
    }

    function open(uint16 asset, uint256 amount) external {
        session = PAYMENTS.openSession(address(this), asset, amount);
        other = PAYMENTS.openSession(address(this), asset, amount);
        PAYMENTS.startExit(session);
        PAYMENTS.startExit(other);
    }

    function listen(HookCoin coin) external {
        coin.hook(true);
    }

    function tokensReceived(address, uint256) external {
        ++tries;
        try PAYMENTS.finishExit(session) {} catch {}
        try PAYMENTS.finishExit(other) {} catch {}
        try PAYMENTS.openSession(address(this), 2, 1) {} catch {}
    }
}

/// @dev A sequencer that is a contract and takes its signatures back.
contract Repudiating is IERC1271 {
    bool public denies;

    function deny() external {
        denies = true;
    }

    function isValidSignature(bytes32, bytes memory) external view returns (bytes4) {
        return denies ? bytes4(0) : IERC1271.isValidSignature.selector;
    }
}

/// @dev What thieves, griefers, cheating sequencers and operators tried, each as it was tried.
contract AttacksTest is World {
    uint256 internal constant USER_KEY = 0x05e4;
    address internal user = vm.addr(USER_KEY);
    address internal node;
    HashHarness internal hashes = new HashHarness();

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        _give(stranger, 1_000e18);
        _epochs(1);
    }

    // -------------------------------------------------------------------------- cheating sequencer

    /// @dev A wrong state root makes a batch that nobody can ever prove. It held up the chain for ever.
    function testFuzz_a_batch_that_nobody_proves_falls(uint256 wait, bool follower) public {
        (uint64 n, BatchHeader memory h) = _commit(_leaves(2, 0, 0));
        if (follower) _commit(_leaves(2, 0, 2));
        uint256 until = block.timestamp + 75;
        vm.warp(within(wait, block.timestamp, until));
        vm.expectRevert(abi.encodeWithSelector(IRollup.WindowOpen.selector, until));
        rollup.dropUnproven(n, h);
        vm.warp(until + 1);
        bytes memory proof = _stamp(_batchInputs(n, h, GENESIS_STATE));
        vm.expectRevert(abi.encodeWithSelector(IRollup.WindowOver.selector, until));
        rollup.proveBatch(n, h, n, h, proof);
        uint256 bond = rollup.bondOf(0);
        uint256 before = token.balanceOf(stranger);
        vm.prank(stranger);
        rollup.dropUnproven(n, h);
        eq(bond - rollup.bondOf(0), 500e18, "fined");
        eq(token.balanceOf(stranger) - before, 50e18, "who shows it gets a tenth");
        eq(rollup.headHash(), bytes32(0), "the chain goes on from the last good batch");
        vm.expectRevert(abi.encodeWithSelector(IRollup.Reverted.selector, n));
        rollup.dropUnproven(n, h);
        _commit(_leaves(2, 0, 0));
    }

    function testFuzz_a_proven_batch_does_not_fall(uint256 wait) public {
        (uint64 n, BatchHeader memory h) = _commit(_leaves(2, 0, 0));
        _prove(n);
        vm.warp(block.timestamp + within(wait, 76, 1e6));
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongStatus.selector, n, BatchStatus.Proven));
        rollup.dropUnproven(n, h);
    }

    /// @dev Evidence against a contract could be taken back by the contract.
    function testFuzz_a_contract_can_not_repudiate(bytes32 r, bytes32 q) public {
        vm.assume(r != q);
        Repudiating account = new Repudiating();
        vm.prank(sys.timelock);
        rollup.rotateSequencer(address(account), "");
        Intake memory x = Intake(r, MODEL, 1, 5, 0);
        Intake memory y = Intake(q, MODEL, 1, 5, 0);
        // What only ERC-1271 vouches for is no signature at all, before and after it is denied.
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongSigner.selector, address(account)));
        disputes.proveIntakes(1, x, "", y, "");
    }

    /// @dev Requests that piled up without a sequencer burned the next one's bond in its first block.
    function testFuzz_a_new_sequencer_gets_time_for_what_it_inherits(uint256 wait) public {
        uint256 id = _force(1);
        _seconds(301);
        rollup.startCaretaker();
        vm.prank(sys.timelock);
        rollup.rotateSequencer(bank, "");
        _approve(bank, sys.rollup);
        vm.prank(bank);
        rollup.bondSequencer(10_000e18);
        uint256 due = block.timestamp + 120;
        eq(rollup.startOf(1), block.timestamp, "start");
        vm.warp(within(wait, block.timestamp, due));
        vm.expectRevert(abi.encodeWithSelector(IInbox.NotDue.selector, due));
        inbox.late(id);
        vm.warp(due + 1);
        inbox.late(id);
        eq(rollup.bondOf(1), 10_000e18 - 50e18, "then it is fined");
    }

    function testFuzz_unknown_terms_have_no_start(uint16 term) public {
        term = uint16(within(term, 1, type(uint16).max));
        vm.expectRevert(abi.encodeWithSelector(IRollup.UnknownTerm.selector, term));
        rollup.startOf(term);
    }

    // --------------------------------------------------------------------------- cheating operator

    /// @dev An audit that ran out but was not reported yet: the cheater claimed and left first.
    function testFuzz_who_failed_an_audit_can_not_run_before_it_is_reported(uint256 wait) public {
        vm.prank(node);
        staking.unbond(1_000e18);
        (uint64 n, BatchHeader memory h, uint256[3][] memory leaves) = _finalBatch(2, 0);
        vm.prank(stranger);
        token.approve(sys.audits, type(uint256).max);
        Opening memory o = _open(leaves, 1);
        vm.prank(stranger);
        bytes32 id = audits.demand(n, h, o);
        _skipTo(1);
        uint256[] memory cells = _list(_cell(1e18, 1e18, 1));
        _proveEpoch(cells, _list(0, 0));
        _vest(1);
        _epochs(within(wait, 6, 10) - staking.currentEpoch());
        isTrue(block.timestamp > audits.audit(id).deadline, "the audit ran out");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotVested.selector, type(uint256).max));
        emissions.claim(node, _row(0, cells, _list(0, 0)), new bytes32[](0));
        vm.prank(node);
        vm.expectRevert(IStaking.NothingDue.selector);
        staking.withdraw(node);
        audits.timeout(id);
        eq(staking.slashAt(node, 0).ownTaken, 200e18, "the bond was still there");
        emissions.claim(node, _row(0, cells, _list(0, 0)), new bytes32[](0));
        eq(staking.claimable(node, node, 0), 0, "and the rewards are forfeited");
    }

    /// @dev Leaving in crumbs, epoch after epoch, made the walk over exits dearer than a block.
    function test_leaving_in_crumbs_does_not_make_slashes_dear() public {
        for (uint256 i = 0; i < 300; ++i) {
            vm.prank(node);
            staking.unbond(1);
            _epochs(1);
        }
        uint48 epoch = staking.currentEpoch();
        uint256 gas = gasleft();
        vm.prank(sys.audits);
        (, uint256 taken) = staking.slash(node, epoch, 2_000e18, Offence.Timeout, address(0));
        atMost(gas - gasleft(), 2_000_000, "gas");
        eq(taken, 1_000e18, "all of it, crumbs included");
    }

    function testFuzz_crumbs_all_come_back(uint8 n) public {
        uint256 m = 130 + uint256(n) % 20;
        for (uint256 i = 0; i < m; ++i) {
            vm.prank(node);
            staking.unbond(1);
            _epochs(1);
        }
        (uint256 total,) = staking.unbonding(node, node);
        eq(total, m, "on the way");
        _epochs(5);
        vm.prank(node);
        eq(staking.withdraw(node), m, "paid");
    }

    /// @dev Whoever registered and left again and again made the table, and every epoch proof, longer.
    function testFuzz_the_table_is_bounded_by_its_slots(uint8 most) public {
        most = uint8(within(most, 2, 6));
        _set(Param.MaxOperators, most);
        _epochs(1);
        for (uint256 i = 1; i < most; ++i) {
            address owner = _operator(0xb0 + i, 1_000e18);
            vm.prank(owner);
            operators.exit();
        }
        address late = _ownerOf(0xc0);
        _give(late, FLOAT);
        _approve(late, sys.staking);
        Registration memory r = _registration(late, 0xc0, 1_000e18);
        vm.prank(late);
        vm.expectRevert(IOperators.TableFull.selector);
        operators.register(r, "");
        eq(operators.tableSize(staking.currentEpoch() + 1), most, "slots");
        // Once no stake is liable for the slots any more, they are free.
        _epochs(9);
        r = _registration(late, 0xc0, 1_000e18);
        vm.prank(late);
        operators.register(r, "");
        eq(operators.tableSize(staking.currentEpoch() + 1), most, "no new slot");
    }

    /// @dev Who registers in another's name, or copies a possession proof from the mempool.
    function testFuzz_a_copied_registration_fails(uint256 key) public {
        key = within(key, 0x1000, type(uint64).max);
        address victim = _ownerOf(key);
        Registration memory r = _registration(victim, key, 1_000e18);
        _approve(stranger, sys.staking);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IOperators.InvalidHotKey.selector, r.hotKey));
        operators.register(r, "");
    }

    // --------------------------------------------------------------------------------- stolen keys

    function _pair(uint256 key, bytes32 o, bytes32 p, uint64 doneMs)
        internal
        view
        returns (Response memory x, bytes memory sx, Response memory y, bytes memory sy)
    {
        (x.requestCommitment, x.model, x.slot, x.outputCommitment, x.finish, x.doneMs) = ("r", MODEL, 9, o, 1, doneMs);
        (y.requestCommitment, y.model, y.slot, y.outputCommitment, y.finish, y.doneMs) = ("r", MODEL, 9, p, 1, doneMs);
        (sx, sy) = (_sign(key, hashes.response(x)), _sign(key, hashes.response(y)));
    }

    /// @dev A key that was replaced long ago slashed for the current epoch, for ever.
    function testFuzz_an_old_key_slashes_only_for_its_own_time(uint64 doneMs, uint8 later) public {
        uint256 nonce = operators.keyNonce(node);
        bytes memory possession = _sign(0xa2, Messages.hashHotKey(node, vm.addr(0xa2), nonce));
        bytes memory proof = _keyProof(node, 7, 8, nonce);
        vm.prank(node);
        operators.rotateKeys(vm.addr(0xa2), possession, 7, 8, 1, proof);
        eq(operators.hotKeyUntil(vm.addr(0xa1)), 2, "the old one ends");
        eq(operators.hotKeyUntil(vm.addr(0xa2)), type(uint48).max, "the new one does not");
        eq(operators.hotKeyUntil(stranger), 0, "nobody's");
        (Response memory x, bytes memory sx, Response memory y, bytes memory sy) = _pair(0xa1, "o", "p", doneMs);
        _epochs(within(later, 1, 20));
        if (staking.currentEpoch() >= 6) {
            vm.expectRevert(abi.encodeWithSelector(IDisputes.KeyRetired.selector, vm.addr(0xa1)));
            disputes.proveResponses(x, sx, y, sy);
        } else {
            disputes.proveResponses(x, sx, y, sy);
            eq(staking.slashAt(node, 0).offenceEpoch, 1, "the last epoch of the key");
        }
    }

    /// @dev What is signed for one chain or deployment is worth nothing on another.
    function testFuzz_signatures_do_not_cross_chains(uint64 chain, bytes32 o, bytes32 p) public {
        vm.assume(o != p && chain != block.chainid && chain != 0);
        bytes32 id = _session(2, 1_000);
        bytes memory voucher = _sign(USER_KEY, Messages.hashVoucher(id, 10));
        (Response memory x, bytes memory sx, Response memory y, bytes memory sy) = _pair(0xa1, o, p, 0);
        vm.chainId(chain);
        vm.expectRevert(abi.encodeWithSelector(IPayments.BadVoucher.selector, id));
        payments.redeem(id, 10, 1, voucher);
        vm.expectPartialRevert(IDisputes.WrongSigner.selector);
        disputes.proveResponses(x, sx, y, sy);
        vm.chainId(31337);
        payments.redeem(id, 10, 1, voucher);
    }

    // ---------------------------------------------------------------------------------- bad coins

    function _list(address coin) internal {
        vm.prank(sys.timelock);
        payments.listAsset(coin);
        _epochs(1);
    }

    function _session(uint16 asset, uint256 amount) internal returns (bytes32 id) {
        if (payments.assetCount() <= asset) _list(address(new TaxCoin()));
        TaxCoin coin = TaxCoin(payments.assetAt(asset));
        coin.mint(user, amount);
        vm.startPrank(user);
        coin.approve(sys.payments, amount);
        id = payments.openSession(user, asset, amount);
        vm.stopPrank();
    }

    /// @dev An epoch in which the node earned `fee` in asset 2, and the row that claims it.
    function _earned(uint256 fee) internal returns (uint48 epoch, uint256[] memory cells, uint256[] memory fees) {
        epoch = staking.currentEpoch();
        bytes32 id = _session(2, 2 * fee + 2);
        payments.redeem(id, fee, epoch, _sign(USER_KEY, Messages.hashVoucher(id, fee)));
        _finalBatch(1, 0);
        _skipTo(epoch);
        cells = _list(_cell(0, 1e18, 1));
        fees = new uint256[](3);
        fees[2] = fee;
        _proveEpoch(cells, fees);
        _vest(epoch);
        emissions.skipIdle(node, 100);
    }

    /// @dev What a tax takes on the way must not be missing for the last who claims.
    function testFuzz_a_coin_that_takes_a_fee_leaves_nobody_short(uint256 fee) public {
        fee = within(fee, 100, 1e30);
        TaxCoin coin = new TaxCoin();
        _list(address(coin));
        (, uint256[] memory cells, uint256[] memory fees) = _earned(fee);
        emissions.claim(node, _row(0, cells, fees), new bytes32[](0));
        eq(coin.balanceOf(sys.staking), staking.claimable(node, node, 4), "what arrived is what is owed");
        vm.prank(node);
        staking.claim(node, 4);
        eq(coin.balanceOf(sys.staking), 0, "the last one is paid");
    }

    /// @dev A coin that stops moving held up the row, and with it every later row.
    function testFuzz_a_halted_coin_holds_up_nobody(uint256 fee, bool fails) public {
        fee = within(fee, 1, 1e30);
        HaltCoin coin = new HaltCoin();
        _list(address(coin));
        (uint48 epoch, uint256[] memory cells, uint256[] memory fees) = _earned(fee);
        if (fails) {
            vm.prank(sys.audits);
            staking.slash(node, epoch, 1, Offence.Timeout, address(0));
        }
        address owed = fails ? sys.treasury : node;
        coin.halt(true);
        emissions.claim(node, _row(0, cells, fees), new bytes32[](0));
        eq(emissions.nextClaim(node), epoch + 1, "the row is claimed");
        eq(emissions.deferredFees(owed, 2), fee, "the fees wait");
        vm.expectRevert(HaltCoin.Halted.selector);
        emissions.retryFees(owed, 2);
        coin.halt(false);
        emissions.retryFees(owed, 2);
        vm.expectRevert(Zero.selector);
        emissions.retryFees(owed, 2);
        eq(fails ? coin.balanceOf(owed) : staking.claimable(node, node, 4), fee, "and come");
    }

    /// @dev Starved of gas, the payment failed and the fees were put off, to be shared among later stake.
    function testFuzz_a_claim_can_not_be_starved(uint256 gas) public {
        HaltCoin coin = new HaltCoin();
        _list(address(coin));
        (, uint256[] memory cells, uint256[] memory fees) = _earned(1e18);
        gas = within(gas, 50_000, 900_000);
        (bool ok, bytes memory said) = sys.emissions.call{gas: gas}(
            abi.encodeCall(emissions.claim, (node, _row(0, cells, fees), new bytes32[](0)))
        );
        if (!ok && said.length > 0) {
            eq(
                keccak256(said),
                keccak256(abi.encodeWithSelector(IEmissions.GasTooLow.selector, 500_000)),
                "refused for gas alone"
            );
        }
        eq(emissions.deferredFees(node, 2), 0, "never put off");
    }

    /// @dev A user whom the coin refuses could not be refunded; the request stayed open and fined for ever.
    function testFuzz_a_refused_refund_does_not_keep_a_request_open(uint256 extra) public {
        extra = within(extra, 1, 1e6);
        HaltCoin coin = new HaltCoin();
        _list(address(coin));
        vm.prank(sys.timelock);
        payments.setPrice(MODEL, 2, 1e6, 2e6);
        _epochs(1);
        coin.mint(stranger, 50 + extra);
        vm.startPrank(stranger);
        coin.approve(sys.inbox, type(uint256).max);
        vm.expectRevert(Zero.selector);
        inbox.force(MODEL, 100, new bytes(40), 0, 2, 50);
        uint256 id = inbox.force(MODEL, 100, new bytes(40), 20, 2, 50 + extra);
        vm.stopPrank();
        (uint64 n, BatchHeader memory h, uint256[3][] memory l) = _finalBatch(2, 0);
        coin.refuse(stranger, true);
        bytes memory ids = new bytes(80);
        uint256[] memory s = new uint256[](5);
        (s[0], s[1], s[2]) = (l[0][1], 20, 1);
        (s[3], s[4]) = (uint256(keccak256(ids)) >> 128, uint128(uint256(keccak256(ids))));
        inbox.dischargeByAnswer(id, n, h, _open(l, 0), ids, _stamp(s));
        isTrue(inbox.request(id).state == RequestState.Answered, "answered");
        eq(coin.balanceOf(node), 50, "the node is paid");
        eq(inbox.owed(stranger, 2), extra, "the refund waits");
        vm.expectRevert(Zero.selector);
        inbox.collect(2, node);
        vm.prank(stranger);
        inbox.collect(2, bank);
        eq(coin.balanceOf(bank), extra, "and goes where its owner says");
    }

    /// @dev The price was asked of what was sent, not of what arrived.
    function testFuzz_a_taxed_fee_must_cover_the_price(uint256 fee) public {
        _list(address(new TaxCoin()));
        vm.prank(sys.timelock);
        payments.setPrice(MODEL, 2, 1e12, 2e12);
        _epochs(1);
        TaxCoin coin = TaxCoin(payments.assetAt(2));
        fee = within(fee, 50e6, 50.5e6);
        coin.mint(stranger, fee);
        vm.startPrank(stranger);
        coin.approve(sys.inbox, fee);
        uint256 arrives = fee - fee / 100;
        if (arrives < 50e6) vm.expectRevert(abi.encodeWithSelector(IInbox.FeeTooSmall.selector, arrives, 50e6));
        inbox.force(MODEL, 100, new bytes(40), 20, 2, fee);
        vm.stopPrank();
    }

    function testFuzz_reentering_pays_once(uint256 amount) public {
        amount = within(amount, 1, 1e30);
        HookCoin coin = new HookCoin();
        _list(address(coin));
        _session(2, amount);
        Reentrant thief = new Reentrant(payments, coin);
        coin.mint(address(thief), 2 * amount);
        thief.open(2, amount);
        thief.listen(coin);
        _seconds(61);
        payments.finishExit(thief.session());
        eq(coin.balanceOf(address(thief)), amount, "one session, once");
        eq(thief.tries(), 1, "it did try");
        payments.finishExit(thief.other());
        eq(coin.balanceOf(address(thief)), 2 * amount, "and the other by itself");
        eq(coin.balanceOf(sys.payments), amount, "the others' money stays");
    }

    // ----------------------------------------------------------------------------------- governance

    function _propose(address target, bytes memory call) internal returns (uint256 id, bytes32 hash) {
        _approve(node, sys.governor);
        Evidence memory none;
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _calls(target, call);
        vm.prank(node);
        id = governor.proposeAs(ProposalKind.Methodology, t, v, c, "text", 0, none);
        hash = keccak256("text");
    }

    function _calls(address target, bytes memory call)
        internal
        pure
        returns (address[] memory t, uint256[] memory v, bytes[] memory c)
    {
        (t, v, c) = (new address[](1), new uint256[](1), new bytes[](1));
        (t[0], c[0]) = (target, call);
    }

    /// @dev Proposing and leaving in the same block: the stake was out before the votes were counted.
    function testFuzz_who_proposes_waste_can_not_leave_first(uint256 part) public {
        _operator(0xa2, 2_000e18);
        _epochs(1);
        (uint256 id,) = _propose(sys.treasury, abi.encodeCall(treasury.pay, (sys.token, stranger, 1)));
        vm.prank(node);
        staking.unbond(within(part, 1, 1_000e18));
        _epochs(2);
        vm.prank(_ownerOf(0xa2));
        governor.castVote(id, uint8(Vote.Wasteful));
        // The first epoch in which the vote is over.
        _epochs(2);
        vm.prank(node);
        vm.expectRevert(IStaking.NothingDue.selector);
        staking.withdraw(node);
        governor.settle(id);
        eq(staking.slashAt(node, 0).ownTaken, 100e18, "slashed");
    }

    /// @dev Whoever saw a proposal first could propose it first, for the reward, or cancel it for ever.
    function testFuzz_a_proposal_can_be_protected(uint256 value) public {
        address thief = _operator(0xa2, 1_000e18);
        _approve(thief, sys.governor);
        _approve(node, sys.governor);
        Evidence memory none;
        (address[] memory t, uint256[] memory v, bytes[] memory c) =
            _calls(sys.treasury, abi.encodeCall(treasury.pay, (sys.token, stranger, value)));
        string memory text = string.concat("text#proposer=", vm.toString(node));
        vm.prank(thief);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorRestrictedProposer.selector, thief));
        governor.proposeAs(ProposalKind.Methodology, t, v, c, text, 0, none);
        vm.prank(node);
        governor.proposeAs(ProposalKind.Methodology, t, v, c, text, 0, none);
    }

    function testFuzz_votes_end_before_stake_can_leave(uint32 period, bool delay) public {
        period = uint32(within(period, 3, 1e6));
        bytes memory call = delay
            ? abi.encodeCall(governor.setVotingDelay, (period))
            : abi.encodeCall(governor.setVotingPeriod, (period));
        (uint256 id, bytes32 hash) = _propose(sys.governor, call);
        _epochs(2);
        vm.prank(node);
        governor.castVote(id, uint8(Vote.For));
        _epochs(2);
        (address[] memory t, uint256[] memory v, bytes[] memory c) = _calls(sys.governor, call);
        governor.queue(t, v, c, hash);
        vm.warp(governor.proposalEta(id) + 1);
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.VotingTooLong.selector, 4));
        governor.execute(t, v, c, hash);
        // Nor can unbonding become shorter than the votes.
        Param[] memory ps = new Param[](2);
        (ps[0], ps[1]) = (Param.ProofWindow, Param.UnbondingEpochs);
        vm.expectRevert(IParameters.Inconsistent.selector);
        vm.prank(sys.timelock);
        parameters.set(ps, _list(1, 3));
    }

    /// @dev The bond of a proposal whose calls revert was locked for ever.
    function testFuzz_the_bond_of_a_stuck_proposal_comes_back(uint256 wait) public {
        (uint256 id, bytes32 hash) = _propose(sys.treasury, abi.encodeCall(treasury.pay, (sys.token, stranger, 1)));
        _epochs(2);
        vm.prank(node);
        governor.castVote(id, uint8(Vote.For));
        _epochs(2);
        (address[] memory t, uint256[] memory v, bytes[] memory c) =
            _calls(sys.treasury, abi.encodeCall(treasury.pay, (sys.token, stranger, 1)));
        governor.queue(t, v, c, hash);
        uint256 until = governor.proposalEta(id) + 30 days;
        vm.warp(within(wait, block.timestamp, until));
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NotSettled.selector, id));
        governor.settle(id);
        vm.warp(until + 1);
        uint256 before = token.balanceOf(node);
        governor.settle(id);
        eq(token.balanceOf(node) - before, 100e18, "bond");
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NotSettled.selector, id));
        governor.settle(id);
    }

    // ------------------------------------------------------------------------------ broken verifier

    /// @dev An unsound version stayed usable for ever, by whoever named it.
    function testFuzz_a_retired_version_proves_nothing_later(uint8 which, uint48 later) public {
        Circuit circuit = [Circuit.Batch, Circuit.Epoch, Circuit.BatchKey, Circuit.Output][which % 4];
        vm.startPrank(sys.timelock);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.NotRetirable.selector, Circuit.Inference));
        verifiers.retire(Circuit.Inference, 1);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.UnknownVerifier.selector, circuit, uint32(5)));
        verifiers.retire(circuit, 5);
        verifiers.retire(circuit, 1);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.Retired.selector, circuit, uint32(1)));
        verifiers.retire(circuit, 1);
        vm.stopPrank();
        uint48 from = verifiers.retiredFrom(circuit, 1);
        eq(from, staking.currentEpoch() + 1, "from the next epoch");
        uint256[] memory s = _list(1);
        bytes memory proof = _stamp(s);
        verifiers.check(circuit, 1, from - 1, proof, s);
        later = uint48(within(later, from, type(uint48).max));
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.Retired.selector, circuit, uint32(1)));
        verifiers.check(circuit, 1, later, proof, s);
    }

    function testFuzz_strangers_retire_nothing(address who) public {
        vm.assume(who != sys.timelock);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(NotAuthorised.selector, who));
        verifiers.retire(Circuit.Batch, 1);
    }

    // ------------------------------------------------------------------------------------ emissions

    /// @dev Below the minimum nothing was added, but what was carried over was paid: to a lone node.
    function testFuzz_a_lone_node_does_not_drain_what_is_carried(uint256 share) public {
        share = within(share, 1, 1e18);
        _finalBatch(1, 0);
        _skipTo(1);
        _proveEpoch(_list(_cell(0, 0, 0)), _list(0, 0));
        uint256 carry = emissions.carryOf(0);
        isTrue(carry > 0, "something is carried");
        _set(Param.EmissionMinOperators, 2);
        _epochs(1);
        uint48 epoch = staking.currentEpoch();
        _finalBatch(1, 0);
        _skipTo(epoch);
        _proveEpoch(_list(_cell(share, 1e18, 1)), _list(0, 0));
        eq(emissions.carryOf(0), carry, "untouched");
        eq(emissions.potOf(epoch, 0), 0, "no pot");
    }

    function _force(uint256 fee) internal returns (uint256) {
        vm.startPrank(sys.timelock);
        payments.setPrice(MODEL, 0, 1, 1);
        vm.stopPrank();
        _epochs(1);
        vm.startPrank(stranger);
        token.approve(sys.inbox, type(uint256).max);
        uint256 id = inbox.force(MODEL, 100, new bytes(40), 20, 0, fee);
        vm.stopPrank();
        return id;
    }
}
