// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC6372} from "@openzeppelin/contracts/interfaces/IERC6372.sol";

/// @notice Why stake is slashed.
enum Offence {
    Timeout, // an audit or demand was not answered with a proof in time
    Equivocation, // two contradicting signatures
    Liveness, // an L1 liveness challenge was not answered
    Wasteful // a governance proposal was voted wasteful
}

enum SlashState {
    Escrowed,
    Burned,
    Forgiven
}

/// @notice One slash. Own stake is taken at once; delegators pay `fraction` of what they had in the
/// offence epoch, each when next touched, and anyone may touch them.
struct Slash {
    uint48 offenceEpoch;
    uint48 executedEpoch;
    uint64 executedAt;
    Offence offence;
    SlashState state;
    uint64 fraction; // of delegated stake in the offence epoch, 1e18 = all
    uint104 ownTaken;
    uint104 delegatedTarget;
    uint104 pending; // of the target, by delegators not yet settled
    uint104 collected; // from delegators so far
    uint104 disposed; // burned, rebated or sent to the treasury so far
    address beneficiary; // may get the rebate
}

/// @title Staking
/// @notice Own bonds of operators, delegations, slashes and the rewards of stake.
///
/// Every change of stake in epoch t counts from epoch t+1 and every balance can be read for past
/// epochs. Stake that leaves in epoch t waits `UnbondingEpochs` more and is liable for offences up to
/// epoch t all that time, wherever it was redelegated.
///
/// Rounding is always against the caller: losses round up, rewards round down.
///
/// Votes follow stake: an operator votes with its bond and what is delegated to it; the governor lets
/// delegators override. The clock is the epoch number.
/// @dev Assumes that the token is the MonAI token, which neither takes fees on transfer nor calls back,
/// and that Audits, Disputes and Governor report only proved offences.
interface IStaking is IERC6372 {
    error NotAnOperator(address account);
    error InsufficientStake(uint256 available, uint256 wanted);
    error Paused();
    /// @notice Nothing can be withdrawn or claimed yet.
    error NothingDue();
    /// @notice A beacon for an epoch that this stake is liable for is not captured yet; anyone may do it.
    error BeaconPending(uint48 epoch);
    /// @notice Redelegated stake can't hop on, and a position keeps one source or target, while liable.
    error RedelegationPending();
    error SameOperator();
    /// @notice Rewards of one stream come in the order of epochs.
    error OutOfOrder(uint48 epoch);
    error UnknownSlash(address operator, uint256 index);
    /// @notice The slash is still in escrow, was settled before, or the brake holds it.
    error NotReleasable();
    error FutureLookup(uint256 epoch);

    event Bonded(address indexed operator, uint256 amount);
    event UnbondStarted(address indexed operator, uint256 amount, uint48 releaseEpoch);
    event Delegated(address indexed operator, address indexed delegator, uint256 amount);
    event Undelegated(address indexed operator, address indexed delegator, uint256 amount, uint48 releaseEpoch);
    event Redelegated(address indexed from, address indexed to, address indexed delegator, uint256 amount);
    event Withdrawn(address indexed operator, address indexed delegator, uint256 amount);
    event Distributed(
        address indexed operator, uint256 indexed stream, uint48 epoch, uint256 amount, uint256 toDelegators
    );
    event Claimed(address indexed operator, address indexed delegator, uint256 indexed stream, uint256 amount);
    event Slashed(
        address indexed operator,
        uint256 indexed index,
        Offence offence,
        uint48 offenceEpoch,
        uint256 ownTaken,
        uint256 delegatedTarget
    );
    event Collected(address indexed operator, uint256 indexed index, address indexed delegator, uint256 amount);
    event Released(address indexed operator, uint256 indexed index, uint256 burned, uint256 treasury, uint256 rebate);
    event Forgiven(address indexed operator, uint256 indexed index);
    event Reclaimed(address indexed operator, uint256 indexed index, address indexed delegator, uint256 amount);

    // Own stake

    /// @notice Adds to the own bond of an operator that registers. Operators only.
    function bondFor(address operator, uint256 amount) external;
    /// @notice Adds to the caller's own bond.
    function bond(uint256 amount) external;
    /// @notice Starts withdrawing own bond. Never paused.
    function unbond(uint256 amount) external;

    // Delegated stake

    /// @notice Delegates to an operator from the next epoch.
    function delegate(address operator, uint256 amount) external;
    /// @notice Starts withdrawing delegated stake. Never paused.
    function undelegate(address operator, uint256 amount) external;
    /// @notice Moves stake to another operator from the next epoch; it stays liable at the old one.
    function redelegate(address from, address to, uint256 amount) external;
    /// @notice Pays out what has waited long enough; own bond too, for operator and delegator the same. Never paused.
    function withdraw(address operator) external returns (uint256 amount);
    /// @notice Collects at most `most` slashes from a delegator. Anyone may call it.
    function settle(address operator, address delegator, uint256 most) external;

    // Rewards

    /// @notice Shares a reward for an epoch between operator and delegators. Emissions and Governor only;
    /// the caller must have transferred the amount.
    function distribute(address operator, uint256 stream, uint48 epoch, uint256 amount) external;
    /// @notice Pays the caller's rewards of one stream; see `streamAsset`. Never paused.
    function claim(address operator, uint256 stream) external returns (uint256 amount);

    // Slashes

    /// @notice Slashes `amount`, own bond first. Audits, Disputes and Governor only.
    /// @return index of the slash, and what it takes in all.
    function slash(address operator, uint48 epoch, uint256 amount, Offence offence, address beneficiary)
        external
        returns (uint256 index, uint256 taken);
    /// @notice Burns what a slash has collected, after the escrow time and unless the brake holds it.
    function release(address operator, uint256 index) external;
    /// @notice Takes a slash back. Timelock only, while in escrow.
    function forgive(address operator, uint256 index) external;
    /// @notice Returns what a forgiven slash had collected from the caller.
    function reclaim(address operator, uint256 index) external returns (uint256 amount);

    // Reading

    /// @notice Own bond that counts in `epoch`.
    function bondAt(address operator, uint48 epoch) external view returns (uint256);
    /// @notice Delegated stake that counts in `epoch`, slashes not yet collected taken off.
    function delegatedAt(address operator, uint48 epoch) external view returns (uint256);
    /// @notice Stake of one delegator in `epoch`.
    function delegationAt(address operator, address delegator, uint48 epoch) external view returns (uint256);
    /// @notice What the routing table counts: bond and delegations, at most the bond over the self-bond
    /// ratio, and zero below the floor. The cap is applied by routing.
    function countedStake(address operator, uint48 epoch) external view returns (uint256);
    /// @notice What a slash for an offence in `epoch` could still take: the exposure limit of a node.
    function slashable(address operator, uint48 epoch) external view returns (uint256);
    /// @notice Votes of an operator in a past epoch: its bond and what is delegated to it.
    function getPastVotes(address operator, uint256 epoch) external view returns (uint256);
    /// @notice Votes of all operators in a past epoch.
    function getPastTotalSupply(uint256 epoch) external view returns (uint256);
    /// @notice Votes of one delegator inside the operator's votes.
    function delegatorVotes(address operator, address delegator, uint48 epoch) external view returns (uint256);
    /// @notice Stake on its way out: amount in all, and of that what has waited long enough.
    function unbonding(address operator, address account) external view returns (uint256 total, uint256 due);
    /// @notice Rewards that `claim` would pay, before slashes not yet collected.
    function claimable(address operator, address account, uint256 stream) external view returns (uint256);
    /// @notice Cumulative reward per delegated unit up to an epoch, times 1e27.
    function rewardPerShare(address operator, uint256 stream, uint48 epoch) external view returns (uint256);
    function slashCount(address operator) external view returns (uint256);
    function slashAt(address operator, uint256 index) external view returns (Slash memory);
    /// @notice Whether a slash for an offence in this epoch stands.
    function offendedIn(address operator, uint48 epoch) external view returns (bool);
    /// @notice Slashes that settling this delegator would still visit.
    function unsettled(address operator, address delegator) external view returns (uint256);
    /// @notice Asset of a reward stream: 0 emissions, 1 governance, 2 + i fees in asset i of Payments.
    function streamAsset(uint256 stream) external view returns (address);
}
