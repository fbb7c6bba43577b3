// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What an operator registers with. The caller is the cold owner and names the operator from
/// then on.
struct Registration {
    address hotKey; // signs responses, credits and liveness answers
    bytes hotSignature; // of HotKey(operator, hotKey, nonce), by the hot key
    uint256 batchX; // circuit-friendly key, opaque here
    uint256 batchY;
    uint32 batchKeyVersion; // of Circuit.BatchKey
    bytes batchProof; // possession of the batch key, for (x, y, operator, nonce)
    uint256 commission; // share of delegators' rewards
    bytes32[] models; // served from the next epoch
    uint256 bond; // own stake, taken from the caller
}

/// @title Operators
/// @notice Who runs nodes: keys, commission, models served, and the slot each holds in the node
/// table. Everything that routing reads changes with the next epoch and can be read for past ones.
/// @dev A slot is given to another operator only after twice the unbonding time, so within all
/// windows a pair (epoch, slot) names one operator.
interface IOperators {
    error NotAnOperator(address account);
    error AlreadyRegistered(address account);
    /// @notice This hot key is or was used, or the signature is not by it.
    error InvalidHotKey(address hotKey);
    error CommissionTooHigh(uint256 commission);
    error TableFull();
    /// @notice The own bond is below the least bond with which a node reaches the stake floor.
    error BondTooSmall(uint256 bond);
    /// @notice One key rotation an epoch.
    error RotationTooSoon();
    error Paused();

    event Registered(address indexed operator, uint16 indexed slot, uint48 fromEpoch, string url);
    event KeysRotated(address indexed operator, address hotKey, uint256 batchX, uint256 batchY, uint48 fromEpoch);
    event CommissionAnnounced(address indexed operator, uint256 commission, uint48 fromEpoch);
    event ModelsSet(address indexed operator, uint208 mask, uint48 fromEpoch);
    event UrlSet(address indexed operator, string url);
    event Exited(address indexed operator, uint16 indexed slot, uint48 fromEpoch);
    event Jailed(address indexed operator, uint48 fromEpoch, uint48 untilEpoch);

    /// @notice Registers the caller and bonds its own stake.
    function register(Registration calldata r, string calldata url) external returns (uint16 slot);

    /// @notice Replaces both keys from the next epoch.
    function rotateKeys(
        address hotKey,
        bytes calldata hotSignature,
        uint256 batchX,
        uint256 batchY,
        uint32 batchKeyVersion,
        bytes calldata batchProof
    ) external;

    /// @notice Announces a commission; it takes effect after the notice.
    function setCommission(uint256 commission) external;

    /// @notice Names the models served from the next epoch.
    function setModels(bytes32[] calldata models) external;

    /// @notice Publishes where the node announces itself.
    function setUrl(string calldata url) external;

    /// @notice Leaves the table with the next epoch, for good. Never paused.
    function exit() external;

    /// @notice Keeps an operator out of the table for some epochs; takes nothing. Timelock only.
    function jail(address operator) external;

    /// @notice Whether the account is registered and has not exited.
    function isActive(address operator) external view returns (bool);
    /// @notice Whether the account ever registered.
    function isKnown(address operator) external view returns (bool);
    function registeredFrom(address operator) external view returns (uint48);
    function slotOf(address operator) external view returns (uint16);
    /// @notice Operator in a slot of an epoch's table; zero if empty.
    function operatorAt(uint16 slot, uint48 epoch) external view returns (address);
    /// @notice Slots of an epoch's table, empty ones included.
    function tableSize(uint48 epoch) external view returns (uint256);
    /// @notice Keys valid in an epoch.
    function keysAt(address operator, uint48 epoch)
        external
        view
        returns (address hotKey, uint256 batchX, uint256 batchY);
    /// @notice Operator that a hot key belongs or belonged to; zero if none.
    function operatorOfHotKey(address hotKey) external view returns (address);
    /// @notice First epoch in which a hot key is no longer in force: the greatest value while it is the
    /// newest of its operator, zero if it is nobody's.
    function hotKeyUntil(address hotKey) external view returns (uint48);
    function commissionAt(address operator, uint48 epoch) external view returns (uint256);
    /// @notice Bit i is set if the operator serves the model with index i.
    function servedAt(address operator, uint48 epoch) external view returns (uint208);
    function isJailed(address operator, uint48 epoch) external view returns (bool);
    function keyNonce(address operator) external view returns (uint256);
}
