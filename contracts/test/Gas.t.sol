// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {EpochStatement} from "../src/interfaces/IEpochs.sol";
import {Param} from "../src/interfaces/IParameters.sol";
import {BatchHeader} from "../src/interfaces/IRollup.sol";
import {World} from "./base/World.sol";
import {ReferencePoseidon} from "./unit/Poseidon.t.sol";
import {vm} from "./base/Vm.sol";

/// @dev Whole transactions, with the base cost and calldata priced in, against their targets; the
/// numbers are committed under snapshots/. State is cold, as in a transaction of its own.
/// forge-config: default.isolate = true
contract GasTest is World {
    address internal node;
    address internal alice;

    function setUp() public override {
        super.setUp();
        node = _operator(0xa1, 1_000e18);
        alice = _holder("alice", FLOAT);
        _delegate(_holder("first", FLOAT), node, 1e18);
        _epochs(1);
    }

    /// @dev Isolated calls are transactions, so the last call's gas has the base cost in it.
    function _measured(string memory name, uint256 target) internal {
        uint256 gas = vm.snapshotGasLastCall("gas", name);
        atMost(gas, target, name);
    }

    /// forge-config: default.isolate = true
    function test_gas_of_delegating() public {
        _delegate(alice, node, 100e18);
        _measured("delegate, first", 190_000);
        _delegate(alice, node, 100e18);
        _measured("delegate, same epoch", 100_000);
        _epochs(1);
        _delegate(alice, node, 100e18);
        _measured("delegate, new epoch", 165_000);
        vm.prank(alice);
        staking.undelegate(node, 50e18);
        _measured("undelegate", 200_000);
        _epochs(6);
        vm.prank(alice);
        staking.withdraw(node);
        _measured("withdraw", 150_000);
    }

    /// forge-config: default.isolate = true
    function test_gas_of_claiming() public {
        _delegate(alice, node, 100e18);
        _epochs(1);
        _give(sys.staking, 100e18);
        uint48 epoch = staking.currentEpoch();
        vm.prank(sys.emissions);
        staking.distribute(node, 0, epoch, 100e18);
        _epochs(1);
        vm.prank(alice);
        staking.claim(node, 0);
        _measured("claim", 100_000);
    }

    /// forge-config: default.isolate = true
    function test_gas_of_claiming_after_a_year() public {
        _delegate(alice, node, 100e18);
        _give(sys.staking, 40_000e18);
        for (uint256 i = 0; i < 365; ++i) {
            _epochs(1);
            uint48 epoch = staking.currentEpoch();
            vm.prank(sys.emissions);
            staking.distribute(node, 0, epoch, 100e18);
        }
        _epochs(1);
        vm.prank(alice);
        staking.claim(node, 0);
        _measured("claim, 365 epochs", 130_000);
    }

    /// forge-config: default.isolate = true
    function test_gas_of_batches() public {
        // Isolated calls carry no blobs. One leaf in calldata costs more than naming a blob does; the
        // scenario on anvil measures a transaction with a blob.
        uint256[3][] memory leaves = _leaves(1, 0, 0);
        bytes memory data = _encode(leaves);
        for (uint256 i = 0; i < 2; ++i) {
            BatchHeader memory h = _header(leaves);
            vm.prank(sequencer);
            rollup.commitBatchCalldata(h, data, "");
            _measured(i == 0 ? "commit, first ever" : "commit", 120_000);
        }
    }

    /// @dev An epoch proof reads the whole table, so the number of slots is bounded by what a transaction
    /// may cost: 2^24 gas by EIP-7825.
    /// forge-config: default.isolate = true
    function test_gas_of_epoch_proofs() public {
        for (uint256 i = 1; i < 64; ++i) {
            _operator(0x200 + i, 1_000e18);
        }
        _epochs(1);
        uint48 epoch = staking.currentEpoch();
        _finalBatch(1, 0);
        _skipTo(epoch);
        while (staking.currentEpoch() < epoch + 2) {
            _epochs(1);
        }
        _captureEpoch(epoch);
        uint256[] memory cells = new uint256[](64);
        for (uint256 i = 0; i < 64; ++i) {
            cells[i] = _cell(1e18 / 64, 1e18, 1e9);
        }
        uint256[] memory fees = new uint256[](128);
        EpochStatement memory st = EpochStatement(epoch, 1, 11, 12);
        bytes memory proof = _stamp(_epochInputs(st, GENESIS_STATE, cells, fees));
        BatchHeader memory none;
        epochs.prove(st, cells, fees, 0, none, proof);
        uint256 gas = vm.snapshotGasLastCall("gas", "epoch proof, 64 slots");
        (, uint256 most) = parameters.bounds(Param.MaxOperators);
        // Fixed costs are counted as if every slot paid its part of them: on the safe side.
        atMost(gas * most / 64, 1 << 24, "the largest table fits a transaction");
    }

    function test_gas_of_poseidon() public {
        ReferencePoseidon twin = new ReferencePoseidon();
        uint256 g = gasleft();
        poseidon.hash(1, 2);
        g -= gasleft();
        uint256 t = gasleft();
        twin.hash(1, 2);
        t -= gasleft();
        vm.snapshotValue("gas", "poseidon hash", g);
        vm.snapshotValue("gas", "poseidon hash, plain Solidity", t);
        uint256[] memory path = new uint256[](11);
        g = gasleft();
        poseidon.root(1, 2, 3, 5, path);
        g -= gasleft();
        vm.snapshotValue("gas", "poseidon opening in a full batch", g);
        atMost(3 * poseidonTarget(), t, "assembly is worth it");
    }

    function poseidonTarget() internal pure returns (uint256) {
        return 30_000;
    }

    function test_bytecode_sizes() public {
        string[17] memory names = [
            "Token",
            "Parameters",
            "VerifierRegistry",
            "Poseidon",
            "Operators",
            "Staking",
            "Epochs",
            "ModelRegistry",
            "Rollup",
            "Disputes",
            "Inbox",
            "Audits",
            "Emissions",
            "Treasury",
            "Payments",
            "MonaiTimelock",
            "MonaiGovernor"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            uint256 size = vm.getDeployedCode(string.concat(names[i], ".sol:", names[i])).length;
            vm.snapshotValue("size", names[i], size);
            atMost(size, 24_575, names[i]);
        }
        uint256 rules = address(governor.RULES()).code.length;
        vm.snapshotValue("size", "ProposalRules", rules);
        atMost(rules, 24_575, "ProposalRules");
    }
}
