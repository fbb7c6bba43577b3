// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {BatchHeader, Opening} from "./IRollup.sol";

enum AuditState {
    None,
    Open,
    Passed,
    Failed
}

/// @notice One answer that must be proved.
struct Audit {
    bytes32 statement; // keccak of (model, r, o, meta)
    address operator;
    address opener; // who demanded it or pointed at the selection
    uint48 epoch;
    uint48 deadline;
    AuditState state;
    bool demanded;
    uint256 fee;
}

struct Liveness {
    address operator;
    address challenger;
    uint48 deadline;
    AuditState state;
    uint256 bond;
}

/// @title Audits
/// @notice Answers that must be proved by a deadline: those that the beacon selects, and those that
/// anyone demands for a fee. No proof in time is one slash, whatever is done again afterwards.
///
/// Deadlines queue per node: each new one adds D(S) to the end of the queue, so that an honest node
/// can always prove, and stake does not leave before the end of the queue. A part of each fee burns,
/// so filling one's own queue costs.
/// @dev Leaf i of batch b is selected iff keccak256(beacon, rollup, b, i) < p·2^256, or b is the first
/// of its epoch and i = keccak256(beacon, rollup, b) mod leafCount.
interface IAudits {
    error NotSelected(uint64 number, uint32 index);
    error NotAuditable(uint256 meta);
    error AlreadyAudited(bytes32 id);
    error NotOpen(bytes32 id);
    error WindowOver(uint256 until);
    error WindowOpen(uint256 until);
    error WrongStatement(bytes32 expected, bytes32 given);
    error NoSuchNode(uint16 node, uint48 epoch);
    error NotFinal(uint64 number);
    error ChallengeOpen(address operator);
    error WrongSigner(address operator);

    event AuditOpened(
        bytes32 indexed id, address indexed operator, uint64 number, uint32 index, bool demanded, uint256 deadline
    );
    event AuditPassed(bytes32 indexed id, address indexed operator);
    event AuditFailed(bytes32 indexed id, address indexed operator, uint256 slashIndex, uint256 slashed);
    event BrakeResolved(uint48 indexed epoch);
    event LivenessChallenged(uint256 indexed id, address indexed operator, uint256 deadline);
    event LivenessAnswered(uint256 indexed id);
    event LivenessMissed(uint256 indexed id);

    /// @notice Opens the audit of a selected answer of a final batch.
    function openSelected(uint64 number, BatchHeader calldata header, Opening calldata leaf)
        external
        returns (bytes32 id);

    /// @notice Demands the proof of any answer of a final batch for a fee.
    function demand(uint64 number, BatchHeader calldata header, Opening calldata leaf) external returns (bytes32 id);

    /// @notice Proves an audited answer; anyone may. Public inputs, in this order: weight commitment
    /// (high and low 128 bits), r, o, n_in, n_out, finish.
    function prove(bytes32 id, bytes32 model, uint256 r, uint256 o, uint256 meta, bytes calldata proof) external;

    /// @notice Slashes the node of an audit whose deadline has passed.
    function timeout(bytes32 id) external;

    /// @notice Lets slashes of an epoch burn although the brake holds them. Timelock only; slashes that
    /// should not burn are forgiven first.
    function resolveBrake(uint48 epoch) external;

    /// @notice Asks a node, against a bond, to show on L1 that it lives.
    function challengeLiveness(address operator) external returns (uint256 id);
    /// @notice Answers with Liveness(challenge, operator), signed by the hot key; the bond goes to the node.
    function answerLiveness(uint256 id, bytes calldata signature) external;
    /// @notice Slashes a node that did not answer; the bond goes back.
    function missLiveness(uint256 id) external;

    function audit(bytes32 id) external view returns (Audit memory);
    function liveness(uint256 id) external view returns (Liveness memory);
    function auditId(uint64 number, uint32 index) external pure returns (bytes32);
    /// @notice Whether the beacon selects a leaf; false while there is no beacon.
    function isSelected(uint64 number, uint32 leafCount, uint32 index) external view returns (bool);
    /// @notice End of a node's queue.
    function holdUntil(address operator) external view returns (uint256);
    /// @notice Whether too much audited stake of an epoch timed out together for slashes to burn.
    function braked(uint48 epoch) external view returns (bool);
    /// @notice Stake of nodes audited in an epoch, of those that timed out, and their number.
    function tally(uint48 epoch) external view returns (uint256 audited, uint256 timedOut, uint256 operators);
    /// @notice Open audits of a node.
    function openCount(address operator) external view returns (uint256);
}
