// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Emissions} from "../src/Emissions.sol";
import {System} from "../src/System.sol";
import {VerifierRegistry} from "../src/VerifierRegistry.sol";
import {Model, ModelKind} from "../src/interfaces/IModelRegistry.sol";
import {Circuit} from "../src/interfaces/IVerifier.sol";
import {vm} from "../test/base/Vm.sol";
import {Config, Deployer} from "./Deployer.sol";
import {Production} from "./Production.sol";
import {Profiles} from "./Profiles.sol";

/// @notice Deploys, wires and verifies a system, and writes its addresses as JSON.
/// Environment: PROFILE (devnet or production), CONFIG (a file like config/devnet.json), SEQUENCER
/// (overrides the file), GENESIS (timestamp; default: now). In the devnet profile a zero address in the
/// file means the deployer, the insecure verifier and stablecoin are deployed and listed, and chains
/// other than local ones are refused. In the production profile everything must be given, and stand-ins
/// are refused on every chain: see `Production`.
contract Deploy {
    error UnknownProfile(string profile);
    error NotLocal(uint256 chainId);

    string private constant ARTEFACT = "out/addresses.json";

    address private _insecureVerifier;
    address private _insecureStablecoin;

    function run() external {
        string memory profile = vm.envOr("PROFILE", "devnet");
        string memory json = vm.readFile(vm.envOr("CONFIG", "config/devnet.json"));
        bool dev = isDevnet(profile);
        if (!dev) Production.check(config(json, false));

        vm.startBroadcast();
        Config memory c = config(json, dev);
        address deployer = msg.sender;
        address[] memory next = new address[](Deployer.CONTRACTS);
        uint256 nonce = vm.getNonce(deployer);
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = vm.computeCreateAddress(deployer, nonce + i);
        }
        System memory s = Deployer.predict(c, next);
        Deployer.deploy(c, s);
        vm.stopBroadcast();
        Deployer.verify(s);
        _write(s, profile);
    }

    /// @notice Checks the wiring of a deployment from its address file.
    function check(string calldata path) external view {
        string memory json = vm.readFile(path);
        System memory s;
        s.token = vm.parseJsonAddress(json, ".token");
        s.parameters = vm.parseJsonAddress(json, ".parameters");
        s.verifiers = vm.parseJsonAddress(json, ".verifiers");
        s.poseidon = vm.parseJsonAddress(json, ".poseidon");
        s.operators = vm.parseJsonAddress(json, ".operators");
        s.staking = vm.parseJsonAddress(json, ".staking");
        s.epochs = vm.parseJsonAddress(json, ".epochs");
        s.models = vm.parseJsonAddress(json, ".models");
        s.rollup = vm.parseJsonAddress(json, ".rollup");
        s.disputes = vm.parseJsonAddress(json, ".disputes");
        s.inbox = vm.parseJsonAddress(json, ".inbox");
        s.audits = vm.parseJsonAddress(json, ".audits");
        s.emissions = vm.parseJsonAddress(json, ".emissions");
        s.treasury = vm.parseJsonAddress(json, ".treasury");
        s.payments = vm.parseJsonAddress(json, ".payments");
        s.governor = vm.parseJsonAddress(json, ".governor");
        s.timelock = vm.parseJsonAddress(json, ".timelock");
        s.genesis = uint64(vm.parseJsonUint(json, ".genesis"));
        s.epochSeconds = uint64(vm.parseJsonUint(json, ".epochSeconds"));
        Deployer.verify(s);
    }

    /// @notice Whether the profile is the devnet's, which only local chains may have.
    function isDevnet(string memory profile) public view returns (bool dev) {
        dev = _is(profile, "devnet");
        if (!dev && !_is(profile, "production")) revert UnknownProfile(profile);
        if (dev && block.chainid != 31337 && block.chainid != 1337) revert NotLocal(block.chainid);
    }

    /// @notice Reads a configuration file. In the devnet profile the stand-ins are deployed along the way.
    function config(string memory json, bool dev) public returns (Config memory c) {
        address deployer = msg.sender;
        c.genesis = uint64(vm.envOr("GENESIS", block.timestamp));
        c.epochSeconds = uint64(vm.parseJsonUint(json, ".epochSeconds"));
        c.cap = vm.parseJsonUint(json, ".cap");
        c.parameters = Profiles.read(json);
        c.guardian = _or(vm.parseJsonAddress(json, ".guardian"), deployer, dev);
        c.sequencer = vm.envOr("SEQUENCER", _or(vm.parseJsonAddress(json, ".sequencer"), deployer, dev));
        c.sequencerUrl = vm.parseJsonString(json, ".sequencerUrl");
        c.genesisState = vm.parseJsonUint(json, ".genesisState");
        c.firstEmission = vm.parseJsonUint(json, ".firstEmission");
        c.decay = vm.parseJsonUint(json, ".decay");
        c.potCap = vm.parseJsonUint(json, ".potCap");
        c.timelockDelay = vm.parseJsonUint(json, ".timelockDelay");
        c.votingDelay = uint48(vm.parseJsonUint(json, ".votingDelay"));
        c.votingPeriod = uint32(vm.parseJsonUint(json, ".votingPeriod"));
        c.quorumPercent = vm.parseJsonUint(json, ".quorumPercent");
        address[] memory to = vm.parseJsonAddressArray(json, ".allocationTo");
        uint256[] memory amounts = vm.parseJsonUintArray(json, ".allocationAmount");
        c.allocations = new Emissions.Allocation[](to.length);
        for (uint256 i = 0; i < to.length; ++i) {
            c.allocations[i] = Emissions.Allocation(_or(to[i], deployer, dev), amounts[i]);
        }
        _models(json, c);
        _verifiers(json, c, dev);
    }

    function _models(string memory json, Config memory c) private view {
        uint256 n;
        while (vm.keyExistsJson(json, string.concat(".models[", vm.toString(n), "]"))) ++n;
        c.models = new Model[](n);
        c.emissionWeights = new uint256[](n);
        for (uint256 i = 0; i < n; ++i) {
            string memory at_ = string.concat(".models[", vm.toString(i), "]");
            Model memory m = c.models[i];
            m.weightCommitment = vm.parseJsonBytes32(json, string.concat(at_, ".weightCommitment"));
            m.artefact = vm.parseJsonBytes32(json, string.concat(at_, ".artefact"));
            m.tokenizer = vm.parseJsonBytes32(json, string.concat(at_, ".tokenizer"));
            m.architecture = vm.parseJsonBytes32(json, string.concat(at_, ".architecture"));
            m.kind = ModelKind(vm.parseJsonUint(json, string.concat(at_, ".kind")));
            m.sMax = uint32(vm.parseJsonUint(json, string.concat(at_, ".sMax")));
            m.deadlineBase = uint32(vm.parseJsonUint(json, string.concat(at_, ".deadlineBase")));
            m.deadlinePerPosition = uint32(vm.parseJsonUint(json, string.concat(at_, ".deadlinePerPosition")));
            m.verifierVersion = uint32(vm.parseJsonUint(json, string.concat(at_, ".verifierVersion")));
            m.activation = uint48(vm.parseJsonUint(json, string.concat(at_, ".activation")));
            m.retirement = uint48(vm.parseJsonUint(json, string.concat(at_, ".retirement")));
            m.name = vm.parseJsonString(json, string.concat(at_, ".name"));
            c.emissionWeights[i] = vm.parseJsonUint(json, string.concat(at_, ".emissionWeight"));
        }
    }

    function _verifiers(string memory json, Config memory c, bool dev) private {
        address[] memory given = vm.parseJsonAddressArray(json, ".verifiers");
        uint256[] memory circuits = vm.parseJsonUintArray(json, ".verifierCircuits");
        uint256[] memory versions = vm.parseJsonUintArray(json, ".verifierVersions");
        address[] memory coins = vm.parseJsonAddressArray(json, ".stablecoins");
        uint256 extra = dev && given.length == 0 ? 5 : 0;
        c.verifiers = new VerifierRegistry.Entry[](given.length + extra);
        for (uint256 i = 0; i < given.length; ++i) {
            c.verifiers[i] = VerifierRegistry.Entry(Circuit(circuits[i]), uint32(versions[i]), given[i]);
        }
        if (extra > 0) {
            _insecureVerifier = vm.deployCode("InsecureVerifier.sol:InsecureVerifier", abi.encode(uint32(1)));
            for (uint256 i = 0; i < extra; ++i) {
                c.verifiers[given.length + i] = VerifierRegistry.Entry(Circuit(i), 1, _insecureVerifier);
            }
        }
        if (dev) {
            _insecureStablecoin = vm.deployCode("InsecureStablecoin.sol:InsecureStablecoin", "");
            address[] memory more = new address[](coins.length + 1);
            for (uint256 i = 0; i < coins.length; ++i) {
                more[i] = coins[i];
            }
            more[coins.length] = _insecureStablecoin;
            coins = more;
        }
        c.stablecoins = coins;
    }

    function _write(System memory s, string memory profile) private {
        string memory o = "addresses";
        vm.serializeString(o, "profile", profile);
        vm.serializeUint(o, "chainId", block.chainid);
        vm.serializeUint(o, "block", block.number);
        vm.serializeUint(o, "genesis", s.genesis);
        vm.serializeUint(o, "epochSeconds", s.epochSeconds);
        vm.serializeAddress(o, "token", s.token);
        vm.serializeAddress(o, "parameters", s.parameters);
        vm.serializeAddress(o, "verifiers", s.verifiers);
        vm.serializeAddress(o, "poseidon", s.poseidon);
        vm.serializeAddress(o, "operators", s.operators);
        vm.serializeAddress(o, "staking", s.staking);
        vm.serializeAddress(o, "epochs", s.epochs);
        vm.serializeAddress(o, "models", s.models);
        vm.serializeAddress(o, "rollup", s.rollup);
        vm.serializeAddress(o, "disputes", s.disputes);
        vm.serializeAddress(o, "inbox", s.inbox);
        vm.serializeAddress(o, "audits", s.audits);
        vm.serializeAddress(o, "emissions", s.emissions);
        vm.serializeAddress(o, "treasury", s.treasury);
        vm.serializeAddress(o, "payments", s.payments);
        vm.serializeAddress(o, "governor", s.governor);
        vm.serializeAddress(o, "insecureVerifier", _insecureVerifier);
        vm.serializeAddress(o, "insecureStablecoin", _insecureStablecoin);
        vm.writeJson(vm.serializeAddress(o, "timelock", s.timelock), ARTEFACT);
    }

    function _or(address given, address otherwise, bool dev) private pure returns (address) {
        return given == address(0) && dev ? otherwise : given;
    }

    function _is(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }
}
