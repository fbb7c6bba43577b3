// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RLP} from "@openzeppelin/contracts/utils/RLP.sol";
import {Config, Deployer} from "../../script/Deployer.sol";
import {Profiles} from "../../script/Profiles.sol";
import {Audits} from "../../src/Audits.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Emissions} from "../../src/Emissions.sol";
import {Epochs} from "../../src/Epochs.sol";
import {Inbox} from "../../src/Inbox.sol";
import {ModelRegistry} from "../../src/ModelRegistry.sol";
import {MonaiGovernor} from "../../src/MonaiGovernor.sol";
import {MonaiTimelock} from "../../src/MonaiTimelock.sol";
import {Operators} from "../../src/Operators.sol";
import {Parameters} from "../../src/Parameters.sol";
import {Payments} from "../../src/Payments.sol";
import {Poseidon} from "../../src/Poseidon.sol";
import {Rollup} from "../../src/Rollup.sol";
import {Staking} from "../../src/Staking.sol";
import {System} from "../../src/System.sol";
import {Token} from "../../src/Token.sol";
import {Treasury} from "../../src/Treasury.sol";
import {VerifierRegistry} from "../../src/VerifierRegistry.sol";
import {InsecureStablecoin} from "../../src/insecure/InsecureStablecoin.sol";
import {InsecureVerifier} from "../../src/insecure/InsecureVerifier.sol";
import {EpochStatement, Row} from "../../src/interfaces/IEpochs.sol";
import {Model, ModelKind} from "../../src/interfaces/IModelRegistry.sol";
import {Registration} from "../../src/interfaces/IOperators.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {BatchHeader, Opening} from "../../src/interfaces/IRollup.sol";
import {Circuit} from "../../src/interfaces/IVerifier.sol";
import {LeafCodec, LeafMeta} from "../../src/libraries/LeafCodec.sol";
import {Leaves} from "../../src/libraries/Leaves.sol";
import {Messages} from "../../src/libraries/Messages.sol";
import {Test} from "./Test.sol";
import {vm} from "./Vm.sol";

/// @dev A whole deployment with devnet parameters, and the moves that tests are made of.
abstract contract World is Test {
    using RLP for RLP.Encoder;

    bytes32 internal constant MODEL = keccak256("model");
    bytes32 internal constant MODEL2 = keccak256("second model");
    uint256 internal constant GENESIS_STATE = 7;
    uint64 internal constant EPOCH = 60;
    uint256 internal constant SEQUENCER_KEY = 0x5e9;
    uint256 internal constant FLOAT = 1_000_000e18;

    System internal sys;
    Token internal token;
    Parameters internal parameters;
    VerifierRegistry internal verifiers;
    Poseidon internal poseidon;
    Operators internal operators;
    Staking internal staking;
    Epochs internal epochs;
    ModelRegistry internal models;
    Rollup internal rollup;
    Disputes internal disputes;
    Inbox internal inbox;
    Audits internal audits;
    Emissions internal emissions;
    Treasury internal treasury;
    Payments internal payments;
    MonaiTimelock internal timelock;
    MonaiGovernor internal governor;
    InsecureVerifier internal insecure;
    InsecureStablecoin internal usd;

    address internal sequencer = vm.addr(SEQUENCER_KEY);
    address internal guardian = address(0x9a4d);
    address internal stranger = address(0x57a49e4);
    address internal bank = address(0xba4c);

    // The chain of batches as the sequencer sees it.
    BatchHeader[] internal headers;
    uint256[] internal leafR;

    function setUp() public virtual {
        _deploy();
        _bondSequencer();
    }

    function _deploy() internal {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        insecure = new InsecureVerifier(1);
        usd = new InsecureStablecoin();
        Config memory c = _config();
        address[] memory next = new address[](Deployer.CONTRACTS);
        uint256 nonce = vm.getNonce(address(this));
        for (uint256 i = 0; i < next.length; ++i) {
            next[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        sys = Deployer.predict(c, next);
        Deployer.deploy(c, sys);
        token = Token(sys.token);
        parameters = Parameters(sys.parameters);
        verifiers = VerifierRegistry(sys.verifiers);
        poseidon = Poseidon(sys.poseidon);
        operators = Operators(sys.operators);
        staking = Staking(sys.staking);
        epochs = Epochs(sys.epochs);
        models = ModelRegistry(sys.models);
        rollup = Rollup(sys.rollup);
        disputes = Disputes(sys.disputes);
        inbox = Inbox(sys.inbox);
        audits = Audits(sys.audits);
        emissions = Emissions(sys.emissions);
        treasury = Treasury(sys.treasury);
        payments = Payments(sys.payments);
        timelock = MonaiTimelock(payable(sys.timelock));
        governor = MonaiGovernor(payable(sys.governor));
    }

    function _config() internal view virtual returns (Config memory c) {
        c.genesis = uint64(block.timestamp);
        c.epochSeconds = EPOCH;
        c.cap = 1_000_000_000e18;
        c.parameters = Profiles.read(vm.readFile("config/devnet.json"));
        // Some tests need a lone operator, or numbers that are easy to follow.
        c.parameters[uint256(Param.AuditRate)] = 0.2e18;
        c.parameters[uint256(Param.EmissionMinOperators)] = 1;
        c.parameters[uint256(Param.EmissionMinStake)] = 1_000e18;
        c.parameters[uint256(Param.UptimeMinimum)] = 0.8e18;
        c.parameters[uint256(Param.UnbondingEpochs)] = 4;
        c.parameters[uint256(Param.ProofWindow)] = 75;
        c.guardian = guardian;
        c.verifiers = new VerifierRegistry.Entry[](5);
        for (uint256 i = 0; i < 5; ++i) {
            c.verifiers[i] = VerifierRegistry.Entry(Circuit(i), 1, address(insecure));
        }
        c.models = new Model[](1);
        c.models[0] = _model(MODEL, 0);
        c.emissionWeights = new uint256[](1);
        c.emissionWeights[0] = 0.8e18;
        c.genesisState = GENESIS_STATE;
        c.sequencer = sequencer;
        c.sequencerUrl = "http://sequencer.example";
        c.allocations = new Emissions.Allocation[](1);
        c.allocations[0] = Emissions.Allocation(bank, 400_000_000e18);
        c.firstEmission = 10_000e18;
        c.decay = 4_294_967;
        c.potCap = 20_000e18;
        c.stablecoins = new address[](1);
        c.stablecoins[0] = address(usd);
        c.timelockDelay = 5 * EPOCH;
        c.votingDelay = 1;
        c.votingPeriod = 2;
        c.quorumPercent = 10;
    }

    function _model(bytes32 id, uint48 activation) internal pure returns (Model memory m) {
        m.weightCommitment = keccak256(abi.encode("weights", id));
        m.artefact = id;
        m.tokenizer = keccak256("tokenizer");
        m.architecture = keccak256("architecture");
        m.kind = ModelKind.Instruct;
        m.sMax = 2048;
        m.deadlineBase = 30;
        m.deadlinePerPosition = 1;
        m.verifierVersion = 1;
        m.activation = activation;
        m.retirement = type(uint48).max;
        m.name = "test model";
    }

    // --------------------------------------------------------------------------------------- moves

    function _give(address to, uint256 amount) internal {
        vm.prank(bank);
        token.transfer(to, amount);
    }

    function _approve(address owner, address spender) internal {
        vm.prank(owner);
        token.approve(spender, type(uint256).max);
    }

    function _bondSequencer() internal {
        uint256 bond = parameters.get(Param.SequencerBond);
        _give(sequencer, 10 * bond);
        _approve(sequencer, address(rollup));
        vm.prank(sequencer);
        rollup.bondSequencer(2 * bond);
    }

    /// @dev Moves to the start of the epoch that is `n` later.
    function _epochs(uint256 n) internal {
        vm.warp(staking.epochStart(staking.currentEpoch() + uint48(n)));
        vm.roll(block.number + n);
    }

    function _seconds(uint256 n) internal {
        vm.warp(block.timestamp + n);
    }

    function _sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, Messages.digest(address(rollup), structHash));
        return abi.encodePacked(r, s, v);
    }

    function _stamp(uint256[] memory inputs) internal view returns (bytes memory) {
        return insecure.stamp(inputs);
    }

    function _ownerOf(uint256 hotKey) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("owner", hotKey)))));
    }

    /// @dev Registers an operator whose hot key is `hotKey`.
    function _operator(uint256 hotKey, uint256 bond) internal returns (address owner) {
        owner = _ownerOf(hotKey);
        _give(owner, FLOAT);
        _approve(owner, address(staking));
        Registration memory r = _registration(owner, hotKey, bond);
        vm.prank(owner);
        operators.register(r, "http://node.example");
    }

    function _registration(address owner, uint256 hotKey, uint256 bond) internal view returns (Registration memory r) {
        uint256 nonce = operators.keyNonce(owner);
        r.hotKey = vm.addr(hotKey);
        r.hotSignature = _sign(hotKey, Messages.hashHotKey(owner, r.hotKey, nonce));
        r.batchX = hotKey * 3;
        r.batchY = hotKey * 5;
        r.batchKeyVersion = 1;
        r.batchProof = _keyProof(owner, r.batchX, r.batchY, nonce);
        r.commission = 0.1e18;
        r.models = new bytes32[](1);
        r.models[0] = MODEL;
        r.bond = bond;
    }

    function _keyProof(address owner, uint256 x, uint256 y, uint256 nonce) internal view returns (bytes memory) {
        uint256[] memory s = new uint256[](4);
        s[0] = x;
        s[1] = y;
        s[2] = uint160(owner);
        s[3] = nonce;
        return _stamp(s);
    }

    function _holder(string memory name, uint256 amount) internal returns (address who) {
        who = address(uint160(uint256(keccak256(bytes(name)))));
        _give(who, amount);
        _approve(who, address(staking));
    }

    function _delegate(address who, address operator, uint256 amount) internal {
        vm.prank(who);
        staking.delegate(operator, amount);
    }

    // ------------------------------------------------------------------------------------- batches

    /// @dev Leaves of a batch: n answers of the node in `slot`, from lane slot `first` on.
    function _leaves(uint256 n, uint16 slot, uint64 first) internal pure returns (uint256[3][] memory leaves) {
        leaves = new uint256[3][](n);
        for (uint256 i = 0; i < n; ++i) {
            LeafMeta memory m;
            m.slot = first + uint64(i);
            m.lane = 1;
            m.node = slot;
            m.nIn = 10;
            m.nOut = 20;
            m.finish = 1;
            m.version = 1;
            leaves[i] = [100 + i, 200 + i, LeafCodec.pack(m)];
        }
    }

    function _tree(uint256[3][] memory leaves) internal view returns (uint256[][] memory levels) {
        uint256 depth = Leaves.depthOf(leaves.length);
        levels = new uint256[][](depth + 1);
        levels[0] = new uint256[](1 << depth);
        uint256 zero = poseidon.leaf(0, 0, 0);
        for (uint256 i = 0; i < 1 << depth; ++i) {
            levels[0][i] = i < leaves.length ? poseidon.leaf(leaves[i][0], leaves[i][1], leaves[i][2]) : zero;
        }
        for (uint256 d = 1; d <= depth; ++d) {
            levels[d] = new uint256[](1 << (depth - d));
            for (uint256 i = 0; i < levels[d].length; ++i) {
                levels[d][i] = poseidon.hash(levels[d - 1][2 * i], levels[d - 1][2 * i + 1]);
            }
        }
    }

    function _open(uint256[3][] memory leaves, uint32 index) internal view returns (Opening memory o) {
        uint256[][] memory levels = _tree(leaves);
        o.r = leaves[index][0];
        o.o = leaves[index][1];
        o.meta = leaves[index][2];
        o.index = index;
        o.path = new uint256[](levels.length - 1);
        for (uint256 d = 0; d + 1 < levels.length; ++d) {
            o.path[d] = levels[d][(index >> d) ^ 1];
        }
    }

    function _encode(uint256[3][] memory leaves) internal pure returns (bytes memory data) {
        for (uint256 i = 0; i < leaves.length; ++i) {
            data = bytes.concat(data, abi.encode(leaves[i][0], leaves[i][1], leaves[i][2]));
        }
    }

    function _header(uint256[3][] memory leaves) internal view returns (BatchHeader memory h) {
        uint256[][] memory levels = _tree(leaves);
        h.parent = rollup.headHash();
        h.model = MODEL;
        h.epoch = rollup.currentEpoch();
        h.circuitVersion = 1;
        h.leafCount = uint32(leaves.length);
        h.root = levels[levels.length - 1][0];
        h.stateRoot = 1_000 + rollup.batchCount();
        h.data = keccak256(_encode(leaves));
    }

    function _commit(uint256[3][] memory leaves) internal returns (uint64 number, BatchHeader memory h) {
        h = _header(leaves);
        vm.prank(sequencer);
        number = rollup.commitBatchCalldata(h, _encode(leaves), "");
        headers.push(h);
    }

    function _batchInputs(uint64 number, BatchHeader memory h, uint256 before)
        internal
        view
        returns (uint256[] memory s)
    {
        s = new uint256[](12);
        s[0] = number;
        s[1] = h.epoch;
        s[2] = uint256(h.model) >> 128;
        s[3] = uint128(uint256(h.model));
        s[4] = h.leafCount;
        s[5] = h.root;
        s[6] = before;
        s[7] = h.stateRoot;
        s[8] = h.links;
        s[9] = h.nodeRoots;
        s[10] = block.chainid;
        s[11] = uint160(address(rollup));
    }

    function _prove(uint64 number) internal {
        BatchHeader memory h = headers[number];
        uint64 up = number;
        while (up > 0 && rollup.hashOf(up) != h.parent) --up;
        BatchHeader memory parent = headers[up];
        uint256 before = h.parent == 0 ? GENESIS_STATE : parent.stateRoot;
        rollup.proveBatch(number, h, up, parent, _stamp(_batchInputs(number, h, before)));
    }

    /// @dev An RLP block header with the fields that the contracts read.
    function _blockHeader(uint256 number, uint256 timestamp, bytes32 parent, bytes32 randao)
        internal
        pure
        returns (bytes memory)
    {
        RLP.Encoder memory e = RLP.encoder();
        e.push(parent).push(bytes32(uint256(1))).push(address(0xc01)).push(bytes32(uint256(2)));
        e.push(bytes32(uint256(3))).push(bytes32(uint256(4))).push(new bytes(256)).push(uint256(0));
        e.push(number).push(uint256(30_000_000)).push(uint256(0)).push(timestamp).push(bytes("extra"));
        e.push(randao).push(abi.encodePacked(bytes8(0))).push(uint256(7));
        return e.encode();
    }

    function _capture(uint64 number) internal {
        uint40 target = rollup.batch(number).beaconBlock;
        if (rollup.beaconOf(target) != 0) return;
        if (block.number <= target) vm.roll(target + 1);
        bytes memory h = _blockHeader(target, block.timestamp, 0, keccak256(abi.encode("randao", target)));
        vm.setBlockhash(target, keccak256(h));
        rollup.captureBeacon(h);
    }

    function _finalise(uint64 number) internal {
        _prove(number);
        _finaliseProven(number);
    }

    function _finaliseProven(uint64 number) internal {
        _capture(number);
        uint256 until = uint256(rollup.batch(number).committedAt) + rollup.batch(number).faultWindow;
        if (block.timestamp <= until) vm.warp(until + 1);
        rollup.finaliseBatch(number, headers[number]);
    }

    /// @dev A final batch with n answers of one node.
    function _finalBatch(uint256 n, uint16 slot)
        internal
        returns (uint64 number, BatchHeader memory h, uint256[3][] memory leaves)
    {
        leaves = _leaves(n, slot, uint64(1_000 * headers.length));
        (number, h) = _commit(leaves);
        _finalise(number);
    }

    // -------------------------------------------------------------------------------------- epochs

    function _captureEpoch(uint48 epoch) internal {
        if (epochs.beaconOf(epoch) != 0) return;
        uint256 start = epochs.beaconTime(epoch);
        uint256 number = block.number - 1;
        bytes memory parent = _blockHeader(number - 1, start - 1, 0, 0);
        bytes memory h = _blockHeader(number, start, keccak256(parent), keccak256(abi.encode("epoch", epoch)));
        vm.setBlockhash(number, keccak256(h));
        epochs.captureBeacon(epoch, h, parent);
    }

    function _epochInputs(EpochStatement memory st, uint256 before, uint256[] memory cells, uint256[] memory fees)
        internal
        view
        returns (uint256[] memory s)
    {
        s = new uint256[](24);
        s[0] = st.epoch;
        s[1] = before;
        s[2] = rollup.stateOf(st.epoch);
        s[3] = uint256(epochs.beaconOf(st.epoch)) >> 128;
        s[4] = uint128(uint256(epochs.beaconOf(st.epoch)));
        (bytes32 tip,,) = rollup.chainAt(st.epoch);
        s[5] = uint256(tip) >> 128;
        s[6] = uint128(uint256(tip));
        s[8] = models.countAt(st.epoch);
        s[9] = payments.assetCountAt(st.epoch);
        s[10] = st.tableCommitment;
        (s[7],, s[11], s[12]) = epochs.bindTable(st.epoch, st.tableCommitment);
        s[13] = st.listCommitment;
        (s[14], s[15]) = epochs.bindLists(st.epoch, cells, fees, st.listCommitment);
        Param[8] memory p = [
            Param.StakeFloor,
            Param.StakeCap,
            Param.AlphaStake,
            Param.WeightStep,
            Param.WeightTolerance,
            Param.WeightSmoothing,
            Param.SpeedCeiling,
            Param.UptimeMinimum
        ];
        for (uint256 i = 0; i < 8; ++i) {
            s[16 + i] = parameters.valueAt(p[i], st.epoch);
        }
    }

    uint256 internal epochState = GENESIS_STATE;

    /// @dev Proves the next epoch with these lists; its batches must be final.
    function _proveEpoch(uint256[] memory cells, uint256[] memory fees) internal {
        EpochStatement memory st = EpochStatement(epochs.nextEpoch(), 1, 11, 12);
        while (staking.currentEpoch() < st.epoch + 2) {
            _epochs(1);
        }
        _captureEpoch(st.epoch);
        bytes memory proof = _stamp(_epochInputs(st, epochState, cells, fees));
        BatchHeader memory none;
        epochs.prove(st, cells, fees, 0, none, proof);
        epochState = rollup.stateOf(st.epoch);
    }

    /// @dev Skips idle epochs up to `epoch`, excluded.
    function _skipTo(uint48 epoch) internal {
        BatchHeader memory none;
        while (epochs.nextEpoch() < epoch) {
            while (staking.currentEpoch() < epochs.nextEpoch() + 2) {
                _epochs(1);
            }
            epochs.skip(0, none);
        }
    }

    /// @dev Goes to the moment in which the shares of an epoch have vested.
    function _vest(uint48 epoch) internal {
        uint256 until = emissions.vestsAt(epoch);
        if (block.timestamp <= until) vm.warp(until + 1);
    }

    function _row(uint16 slot, uint256[] memory cells, uint256[] memory fees) internal pure returns (Row memory) {
        return Row(slot, cells, fees);
    }

    function _cell(uint256 share, uint256 uptime, uint256 speed) internal pure returns (uint256) {
        return share | uptime << 64 | speed << 128;
    }

    function _list(uint256 a) internal pure returns (uint256[] memory l) {
        l = new uint256[](1);
        l[0] = a;
    }

    function _list(uint256 a, uint256 b) internal pure returns (uint256[] memory l) {
        l = new uint256[](2);
        l[0] = a;
        l[1] = b;
    }

    function _asTimelock() internal {
        vm.prank(address(timelock));
    }

    function _set(Param p, uint256 value) internal {
        Param[] memory ps = new Param[](1);
        ps[0] = p;
        vm.prank(address(timelock));
        parameters.set(ps, _list(value));
    }
}
