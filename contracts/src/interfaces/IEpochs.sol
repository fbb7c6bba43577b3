// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {BatchHeader} from "./IRollup.sol";

/// @notice What an epoch proof shows, next to the lists that come in the clear.
struct EpochStatement {
    uint48 epoch;
    uint32 circuitVersion; // of Circuit.Epoch
    uint256 tableCommitment; // the circuit's commitment to the node table
    uint256 listCommitment; // the circuit's commitment to cells and fees
}

/// @notice One node's row: a cell for each model, a fee for each asset.
/// A cell packs, from the least significant bit: share of the pot 64, uptime 64, speed 64; the first
/// two with 1e18 = 1, speed in output tokens a second times 1e9.
struct Row {
    uint16 slot;
    uint256[] cells;
    uint256[] fees;
}

enum EpochStatus {
    Pending,
    Proved,
    Idle // no batch
}

struct EpochRecord {
    EpochStatus status;
    uint48 closedAt;
    bytes32 root; // keccak Merkle root over the rows
}

/// @title Epochs
/// @notice The node table and beacon of each epoch, and the proofs that settle it, in order. What the
/// circuit and this contract both hold in full, the table and the lists of shares and fees, is not
/// hashed in the circuit: both evaluate the list as a polynomial at one point, which is hashed from
/// both commitments and so known to neither side before.
/// @dev Assumes that the circuit's commitments are binding. Two different lists of n elements agree at
/// the point with probability n over the field's order.
interface IEpochs {
    error WrongEpoch(uint48 expected, uint48 given);
    error TooEarly();
    error BatchesPending();
    error BeaconPending(uint48 epoch);
    error HasBatches(uint48 epoch);
    error NoBatches(uint48 epoch);
    error WrongShape(uint256 expected, uint256 given);
    error BadCell(uint256 cell);
    error SharesExceedPot(uint256 model, uint256 shares);
    error NotCanonical(uint256 value);
    error WrongBlockHeader();
    error AlreadyCaptured(uint48 epoch);
    error NotLapsed(uint48 epoch);
    error NotInEpoch(uint48 epoch, uint16 slot);

    event EpochBeaconCaptured(uint48 indexed epoch, uint256 blockNumber, bytes32 beacon);
    event EpochBeaconRescheduled(uint48 indexed epoch, uint256 notBefore);
    event EpochProved(uint48 indexed epoch, bytes32 root, uint256[] cells, uint256[] fees);
    event EpochIdle(uint48 indexed epoch);

    /// @notice Records the beacon of an epoch: prevRandao of the first block that is not before its start.
    function captureBeacon(uint48 epoch, bytes calldata blockHeader, bytes calldata parentHeader) external;

    /// @notice Chooses a later block if the chain has forgotten the first one.
    /// @param oldHeader a block no longer than 8000 blocks from being forgotten that is already past the start
    function rescheduleBeacon(uint48 epoch, bytes calldata oldHeader) external;

    /// @notice Settles the next epoch. Public inputs, in this order: epoch, state at the end of the epoch
    /// before, state at its end, beacon (high, low), hash chain tip (high, low), table size, models,
    /// assets, table commitment, point and value, list commitment, point and value, then S_f, S_c,
    /// alpha_stake, delta, epsilon, beta, speed ceiling, U_min.
    /// @param cells row-major, one row for each slot of the table
    /// @param fees row-major, likewise
    /// @param nextNumber first batch that is not final, whose epoch must be later; ignored if there is none
    function prove(
        EpochStatement calldata statement,
        uint256[] calldata cells,
        uint256[] calldata fees,
        uint64 nextNumber,
        BatchHeader calldata next,
        bytes calldata proof
    ) external;

    /// @notice Closes the next epoch if it has no batch.
    function skip(uint64 nextNumber, BatchHeader calldata next) external;

    /// @notice The node table of an epoch, bound at one point.
    /// @return size slots, empty ones included
    /// @return digest keccak of the table: for each slot counted stake, hot key, batch key x and y, models
    /// @return point hashed from digest and the circuit's commitment, below the BN254 order
    /// @return value sum of element_i · point^i over the 5·size elements, modulo the order
    function bindTable(uint48 epoch, uint256 commitment)
        external
        view
        returns (uint256 size, bytes32 digest, uint256 point, uint256 value);

    /// @notice The same for the lists.
    function bindLists(uint48 epoch, uint256[] calldata cells, uint256[] calldata fees, uint256 commitment)
        external
        pure
        returns (uint256 point, uint256 value);

    /// @notice Elements of the node table of an epoch, five for each slot.
    function nodeTable(uint48 epoch) external view returns (uint256[] memory elements);

    /// @notice Reverts unless the row belongs to a proved epoch.
    function requireRow(uint48 epoch, Row calldata row, bytes32[] calldata proof) external view;

    /// @notice Next epoch to be settled.
    function nextEpoch() external view returns (uint48);
    function record(uint48 epoch) external view returns (EpochRecord memory);
    function beaconOf(uint48 epoch) external view returns (bytes32);
    /// @notice Earliest timestamp of an epoch's beacon block.
    function beaconTime(uint48 epoch) external view returns (uint256);
}
