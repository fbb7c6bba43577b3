// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {Emissions} from "../../src/Emissions.sol";
import {NotAuthorised, Zero} from "../../src/System.sol";
import {IEmissions} from "../../src/interfaces/IEmissions.sol";
import {EpochStatement, EpochStatus, IEpochs, Row} from "../../src/interfaces/IEpochs.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {IPayments} from "../../src/interfaces/IPayments.sol";
import {BatchHeader, IRollup} from "../../src/interfaces/IRollup.sol";
import {Offence} from "../../src/interfaces/IStaking.sol";
import {Circuit, IVerifierRegistry} from "../../src/interfaces/IVerifier.sol";
import {Messages} from "../../src/libraries/Messages.sol";
import {BN254_R} from "../../src/libraries/PoseidonConstants.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

contract Wallet is IERC1271 {
    mapping(bytes32 => bool) public allowed;

    function allow(bytes32 digest) external {
        allowed[digest] = true;
    }

    function isValidSignature(bytes32 digest, bytes memory) external view returns (bytes4) {
        return allowed[digest] ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

contract PaymentsTest is World {
    uint256 internal constant USER_KEY = 0x05e4;
    address internal user = vm.addr(USER_KEY);
    address internal node;

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        _epochs(1);
        usd.mint(user, 1e12);
        vm.prank(user);
        usd.approve(sys.payments, type(uint256).max);
    }

    function _session(uint256 amount) internal returns (bytes32 id) {
        vm.prank(user);
        id = payments.openSession(user, 1, amount);
    }

    function _voucher(bytes32 id, uint256 cumulative) internal view returns (bytes memory) {
        return _sign(USER_KEY, Messages.hashVoucher(id, cumulative));
    }

    // ------------------------------------------------------------------------------------- sessions

    function testFuzz_sessions_are_paid_in_a_stablecoin(uint256 amount, uint256 x, uint256 y, uint256 wait) public {
        amount = within(amount, 2, 1e12);
        x = within(x, 1, amount - 1);
        y = within(y, x + 1, amount);
        bytes32 id = _session(amount / 2);
        vm.prank(user);
        payments.fund(id, amount - amount / 2);
        payments.redeem(id, x, 1, _voucher(id, x));
        payments.redeem(id, y, 1, _voucher(id, y));
        eq(payments.poolOf(1, 1), y, "pool");
        eq(payments.session(id).spent, y, "spent");
        bytes memory used = _voucher(id, x);
        vm.expectRevert(abi.encodeWithSelector(IPayments.OutOfRange.selector, y, x, amount));
        payments.redeem(id, x, 1, used);
        uint256 over = amount + x;
        used = _voucher(id, over);
        vm.expectRevert(abi.encodeWithSelector(IPayments.OutOfRange.selector, y, over, amount));
        payments.redeem(id, over, 1, used);

        vm.expectRevert(abi.encodeWithSelector(IPayments.ExitPending.selector, 0));
        payments.finishExit(id);
        vm.expectRevert(abi.encodeWithSelector(IPayments.NotYourSession.selector, id));
        payments.startExit(id);
        vm.startPrank(user);
        payments.startExit(id);
        vm.expectRevert(IPayments.Exiting.selector);
        payments.startExit(id);
        vm.expectRevert(IPayments.Exiting.selector);
        payments.fund(id, 1);
        vm.stopPrank();
        uint256 at_ = payments.session(id).exitAt;
        vm.warp(within(wait, block.timestamp, at_));
        vm.expectRevert(abi.encodeWithSelector(IPayments.ExitPending.selector, at_));
        payments.finishExit(id);
        vm.warp(at_ + 1);
        payments.finishExit(id);
        eq(usd.balanceOf(user), 1e12 - y, "the rest is back");
        eq(token.balanceOf(user), 0, "never held the token");
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownSession.selector, id));
        payments.finishExit(id);
    }

    function testFuzz_vouchers_are_signed_by_the_user(uint256 key, uint256 x) public {
        key = within(key, 1, type(uint128).max);
        vm.assume(key != USER_KEY);
        x = within(x, 1, 1e6);
        bytes32 id = _session(1e6);
        bytes memory forged = _sign(key, Messages.hashVoucher(id, x));
        vm.expectRevert(abi.encodeWithSelector(IPayments.BadVoucher.selector, id));
        payments.redeem(id, x, 1, forged);
        bytes memory good = _voucher(id, x);
        vm.expectRevert(abi.encodeWithSelector(IPayments.EpochClosed.selector, uint48(2)));
        payments.redeem(id, x, 2, good);
        _skipTo(2);
        vm.expectRevert(abi.encodeWithSelector(IPayments.EpochClosed.selector, uint48(1)));
        payments.redeem(id, x, 1, good);
        // An account that delegates its code (EIP-7702) still signs with its key.
        vm.etch(user, hex"ef01000000000000000000000000000000000000000001");
        payments.redeem(id, x, staking.currentEpoch(), good);
    }

    function testFuzz_contract_wallets_sign_by_erc1271(uint256 x) public {
        x = within(x, 1, 1e6);
        Wallet wallet = new Wallet();
        vm.prank(user);
        bytes32 id = payments.openSession(address(wallet), 1, 1e6);
        vm.expectRevert(abi.encodeWithSelector(IPayments.BadVoucher.selector, id));
        payments.redeem(id, x, 1, "");
        wallet.allow(Messages.digest(sys.rollup, Messages.hashVoucher(id, x)));
        payments.redeem(id, x, 1, "");
        eq(payments.session(id).spent, x, "spent");
    }

    function testFuzz_sessions_close_at_once_with_the_sequencer(uint256 x) public {
        x = within(x, 1, 1e6);
        bytes32 id = _session(1e6);
        payments.redeem(id, x, 1, _voucher(id, x));
        bytes memory old = _sign(SEQUENCER_KEY, Messages.hashClose(id, 0));
        bytes memory good = _sign(SEQUENCER_KEY, Messages.hashClose(id, x));
        vm.expectRevert(abi.encodeWithSelector(IPayments.NotYourSession.selector, id));
        payments.closeNow(id, good);
        vm.startPrank(user);
        vm.expectRevert(abi.encodeWithSelector(IPayments.BadVoucher.selector, id));
        payments.closeNow(id, old);
        eq(payments.closeNow(id, good), 1e6 - x, "rest");
        vm.stopPrank();
    }

    function testFuzz_session_refusals(uint16 asset, bytes32 id) public {
        asset = uint16(within(asset, 2, type(uint16).max));
        vm.startPrank(user);
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownAsset.selector, uint256(asset)));
        payments.openSession(user, asset, 1);
        vm.expectRevert(Zero.selector);
        payments.openSession(user, 1, 0);
        vm.expectRevert(Zero.selector);
        payments.openSession(address(0), 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownSession.selector, id));
        payments.startExit(id);
        vm.stopPrank();
        bytes32 open = _session(5);
        vm.prank(sys.timelock);
        payments.allowAsset(1, false);
        vm.prank(user);
        vm.expectRevert(abi.encodeWithSelector(IPayments.AssetNotAllowed.selector, 1));
        payments.openSession(user, 1, 1);
        vm.prank(guardian);
        parameters.pause();
        vm.prank(user);
        vm.expectRevert(IPayments.Paused.selector);
        payments.openSession(user, 0, 1);
        vm.prank(user);
        payments.startExit(open);
        _seconds(61);
        payments.finishExit(open);
        eq(usd.balanceOf(user), 1e12, "neither pause nor delisting keeps money");
    }

    // -------------------------------------------------------------------------------- subscriptions

    function testFuzz_subscriptions(uint128 price, uint48 length, uint8 periods, uint8 used) public {
        price = uint128(within(price, 1, 1e9));
        length = uint48(within(length, 1, 366));
        periods = uint8(within(periods, 1, 120));
        vm.expectRevert(abi.encodeWithSelector(IPayments.PlanInactive.selector, 3));
        payments.subscribe(user, 3, 1);
        vm.prank(sys.timelock);
        payments.setPlan(3, 1, length, price, true);
        vm.startPrank(user);
        vm.expectRevert(Zero.selector);
        payments.subscribe(user, 3, 0);
        vm.expectRevert(Zero.selector);
        payments.subscribe(user, 3, 121);
        vm.expectRevert(Zero.selector);
        payments.subscribe(address(0), 3, 1);
        uint256 id = payments.subscribe(user, 3, periods);
        vm.stopPrank();
        uint256 paid = uint256(price) * periods;
        uint256 epochsTotal = uint256(length) * periods;
        eq(usd.balanceOf(user), 1e12 - paid, "paid");
        eq(payments.poolOf(2, 1), paid - paid / epochsTotal * epochsTotal, "remainder in the first epoch");
        eq(payments.subscription(id).until, 2 + epochsTotal, "until");
        vm.expectRevert(abi.encodeWithSelector(IPayments.NotYourSession.selector, bytes32(id)));
        payments.unsubscribe(id);
        vm.expectRevert(IPayments.NothingToRefund.selector);
        payments.unsubscribe(id + 1);
        _epochs(used);
        uint256 end = staking.currentEpoch() + 1;
        vm.prank(user);
        if (end >= 2 + epochsTotal) {
            vm.expectRevert(IPayments.NothingToRefund.selector);
            payments.unsubscribe(id);
        } else {
            eq(payments.unsubscribe(id), (2 + epochsTotal - end) * (paid / epochsTotal), "refund");
        }
        // All that was not refunded ends up in pools.
        if (epochsTotal < 40) {
            _skipTo(uint48(3 + epochsTotal));
            eq(payments.poolOf(epochs.nextEpoch(), 1), usd.balanceOf(sys.payments), "pools hold everything");
        }
    }

    function testFuzz_governed_settings(uint104 perIn, uint104 perOut, uint16 nIn) public {
        vm.startPrank(sys.timelock);
        payments.setPrice(MODEL, 1, perIn, perOut);
        (uint256 x,) = payments.priceAt(MODEL, 1, 1);
        eq(x, 0, "next epoch");
        (uint256 i, uint256 o) = payments.priceAt(MODEL, 1, 2);
        isTrue(i == perIn && o == perOut, "set");
        uint256 exact = uint256(perIn) * nIn + perOut;
        eq(payments.quote(MODEL, 1, 2, nIn, 1), (exact + 999_999) / 1e6, "rounded up");
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownAsset.selector, 2));
        payments.setPrice(MODEL, 2, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownAsset.selector, 2));
        payments.allowAsset(2, true);
        vm.expectRevert(abi.encodeWithSelector(IPayments.UnknownAsset.selector, 2));
        payments.setPlan(1, 2, 1, 1, true);
        vm.expectRevert(Zero.selector);
        payments.setPlan(1, 1, 0, 1, true);
        vm.expectRevert(Zero.selector);
        payments.setPlan(1, 1, 367, 1, true);
        vm.expectRevert(Zero.selector);
        payments.setPlan(1, 1, 1, 0, true);
        vm.expectRevert(Zero.selector);
        payments.listAsset(address(0));
        eq(payments.listAsset(stranger), 2, "index");
        vm.stopPrank();
        eq(payments.assetCount(), 3, "count");
        eq(payments.assetCountAt(1), 2, "columns do not change in an epoch");
        eq(payments.assetCountAt(2), 3, "columns next epoch");
        payments.plan(0);
    }

    // ---------------------------------------------------------------------------- epochs, emissions

    function _proved(uint256 share, uint256 fee) internal returns (uint256[] memory cells, uint256[] memory fees) {
        bytes32 id = _session(1e9);
        payments.redeem(id, 1e6, 1, _voucher(id, 1e6));
        _finalBatch(2, 0);
        _skipTo(1);
        cells = _list(_cell(share, 0.9e18, 5e9));
        fees = _list(0, fee);
        _proveEpoch(cells, fees);
    }

    function testFuzz_fees_and_emissions_reach_the_node(uint256 share, uint256 fee) public {
        share = within(share, 1, 1e18);
        fee = within(fee, 1, 1e6);
        (uint256[] memory cells, uint256[] memory fees) = _proved(share, fee);
        isTrue(epochs.record(1).status == EpochStatus.Proved, "proved");
        eq(payments.poolOf(2, 1), 1e6 - fee, "the rest waits for the next epoch");
        uint256 pot = emissions.potOf(1, 0);
        eq(emissions.minted(), pot, "minted");
        eq(emissions.carryOf(0), pot - pot * share / 1e18, "carried");
        uint256 cut = (pot * share / 1e18 * 25 + 999) / 1000;
        eq(token.balanceOf(sys.treasury), cut, "treasury");
        Row memory row = _row(0, cells, fees);
        uint256 until = emissions.vestsAt(1);
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotVested.selector, until));
        emissions.claim(node, row, new bytes32[](0));
        _vest(1);
        row.slot = 1;
        vm.expectRevert(abi.encodeWithSelector(IEmissions.WrongSlot.selector, 0, 1));
        emissions.claim(node, row, new bytes32[](0));
        row.slot = 0;
        row.fees[1] += 1;
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NotInEpoch.selector, uint48(1), uint16(0)));
        emissions.claim(node, row, new bytes32[](0));
        row.fees[1] -= 1;
        emissions.claim(node, row, new bytes32[](0));
        eq(staking.claimable(node, node, 0), pot * share / 1e18 - cut, "emission");
        eq(staking.claimable(node, node, 3), fee, "fee");
        vm.prank(node);
        staking.claim(node, 3);
        eq(usd.balanceOf(node), fee, "paid in the stablecoin");
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NothingDue.selector, uint48(2)));
        emissions.claim(node, row, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotAnOperator.selector, stranger));
        emissions.claim(stranger, row, new bytes32[](0));
    }

    function testFuzz_failure_forfeits(uint256 share, uint256 fee) public {
        share = within(share, 1, 1e18);
        fee = within(fee, 1, 1e6);
        (uint256[] memory cells, uint256[] memory fees) = _proved(share, fee);
        vm.prank(sys.audits);
        staking.slash(node, 1, 1, Offence.Timeout, address(0));
        _vest(1);
        uint256 carry = emissions.carryOf(0);
        vm.mockCall(sys.audits, abi.encodeCall(audits.braked, (1)), abi.encode(true));
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NotVested.selector, type(uint256).max));
        emissions.claim(node, _row(0, cells, fees), new bytes32[](0));
        vm.clearMockedCalls();
        emissions.claim(node, _row(0, cells, fees), new bytes32[](0));
        eq(staking.claimable(node, node, 0) + staking.claimable(node, node, 3), 0, "nothing");
        isTrue(share < 1e4 || emissions.carryOf(0) > carry, "back into the pot");
        eq(usd.balanceOf(sys.treasury), fee, "fees to the treasury");
    }

    function testFuzz_no_emission_without_stake_and_operators(uint256 least) public {
        _set(Param.EmissionMinStake, within(least, 1_000e18 + 1, 1e27));
        _epochs(1);
        _finalBatch(1, 0);
        _skipTo(2);
        _proveEpoch(_list(_cell(1e18, 0, 0)), _list(0, 0));
        eq(emissions.minted(), 0, "nothing minted");
    }

    function testFuzz_schedule_decays(uint48 e) public view {
        e = uint48(within(e, 1, 5_000));
        uint256 last = emissions.scheduled(e - 1);
        eq(emissions.scheduled(e), last - last * 4_294_967 / 2 ** 32, "a thousandth less");
        eq(emissions.scheduled(0), 10_000e18, "first");
    }

    /// @dev The sum of all epochs, those after a million included, stays below what the cap was checked for.
    function test_schedule_adds_up() public view {
        uint256 s = 10_000e18;
        uint256 sum;
        for (uint256 e = 0; e < 100_000; ++e) {
            sum += s;
            s -= s * 4_294_967 / 2 ** 32;
        }
        atMost(sum, uint256(10_000e18) * 2 ** 32 / 4_294_967 + 1e18, "series");
        atMost(s, 2 ** 32, "tail");
    }

    function testFuzz_schedule_fits_the_cap(uint256 first) public {
        first = within(first, 1_000_000e18, 1e33);
        Emissions.Allocation[] memory none = new Emissions.Allocation[](0);
        vm.expectRevert(
            abi.encodeWithSelector(IEmissions.ScheduleExceedsCap.selector, 2_048 * first + 1e18, 1_000_000_000e18)
        );
        new Emissions(sys, none, first, 2 ** 32 / 2_048, 1);
        vm.expectRevert(Zero.selector);
        new Emissions(sys, none, 1, 0, 1);
        vm.expectRevert(Zero.selector);
        new Emissions(sys, none, 1, 1, 0);
    }

    function testFuzz_idle_epochs_are_skipped_in_claims(uint8 n) public {
        n = uint8(within(n, 1, 30));
        vm.expectRevert(abi.encodeWithSelector(IEmissions.NothingDue.selector, uint48(1)));
        emissions.skipIdle(node, 5);
        _skipTo(1 + n);
        emissions.skipIdle(node, 1);
        eq(emissions.nextClaim(node), 2, "one");
        if (n > 1) emissions.skipIdle(node, 100);
        eq(emissions.nextClaim(node), 1 + n, "all");
    }

    function testFuzz_epoch_refusals(uint256 x) public {
        x = within(x, 1, 1e18);
        BatchHeader memory none;
        uint256[] memory cells = _list(_cell(1e18, 0, 0));
        uint256[] memory fees = _list(0, 0);
        EpochStatement memory st = EpochStatement(0, 1, 11, 12);
        vm.expectRevert(IEpochs.TooEarly.selector);
        epochs.skip(0, none);
        (uint64 n, BatchHeader memory h) = _commit(_leaves(1, 0, 0));
        _prove(n);
        _epochs(2);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongHeader.selector, bytes32(0), rollup.hashHeader(9, none)));
        epochs.skip(9, none);
        epochs.skip(n, h);
        st.epoch = 2;
        vm.expectRevert(abi.encodeWithSelector(IEpochs.WrongEpoch.selector, uint48(1), uint48(2)));
        epochs.prove(st, cells, fees, n, h, "");
        st.epoch = 1;
        vm.expectRevert(IEpochs.BatchesPending.selector);
        epochs.prove(st, cells, fees, n, h, "");
        vm.expectRevert(IEpochs.BatchesPending.selector);
        epochs.skip(n, h);
        _finaliseProven(n);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.HasBatches.selector, uint48(1)));
        epochs.skip(0, none);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.BeaconPending.selector, uint48(1)));
        epochs.prove(st, cells, fees, 0, none, "");
        _captureEpoch(1);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.WrongShape.selector, 1, 2));
        epochs.prove(st, fees, fees, 0, none, "");
        vm.expectRevert(abi.encodeWithSelector(IEpochs.WrongShape.selector, 2, 1));
        epochs.prove(st, cells, cells, 0, none, "");
        st.tableCommitment = BN254_R + x;
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NotCanonical.selector, BN254_R + x));
        epochs.prove(st, cells, fees, 0, none, "");
        st.tableCommitment = 11;
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Epoch, 1));
        epochs.prove(st, cells, fees, 0, none, abi.encode(x));
        _bad(
            st,
            _list(_cell(1e18 + x, 0, 0)),
            fees,
            abi.encodeWithSelector(IEpochs.SharesExceedPot.selector, 0, 1e18 + x)
        );
        _bad(st, _list(x << 192), fees, abi.encodeWithSelector(IEpochs.BadCell.selector, x << 192));
        _bad(st, cells, _list(x << 128, 0), abi.encodeWithSelector(IEpochs.BadCell.selector, x << 128));
        _bad(st, cells, _list(0, x), abi.encodeWithSelector(IPayments.PoolExceeded.selector, 1, 0, x));
        _proveEpoch(cells, fees);
        st.epoch = 2;
        _captureEpoch(2);
        _epochs(2);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NoBatches.selector, uint48(2)));
        epochs.prove(st, cells, fees, 0, none, "");
    }

    function _bad(EpochStatement memory st, uint256[] memory cells, uint256[] memory fees, bytes memory reason)
        internal
    {
        BatchHeader memory none;
        bytes memory proof = _stamp(_epochInputs(st, epochState, cells, fees));
        vm.expectRevert(reason);
        epochs.prove(st, cells, fees, 0, none, proof);
    }

    function testFuzz_epoch_beacon_is_the_first_block(uint256 late) public {
        uint256 start = staking.epochStart(2);
        vm.warp(start + 30);
        vm.roll(5_000);
        late = within(late, 1, 20);
        bytes memory parent = _blockHeader(4_000, start - 1, 0, 0);
        bytes memory h = _blockHeader(4_001, start, keccak256(parent), "randao");
        bytes memory second = _blockHeader(4_002, start + late, keccak256(h), "other");
        vm.setBlockhash(4_999, keccak256(h));
        vm.expectRevert(IEpochs.WrongBlockHeader.selector);
        epochs.captureBeacon(2, h, parent);
        h = _blockHeader(4_990, start, keccak256(parent), "randao");
        second = _blockHeader(4_991, start + late, keccak256(h), "other");
        vm.setBlockhash(4_990, keccak256(h));
        vm.setBlockhash(4_991, keccak256(second));
        vm.expectRevert(IEpochs.WrongBlockHeader.selector);
        epochs.captureBeacon(2, second, h);
        vm.expectRevert(IEpochs.WrongBlockHeader.selector);
        epochs.captureBeacon(3, h, parent);
        epochs.captureBeacon(2, h, parent);
        eq(epochs.beaconOf(2), bytes32("randao"), "captured");
        vm.expectRevert(abi.encodeWithSelector(IEpochs.AlreadyCaptured.selector, uint48(2)));
        epochs.captureBeacon(2, h, parent);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.AlreadyCaptured.selector, uint48(2)));
        epochs.rescheduleBeacon(2, h);
        // Epoch 1 was missed; its first block is almost forgotten. The history contract knows it.
        uint256 first = staking.epochStart(1);
        bytes memory old = _blockHeader(4_000, first + late, 0, "old");
        vm.expectRevert(IEpochs.WrongBlockHeader.selector);
        epochs.rescheduleBeacon(1, old);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NotLapsed.selector, uint48(1)));
        epochs.rescheduleBeacon(1, second);
        vm.roll(12_001);
        vm.etch(
            0x0000F90827F1C53a10cb7A02335B175320002935, abi.encodePacked(hex"7f", keccak256(old), hex"60005260206000f3")
        );
        epochs.rescheduleBeacon(1, old);
        eq(epochs.beaconTime(1), block.timestamp + 1, "rescheduled");
    }

    function test_table_holds_what_routing_needs() public {
        address second = _operator(0xa2, 1_000e18);
        _epochs(1);
        uint256[] memory t = epochs.nodeTable(2);
        eq(t.length, 10, "two slots");
        eq(t[0], 1_000e18, "stake");
        eq(t[1], uint160(vm.addr(0xa1)), "hot key");
        eq(t[7], 3 * 0xa2, "batch key");
        eq(t[4], 1, "models");
        vm.prank(sys.timelock);
        operators.jail(second);
        eq(epochs.nodeTable(3)[5], 0, "jailed");
        (uint256 size,, uint256 point, uint256 value) = epochs.bindTable(2, 5);
        eq(size, 2, "size");
        uint256 expected;
        uint256 power = 1;
        for (uint256 i = 0; i < 10; ++i) {
            expected = addmod(expected, mulmod(t[i], power, BN254_R), BN254_R);
            power = mulmod(power, point, BN254_R);
        }
        eq(value, expected, "value at the point");
    }

    function testFuzz_treasury(uint256 have, uint256 want) public {
        have = within(have, 0, 1e24);
        _give(sys.treasury, have);
        want = within(want, 0, 2e24);
        vm.prank(sys.governor);
        uint256 paid = treasury.reward(want);
        eq(paid, have < want ? have : want, "what there is");
        vm.prank(sys.timelock);
        treasury.pay(sys.token, stranger, have - paid);
        eq(token.balanceOf(stranger), have - paid, "paid");
    }
}
