// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Addresses of one deployment, and its calendar. Every contract is built with the same
/// record and keeps it in its code: nothing can be rewired later, not even by governance.
struct System {
    address token;
    address parameters;
    address verifiers;
    address poseidon;
    address operators;
    address staking;
    address epochs;
    address models;
    address rollup;
    address disputes;
    address inbox;
    address audits;
    address emissions;
    address treasury;
    address payments;
    address governor;
    address timelock;
    uint64 genesis;
    uint64 epochSeconds;
}

/// @notice The caller is not the one account that may do this.
error NotAuthorised(address caller);
/// @notice An amount, count or list that must not be zero is zero.
error Zero();

/// @dev Immutable wiring and the epoch calendar, shared by all contracts. Epoch e covers the
/// timestamps [genesis + e·epochSeconds, genesis + (e+1)·epochSeconds).
abstract contract Wired {
    address internal immutable TOKEN;
    address internal immutable PARAMETERS;
    address internal immutable VERIFIERS;
    address internal immutable POSEIDON;
    address internal immutable OPERATORS;
    address internal immutable STAKING;
    address internal immutable EPOCHS;
    address internal immutable MODELS;
    address internal immutable ROLLUP;
    address internal immutable DISPUTES;
    address internal immutable INBOX;
    address internal immutable AUDITS;
    address internal immutable EMISSIONS;
    address internal immutable TREASURY;
    address internal immutable PAYMENTS;
    address internal immutable GOVERNOR;
    address internal immutable TIMELOCK;
    uint64 internal immutable GENESIS;
    uint64 internal immutable EPOCH_SECONDS;

    constructor(System memory s) {
        if (s.epochSeconds == 0) revert Zero();
        TOKEN = s.token;
        PARAMETERS = s.parameters;
        VERIFIERS = s.verifiers;
        POSEIDON = s.poseidon;
        OPERATORS = s.operators;
        STAKING = s.staking;
        EPOCHS = s.epochs;
        MODELS = s.models;
        ROLLUP = s.rollup;
        DISPUTES = s.disputes;
        INBOX = s.inbox;
        AUDITS = s.audits;
        EMISSIONS = s.emissions;
        TREASURY = s.treasury;
        PAYMENTS = s.payments;
        GOVERNOR = s.governor;
        TIMELOCK = s.timelock;
        GENESIS = s.genesis;
        EPOCH_SECONDS = s.epochSeconds;
    }

    modifier only(address account) {
        if (msg.sender != account) revert NotAuthorised(msg.sender);
        _;
    }

    /// @notice The addresses and calendar that this contract was built with.
    function system() external view returns (System memory s) {
        s.token = TOKEN;
        s.parameters = PARAMETERS;
        s.verifiers = VERIFIERS;
        s.poseidon = POSEIDON;
        s.operators = OPERATORS;
        s.staking = STAKING;
        s.epochs = EPOCHS;
        s.models = MODELS;
        s.rollup = ROLLUP;
        s.disputes = DISPUTES;
        s.inbox = INBOX;
        s.audits = AUDITS;
        s.emissions = EMISSIONS;
        s.treasury = TREASURY;
        s.payments = PAYMENTS;
        s.governor = GOVERNOR;
        s.timelock = TIMELOCK;
        s.genesis = GENESIS;
        s.epochSeconds = EPOCH_SECONDS;
    }

    /// @notice The epoch that the current block belongs to; zero until genesis.
    function currentEpoch() public view returns (uint48) {
        // A timestamp divided by seconds fits 48 bits for millions of years.
        return block.timestamp < GENESIS ? 0 : uint48((block.timestamp - GENESIS) / EPOCH_SECONDS);
    }

    /// @notice First timestamp of `epoch`.
    function epochStart(uint48 epoch) public view returns (uint256) {
        return uint256(GENESIS) + uint256(epoch) * EPOCH_SECONDS;
    }
}
