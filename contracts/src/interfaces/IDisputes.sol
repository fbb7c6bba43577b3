// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Attestation, Intake, Response} from "../libraries/Messages.sol";
import {BatchHeader, Opening} from "./IRollup.sol";

/// @title Disputes
/// @notice What can be proved wrong about a batch or a signature: a blob that does not hold the leaves
/// of the tree, leaves that nobody can open, and contradicting signatures.
///
/// The blob is not bound to the tree by a proof but by the threat of this contract: whoever sees an
/// element that differs shows the element by a point evaluation and the leaf by a Merkle path. If the
/// sequencer hides the leaves, nobody has a path; then it is asked to open the leaf in public, and an
/// unanswered question reverts the batch like a wrong leaf.
interface IDisputes {
    error ElementMatches();
    error BadElement(uint256 element);
    error WrongCommitment();
    error PointEvaluationFailed();
    error WrongData();
    error NotInBlob();
    error AlreadyOpen(bytes32 id);
    error NotOpen(bytes32 id);
    error WindowOver(uint256 until);
    error WindowOpen(uint256 until);
    /// @notice The messages do not contradict each other, or speak of different things.
    error NoContradiction();
    /// @notice This contradiction was punished already.
    error AlreadyPunished(bytes32 key);
    error WrongSigner(address signer);
    /// @notice The key was replaced so long ago that no stake is liable for it any more.
    error KeyRetired(address signer);

    event BlobFault(uint64 indexed number, uint32 index, uint256 element);
    event OpeningAsked(bytes32 indexed id, uint64 indexed number, uint32 index, address asker, uint256 until);
    event OpeningGiven(bytes32 indexed id, uint256 r, uint256 o, uint256 meta);
    event OpeningMissed(bytes32 indexed id);
    event Equivocated(bytes32 indexed key, address indexed signer);

    /// @notice Shows that blob element 3·index + element is not that element of the leaf.
    /// @param value what the blob holds there, by the KZG opening `commitment`, `proof`
    function proveBlobFault(
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf,
        uint256 element,
        uint256 value,
        bytes calldata commitment,
        bytes calldata proof
    ) external;

    /// @notice The same for a batch whose leaves were in calldata, given again in full.
    function proveCalldataFault(uint64 number, BatchHeader calldata header, Opening calldata leaf, bytes calldata data)
        external;

    /// @notice Asks the sequencer, against a bond, to open a leaf of a batch in its fault window.
    function askOpening(uint64 number, BatchHeader calldata header, uint32 index) external returns (bytes32 id);

    /// @notice Opens it; the bond goes to the sequencer.
    function giveOpening(uint64 number, BatchHeader calldata header, Opening calldata leaf) external;

    /// @notice Reverts the batch if nobody opened the leaf in time.
    function missOpening(uint64 number, BatchHeader calldata header, uint32 index) external;

    /// @notice Two intakes of one slot for different requests.
    function proveIntakes(
        uint16 term,
        Intake calldata a,
        bytes calldata signatureA,
        Intake calldata b,
        bytes calldata signatureB
    ) external;

    /// @notice An intake of a slot against the leaf of that slot.
    function proveIntakeAgainstLeaf(
        Intake calldata intake,
        bytes calldata signature,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf
    ) external;

    /// @notice A response that the sequencer attested against the leaf of that slot: another answer, or
    /// the same under another attempt or epoch.
    /// @param signature the sequencer's over the attestation, as receipts hold it
    function proveResponseAgainstLeaf(
        Response calldata response,
        Attestation calldata attestation,
        bytes calldata signature,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf
    ) external;

    /// @notice A signed batch header against the one committed under that number.
    function proveBatchHeaders(uint16 term, uint64 number, bytes32 header, bytes calldata signature) external;

    /// @notice Two different answers of one node for one slot; slashes the node. A key that was replaced
    /// speaks for the node only for the epochs in which it was in force: who steals an old key can't
    /// slash with it for ever.
    function proveResponses(
        Response calldata a,
        bytes calldata signatureA,
        Response calldata b,
        bytes calldata signatureB
    ) external;

    /// @notice Openings asked for and not given, of one batch.
    function openChallenges(uint64 number) external view returns (uint256);
}
