// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What the sequencer commits to. Field elements are below the BN254 order.
struct BatchHeader {
    bytes32 parent; // header hash of the previous live batch, zero for the first
    bytes32 model; // all leaves of a batch are of one model
    uint48 epoch;
    uint32 circuitVersion; // of Circuit.Batch
    uint32 leafCount;
    uint256 root; // Poseidon tree over the leaves
    uint256 stateRoot; // state after the batch
    uint256 links; // commitment to the hash chain links that the batch reveals
    uint256 nodeRoots; // commitment to the sub-roots that nodes signed
    bytes32 data; // versioned hash of the blob, or keccak of the calldata
}

/// @notice A leaf with its Merkle path.
struct Opening {
    uint256 r;
    uint256 o;
    uint256 meta;
    uint32 index;
    uint256[] path;
}

enum BatchStatus {
    None,
    Committed,
    Proven,
    Finalised
}

struct Batch {
    uint40 committedAt;
    uint40 finalisedAt;
    uint40 beaconBlock; // its prevRandao selects the audits
    uint48 epoch;
    uint24 faultWindow; // seconds, fixed at commit
    uint16 term; // of the sequencer that committed
    uint16 generation; // reverts before it
    BatchStatus status;
    bool inBlob;
    bool firstOfEpoch; // one leaf of it is always audited
}

/// @title Rollup
/// @notice The chain of batches: commit, capture the beacon, prove, finalise. Anyone may prove, capture
/// and finalise; only the sequencer commits. If it falls silent, anyone may start caretaker mode, in
/// which everything goes on except commits, until governance names the next sequencer.
/// @dev Assumes that a batch proof shows that every answered leaf is covered by a sub-root that its
/// node signed: audits slash nodes for leaves, so only proven and final batches are audited.
/// Assumes that prevRandao can be biased by at most one bit for each slot its last proposers give up.
interface IRollup {
    /// @notice The header does not continue the live chain, or is not the one committed.
    error WrongHeader(bytes32 expected, bytes32 given);
    error WrongEpoch(uint48 epoch);
    error InactiveModel(bytes32 model);
    error BadLeafCount(uint256 count);
    error NotCanonical(uint256 value);
    /// @notice The transaction carries no blob, or another one than the header names.
    error WrongData();
    error WrongStatus(uint64 number, BatchStatus status);
    error Reverted(uint64 number);
    error WindowOpen(uint256 until);
    error WindowOver(uint256 until);
    error BeaconPending(uint40 blockNumber);
    /// @notice The block header is not that of this block, or the block is not known on chain.
    error WrongBlockHeader(uint256 blockNumber);
    /// @notice The block's hash can still be had, or nothing waits for it.
    error NotLapsed(uint40 blockNumber);
    error Caretaking();
    error StillAlive(uint256 until);
    error BondTooSmall(uint256 bond);
    error BondLocked(uint256 until);
    error OpenDispute(uint64 number);
    error UnknownTerm(uint16 term);

    event BatchCommitted(uint64 indexed number, bytes32 indexed hash, uint40 beaconBlock, BatchHeader header);
    event BatchProven(uint64 indexed number);
    event BatchFinalised(uint64 indexed number, bytes32 indexed hash);
    event BatchesReverted(uint64 indexed from, uint64 to);
    event BeaconCaptured(uint40 indexed blockNumber, bytes32 prevRandao);
    event BeaconRescheduled(uint64 indexed number, uint40 blockNumber);
    event CaretakerStarted(uint16 indexed term);
    event SequencerRotated(uint16 indexed term, address account, string url);
    event SequencerFined(uint16 indexed term, uint256 amount, address beneficiary, uint256 paid);
    event SequencerBonded(uint16 indexed term, uint256 amount);
    event ChainRegistered(uint48 indexed fromEpoch, bytes32 tip, uint64 length);

    /// @notice Commits a batch whose leaves lie in the first blob of this transaction. Sequencer only.
    /// @param blockHeader RLP of a block whose beacon is to be captured along the way, or empty.
    function commitBatch(BatchHeader calldata header, bytes calldata blockHeader) external returns (uint64 number);

    /// @notice Commits a batch whose leaves, 96 bytes each, are in calldata. Sequencer only.
    function commitBatchCalldata(BatchHeader calldata header, bytes calldata leaves, bytes calldata blockHeader)
        external
        returns (uint64 number);

    /// @notice Records the prevRandao of a block from its header.
    function captureBeacon(bytes calldata blockHeader) external;

    /// @notice Chooses a new beacon block for a batch if the chain has forgotten the old one; fines the sequencer.
    function rescheduleBeacon(uint64 number) external;

    /// @notice Proves a committed batch within its proof window. Public inputs, in this order: number, epoch, model (high and
    /// low 128 bits), leaf count, root, state before, state after, links, node sub-roots, chain id,
    /// this contract's address.
    /// @param parentNumber number of the parent, ignored for the first batch
    function proveBatch(
        uint64 number,
        BatchHeader calldata header,
        uint64 parentNumber,
        BatchHeader calldata parent,
        bytes calldata proof
    ) external;

    /// @notice Makes a proven batch final, in order, after its fault window.
    function finaliseBatch(uint64 number, BatchHeader calldata header) external;

    /// @notice Reverts a batch that nobody proved within the proof window, and all after it, and fines its
    /// sequencer: a batch that can't be proved must not hold up the chain, the epochs and the claims.
    function dropUnproven(uint64 number, BatchHeader calldata header) external;

    /// @notice Reverts a batch that is not final and all after it. Disputes only.
    function revertFrom(uint64 number, BatchHeader calldata header) external;

    /// @notice Shows that the sequencer lives when there is nothing to commit.
    function heartbeat() external;

    /// @notice Announces a hash chain for the draws from an epoch that has not begun.
    function registerChain(uint48 fromEpoch, bytes32 tip, uint64 length) external;

    /// @notice Starts caretaker mode after the sequencer's timeout.
    function startCaretaker() external;

    /// @notice Names the next sequencer, which ends caretaker mode once it is bonded. Timelock only.
    function rotateSequencer(address account, string calldata url) external;

    /// @notice Adds to the bond of the current term, by anyone.
    function bondSequencer(uint256 amount) external;

    /// @notice Pays the bond of an ended term back to its sequencer after the unbonding time. Never paused.
    function withdrawBond(uint16 term) external;

    /// @notice Burns bond of a term, paying `reward` of it to the beneficiary. Disputes and Inbox only.
    function fine(uint16 term, uint256 amount, address beneficiary, uint256 reward) external;

    /// @notice Reverts unless the header is the one committed under this number and the batch is live.
    function requireLive(uint64 number, BatchHeader calldata header) external view;
    function hashHeader(uint64 number, BatchHeader calldata header) external pure returns (bytes32);
    function batch(uint64 number) external view returns (Batch memory);
    function hashOf(uint64 number) external view returns (bytes32);
    function isReverted(uint64 number) external view returns (bool);
    function batchCount() external view returns (uint64);
    /// @notice prevRandao of a captured block; zero if not captured.
    function beaconOf(uint40 blockNumber) external view returns (bytes32);
    /// @notice First epoch with a live batch whose beacon is not captured; the greatest value if none.
    function capturedBelow() external view returns (uint48);
    function headHash() external view returns (bytes32);
    function finalisedHash() external view returns (bytes32);
    /// @notice State after the last final batch of an epoch; zero if it has none.
    function stateOf(uint48 epoch) external view returns (uint256);
    function genesisState() external view returns (uint256);
    function caretaking() external view returns (bool);
    function currentTerm() external view returns (uint16);
    function sequencerOf(uint16 term) external view returns (address);
    function bondOf(uint16 term) external view returns (uint256);
    /// @notice When a term's sequencer was bonded and took over; zero if it has not yet.
    function startOf(uint16 term) external view returns (uint256);
    /// @notice Hash chain in force in an epoch.
    function chainAt(uint48 epoch) external view returns (bytes32 tip, uint48 fromEpoch, uint64 length);
    function domainSeparator() external view returns (bytes32);
}
