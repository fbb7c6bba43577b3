// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Row} from "./IEpochs.sol";

/// @title Emissions
/// @notice The only minter. Each proved epoch has a pot for each model, by a decaying schedule; a node
/// earns its share of the pot, what nobody earned carries over, and 2.5% of what is earned goes to
/// the treasury. Shares vest until all windows of the epoch have ended and are forfeited by nodes
/// with a standing slash for it. They are claimed row by row, in the order of epochs, by anyone, and
/// never expire.
/// @dev Paying by share of the draw and not by volume keeps a lone node from minting by querying itself.
interface IEmissions {
    error ScheduleExceedsCap(uint256 needed, uint256 cap);
    error NotVested(uint256 until);
    error WrongSlot(uint16 expected, uint16 given);
    error NotAnOperator(address account);
    /// @notice The epoch is not settled yet, or the operator left before it.
    error NothingDue(uint48 epoch);
    /// @notice A claim with fees needs more gas left.
    error GasTooLow(uint256 needed);

    event PotClosed(uint48 indexed epoch, uint256 indexed model, uint256 pot, uint256 earned, uint256 carried);
    event TreasuryPaid(uint48 indexed epoch, uint256 amount);
    event FeesDeferred(address indexed account, uint256 indexed asset, uint256 amount);
    event RowClaimed(address indexed operator, uint48 indexed epoch, uint256 emission, bool forfeited);

    /// @notice Mints and closes the pots of an epoch. Epochs only.
    /// @param earned sum of shares for each model
    /// @param operators nodes with counted stake
    function closeEpoch(uint48 epoch, uint256[] calldata earned, uint256 operators) external;

    /// @notice Pays an operator's row of the next epoch due, emissions and fees, to its stake.
    function claim(address operator, Row calldata row, bytes32[] calldata proof) external;

    /// @notice Pays fees that an asset refused to transfer when they were claimed, to an operator's stake or
    /// to the treasury. Anyone may call it.
    function retryFees(address account, uint256 asset) external;

    /// @notice Fees of an operator, or of the treasury, that wait because the asset refused the transfer.
    function deferredFees(address account, uint256 asset) external view returns (uint256);

    /// @notice Steps over settled epochs in which no batch was made, at most `most` of them.
    function skipIdle(address operator, uint256 most) external;

    /// @notice Emission of an epoch by the schedule, before conditions.
    function scheduled(uint48 epoch) external view returns (uint256);
    /// @notice Pot of a model in a closed epoch.
    function potOf(uint48 epoch, uint256 model) external view returns (uint256);
    /// @notice What waits for a model's next pot.
    function carryOf(uint256 model) external view returns (uint256);
    /// @notice Next epoch that an operator claims.
    function nextClaim(address operator) external view returns (uint48);
    /// @notice When the shares of a settled epoch vest, open audits of the node apart.
    function vestsAt(uint48 epoch) external view returns (uint256);
    /// @notice Minted by the schedule so far.
    function minted() external view returns (uint256);
}
