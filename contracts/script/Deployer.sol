// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Emissions} from "../src/Emissions.sol";
import {MonaiGovernor} from "../src/MonaiGovernor.sol";
import {MonaiTimelock} from "../src/MonaiTimelock.sol";
import {Payments} from "../src/Payments.sol";
import {Poseidon} from "../src/Poseidon.sol";
import {System, Wired} from "../src/System.sol";
import {VerifierRegistry} from "../src/VerifierRegistry.sol";
import {vm} from "../test/base/Vm.sol";
import {Model} from "../src/interfaces/IModelRegistry.sol";

/// @notice Everything that a deployment chooses.
struct Config {
    uint64 genesis;
    uint64 epochSeconds;
    uint256 cap;
    uint256[] parameters; // in the order of Param
    address guardian;
    VerifierRegistry.Entry[] verifiers;
    Model[] models;
    uint256[] emissionWeights;
    uint256 genesisState;
    address sequencer;
    string sequencerUrl;
    Emissions.Allocation[] allocations;
    uint256 firstEmission;
    uint256 decay; // of the emission, each epoch, with 2^32 = 1
    uint256 potCap;
    address[] stablecoins;
    uint256 timelockDelay;
    uint48 votingDelay; // epochs
    uint32 votingPeriod; // epochs
    uint256 quorumPercent;
}

/// @dev Deploys the contracts in an order fixed by `predict`, so that each can be built with the
/// addresses of all others. The deployer must send nothing else in between.
library Deployer {
    error Misplaced(string name, address expected, address actual);
    error Miswired(string name);

    uint256 internal constant CONTRACTS = 17;

    /// @param addressOf CREATE address of the deployer's i-th next contract
    function predict(Config memory c, address[] memory addressOf) internal pure returns (System memory s) {
        s.token = addressOf[0];
        s.parameters = addressOf[1];
        s.verifiers = addressOf[2];
        s.poseidon = addressOf[3];
        s.operators = addressOf[4];
        s.staking = addressOf[5];
        s.epochs = addressOf[6];
        s.models = addressOf[7];
        s.rollup = addressOf[8];
        s.disputes = addressOf[9];
        s.inbox = addressOf[10];
        s.audits = addressOf[11];
        s.emissions = addressOf[12];
        s.treasury = addressOf[13];
        s.payments = addressOf[14];
        s.timelock = addressOf[15];
        s.governor = addressOf[16];
        s.genesis = c.genesis;
        s.epochSeconds = c.epochSeconds;
    }

    function deploy(Config memory c, System memory s) internal {
        bytes memory w = abi.encode(s);
        _new("Token", s.token, abi.encode(s, c.cap));
        _new("Parameters", s.parameters, abi.encode(s, c.parameters, c.guardian));
        _new("VerifierRegistry", s.verifiers, abi.encode(s, c.verifiers));
        _new("Poseidon", s.poseidon, "");
        _new("Operators", s.operators, w);
        _new("Staking", s.staking, w);
        _new("Epochs", s.epochs, abi.encode(s, c.genesisState));
        _new("ModelRegistry", s.models, abi.encode(s, c.models, c.emissionWeights));
        _new("Rollup", s.rollup, abi.encode(s, c.genesisState, c.sequencer, c.sequencerUrl));
        _new("Disputes", s.disputes, w);
        _new("Inbox", s.inbox, w);
        _new("Audits", s.audits, w);
        _new("Emissions", s.emissions, abi.encode(s, c.allocations, c.firstEmission, c.decay, c.potCap));
        _new("Treasury", s.treasury, w);
        _new("Payments", s.payments, abi.encode(s, c.stablecoins));
        address[] memory proposers = new address[](1);
        proposers[0] = s.governor;
        // The zero address as executor: anyone executes what has waited long enough.
        _new("MonaiTimelock", s.timelock, abi.encode(s, c.timelockDelay, proposers, new address[](1)));
        _new("MonaiGovernor", s.governor, abi.encode(s, c.votingDelay, c.votingPeriod, c.quorumPercent));
    }

    /// @dev Asks every contract on chain what it was built with, and checks who may do what.
    function verify(System memory s) internal view {
        bytes32 expected = keccak256(abi.encode(s));
        _wired("Token", s.token, expected);
        _wired("Parameters", s.parameters, expected);
        _wired("VerifierRegistry", s.verifiers, expected);
        _wired("Operators", s.operators, expected);
        _wired("Staking", s.staking, expected);
        _wired("Epochs", s.epochs, expected);
        _wired("ModelRegistry", s.models, expected);
        _wired("Rollup", s.rollup, expected);
        _wired("Disputes", s.disputes, expected);
        _wired("Inbox", s.inbox, expected);
        _wired("Audits", s.audits, expected);
        _wired("Emissions", s.emissions, expected);
        _wired("Treasury", s.treasury, expected);
        _wired("Payments", s.payments, expected);
        _wired("Timelock", s.timelock, expected);
        _wired("Governor", s.governor, expected);
        // The known answer of the hash that circuits, node and contracts share.
        if (
            Poseidon(s.poseidon).hash(1, 2)
                != 7853200120776062878684798364095072458815029376092732009249414926327459813530
        ) revert Miswired("Poseidon");
        MonaiTimelock timelock = MonaiTimelock(payable(s.timelock));
        if (
            !timelock.hasRole(timelock.PROPOSER_ROLE(), s.governor)
                || !timelock.hasRole(timelock.EXECUTOR_ROLE(), address(0))
                || !timelock.hasRole(timelock.DEFAULT_ADMIN_ROLE(), s.timelock)
        ) revert Miswired("Timelock roles");
        if (MonaiGovernor(payable(s.governor)).timelock() != s.timelock) revert Miswired("Governor timelock");
        if (Payments(s.payments).assetAt(0) != s.token) revert Miswired("Payments asset 0");
    }

    /// @dev Deploys a compiled artifact, which keeps the bytecode out of scripts and tests.
    function _new(string memory name, address expected, bytes memory arguments) private {
        address actual = vm.deployCode(string.concat(name, ".sol:", name), arguments);
        if (expected != actual) revert Misplaced(name, expected, actual);
    }

    function _wired(string memory name, address account, bytes32 expected) private view {
        if (account.code.length == 0 || keccak256(abi.encode(Wired(account).system())) != expected) {
            revert Miswired(name);
        }
    }
}
