// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Deploy} from "../../script/Deploy.s.sol";
import {Config, Deployer} from "../../script/Deployer.sol";
import {Production} from "../../script/Production.sol";
import {Profiles} from "../../script/Profiles.sol";
import {Emissions} from "../../src/Emissions.sol";
import {System} from "../../src/System.sol";
import {VerifierRegistry} from "../../src/VerifierRegistry.sol";
import {InsecureStablecoin} from "../../src/insecure/InsecureStablecoin.sol";
import {InsecureVerifier} from "../../src/insecure/InsecureVerifier.sol";
import {Model, ModelKind} from "../../src/interfaces/IModelRegistry.sol";
import {Circuit} from "../../src/interfaces/IVerifier.sol";
import {Test} from "../base/Test.sol";
import {vm} from "../base/Vm.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev Accepts nothing: as good as a verifier for what deployment asks of one.
contract Strict {
    uint32 public constant circuitVersion = 1;

    function verify(bytes calldata, uint256[] calldata) external pure returns (bool) {
        return false;
    }
}

/// @dev Accepts everything, without the stand-in's stamp.
contract Gullible {
    uint32 public constant circuitVersion = 1;

    function verify(bytes calldata, uint256[] calldata) external pure returns (bool) {
        return true;
    }
}

contract RealCoin is ERC20 {
    constructor() ERC20("Real", "REAL") {
        _mint(msg.sender, 1e12);
    }
}

/// @dev Exposes the library, so that a refusal can be expected.
contract Checker {
    function check(Config memory c) external {
        Production.check(c);
    }
}

contract ProductionTest is Test {
    Deploy internal script = new Deploy();
    Checker internal checker = new Checker();
    address internal strict = address(new Strict());

    function _file() internal returns (Config memory) {
        return script.config(vm.readFile("config/production.json"), false);
    }

    /// @dev The committed profile with what only a deployer knows filled in.
    function _filled() internal returns (Config memory c) {
        c = _file();
        c.genesis = uint64(block.timestamp);
        c.guardian = address(0x1);
        c.sequencer = address(0x2);
        c.sequencerUrl = "https://sequencer.example";
        c.genesisState = 5;
        for (uint256 i = 0; i < c.allocations.length; ++i) {
            c.allocations[i].to = address(uint160(0x10 + i));
        }
        c.stablecoins = new address[](1);
        c.stablecoins[0] = address(new RealCoin());
        for (uint256 i = 0; i < c.verifiers.length; ++i) {
            c.verifiers[i].verifier = strict;
        }
        c.models = new Model[](1);
        c.emissionWeights = new uint256[](1);
        c.emissionWeights[0] = 1e18;
        c.models[0] = Model({
            weightCommitment: keccak256("weights"),
            artefact: keccak256("artefact"),
            tokenizer: keccak256("tokenizer"),
            architecture: keccak256("architecture"),
            kind: ModelKind.Instruct,
            sMax: 2048,
            deadlineBase: 3600,
            deadlinePerPosition: 10,
            verifierVersion: 1,
            activation: 0,
            retirement: type(uint48).max,
            name: "model"
        });
    }

    function test_the_committed_profile_says_what_is_missing() public {
        Config memory c = _file();
        vm.expectRevert(abi.encodeWithSelector(Production.Missing.selector, "guardian"));
        checker.check(c);
    }

    /// @dev Values of the profile deploy, within all bounds and relations.
    function test_the_filled_profile_deploys() public {
        Config memory c = _filled();
        checker.check(c);
        address[] memory next = new address[](Deployer.CONTRACTS);
        uint256 nonce = vm.getNonce(address(this));
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        System memory s = Deployer.predict(c, next);
        Deployer.deploy(c, s);
        Deployer.verify(s);
    }

    function testFuzz_insecure_verifiers_are_refused(uint8 which, bool gullible) public {
        Config memory c = _filled();
        address bad = gullible ? address(new Gullible()) : address(new InsecureVerifier(1));
        c.verifiers[which % 5].verifier = bad;
        vm.expectRevert(abi.encodeWithSelector(Production.InsecureVerifierGiven.selector, bad));
        checker.check(c);
    }

    function testFuzz_verifiers_are_there(uint8 which) public {
        which %= 5;
        Config memory c = _filled();
        c.verifiers[which].verifier = address(0xdead);
        vm.expectRevert(abi.encodeWithSelector(Production.NoCode.selector, "verifiers", address(0xdead)));
        checker.check(c);
        c.verifiers[which] = c.verifiers[(which + 1) % 5];
        vm.expectRevert(abi.encodeWithSelector(Production.Missing.selector, "verifiers"));
        c.verifiers[which].verifier = address(0);
        checker.check(c);
        c.verifiers[which] = VerifierRegistry.Entry(Circuit((which + 1) % 5), 1, strict);
        c.verifiers[(which + 1) % 5].verifier = strict;
        vm.expectRevert(abi.encodeWithSelector(Production.NoVerifier.selector, Circuit(which)));
        checker.check(c);
    }

    function testFuzz_coins_that_anyone_mints_are_refused(address coin) public {
        vm.assume(coin.code.length == 0);
        Config memory c = _filled();
        c.stablecoins[0] = address(new InsecureStablecoin());
        vm.expectRevert(abi.encodeWithSelector(Production.InsecureStablecoinGiven.selector, c.stablecoins[0]));
        checker.check(c);
        c.stablecoins[0] = coin;
        vm.expectRevert(abi.encodeWithSelector(Production.NoCode.selector, "stablecoins", coin));
        checker.check(c);
    }

    function testFuzz_what_is_missing_is_named(uint8 which) public {
        which %= 7;
        Config memory c = _filled();
        if (which == 0) c.guardian = address(0);
        if (which == 1) c.sequencer = address(0);
        if (which == 2) c.sequencerUrl = "";
        if (which == 3) c.genesisState = 0;
        if (which == 4) c.models = new Model[](0);
        if (which == 5) c.stablecoins = new address[](0);
        if (which == 6) c.allocations[0] = Emissions.Allocation(address(0), 1);
        string[7] memory names =
            ["guardian", "sequencer", "sequencerUrl", "genesisState", "models", "stablecoins", "allocationTo"];
        vm.expectRevert(abi.encodeWithSelector(Production.Missing.selector, names[which]));
        checker.check(c);
    }

    function testFuzz_epochs_and_pots_are_not_toys(uint64 seconds_, uint256 cap) public {
        Config memory c = _filled();
        c.potCap = within(cap, 0, c.firstEmission - 1);
        vm.expectRevert(abi.encodeWithSelector(Production.PotCapTooSmall.selector, c.potCap, c.firstEmission));
        checker.check(c);
        c.epochSeconds = uint64(within(seconds_, 0, 3599));
        vm.expectRevert(abi.encodeWithSelector(Production.EpochTooShort.selector, c.epochSeconds));
        checker.check(c);
    }

    /// @dev The devnet profile, with its stand-ins, is for local chains.
    function testFuzz_the_devnet_stays_local(uint64 chain) public {
        isTrue(script.isDevnet("devnet"), "on the local chain");
        isTrue(!script.isDevnet("production"), "production is not");
        vm.assume(chain != 31337 && chain != 1337 && chain != 0);
        vm.chainId(chain);
        vm.expectRevert(abi.encodeWithSelector(Deploy.NotLocal.selector, uint256(chain)));
        script.isDevnet("devnet");
        isTrue(!script.isDevnet("production"), "production may go anywhere");
        vm.expectRevert(abi.encodeWithSelector(Deploy.UnknownProfile.selector, "test"));
        script.isDevnet("test");
    }

    function testFuzz_profiles_name_every_parameter(uint8 which) public {
        string memory json = vm.readFile("config/devnet.json");
        string memory name = Profiles.names()[which % Profiles.COUNT];
        string memory other = vm.replace(json, string.concat('"', name, '"'), '"Nonsense"');
        vm.expectRevert();
        script.config(other, false);
    }
}
