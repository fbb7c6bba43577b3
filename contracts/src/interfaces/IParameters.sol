// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Every number of the protocol that governance may move. Amounts are token wei, shares are
/// fixed point with 1e18 = 1, times are seconds unless the name says epochs or blocks.
enum Param {
    StakeFloor, // S_f: below it a node is not drawn
    StakeCap, // S_c: what counts of a node's stake; S_c/S_f <= 8
    SelfBondRatio, // own bond over counted stake, at least
    MaxCommission, // share
    CommissionNotice, // epochs between announcing and taking effect
    UnbondingEpochs, // longer than all windows together
    BurnShare, // part of a slash that is burned; the rest goes to the treasury
    AuditSlash, // S: cost of one failed audit
    EquivocationSlash, // cost of two contradicting signatures
    LivenessSlash, // cost of an unanswered liveness challenge
    SlashRebate, // part of a slash that may repay the gas of who showed it
    EscrowTime, // how long a slash waits before it burns
    BrakeShare, // share of audited stake timing out together that suspends burning
    BrakeMinOperators, // distinct operators timing out that the brake needs
    AuditRate, // p: share of answers that must be proved
    DemandFee, // what demanding a proof costs
    DemandBurn, // part of the fee that burns when the proof passes
    DemandWindow, // from finality, for demands and selected audits
    FaultWindow, // from commit, for fault proofs
    OpeningBond, // bond of who asks the sequencer to open a leaf
    OpeningWindow, // time to open it
    BeaconDelay, // blocks from commit to the block whose prevRandao is the beacon
    LivenessBond, // bond of a liveness challenge
    LivenessWindow, // time to answer it
    SequencerBond, // least bond of the sequencer
    SequencerFine, // for a fault of the sequencer
    SequencerTimeout, // silence after which caretaker mode may start
    InboxDeadline, // time to discharge a forced request
    InboxPerEpoch, // forced requests taken each epoch
    InboxMaxIds, // prompt length of a forced request
    InboxMisses, // r: refusals and misses that discharge it
    InboxLateFine, // bond lost for each late request
    TreasuryShare, // of emissions
    EmissionMinStake, // no emission below this total stake
    EmissionMinOperators, // nor with fewer operators with counted stake
    ExitTimeout, // of a payment session, for outstanding vouchers
    ProposalBond,
    RewardAdoptModel, // caps of rewards, by proposal kind
    RewardHardware,
    RewardMethodology,
    RewardReport,
    WastefulSlash,
    UptimeMinimum, // U_min: below it a node is out and may be reported
    JailEpochs, // how long a reported operator is out
    MaxOperators, // slots of the node table
    AlphaStake, // weight of stake in the allocation score
    WeightStep, // delta of the weight update
    WeightTolerance, // epsilon of the weight update
    WeightSmoothing, // beta of the weight update
    SpeedCeiling, // output tokens a second, times 1e18
    CountersignTolerance, // Delta: milliseconds between the times of node and sequencer
    ProofWindow // from commit, for the proof of a batch
}

/// @title Parameters
/// @notice Bounded, governed protocol parameters with history. A change takes effect with the next
/// epoch, so whatever was committed under the old value is settled under the old value.
/// @dev Assumes that consumers of committed data read `valueAt` with the epoch of the commitment.
interface IParameters {
    /// @notice The value lies outside the bounds that are fixed in the code.
    error OutOfBounds(Param param, uint256 value);
    /// @notice The values contradict each other: floor and cap, or windows, unbonding and timelock.
    error Inconsistent();
    /// @notice The two lists differ in length.
    error LengthMismatch();

    event ParameterSet(Param indexed param, uint256 value, uint48 fromEpoch);
    event Paused(address indexed guardian, uint256 until);
    event GuardianSet(address indexed guardian);

    /// @notice Value in the current epoch.
    function get(Param param) external view returns (uint256);

    /// @notice Value in `epoch`; for a future epoch, what is known now.
    function valueAt(Param param, uint48 epoch) external view returns (uint256);

    /// @notice Least and greatest value that governance may ever set.
    function bounds(Param param) external pure returns (uint256 least, uint256 greatest);

    /// @notice Sets values from the next epoch on. Timelock only; all relations must hold after it.
    function set(Param[] calldata params, uint256[] calldata values) external;

    /// @notice Whether new commitments of users are refused just now. Exits, proofs, claims,
    /// finalisation and discharges never ask.
    function paused() external view returns (bool);

    /// @notice Who may pause.
    function guardian() external view returns (address);

    /// @notice Pauses for at most fourteen days; a new pause is possible only a day after the last ended.
    function pause() external;

    /// @notice Ends a pause. Guardian or timelock.
    function unpause() external;

    /// @notice Replaces the guardian. Timelock only.
    function setGuardian(address account) external;
}
