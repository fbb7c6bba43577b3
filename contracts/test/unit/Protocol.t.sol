// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Profiles} from "../../script/Profiles.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Emissions} from "../../src/Emissions.sol";
import {System} from "../../src/System.sol";
import {EpochRecord, EpochStatus, Row} from "../../src/interfaces/IEpochs.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {Batch, BatchHeader, IRollup, Opening} from "../../src/interfaces/IRollup.sol";
import {LeafCodec, LeafMeta} from "../../src/libraries/LeafCodec.sol";
import {Attestation, Intake, Messages, Response} from "../../src/libraries/Messages.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

/// @dev Hashes and signers of messages, whose library takes them from calldata.
contract MessageHarness {
    function hash(Intake calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }

    function hash(Response calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }

    function hash(Attestation calldata m) external pure returns (bytes32) {
        return Messages.hash(m);
    }

    function signer(address rollup, bytes32 structHash, bytes calldata signature) external view returns (address) {
        return Messages.signer(rollup, structHash, signature);
    }
}

/// @dev The vectors that the Rust protocol publishes, `circuits/protocol/vectors`: messages, leaves,
/// trees, headers and parameters of a receipt that Rust made must mean the same here.
contract ProtocolTest is World {
    string private constant VECTORS = "../circuits/protocol/vectors/protocol.json";
    string private constant PARAMETERS = "../circuits/protocol/vectors/parameters.json";

    string private json;
    MessageHarness private harness = new MessageHarness();

    function setUp() public override {
        super.setUp();
        json = vm.readFile(VECTORS);
    }

    // ------------------------------------------------------------------------------------- messages

    function test_types_of_messages() public view {
        eq(Messages.INTAKE, keccak256(bytes(_string(".eip712.types.Intake"))), "Intake");
        eq(Messages.RESPONSE, keccak256(bytes(_string(".eip712.types.Response"))), "Response");
        eq(Messages.ATTESTATION, keccak256(bytes(_string(".eip712.types.Attestation"))), "Attestation");
        eq(Messages.BATCH, keccak256(bytes(_string(".eip712.types.Batch"))), "Batch");
    }

    function test_digests_and_signers_of_messages() public view {
        address sequencer_ = _address(".eip712.sequencer");
        _message("Intake", harness.hash(_intake()), sequencer_);
        _message("Response", harness.hash(_response()), _address(".eip712.node"));
        _message("Attestation", harness.hash(_attestation()), sequencer_);
        _message("Batch", Messages.hashBatch(0, _bytes32(".batch.digest")), sequencer_);
    }

    function _message(string memory name, bytes32 structHash, address signer) private view {
        string memory at = _find(name);
        address rollup_ = _address(".eip712.domain.rollup");
        eq(block.chainid, _uint(".eip712.domain.chain_id"), "chain");
        eq(Messages.digest(rollup_, structHash), _bytes32(string.concat(at, ".digest")), name);
        bytes memory signature = vm.parseJsonBytes(json, string.concat(at, ".signature"));
        eq(harness.signer(rollup_, structHash, signature), signer, name);
    }

    /// @dev A signature that came out of the Rust protocol, used on chain: the node's response with the
    /// sequencer's attestation, as a receipt holds them, against a leaf.
    function testFuzz_a_receipt_convicts_the_sequencer_whose_leaf_differs(uint256 other) public {
        (Disputes judge, address rollup_) = _judge();
        Response memory r = _response();
        Attestation memory a = _attestation();
        bytes memory signature = vm.parseJsonBytes(json, string.concat(_find("Attestation"), ".signature"));
        (BatchHeader memory h, Opening memory o) = (_batchHeader(), _opening());

        vm.expectRevert(IDisputes.NoContradiction.selector);
        judge.proveResponseAgainstLeaf(r, a, signature, 0, h, o);

        other = within(other, 0, 2 ** 250);
        vm.assume(other != o.o);
        o.o = other;
        h.root = poseidon.root(o.r, o.o, o.meta, o.index, o.path);
        vm.expectCall(rollup_, abi.encodeCall(IRollup.fine, (0, 500e18, address(this), 50e18)));
        judge.proveResponseAgainstLeaf(r, a, signature, 0, h, o);
    }

    /// @dev Two answers of one node: the response that Rust signed against another of the same slot.
    function test_a_receipts_response_is_the_nodes() public view {
        bytes memory signature = vm.parseJsonBytes(json, string.concat(_find("Response"), ".signature"));
        eq(
            harness.signer(_address(".eip712.domain.rollup"), harness.hash(_response()), signature),
            _address(".receipt.attestation.message.node"),
            "the node that the receipt names"
        );
    }

    /// @dev Disputes of a deployment whose rollup is the vectors' domain; the rollup itself is mocked.
    function _judge() private returns (Disputes judge, address rollup_) {
        System memory s = sys;
        rollup_ = _address(".eip712.domain.rollup");
        s.rollup = rollup_;
        judge = new Disputes(s);
        Batch memory b;
        vm.mockCall(rollup_, abi.encodePacked(IRollup.requireLive.selector), "");
        vm.mockCall(rollup_, abi.encodePacked(IRollup.batch.selector), abi.encode(b));
        vm.mockCall(rollup_, abi.encodePacked(IRollup.fine.selector), "");
        vm.mockCall(rollup_, abi.encodeCall(IRollup.sequencerOf, (0)), abi.encode(_address(".eip712.sequencer")));
    }

    // --------------------------------------------------------------------------- leaves and batches

    function test_leaves() public view {
        uint256 n;
        bytes memory data;
        for (; vm.keyExistsJson(json, _leafAt(n)); ++n) {
            string memory at = _leafAt(n);
            uint256[] memory e = vm.parseJsonUintArray(json, string.concat(at, ".elements"));
            LeafMeta memory m = _meta(string.concat(at, ".leaf.meta"));
            eq(LeafCodec.pack(m), e[2], "packed");
            eq(keccak256(abi.encode(LeafCodec.unpack(e[2]))), keccak256(abi.encode(m)), "unpacked");
            eq(uint256(_bytes32(string.concat(at, ".leaf.request"))), e[0], "R");
            eq(uint256(_bytes32(string.concat(at, ".leaf.output"))), e[1], "O");
            eq(poseidon.leaf(e[0], e[1], e[2]), _uint(string.concat(at, ".hash")), "leaf hash");
            data = bytes.concat(data, abi.encode(e[0], e[1], e[2]));
        }
        eq(n, 7, "every finish is among them");
        eq(poseidon.leaf(0, 0, 0), _uint(".zero_leaf_hash"), "padding");
        eq(keccak256(data), _bytes32(".batch.leaf_data_hash"), "calldata");
    }

    function test_tree_and_header() public view {
        Opening memory o = _opening();
        BatchHeader memory h = _batchHeader();
        eq(poseidon.root(o.r, o.o, o.meta, o.index, o.path), h.root, "opening");
        eq(h.root, _uint(".tree.root"), "root");
        eq(rollup.hashHeader(0, h), _bytes32(".batch.digest"), "header hash");
    }

    function test_poseidon() public view {
        for (uint256 i = 0; i < 2; ++i) {
            string memory at = string.concat(".poseidon.poseidon2[", vm.toString(i), "]");
            uint256 left = _uint(string.concat(at, ".left"));
            uint256 right = _uint(string.concat(at, ".right"));
            eq(poseidon.hash(left, right), _uint(string.concat(at, ".out")), "poseidon2");
        }
    }

    // ------------------------------------------------------------------------------------- emission

    /// @dev Shares of an epoch that Rust settled, paid by the contract to the unit that Rust says.
    function test_emission_pays_what_rust_settles() public {
        Emissions pays = _emissions();
        uint256[] memory earned = new uint256[](1);
        earned[0] = _uint(".emission.earned");
        vm.expectCall(sys.token, abi.encodeCall(token.transfer, (sys.treasury, _uint(".emission.treasury"))));
        vm.prank(sys.epochs);
        pays.closeEpoch(0, earned, 3);
        eq(pays.potOf(0, 0), _uint(".emission.pot"), "pot");
        eq(pays.carryOf(0), _uint(".emission.carry"), "carried over");
        eq(_uint(".emission.pot") - pays.carryOf(0), _uint(".emission.paid"), "paid");
        uint256 n;
        for (; vm.keyExistsJson(json, _rowAt(n)); ++n) {
            uint256[] memory cells = new uint256[](1);
            cells[0] = _uint(string.concat(_rowAt(n), ".share"));
            uint16 slot = uint16(_uint(string.concat(_rowAt(n), ".slot")));
            uint256 amount = _uint(string.concat(_rowAt(n), ".pays"));
            address operator = address(uint160(0x5107 + slot));
            vm.mockCall(sys.operators, abi.encodeCall(operators.slotOf, (operator)), abi.encode(slot));
            vm.mockCall(sys.operators, abi.encodeCall(operators.operatorAt, (slot, 0)), abi.encode(operator));
            vm.expectCall(sys.staking, abi.encodeCall(staking.distribute, (operator, 0, 0, amount)));
            pays.claim(operator, Row(slot, cells, new uint256[](0)), new bytes32[](0));
        }
        eq(n, 2, "a node that answered nothing is not among them");
    }

    /// @dev Emissions whose surroundings say only what an epoch's payment asks.
    function _emissions() private returns (Emissions pays) {
        string memory devnet = vm.readFile("config/devnet.json");
        pays = new Emissions(
            sys,
            new Emissions.Allocation[](0),
            _uint(".emission.pot"),
            vm.parseJsonUint(devnet, ".decay"),
            vm.parseJsonUint(devnet, ".potCap")
        );
        eq(parameters.get(Param.TreasuryShare), _uint(".emission.treasury_share"), "treasury's share");
        EpochRecord memory record = EpochRecord(EpochStatus.Proved, 0, 0);
        vm.mockCall(sys.token, abi.encodePacked(token.mint.selector), "");
        vm.mockCall(sys.token, abi.encodePacked(token.transfer.selector), abi.encode(true));
        vm.mockCall(sys.models, abi.encodePacked(models.emissionWeight.selector), abi.encode(1e18));
        vm.mockCall(sys.staking, abi.encodePacked(staking.getPastTotalSupply.selector), abi.encode(1e27));
        vm.mockCall(sys.staking, abi.encodePacked(staking.distribute.selector), "");
        vm.mockCall(sys.operators, abi.encodePacked(operators.isKnown.selector), abi.encode(true));
        vm.mockCall(sys.operators, abi.encodePacked(operators.registeredFrom.selector), abi.encode(0));
        vm.mockCall(sys.epochs, abi.encodePacked(epochs.record.selector), abi.encode(record));
        vm.mockCall(sys.epochs, abi.encodePacked(epochs.requireRow.selector), "");
    }

    function _rowAt(uint256 i) private pure returns (string memory) {
        return string.concat(".emission.rows[", vm.toString(i), "]");
    }

    // ----------------------------------------------------------------------------------- parameters

    struct Same {
        string name; // in Rust
        Param param;
        uint256 numerator; // Rust's value is floor(ours · numerator / denominator)
        uint256 denominator;
        bool faster; // the devnet differs on purpose, to be quicker
    }

    uint256 private constant Q32 = 1 << 32;

    /// @dev Parameters that contracts and Rust share, with their units: 2^32 and 10^18 stand for one,
    /// stake is in 10^-9 tokens there and 10^-18 here, speed in 10^-3 and 10^-18 ids a second. The treasury's share has
    /// one unit in both, since amounts must agree to the last one.
    function _shared() private pure returns (Same[] memory s) {
        s = new Same[](14);
        s[0] = Same("alpha_stake", Param.AlphaStake, Q32, 1e18, false);
        s[1] = Same("epsilon", Param.WeightTolerance, Q32, 1e18, false);
        s[2] = Same("delta", Param.WeightStep, Q32, 1e18, false);
        s[3] = Same("beta", Param.WeightSmoothing, Q32, 1e18, false);
        s[4] = Same("stake_floor", Param.StakeFloor, 1, 1e9, false);
        s[5] = Same("stake_cap", Param.StakeCap, 1, 1e9, false);
        s[6] = Same("uptime_min", Param.UptimeMinimum, Q32, 1e18, false);
        s[7] = Same("speed_ceiling", Param.SpeedCeiling, 1, 1e15, false);
        s[8] = Same("clock_agreement", Param.CountersignTolerance, 1, 1, false);
        s[9] = Same("emission_min_stake", Param.EmissionMinStake, 1, 1e9, false);
        s[10] = Same("emission_min_operators", Param.EmissionMinOperators, 1, 1, false);
        s[11] = Same("treasury_share", Param.TreasuryShare, 1, 1, false);
        s[12] = Same("audit_rate", Param.AuditRate, Q32, 1e18, false);
        s[13] = Same("audit_beacon_delay", Param.BeaconDelay, 1, 1, true);
    }

    /// @dev What a deployment fixes, by its key in the configuration.
    function _fixed() private pure returns (string[2][4] memory) {
        return [
            ["emission_pot", ".firstEmission"],
            ["emission_decay", ".decay"],
            ["emission_pot_cap", ".potCap"],
            ["epoch_seconds", ".epochSeconds"]
        ];
    }

    /// @dev What only the circuits know: constants of a circuit version, not of a deployment.
    function _circuitOnly() private pure returns (string[7] memory) {
        return [
            "alpha_uptime_initial",
            "alpha_min",
            "quarantine_epochs",
            "outage_share",
            "min_samples",
            "newcomer_speed",
            "max_attempts"
        ];
    }

    function test_devnet_has_the_protocols_parameters() public view {
        string memory table = vm.readFile(PARAMETERS);
        string memory devnet = vm.readFile("config/devnet.json");
        uint256[] memory ours = Profiles.read(devnet);
        Same[] memory shared = _shared();
        for (uint256 i = 0; i < shared.length; ++i) {
            Same memory s = shared[i];
            uint256 theirs = _theirs(table, s.name, ".value");
            uint256 value = ours[uint256(s.param)] * s.numerator / s.denominator;
            if (s.faster) atMost(value, theirs, s.name);
            else eq(value, theirs, s.name);
        }
        string[2][4] memory fixed_ = _fixed();
        for (uint256 i = 0; i < 3; ++i) {
            eq(vm.parseJsonUint(devnet, fixed_[i][1]), _theirs(table, fixed_[i][0], ".value"), fixed_[i][0]);
        }
        atMost(vm.parseJsonUint(devnet, ".epochSeconds"), _theirs(table, "epoch_seconds", ".value"), "quicker");
    }

    function test_profiles_and_bounds_lie_within_the_protocols_bounds() public view {
        string memory table = vm.readFile(PARAMETERS);
        string[2] memory profiles = ["config/devnet.json", "config/production.json"];
        Same[] memory shared = _shared();
        for (uint256 k = 0; k < 2; ++k) {
            string memory profile = vm.readFile(profiles[k]);
            uint256[] memory ours = Profiles.read(profile);
            for (uint256 i = 0; i < shared.length; ++i) {
                Same memory s = shared[i];
                _inside(table, s.name, ours[uint256(s.param)] * s.numerator / s.denominator);
                (uint256 least, uint256 greatest) = parameters.bounds(s.param);
                _inside(table, s.name, least * s.numerator / s.denominator);
                _inside(table, s.name, greatest * s.numerator / s.denominator);
            }
            string[2][4] memory fixed_ = _fixed();
            for (uint256 i = 0; i < 4; ++i) {
                _inside(table, fixed_[i][0], vm.parseJsonUint(profile, fixed_[i][1]));
            }
        }
    }

    /// @dev A parameter that Rust adds must be placed: shared, fixed by a deployment, or circuits only.
    function test_every_parameter_of_the_protocol_has_a_place() public view {
        string memory table = vm.readFile(PARAMETERS);
        uint256 n;
        while (vm.keyExistsJson(table, _parameterAt(n))) ++n;
        eq(n, _shared().length + _fixed().length + _circuitOnly().length, "parameters");
        for (uint256 i = 0; i < 7; ++i) {
            _theirs(table, _circuitOnly()[i], ".value");
        }
    }

    function _inside(string memory table, string memory name, uint256 value) private pure {
        atMost(_theirs(table, name, ".min"), value, string.concat(name, ", least"));
        atMost(value, _theirs(table, name, ".max"), string.concat(name, ", greatest"));
    }

    function _theirs(string memory table, string memory name, string memory field) private pure returns (uint256) {
        for (uint256 i = 0; i < 64; ++i) {
            string memory at = _parameterAt(i);
            if (keccak256(bytes(vm.parseJsonString(table, string.concat(at, ".name")))) != keccak256(bytes(name))) {
                continue;
            }
            return vm.parseJsonUint(table, string.concat(at, field));
        }
        revert NotTrue(name);
    }

    function _parameterAt(uint256 i) private pure returns (string memory) {
        return string.concat(".parameters[", vm.toString(i), "]");
    }

    // -------------------------------------------------------------------------------------- reading

    function _intake() private view returns (Intake memory m) {
        string memory at = string.concat(_find("Intake"), ".message");
        m.requestCommitment = _bytes32(string.concat(at, ".request"));
        m.model = _bytes32(string.concat(at, ".model"));
        m.lane = uint32(_uint(string.concat(at, ".lane")));
        m.slot = uint64(_uint(string.concat(at, ".slot")));
        m.receivedMs = uint64(_uint(string.concat(at, ".received_ms")));
    }

    function _response() private view returns (Response memory m) {
        string memory at = string.concat(_find("Response"), ".message");
        m.requestCommitment = _bytes32(string.concat(at, ".request"));
        m.model = _bytes32(string.concat(at, ".model"));
        m.lane = uint32(_uint(string.concat(at, ".lane")));
        m.slot = uint64(_uint(string.concat(at, ".slot")));
        m.outputCommitment = _bytes32(string.concat(at, ".output"));
        m.nIn = uint32(_uint(string.concat(at, ".n_in")));
        m.nOut = uint32(_uint(string.concat(at, ".n_out")));
        m.finish = _finish(_string(string.concat(at, ".finish")));
        m.receivedMs = uint64(_uint(string.concat(at, ".received_ms")));
        m.firstTokenMs = uint64(_uint(string.concat(at, ".first_token_ms")));
        m.doneMs = uint64(_uint(string.concat(at, ".done_ms")));
    }

    function _attestation() private view returns (Attestation memory m) {
        string memory at = string.concat(_find("Attestation"), ".message");
        m.response = _bytes32(string.concat(at, ".response"));
        m.node = _address(string.concat(at, ".node"));
        m.epoch = uint64(_uint(string.concat(at, ".epoch")));
        m.retry = uint8(_uint(string.concat(at, ".retry")));
        m.resumedFrom = uint32(_uint(string.concat(at, ".resumed_from")));
        m.dispatchedMs = uint64(_uint(string.concat(at, ".dispatched_ms")));
        m.firstTokenMs = uint64(_uint(string.concat(at, ".first_token_ms")));
        m.doneMs = uint64(_uint(string.concat(at, ".done_ms")));
        m.inputPrice = uint128(_uint(string.concat(at, ".input_price")));
        m.outputPrice = uint128(_uint(string.concat(at, ".output_price")));
        m.charge = uint128(_uint(string.concat(at, ".charge")));
        m.draw = _bytes32(string.concat(at, ".draw"));
    }

    function _batchHeader() private view returns (BatchHeader memory h) {
        h.parent = _bytes32(".batch.header.parent");
        h.model = _bytes32(".batch.header.model");
        h.epoch = uint48(_uint(".batch.header.epoch"));
        h.circuitVersion = uint32(_uint(".batch.header.circuit_version"));
        h.leafCount = uint32(_uint(".batch.header.leaf_count"));
        h.root = _uint(".batch.header.root");
        h.stateRoot = _uint(".batch.header.state_root");
        h.links = _uint(".batch.header.links");
        h.nodeRoots = _uint(".batch.header.node_roots");
        h.data = _bytes32(".batch.header.data");
    }

    /// @dev The opening of the answered leaf of the receipt's slot.
    function _opening() private view returns (Opening memory o) {
        o.index = uint32(_uint(".tree.proof.index"));
        uint256[] memory e = vm.parseJsonUintArray(json, string.concat(_leafAt(o.index), ".elements"));
        (o.r, o.o, o.meta) = (e[0], e[1], e[2]);
        o.path = vm.parseJsonUintArray(json, ".tree.proof.siblings");
    }

    function _meta(string memory at) private view returns (LeafMeta memory m) {
        m.slot = uint64(_uint(string.concat(at, ".slot")));
        m.lane = uint32(_uint(string.concat(at, ".lane")));
        m.node = uint16(_uint(string.concat(at, ".node")));
        m.nIn = uint32(_uint(string.concat(at, ".n_in")));
        m.nOut = uint32(_uint(string.concat(at, ".n_out")));
        m.finish = _finish(_string(string.concat(at, ".finish")));
        m.retry = uint8(_uint(string.concat(at, ".retry")));
        m.version = uint8(_uint(string.concat(at, ".version")));
    }

    function _finish(string memory name) private pure returns (uint8) {
        string[6] memory all = ["stop", "length", "cancelled", "refused", "missed", "busy"];
        uint8[6] memory codes =
            [Messages.STOP, Messages.LENGTH, Messages.CANCELLED, Messages.REFUSED, Messages.MISSED, Messages.BUSY];
        for (uint256 i = 0; i < 6; ++i) {
            if (keccak256(bytes(all[i])) == keccak256(bytes(name))) return codes[i];
        }
        revert NotTrue(name);
    }

    function _find(string memory name) private view returns (string memory at) {
        for (uint256 i = 0; i < 32; ++i) {
            at = string.concat(".eip712.messages[", vm.toString(i), "]");
            if (keccak256(bytes(_string(string.concat(at, ".name")))) == keccak256(bytes(name))) return at;
        }
        revert NotTrue(name);
    }

    function _leafAt(uint256 i) private pure returns (string memory) {
        return string.concat(".leaves[", vm.toString(i), "]");
    }

    function _string(string memory key) private view returns (string memory) {
        return vm.parseJsonString(json, key);
    }

    function _uint(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, key);
    }

    function _bytes32(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, key);
    }

    function _address(string memory key) private view returns (address) {
        return vm.parseJsonAddress(json, key);
    }
}
