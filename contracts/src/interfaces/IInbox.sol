// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {BatchHeader, Opening} from "./IRollup.sol";

enum RequestState {
    None,
    Open,
    Answered,
    Missed,
    Cancelled
}

struct ForcedRequest {
    address user;
    uint16 asset;
    uint16 misses;
    RequestState state;
    uint48 due;
    uint48 epoch; // in which it was made
    bytes32 model;
    uint256 r; // request commitment
    uint256 fee; // prepaid
    uint256 retries; // bit i: retry i was counted as a miss
}

/// @title Inbox
/// @notice Forced inclusion: a request with its prompt in the clear, which the sequencer must bring to
/// an answer or to r signed refusals and misses. Each request that is late costs bond, by itself: one
/// request that nobody can serve never halts the chain.
/// @dev The commitment r is the requester's word; whether it commits to the ids is checked by whoever
/// serves or misses it. A wrong one only wastes the requester's place.
interface IInbox {
    error Paused();
    error RateLimited(uint48 epoch);
    error BadLength(uint256 bytesGiven);
    error InactiveModel(bytes32 model);
    error FeeTooSmall(uint256 fee, uint256 quote);
    error AssetNotAllowed(uint256 asset);
    error NotOpen(uint256 id);
    error NotYours(uint256 id);
    error NotDue(uint256 due);
    /// @notice The leaf is of another request or model, or has the wrong finish.
    error WrongLeaf();
    error NotProven(uint64 number);
    error RetryCounted(uint8 retry);

    event Forced(
        uint256 indexed id,
        address indexed user,
        bytes32 indexed model,
        uint256 r,
        uint32 maxOut,
        uint256 fee,
        bytes ids
    );
    event Answered(uint256 indexed id, address indexed operator, uint256 charge, bytes ids);
    event MissCounted(uint256 indexed id, uint8 retry);
    event Missed(uint256 indexed id);
    event Late(uint256 indexed id, uint48 due);
    event Cancelled(uint256 indexed id);
    event Owed(address indexed account, uint256 indexed asset, uint256 amount);

    /// @notice Makes a request; `ids` holds the prompt, four bytes each, big-endian. The fee must cover
    /// the price of the prompt and `maxOut` ids.
    function force(bytes32 model, uint256 r, bytes calldata ids, uint32 maxOut, uint16 asset, uint256 fee)
        external
        returns (uint256 id);

    /// @notice Discharges by an answer whose output ids are published: `opening` convinces the verifier
    /// of Circuit.Output that they open o. Pays the node and refunds the rest.
    /// @dev Public inputs: o, n_out, finish, keccak of ids (high and low 128 bits).
    function dischargeByAnswer(
        uint256 id,
        uint64 number,
        BatchHeader calldata header,
        Opening calldata leaf,
        bytes calldata ids,
        bytes calldata opening
    ) external;

    /// @notice Counts a refusal or miss; the r-th discharges and refunds.
    function dischargeByMiss(uint256 id, uint64 number, BatchHeader calldata header, Opening calldata leaf) external;

    /// @notice Fines the sequencer for a late request and sets a new time.
    function late(uint256 id) external;

    /// @notice Takes a late request back with its whole fee. Never paused.
    function cancel(uint256 id) external;

    /// @notice Pays out what an asset refused to transfer to the caller. Never paused.
    function collect(uint256 asset, address to) external returns (uint256 amount);

    /// @notice What waits for an account because the asset refused to transfer it.
    function owed(address account, uint256 asset) external view returns (uint256);
    function request(uint256 id) external view returns (ForcedRequest memory);
    function count() external view returns (uint256);
    function madeIn(uint48 epoch) external view returns (uint256);
}
