// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Row} from "./IEpochs.sol";

/// @notice The four kinds of proposals.
enum ProposalKind {
    AdoptModel, // calls to ModelRegistry
    Hardware, // requirements announced in ModelRegistry
    Methodology, // parameters, verifiers, prices, rotation: anything but models and jail
    ReportOperator // jails one operator, on proved metrics
}

/// @notice Proved metrics of a reported operator.
struct Evidence {
    address operator;
    uint48 epoch;
    uint256 model; // column in which uptime is below the minimum
    Row row;
    bytes32[] proof;
}

struct Terms {
    ProposalKind kind;
    address operator; // proposer
    uint48 epoch; // in which it was proposed
    bool settled;
    uint256 bond;
    uint256 reward;
}

/// @notice How one may vote; a wasteful vote is one against.
enum Vote {
    Against,
    For,
    Abstain,
    Wasteful
}

/// @title Governor
/// @notice Operators propose, stake votes. Votes count the stake of the proposal's snapshot epoch; an
/// operator votes with all that is delegated to it, and any delegator may override for its own part,
/// before or after. A bond backs every proposal; what is executed earns up to the cap of its kind,
/// shared with delegators like any reward; what is rejected with a majority of all votes calling it
/// wasteful costs the bond and slashes the proposer's node. The clock is the epoch number.
interface IMonaiGovernor {
    error NotAnOperator(address account);
    /// @notice Use `proposeAs`.
    error KindRequired();
    error ForbiddenCall(ProposalKind kind, address target, bytes4 selector);
    error InsufficientEvidence();
    error RewardAboveCap(uint256 reward, uint256 cap);
    error NotSettled(uint256 proposalId);
    error AlreadyVoted(address account);
    error InvalidVote(uint8 support);
    error NoVotes(address account);
    /// @notice Delay and period together must be shorter than unbonding, in epochs.
    error VotingTooLong(uint256 unbonding);

    event Proposed(uint256 indexed proposalId, ProposalKind indexed kind, address indexed operator, uint256 reward);
    event Overridden(
        uint256 indexed proposalId, address indexed operator, address indexed delegator, uint8 support, uint256 weight
    );
    event Settled(uint256 indexed proposalId, bool wasteful, uint256 bondReturned, uint256 reward);

    /// @notice Proposes, as an active operator, against the bond. `evidence` counts for reports only. A
    /// description that ends in `#proposer=0x…` can be proposed by that operator only.
    function proposeAs(
        ProposalKind kind,
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        string calldata description,
        uint256 reward,
        Evidence calldata evidence
    ) external returns (uint256 proposalId);

    /// @notice Votes with the caller's own part of the stake delegated to an operator.
    function castOverride(uint256 proposalId, address operator, uint8 support) external returns (uint256 weight);

    /// @notice Pays the bond back and the reward out, or burns and slashes; once the proposal has ended. A
    /// proposal that nobody could execute for thirty days gets its bond back and no reward.
    function settle(uint256 proposalId) external;

    function terms(uint256 proposalId) external view returns (Terms memory);
    /// @notice Votes by kind of vote.
    function tally(uint256 proposalId) external view returns (uint256[4] memory);
    /// @notice Whether more than half of all votes call it wasteful and they make a quorum.
    function isWasteful(uint256 proposalId) external view returns (bool);
}
