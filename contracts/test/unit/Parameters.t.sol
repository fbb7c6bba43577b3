// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {MonaiTimelock} from "../../src/MonaiTimelock.sol";
import {Parameters} from "../../src/Parameters.sol";
import {NotAuthorised, System, Zero} from "../../src/System.sol";
import {Treasury} from "../../src/Treasury.sol";
import {VerifierRegistry} from "../../src/VerifierRegistry.sol";
import {Halo2Adapter} from "../../src/Halo2Adapter.sol";
import {InsecureVerifier} from "../../src/insecure/InsecureVerifier.sol";
import {IParameters, Param} from "../../src/interfaces/IParameters.sol";
import {Circuit, IVerifierRegistry} from "../../src/interfaces/IVerifier.sol";
import {IModelRegistry, Model} from "../../src/interfaces/IModelRegistry.sol";
import {ModelRegistry} from "../../src/ModelRegistry.sol";
import {Profiles} from "../../script/Profiles.sol";
import {BN254_R} from "../../src/libraries/PoseidonConstants.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

contract Accepting {
    uint256 public answer;

    constructor(uint256 a) {
        answer = a;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        if (answer == 2) revert();
        if (answer == 3) return "";
        return abi.encode(answer);
    }
}

contract Reverting {
    uint32 public constant circuitVersion = 9;

    function verify(bytes calldata, uint256[] calldata) external pure returns (bool) {
        revert("no");
    }
}

contract ParametersTest is World {
    function test_both_profiles_are_within_bounds() public {
        new Parameters(sys, Profiles.read(vm.readFile("config/devnet.json")), guardian);
        System memory s = sys;
        s.epochSeconds = 1 days;
        new Parameters(s, Profiles.read(vm.readFile("config/production.json")), guardian);
    }

    function testFuzz_a_change_waits_for_the_next_epoch(uint256 value) public {
        value = within(value, 1e18, 1e25);
        uint256 old = parameters.get(Param.AuditSlash);
        _set(Param.AuditSlash, value);
        eq(parameters.get(Param.AuditSlash), old, "not yet");
        eq(parameters.valueAt(Param.AuditSlash, 1), value, "announced");
        _epochs(1);
        eq(parameters.get(Param.AuditSlash), value, "now");
        eq(parameters.valueAt(Param.AuditSlash, 0), old, "history stays");
    }

    function testFuzz_every_parameter_is_bounded(uint8 which, uint256 value) public {
        Param p = Param(which % uint8(Profiles.COUNT));
        (uint256 least, uint256 greatest) = parameters.bounds(p);
        isTrue(least <= greatest, "bounds");
        vm.assume(value < least || value > greatest);
        Param[] memory ps = new Param[](1);
        ps[0] = p;
        vm.expectRevert(abi.encodeWithSelector(IParameters.OutOfBounds.selector, p, value));
        vm.prank(sys.timelock);
        parameters.set(ps, _list(value));
    }

    function testFuzz_cap_is_at_most_eight_floors(uint256 floor, uint256 cap) public {
        floor = within(floor, 1e18, 1e26);
        cap = within(cap, 1e18, 1e26);
        vm.assume(cap < floor || cap > 8 * floor);
        Param[] memory ps = new Param[](2);
        ps[0] = Param.StakeFloor;
        ps[1] = Param.StakeCap;
        vm.expectRevert(IParameters.Inconsistent.selector);
        vm.prank(sys.timelock);
        parameters.set(ps, _list(floor, cap));
    }

    function testFuzz_unbonding_is_longer_than_windows_and_shorter_than_timelock(uint256 n) public {
        n = within(n, 5, 60);
        Param[] memory ps = new Param[](1);
        ps[0] = Param.UnbondingEpochs;
        vm.startPrank(sys.timelock);
        vm.expectRevert(IParameters.Inconsistent.selector);
        parameters.set(ps, _list(n));
        vm.expectRevert(IParameters.Inconsistent.selector);
        parameters.set(ps, _list(2));
        vm.stopPrank();
    }

    function testFuzz_lists_match(uint8 a, uint8 b) public {
        vm.assume(a != b);
        vm.expectRevert(IParameters.LengthMismatch.selector);
        vm.prank(sys.timelock);
        parameters.set(new Param[](a), new uint256[](b));
        vm.expectRevert(IParameters.LengthMismatch.selector);
        new Parameters(sys, new uint256[](a % 40), guardian);
    }

    function testFuzz_pause_ends_by_itself(uint256 later) public {
        vm.prank(guardian);
        parameters.pause();
        isTrue(parameters.paused(), "paused");
        vm.prank(guardian);
        vm.expectRevert(IParameters.Inconsistent.selector);
        parameters.pause();
        _seconds(14 days);
        isTrue(!parameters.paused(), "ended");
        _seconds(within(later, 0, 1 days - 1));
        vm.prank(guardian);
        vm.expectRevert(IParameters.Inconsistent.selector);
        parameters.pause();
        _seconds(1 days);
        vm.prank(guardian);
        parameters.pause();
        vm.prank(sys.timelock);
        parameters.unpause();
        isTrue(!parameters.paused(), "unpaused");
        vm.prank(guardian);
        parameters.unpause();
        vm.prank(sys.timelock);
        parameters.setGuardian(stranger);
        eq(parameters.guardian(), stranger, "guardian");
    }

    function testFuzz_timelock_stays_longer_than_unbonding(uint256 delay) public {
        delay = within(delay, 0, 240);
        vm.expectRevert(abi.encodeWithSelector(MonaiTimelock.DelayTooShort.selector, delay, 240));
        vm.prank(sys.timelock);
        timelock.updateDelay(delay);
        vm.expectRevert(abi.encodeWithSelector(MonaiTimelock.DelayTooShort.selector, delay, 240));
        new MonaiTimelock(sys, delay, new address[](0), new address[](0));
        vm.prank(sys.timelock);
        timelock.updateDelay(1000);
        eq(timelock.getMinDelay(), 1000, "longer");
    }

    function testFuzz_calendar(uint256 t) public {
        t = within(t, 0, 1e12);
        vm.warp(t);
        eq(staking.currentEpoch(), t < sys.genesis ? 0 : (t - sys.genesis) / EPOCH, "epoch");
        System memory s = sys;
        s.epochSeconds = 0;
        vm.expectRevert(Zero.selector);
        new Treasury(s);
    }

    // ----------------------------------------------------------------------------------- verifiers

    function testFuzz_verifiers_are_never_replaced(uint8 circuit, uint32 version) public {
        Circuit c = Circuit(circuit % 5);
        version = uint32(within(version, 2, type(uint32).max));
        vm.startPrank(sys.timelock);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.AlreadyRegistered.selector, c, 1));
        verifiers.register(c, 1, address(insecure));
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.WrongVersion.selector, version, 1));
        verifiers.register(c, version, address(insecure));
        vm.expectRevert(Zero.selector);
        verifiers.register(c, version, address(0));
        address v = address(new InsecureVerifier(version));
        verifiers.register(c, version, v);
        vm.stopPrank();
        eq(verifiers.verifierOf(c, version), v, "registered");
    }

    function testFuzz_verifiers_reject(bytes calldata proof, uint256 x) public {
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.UnknownVerifier.selector, Circuit.Batch, 77));
        verifiers.check(Circuit.Batch, 77, 0, proof, _list(x));
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Batch, 1));
        verifiers.check(Circuit.Batch, 1, 0, proof, _list(x));
        address reverting = address(new Reverting());
        vm.prank(sys.timelock);
        verifiers.register(Circuit.Batch, 9, reverting);
        vm.expectRevert(abi.encodeWithSelector(IVerifierRegistry.ProofRejected.selector, Circuit.Batch, 9));
        verifiers.check(Circuit.Batch, 9, 0, proof, _list(x));
        verifiers.check(Circuit.Batch, 1, 0, _stamp(_list(x)), _list(x));
    }

    function testFuzz_adapter_pins_instances_and_range(uint256 x, bytes calldata proof) public {
        Halo2Adapter yes = new Halo2Adapter(address(new Accepting(1)), 1, 1);
        x %= BN254_R;
        isTrue(yes.verify(proof, _list(x)), "accepted");
        isTrue(!yes.verify(proof, _list(x, x)), "more instances");
        isTrue(!yes.verify(proof, _list(x + BN254_R)), "range");
        isTrue(!new Halo2Adapter(address(new Accepting(0)), 1, 1).verify(proof, _list(x)), "false");
        isTrue(!new Halo2Adapter(address(new Accepting(2)), 1, 1).verify(proof, _list(x)), "reverts");
        isTrue(new Halo2Adapter(address(new Accepting(3)), 1, 1).verify(proof, _list(x)), "no answer but no revert");
        isTrue(!new Halo2Adapter(address(0xdead), 1, 1).verify(proof, _list(x)), "no code");
    }

    // --------------------------------------------------------------------------------------- token

    function testFuzz_supply_never_exceeds_the_cap(uint256 x) public {
        uint256 room = token.cap() - token.totalSupply();
        x = within(x, room + 1, type(uint256).max - token.totalSupply());
        vm.expectRevert(
            abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, token.totalSupply() + x, token.cap())
        );
        vm.prank(sys.emissions);
        token.mint(bank, x);
        vm.prank(bank);
        token.burn(5);
        vm.prank(sys.emissions);
        token.mint(stranger, 5);
        eq(token.balanceOf(stranger), 5, "minted");
    }

    function testFuzz_token_moves_by_authorisation_and_permit(uint256 amount) public {
        address from = vm.addr(0xf00);
        amount = within(amount, 1, 1e24);
        _give(from, amount);
        bytes32 transferHash = keccak256(
            abi.encode(
                keccak256(
                    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                ),
                from,
                stranger,
                amount,
                0,
                block.timestamp + 1,
                bytes32(uint256(1))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(0xf00, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), transferHash)));
        token.transferWithAuthorization(from, stranger, amount, 0, block.timestamp + 1, bytes32(uint256(1)), v, r, s);
        eq(token.balanceOf(stranger), amount, "authorised");
        bytes32 permitHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                from,
                stranger,
                amount,
                token.nonces(from),
                block.timestamp
            )
        );
        (v, r, s) = vm.sign(0xf00, keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), permitHash)));
        token.permit(from, stranger, amount, block.timestamp, v, r, s);
        eq(token.allowance(from, stranger), amount, "permitted");
    }

    function testFuzz_token_has_votes(uint256 amount) public {
        amount = within(amount, 1, 1e24);
        _give(stranger, amount);
        vm.prank(stranger);
        token.delegate(stranger);
        eq(token.getVotes(stranger), amount, "votes");
    }

    // -------------------------------------------------------------------------------------- models

    function testFuzz_models_register_ahead_and_retire_ahead(bytes32 id, uint48 activation) public {
        vm.assume(id != 0 && id != MODEL);
        activation = uint48(within(activation, 1, 1e9));
        Model memory m = _model(id, activation);
        vm.prank(sys.timelock);
        models.register(m);
        eq(models.indexOf(id), 1, "index");
        eq(models.idAt(1), id, "id");
        eq(models.count(), 2, "count");
        eq(models.countAt(0), 1, "count in this epoch");
        eq(models.countAt(1), 2, "count in the next");
        isTrue(!models.isActive(id, activation - 1) && models.isActive(id, activation), "activation");
        eq(models.model(id).weightCommitment, m.weightCommitment, "record");
        eq(models.deadline(id, 7), 37, "D(S)");
        vm.startPrank(sys.timelock);
        models.retire(id, activation + 5);
        isTrue(models.isActive(id, activation + 4) && !models.isActive(id, activation + 5), "retirement");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.AlreadyRegistered.selector, id));
        models.register(m);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidModel.selector, id));
        models.retire(id, 0);
        models.setHardware(id, "digest", "uri");
        models.setHardware(0, "digest", "uri");
        vm.stopPrank();
    }

    function testFuzz_invalid_models_are_refused(uint8 which) public {
        Model memory m = _model(MODEL2, 1);
        which %= 8;
        if (which == 0) m.artefact = 0;
        if (which == 1) m.weightCommitment = 0;
        if (which == 2) m.tokenizer = 0;
        if (which == 3) m.architecture = 0;
        if (which == 4) m.sMax = 0;
        if (which == 5) m.deadlineBase = 0;
        if (which == 6) m.activation = 0;
        if (which == 7) m.retirement = m.activation;
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.InvalidModel.selector, m.artefact));
        vm.prank(sys.timelock);
        models.register(m);
    }

    function testFuzz_unknown_models_are_refused(bytes32 id) public {
        vm.assume(id != MODEL && id != 0);
        bytes memory no = abi.encodeWithSelector(IModelRegistry.UnknownModel.selector, id);
        vm.expectRevert(no);
        models.model(id);
        vm.expectRevert(no);
        models.indexOf(id);
        vm.expectRevert(no);
        models.deadline(id, 1);
        vm.startPrank(sys.timelock);
        vm.expectRevert(no);
        models.retire(id, 9);
        vm.expectRevert(no);
        models.setHardware(id, 0, "");
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = id;
        vm.expectRevert(no);
        models.setEmissionWeights(ids, _list(1));
        vm.stopPrank();
    }

    function testFuzz_emission_weights_sum_to_one_at_most(uint256 a, uint256 b) public {
        vm.prank(sys.timelock);
        models.register(_model(MODEL2, 1));
        a = within(a, 0, 1e18);
        b = within(b, 0, 3e18);
        bytes32[] memory ids = new bytes32[](2);
        ids[0] = MODEL;
        ids[1] = MODEL2;
        if (a + b > 1e18) vm.expectRevert(IModelRegistry.InvalidWeights.selector);
        vm.prank(sys.timelock);
        models.setEmissionWeights(ids, _list(a, b));
        if (a + b <= 1e18) {
            eq(models.emissionWeight(MODEL, 0), 0.8e18, "not yet");
            eq(models.emissionWeight(MODEL, 1), a, "next epoch");
        }
        vm.expectRevert(IModelRegistry.InvalidWeights.selector);
        vm.prank(sys.timelock);
        models.setEmissionWeights(ids, _list(1));
    }

    function testFuzz_models_fit_the_mask(bytes32 one_more) public {
        vm.assume(uint256(one_more) > 208);
        for (uint256 i = 1; i < 208; ++i) {
            vm.prank(sys.timelock);
            models.register(_model(bytes32(i), 1));
        }
        vm.expectRevert(IModelRegistry.TooManyModels.selector);
        vm.prank(sys.timelock);
        models.register(_model(one_more, 1));
    }

    function test_model_registry_construction() public {
        vm.expectRevert(IModelRegistry.InvalidWeights.selector);
        new ModelRegistry(sys, new Model[](0), _list(1));
        Model[] memory one = new Model[](1);
        one[0] = _model(MODEL, 0);
        vm.expectRevert(IModelRegistry.InvalidWeights.selector);
        new ModelRegistry(sys, one, _list(2e18));
    }
}
