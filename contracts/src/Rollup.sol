// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {BlockHeader} from "@openzeppelin/contracts/utils/BlockHeader.sol";
import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {Memory} from "@openzeppelin/contracts/utils/Memory.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {Batch, BatchHeader, BatchStatus, IRollup} from "./interfaces/IRollup.sol";
import {IToken} from "./interfaces/IToken.sol";
import {Circuit, IVerifierRegistry} from "./interfaces/IVerifier.sol";
import {Messages} from "./libraries/Messages.sol";
import {BN254_R} from "./libraries/PoseidonConstants.sol";
import {NotAuthorised, System, Wired, Zero} from "./System.sol";

contract Rollup is IRollup, Wired {
    using SafeERC20 for IERC20;

    /// @dev A blob has 4096 elements and a leaf takes three.
    uint256 private constant MAX_LEAVES = 1365;
    uint256 private constant LEAF_BYTES = 96;
    /// @dev How far back the history contract of EIP-2935 reaches.
    uint256 private constant HISTORY = 8191;

    struct Counters {
        uint48 batches;
        uint48 captured; // batches below it are captured or reverted
        uint48 lastEpoch; // of the last batch committed
        uint48 lastSeen; // of the sequencer
        uint16 term; // current one
        uint16 generation; // reverts so far
        uint16 lastGeneration; // of the last batch committed
        bool caretaking;
    }

    struct Term {
        address account;
        uint48 ended;
        uint40 startedAt; // when it was bonded; what happens later is for governance
        uint256 bond;
    }

    struct Chain {
        bytes32 tip;
        uint48 fromEpoch;
        uint64 length;
    }

    /// @inheritdoc IRollup
    uint256 public immutable genesisState;

    Counters private _counters;
    /// @dev Hash of the last live header, with every bit turned: so the slot is never empty, and the
    /// first commit costs no more than any other.
    bytes32 private _turnedHead;
    /// @inheritdoc IRollup
    bytes32 public finalisedHash;
    mapping(uint64 number => Batch) private _batches;
    /// @inheritdoc IRollup
    mapping(uint64 number => bytes32) public hashOf;
    /// @inheritdoc IRollup
    mapping(uint40 blockNumber => bytes32) public beaconOf;
    /// @inheritdoc IRollup
    mapping(uint48 epoch => uint256) public stateOf;
    /// @dev First batch of each revert.
    uint64[] private _reverts;
    Term[] private _terms;
    Chain[] private _chains;

    modifier onlySequencer() {
        if (msg.sender != _terms[_counters.term].account) revert NotAuthorised(msg.sender);
        if (_counters.caretaking) revert Caretaking();
        _;
    }

    constructor(System memory s, uint256 genesisState_, address sequencer, string memory url) Wired(s) {
        if (genesisState_ >= BN254_R) revert NotCanonical(genesisState_);
        genesisState = genesisState_;
        _counters.lastSeen = uint48(block.timestamp);
        // Until somebody bonds the first sequencer, nothing can be committed.
        _counters.caretaking = true;
        _turnedHead = ~bytes32(0);
        _terms.push(Term(sequencer, 0, 0, 0));
        emit SequencerRotated(0, sequencer, url);
    }

    // ---------------------------------------------------------------------------------- batch chain

    /// @inheritdoc IRollup
    function commitBatch(BatchHeader calldata header, bytes calldata blockHeader)
        external
        onlySequencer
        returns (uint64 number)
    {
        if (header.data == 0 || blobhash(0) != header.data) revert WrongData();
        number = _commit(header, true);
        if (blockHeader.length > 0) _capture(blockHeader);
    }

    /// @inheritdoc IRollup
    function commitBatchCalldata(BatchHeader calldata header, bytes calldata leaves, bytes calldata blockHeader)
        external
        onlySequencer
        returns (uint64 number)
    {
        if (leaves.length != uint256(header.leafCount) * LEAF_BYTES || keccak256(leaves) != header.data) {
            revert WrongData();
        }
        number = _commit(header, false);
        if (blockHeader.length > 0) _capture(blockHeader);
    }

    /// @inheritdoc IRollup
    function captureBeacon(bytes calldata blockHeader) external {
        _capture(blockHeader);
    }

    /// @inheritdoc IRollup
    function rescheduleBeacon(uint64 number) external {
        Batch storage b = _batches[number];
        uint40 old = b.beaconBlock;
        if (b.status == BatchStatus.None || isReverted(number)) revert Reverted(number);
        if (beaconOf[old] != 0 || block.number <= old + HISTORY) revert NotLapsed(old);
        IParameters params = IParameters(PARAMETERS);
        b.beaconBlock = uint40(block.number + params.valueAt(Param.BeaconDelay, b.epoch));
        emit BeaconRescheduled(number, b.beaconBlock);
        _fine(b.term, params.valueAt(Param.SequencerFine, b.epoch), address(0), 0);
    }

    /// @inheritdoc IRollup
    function proveBatch(
        uint64 number,
        BatchHeader calldata header,
        uint64 parentNumber,
        BatchHeader calldata parent,
        bytes calldata proof
    ) external {
        uint256 until = _provableUntil(number, header);
        if (block.timestamp > until) revert WindowOver(until);
        _batches[number].status = BatchStatus.Proven;
        emit BatchProven(number);
        uint256[] memory s = _statement(number, header, _stateBefore(header.parent, parentNumber, parent));
        IVerifierRegistry(VERIFIERS).check(Circuit.Batch, header.circuitVersion, header.epoch, proof, s);
    }

    /// @inheritdoc IRollup
    function finaliseBatch(uint64 number, BatchHeader calldata header) external {
        requireLive(number, header);
        Batch storage b = _batches[number];
        if (b.status != BatchStatus.Proven) revert WrongStatus(number, b.status);
        if (header.parent != finalisedHash) revert WrongHeader(finalisedHash, header.parent);
        uint256 until = uint256(b.committedAt) + b.faultWindow;
        if (block.timestamp <= until) revert WindowOpen(until);
        if (beaconOf[b.beaconBlock] == 0) revert BeaconPending(b.beaconBlock);
        if (IDisputes(DISPUTES).openChallenges(number) > 0) revert OpenDispute(number);
        b.status = BatchStatus.Finalised;
        b.finalisedAt = uint40(block.timestamp);
        finalisedHash = hashOf[number];
        stateOf[header.epoch] = header.stateRoot;
        emit BatchFinalised(number, finalisedHash);
    }

    /// @inheritdoc IRollup
    function dropUnproven(uint64 number, BatchHeader calldata header) external {
        uint256 until = _provableUntil(number, header);
        if (block.timestamp <= until) revert WindowOpen(until);
        _revertFrom(number, header.parent);
        uint256 amount = IParameters(PARAMETERS).valueAt(Param.SequencerFine, header.epoch);
        _fine(_batches[number].term, amount, msg.sender, amount / 10);
    }

    /// @inheritdoc IRollup
    function revertFrom(uint64 number, BatchHeader calldata header) external only(DISPUTES) {
        requireLive(number, header);
        if (_batches[number].status == BatchStatus.Finalised) revert WrongStatus(number, BatchStatus.Finalised);
        _revertFrom(number, header.parent);
    }

    // ------------------------------------------------------------------------------------ sequencer

    /// @inheritdoc IRollup
    function heartbeat() external onlySequencer {
        _counters.lastSeen = uint48(block.timestamp);
    }

    /// @inheritdoc IRollup
    function registerChain(uint48 fromEpoch, bytes32 tip, uint64 length) external onlySequencer {
        uint256 n = _chains.length;
        // The beacon of an epoch is a block after its start, so it is not known yet.
        if (fromEpoch <= currentEpoch() || (n > 0 && _chains[n - 1].fromEpoch >= fromEpoch)) {
            revert WrongEpoch(fromEpoch);
        }
        if (tip == 0 || length == 0) revert Zero();
        _chains.push(Chain(tip, fromEpoch, length));
        emit ChainRegistered(fromEpoch, tip, length);
    }

    /// @inheritdoc IRollup
    function startCaretaker() external {
        if (_counters.caretaking) revert Caretaking();
        uint256 until = uint256(_counters.lastSeen) + IParameters(PARAMETERS).get(Param.SequencerTimeout);
        if (block.timestamp <= until) revert StillAlive(until);
        _startCaretaker();
    }

    /// @inheritdoc IRollup
    function rotateSequencer(address account, string calldata url) external only(TIMELOCK) {
        if (account == address(0)) revert Zero();
        _terms[_counters.term++].ended = uint48(block.timestamp);
        _terms.push(Term(account, 0, 0, 0));
        _counters.caretaking = true;
        emit SequencerRotated(currentTerm(), account, url);
    }

    /// @inheritdoc IRollup
    function bondSequencer(uint256 amount) external {
        if (amount == 0) revert Zero();
        uint16 term = currentTerm();
        Term storage t = _terms[term];
        t.bond += amount;
        // A sequencer that was declared silent, or fined below the bond, waits for governance.
        if (t.startedAt == 0) {
            uint256 least = IParameters(PARAMETERS).get(Param.SequencerBond);
            if (t.bond < least) revert BondTooSmall(t.bond);
            t.startedAt = uint40(block.timestamp);
            _counters.caretaking = false;
            _counters.lastSeen = uint48(block.timestamp);
        }
        emit SequencerBonded(term, amount);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IRollup
    function withdrawBond(uint16 term) external {
        if (term >= _terms.length) revert UnknownTerm(term);
        Term storage t = _terms[term];
        uint256 until = t.ended == 0
            ? type(uint256).max
            : t.ended + IParameters(PARAMETERS).get(Param.UnbondingEpochs) * EPOCH_SECONDS;
        if (block.timestamp <= until) revert BondLocked(until);
        uint256 amount = t.bond;
        if (amount == 0) revert Zero();
        t.bond = 0;
        IERC20(TOKEN).safeTransfer(t.account, amount);
    }

    /// @inheritdoc IRollup
    function fine(uint16 term, uint256 amount, address beneficiary, uint256 reward) external {
        if (msg.sender != DISPUTES && msg.sender != INBOX) revert NotAuthorised(msg.sender);
        _fine(term, amount, beneficiary, reward);
    }

    // -------------------------------------------------------------------------------------- reading

    /// @inheritdoc IRollup
    function requireLive(uint64 number, BatchHeader calldata header) public view {
        bytes32 given = hashHeader(number, header);
        if (hashOf[number] != given) revert WrongHeader(hashOf[number], given);
        if (isReverted(number)) revert Reverted(number);
    }

    /// @inheritdoc IRollup
    function hashHeader(uint64 number, BatchHeader calldata header) public pure returns (bytes32) {
        return keccak256(abi.encode(number, header));
    }

    /// @inheritdoc IRollup
    function batch(uint64 number) external view returns (Batch memory) {
        return _batches[number];
    }

    /// @inheritdoc IRollup
    function isReverted(uint64 number) public view returns (bool) {
        for (uint256 i = _batches[number].generation; i < _reverts.length; ++i) {
            if (_reverts[i] <= number) return true;
        }
        return false;
    }

    /// @inheritdoc IRollup
    function batchCount() external view returns (uint64) {
        return _counters.batches;
    }

    /// @inheritdoc IRollup
    function capturedBelow() external view returns (uint48) {
        uint64 n = _counters.batches;
        for (uint64 i = _counters.captured; i < n; ++i) {
            if (!_isCaptured(i)) return _batches[i].epoch;
        }
        return type(uint48).max;
    }

    /// @inheritdoc IRollup
    function caretaking() external view returns (bool) {
        return _counters.caretaking;
    }

    /// @inheritdoc IRollup
    function currentTerm() public view returns (uint16) {
        return _counters.term;
    }

    /// @inheritdoc IRollup
    function sequencerOf(uint16 term) external view returns (address) {
        if (term >= _terms.length) revert UnknownTerm(term);
        return _terms[term].account;
    }

    /// @inheritdoc IRollup
    function bondOf(uint16 term) external view returns (uint256) {
        if (term >= _terms.length) revert UnknownTerm(term);
        return _terms[term].bond;
    }

    /// @inheritdoc IRollup
    function startOf(uint16 term) external view returns (uint256) {
        if (term >= _terms.length) revert UnknownTerm(term);
        return _terms[term].startedAt;
    }

    /// @inheritdoc IRollup
    function headHash() public view returns (bytes32) {
        return ~_turnedHead;
    }

    /// @inheritdoc IRollup
    function chainAt(uint48 epoch) external view returns (bytes32 tip, uint48 fromEpoch, uint64 length) {
        for (uint256 i = _chains.length; i > 0; --i) {
            Chain storage c = _chains[i - 1];
            if (c.fromEpoch <= epoch) return (c.tip, c.fromEpoch, c.length);
        }
    }

    /// @inheritdoc IRollup
    function domainSeparator() external view returns (bytes32) {
        return Messages.domainSeparator(address(this));
    }

    // ------------------------------------------------------------------------------------ internals

    function _commit(BatchHeader calldata h, bool inBlob) private returns (uint64 number) {
        if (h.parent != headHash()) revert WrongHeader(headHash(), h.parent);
        if (h.leafCount == 0 || h.leafCount > MAX_LEAVES) revert BadLeafCount(h.leafCount);
        _canonical(h.root);
        _canonical(h.stateRoot);
        _canonical(h.links);
        _canonical(h.nodeRoots);
        Counters memory c = _counters;
        uint48 epoch = currentEpoch();
        // The last batch of an epoch may come in the next one, never later, and never out of order.
        if (h.epoch > epoch || h.epoch + 1 < epoch || h.epoch < c.lastEpoch) revert WrongEpoch(h.epoch);
        if (!IModelRegistry(MODELS).isActive(h.model, h.epoch)) revert InactiveModel(h.model);

        number = c.batches;
        IParameters params = IParameters(PARAMETERS);
        Batch memory b;
        b.committedAt = uint40(block.timestamp);
        b.beaconBlock = uint40(block.number + params.valueAt(Param.BeaconDelay, h.epoch));
        b.epoch = h.epoch;
        b.faultWindow = uint24(params.valueAt(Param.FaultWindow, h.epoch));
        b.term = c.term;
        b.generation = c.generation;
        b.status = BatchStatus.Committed;
        b.inBlob = inBlob;
        // After a revert the flag may be set twice in an epoch: one audit more, never one less.
        b.firstOfEpoch = number == 0 || h.epoch > c.lastEpoch || c.generation != c.lastGeneration;
        _batches[number] = b;
        bytes32 hash = hashHeader(number, h);
        hashOf[number] = hash;
        _turnedHead = ~hash;
        c.batches = uint48(number + 1);
        c.lastGeneration = c.generation;
        c.lastEpoch = h.epoch;
        c.lastSeen = uint48(block.timestamp);
        _counters = c;
        emit BatchCommitted(number, hash, b.beaconBlock, h);
    }

    function _revertFrom(uint64 number, bytes32 parent) private {
        _reverts.push(number);
        ++_counters.generation;
        _turnedHead = ~parent;
        emit BatchesReverted(number, _counters.batches);
    }

    /// @dev End of the proof window of a live batch that is not proven yet.
    function _provableUntil(uint64 number, BatchHeader calldata header) private view returns (uint256) {
        requireLive(number, header);
        Batch storage b = _batches[number];
        if (b.status != BatchStatus.Committed) revert WrongStatus(number, b.status);
        return uint256(b.committedAt) + IParameters(PARAMETERS).valueAt(Param.ProofWindow, b.epoch);
    }

    function _capture(bytes calldata blockHeader) private {
        Memory.Slice[] memory fields = BlockHeader.parseHeader(blockHeader);
        uint256 number = BlockHeader.getNumber(fields);
        bytes32 known = Blockhash.blockHash(number);
        if (known == 0 || known != keccak256(blockHeader)) revert WrongBlockHeader(number);
        bytes32 beacon = BlockHeader.getPrevRandao(fields);
        beaconOf[uint40(number)] = beacon;
        emit BeaconCaptured(uint40(number), beacon);
        // Move the cursor, a bounded way, so that reading stays cheap.
        uint64 i = _counters.captured;
        uint64 end = uint64(Math.min(_counters.batches, i + 32));
        while (i < end && _isCaptured(i)) ++i;
        _counters.captured = uint48(i);
    }

    function _isCaptured(uint64 number) private view returns (bool) {
        return beaconOf[_batches[number].beaconBlock] != 0 || isReverted(number);
    }

    function _stateBefore(bytes32 hash, uint64 parentNumber, BatchHeader calldata parent)
        private
        view
        returns (uint256)
    {
        if (hash == 0) return genesisState;
        bytes32 given = hashHeader(parentNumber, parent);
        if (given != hash) revert WrongHeader(hash, given);
        return parent.stateRoot;
    }

    function _statement(uint64 number, BatchHeader calldata h, uint256 before)
        private
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
        s[11] = uint160(address(this));
    }

    function _canonical(uint256 value) private pure {
        if (value >= BN254_R) revert NotCanonical(value);
    }

    function _startCaretaker() private {
        _counters.caretaking = true;
        emit CaretakerStarted(currentTerm());
    }

    function _fine(uint16 term, uint256 amount, address beneficiary, uint256 reward) private {
        if (term >= _terms.length) revert UnknownTerm(term);
        Term storage t = _terms[term];
        uint256 taken = Math.min(amount, t.bond);
        t.bond -= taken;
        // The reward comes out of the fine, at most a tenth of it: fining oneself never pays.
        uint256 paid = beneficiary == address(0) ? 0 : Math.min(reward, taken / 10);
        if (
            term == currentTerm() && !_counters.caretaking
                && t.bond < IParameters(PARAMETERS).get(Param.SequencerBond) / 2
        ) _startCaretaker();
        emit SequencerFined(term, taken, beneficiary, paid);
        IToken(TOKEN).burn(taken - paid);
        if (paid > 0) IERC20(TOKEN).safeTransfer(beneficiary, paid);
    }
}
