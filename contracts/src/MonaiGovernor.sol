// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {GovernorSettings} from "@openzeppelin/contracts/governance/extensions/GovernorSettings.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {
    GovernorVotesQuorumFraction
} from "@openzeppelin/contracts/governance/extensions/GovernorVotesQuorumFraction.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Evidence, IMonaiGovernor, ProposalKind, Terms, Vote} from "./interfaces/IMonaiGovernor.sol";
import {IOperators} from "./interfaces/IOperators.sol";
import {IParameters, Param} from "./interfaces/IParameters.sol";
import {IStaking, Offence} from "./interfaces/IStaking.sol";
import {IToken} from "./interfaces/IToken.sol";
import {ITreasury} from "./interfaces/ITreasury.sol";
import {ProposalRules} from "./ProposalRules.sol";
import {System, Wired} from "./System.sol";

contract MonaiGovernor is
    IMonaiGovernor,
    Wired,
    Governor,
    GovernorSettings,
    GovernorVotes,
    GovernorVotesQuorumFraction,
    GovernorTimelockControl
{
    using SafeERC20 for IERC20;

    struct Count {
        uint256[4] votes;
        mapping(address operator => bool) voted;
        mapping(address operator => uint8) choice;
        mapping(address operator => uint256) overridden;
        mapping(address operator => mapping(address delegator => bool)) delegatorVoted;
    }

    uint256 private constant GOVERNANCE_STREAM = 1;
    /// @dev A proposal whose calls revert stays queued for ever; after this time its bond comes back.
    uint256 private constant GRACE = 30 days;

    /// @notice What each kind of proposal may call.
    ProposalRules public immutable RULES;

    mapping(uint256 id => Terms) private _terms;
    mapping(uint256 id => Count) private _counts;

    constructor(System memory s, uint48 delay, uint32 period, uint256 quorumPercent)
        Wired(s)
        Governor("MonAI Governor")
        GovernorSettings(delay, period, 0)
        GovernorVotes(IVotes(s.staking))
        GovernorVotesQuorumFraction(quorumPercent)
        GovernorTimelockControl(TimelockController(payable(s.timelock)))
    {
        RULES = new ProposalRules(s);
    }

    // ------------------------------------------------------------------------------------ proposing

    /// @inheritdoc IMonaiGovernor
    function proposeAs(
        ProposalKind kind,
        address[] calldata targets,
        uint256[] calldata values,
        bytes[] calldata calldatas,
        string calldata description,
        uint256 reward,
        Evidence calldata evidence
    ) external returns (uint256 proposalId) {
        if (!IOperators(OPERATORS).isActive(msg.sender)) revert NotAnOperator(msg.sender);
        // A description that ends in `#proposer=0x…` can't be taken over by who sees it in the mempool.
        if (!_isValidDescriptionForProposer(msg.sender, description)) revert GovernorRestrictedProposer(msg.sender);
        RULES.check(kind, targets, calldatas, evidence);
        uint256 cap = IParameters(PARAMETERS).get(Param(uint256(Param.RewardAdoptModel) + uint256(kind)));
        if (reward > cap) revert RewardAboveCap(reward, cap);
        uint256 bond = IParameters(PARAMETERS).get(Param.ProposalBond);
        proposalId = _propose(targets, values, calldatas, description, msg.sender);
        _terms[proposalId] = Terms(kind, msg.sender, currentEpoch(), false, bond, reward);
        emit Proposed(proposalId, kind, msg.sender, reward);
        IERC20(TOKEN).safeTransferFrom(msg.sender, address(this), bond);
    }

    /// @dev The plain entry of the OpenZeppelin governor has neither kind nor bond.
    function propose(address[] memory, uint256[] memory, bytes[] memory, string memory)
        public
        pure
        override
        returns (uint256)
    {
        revert KindRequired();
    }

    /// @dev The governor may slash and distribute rewards; no proposal may borrow that.
    function relay(address target, uint256, bytes calldata data) public payable override {
        revert ForbiddenCall(ProposalKind.Methodology, target, bytes4(data));
    }

    /// @dev All contracts obey one timelock, so the governor must not take another.
    function updateTimelock(TimelockController) public pure override {
        revert ForbiddenCall(ProposalKind.Methodology, address(0), GovernorTimelockControl.updateTimelock.selector);
    }

    /// @inheritdoc IMonaiGovernor
    function settle(uint256 proposalId) external {
        Terms storage t = _terms[proposalId];
        ProposalState s = state(proposalId);
        bool executed = s == ProposalState.Executed;
        bool stuck = s == ProposalState.Queued && block.timestamp > proposalEta(proposalId) + GRACE;
        if (t.settled || (!executed && !stuck && s != ProposalState.Defeated && s != ProposalState.Canceled)) {
            revert NotSettled(proposalId);
        }
        t.settled = true;
        bool wasteful = s == ProposalState.Defeated && isWasteful(proposalId);
        uint256 paid;
        if (wasteful) {
            IToken(TOKEN).burn(t.bond);
            uint256 amount = IParameters(PARAMETERS).valueAt(Param.WastefulSlash, t.epoch);
            IStaking(STAKING).slash(t.operator, t.epoch, amount, Offence.Wasteful, address(0));
        } else {
            IERC20(TOKEN).safeTransfer(t.operator, t.bond);
            if (executed && t.reward > 0) {
                paid = ITreasury(TREASURY).reward(t.reward);
                IStaking(STAKING).distribute(t.operator, GOVERNANCE_STREAM, currentEpoch(), paid);
            }
        }
        emit Settled(proposalId, wasteful, wasteful ? 0 : t.bond, paid);
    }

    // --------------------------------------------------------------------------------------- voting

    /// @inheritdoc IMonaiGovernor
    function castOverride(uint256 proposalId, address operator, uint8 support) external returns (uint256 weight) {
        _validateStateBitmap(proposalId, _encodeStateBitmap(ProposalState.Active));
        if (support > uint8(type(Vote).max)) revert InvalidVote(support);
        Count storage c = _counts[proposalId];
        if (c.delegatorVoted[operator][msg.sender]) revert AlreadyVoted(msg.sender);
        weight = IStaking(STAKING).delegatorVotes(operator, msg.sender, uint48(proposalSnapshot(proposalId)));
        if (weight == 0) revert NoVotes(msg.sender);
        c.delegatorVoted[operator][msg.sender] = true;
        c.overridden[operator] += weight;
        if (c.voted[operator]) c.votes[c.choice[operator]] -= weight;
        c.votes[support] += weight;
        emit Overridden(proposalId, operator, msg.sender, support, weight);
    }

    // -------------------------------------------------------------------------------------- reading

    /// @inheritdoc IMonaiGovernor
    function terms(uint256 proposalId) external view returns (Terms memory) {
        return _terms[proposalId];
    }

    /// @inheritdoc IMonaiGovernor
    function tally(uint256 proposalId) external view returns (uint256[4] memory) {
        return _counts[proposalId].votes;
    }

    /// @inheritdoc IMonaiGovernor
    function isWasteful(uint256 proposalId) public view returns (bool) {
        uint256[4] storage v = _counts[proposalId].votes;
        uint256 wasteful = v[uint8(Vote.Wasteful)];
        uint256 all = v[uint8(Vote.Against)] + v[uint8(Vote.For)] + v[uint8(Vote.Abstain)] + wasteful;
        return 2 * wasteful > all && all >= quorum(proposalSnapshot(proposalId));
    }

    // solhint-disable-next-line func-name-mixedcase
    function COUNTING_MODE() external pure override returns (string memory) {
        return "support=against,for,abstain,wasteful&quorum=for,abstain&override=delegator";
    }

    function hasVoted(uint256 proposalId, address account) external view override returns (bool) {
        return _counts[proposalId].voted[account];
    }

    // ------------------------------------------------------------------------------------ internals

    function _countVote(uint256 proposalId, address account, uint8 support, uint256 weight, bytes memory)
        internal
        override
        returns (uint256)
    {
        Count storage c = _counts[proposalId];
        if (support > uint8(type(Vote).max)) revert InvalidVote(support);
        if (c.voted[account]) revert AlreadyVoted(account);
        if (weight == 0) revert NoVotes(account);
        c.voted[account] = true;
        c.choice[account] = support;
        uint256 left = weight - c.overridden[account];
        c.votes[support] += left;
        return left;
    }

    function _quorumReached(uint256 proposalId) internal view override returns (bool) {
        uint256[4] storage v = _counts[proposalId].votes;
        return v[uint8(Vote.For)] + v[uint8(Vote.Abstain)] >= quorum(proposalSnapshot(proposalId));
    }

    function _voteSucceeded(uint256 proposalId) internal view override returns (bool) {
        uint256[4] storage v = _counts[proposalId].votes;
        return v[uint8(Vote.For)] > v[uint8(Vote.Against)] + v[uint8(Vote.Wasteful)];
    }

    /// @dev A proposer that leaves at once must still be there when its proposal is voted wasteful.
    function _setVotingDelay(uint48 delay) internal override {
        super._setVotingDelay(delay);
        _requireShort();
    }

    function _setVotingPeriod(uint32 period) internal override {
        super._setVotingPeriod(period);
        _requireShort();
    }

    function _requireShort() private view {
        uint256 unbonding = IParameters(PARAMETERS).valueAt(Param.UnbondingEpochs, type(uint48).max);
        if (super.votingDelay() + super.votingPeriod() >= unbonding) revert VotingTooLong(unbonding);
    }

    // What follows only tells the compiler which of two inherited functions is meant.

    function clock() public view override(Governor, GovernorVotes) returns (uint48) {
        return currentEpoch();
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override(Governor, GovernorVotes) returns (string memory) {
        return "mode=epoch";
    }

    function state(uint256 proposalId) public view override(Governor, GovernorTimelockControl) returns (ProposalState) {
        return super.state(proposalId);
    }

    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockControl)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    function votingDelay() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.votingDelay();
    }

    function votingPeriod() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.votingPeriod();
    }

    function proposalThreshold() public view override(Governor, GovernorSettings) returns (uint256) {
        return super.proposalThreshold();
    }

    function quorum(uint256 timepoint) public view override(Governor, GovernorVotesQuorumFraction) returns (uint256) {
        return super.quorum(timepoint);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockControl) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor() internal view override(Governor, GovernorTimelockControl) returns (address) {
        return super._executor();
    }
}
