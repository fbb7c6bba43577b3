// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice An escrow from which the sequencer is paid by signed vouchers.
struct Session {
    address user;
    uint16 asset;
    uint48 exitAt; // when the rest may leave; zero while open
    uint128 balance; // deposited
    uint128 spent; // redeemed by vouchers
}

struct Plan {
    uint16 asset;
    uint48 epochs; // length of one period
    bool active;
    uint128 price; // of one period
}

struct Subscription {
    address user;
    uint16 asset;
    uint48 from;
    uint48 until;
    uint128 perEpoch;
}

/// @title Payments
/// @notice Users pay per session or by subscription, in the token or an allow-listed stablecoin. What
/// is redeemed goes into the pool of an epoch and asset, which that epoch's proof shares out among
/// nodes. The rest of an escrow can always leave: at once with the sequencer's signature, after the
/// exit timeout without.
/// @dev Asset 0 is the MonAI token. A listed asset must not rebase; transfer fees are borne by the payer.
interface IPayments {
    error Paused();
    error UnknownAsset(uint256 asset);
    error AssetNotAllowed(uint256 asset);
    error UnknownSession(bytes32 session);
    error NotYourSession(bytes32 session);
    error BadVoucher(bytes32 session);
    /// @notice A voucher must exceed the last one and stay within the escrow.
    error OutOfRange(uint256 spent, uint256 cumulative, uint256 balance);
    error Exiting();
    error ExitPending(uint256 until);
    error EpochClosed(uint48 epoch);
    error PoolExceeded(uint256 asset, uint256 pool, uint256 wanted);
    error PlanInactive(uint256 plan);
    error NothingToRefund();

    event AssetListed(uint256 indexed asset, address token);
    event AssetAllowed(uint256 indexed asset, bool allowed);
    event PriceSet(bytes32 indexed model, uint256 indexed asset, uint256 perInput, uint256 perOutput, uint48 fromEpoch);
    event PlanSet(uint256 indexed plan, uint16 asset, uint48 epochs, uint128 price, bool active);
    event SessionOpened(bytes32 indexed session, address indexed user, uint16 asset, uint256 amount);
    event SessionFunded(bytes32 indexed session, uint256 amount);
    event Redeemed(bytes32 indexed session, uint48 indexed epoch, uint256 amount, uint256 cumulative);
    event ExitStarted(bytes32 indexed session, uint256 exitAt);
    event SessionClosed(bytes32 indexed session, address indexed user, uint256 amount);
    event Subscribed(uint256 indexed id, address indexed user, uint256 plan, uint48 from, uint48 until, uint256 amount);
    event Unsubscribed(uint256 indexed id, uint256 refund);
    event PoolClosed(uint48 indexed epoch, uint256 indexed asset, uint256 paid, uint256 carried);

    /// @notice Opens a session for `user`, paid by the caller. The session id binds user and nonce.
    function openSession(address user, uint16 asset, uint256 amount) external returns (bytes32 session);
    /// @notice Adds to a session.
    function fund(bytes32 session, uint256 amount) external;
    /// @notice Redeems Voucher(session, cumulative) signed by the user, into the pool of an epoch that is
    /// not proved yet.
    function redeem(bytes32 session, uint256 cumulative, uint48 epoch, bytes calldata signature) external;
    /// @notice Starts leaving; vouchers can still be redeemed until the timeout. Never paused.
    function startExit(bytes32 session) external;
    /// @notice Pays the rest back after the timeout. Never paused.
    function finishExit(bytes32 session) external returns (uint256 amount);
    /// @notice Closes at once with Close(session, cumulative) signed by the sequencer, where `cumulative`
    /// is what has been redeemed. Never paused.
    function closeNow(bytes32 session, bytes calldata signature) external returns (uint256 amount);

    /// @notice Subscribes the user for some periods from the next epoch, paid by the caller.
    function subscribe(address user, uint256 plan, uint256 periods) external returns (uint256 id);
    /// @notice Ends a subscription with the current epoch and pays the remaining epochs back. Never paused.
    function unsubscribe(uint256 id) external returns (uint256 refund);

    /// @notice Shares out an epoch's pools; what is not shared goes to the next epoch. Epochs only.
    function closeEpoch(uint48 epoch, uint256[] calldata totals) external;
    /// @notice Pays a node's fees to Staking, or to the treasury if forfeited. Emissions only.
    /// @return received what arrived, less than `amount` if the asset takes a fee on transfer
    function payFees(uint256 asset, uint256 amount, bool forfeited) external returns (uint256 received);

    /// @notice Lists a stablecoin. Timelock only.
    function listAsset(address token) external returns (uint256 asset);
    /// @notice Allows or stops new payments in an asset; never touches what is there. Timelock only.
    function allowAsset(uint256 asset, bool allowed) external;
    /// @notice Sets a model's price from the next epoch, in asset units for each million ids. Timelock only.
    function setPrice(bytes32 model, uint256 asset, uint256 perInput, uint256 perOutput) external;
    /// @notice Adds or changes a plan; running subscriptions keep their terms. Timelock only.
    function setPlan(uint256 plan, uint16 asset, uint48 epochs, uint128 price, bool active) external;

    /// @notice Price of an answer, rounded up. Zero prices mean the asset is not accepted for the model.
    function quote(bytes32 model, uint256 asset, uint48 epoch, uint256 nIn, uint256 nOut)
        external
        view
        returns (uint256);
    function priceAt(bytes32 model, uint256 asset, uint48 epoch)
        external
        view
        returns (uint256 perInput, uint256 perOutput);
    function assetAt(uint256 asset) external view returns (address);
    function isAllowed(uint256 asset) external view returns (bool);
    function assetCount() external view returns (uint256);
    function assetCountAt(uint48 epoch) external view returns (uint256);
    function session(bytes32 id) external view returns (Session memory);
    function subscription(uint256 id) external view returns (Subscription memory);
    function plan(uint256 id) external view returns (Plan memory);
    /// @notice Redeemed so far into the pool of an epoch, subscriptions not counted.
    function poolOf(uint48 epoch, uint256 asset) external view returns (uint256);
}
