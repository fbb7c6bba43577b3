// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {NotAuthorised} from "../../src/System.sol";
import {Param} from "../../src/interfaces/IParameters.sol";
import {BatchHeader} from "../../src/interfaces/IRollup.sol";
import {Offence} from "../../src/interfaces/IStaking.sol";
import {IOperators} from "../../src/interfaces/IOperators.sol";
import {IPayments} from "../../src/interfaces/IPayments.sol";
import {IMonaiGovernor, ProposalKind, Evidence} from "../../src/interfaces/IMonaiGovernor.sol";
import {Circuit} from "../../src/interfaces/IVerifier.sol";
import {World} from "../base/World.sol";
import {vm} from "../base/Vm.sol";

/// @dev Every function that is not for everybody, called by a stranger.
contract AccessTest is World {
    function _refused(address who, address target, bytes memory call) internal {
        vm.assume(who != sys.timelock && who != sys.emissions && who != sys.operators && who != sys.epochs);
        vm.assume(who != sys.audits && who != sys.disputes && who != sys.governor && who != sys.inbox);
        vm.assume(who != guardian && who != sequencer && who != address(0));
        vm.prank(who);
        (bool ok, bytes memory returned) = target.call(call);
        isTrue(!ok, "refused");
        eq(keccak256(returned), keccak256(abi.encodeWithSelector(NotAuthorised.selector, who)), "reason");
    }

    function testFuzz_token_mint(address who, uint256 x) public {
        _refused(who, sys.token, abi.encodeCall(token.mint, (who, x)));
    }

    /// @dev Tokens of others move by allowance or signature only.
    function testFuzz_token_of_others(address who, uint256 x, bytes32 r) public {
        vm.assume(who != bank && who != address(0) && who != sys.rollup);
        x = within(x, 1, 1e24);
        bytes memory none = abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, who, 0, x);
        vm.startPrank(who);
        vm.expectRevert(none);
        token.transferFrom(bank, who, x);
        vm.expectRevert(none);
        token.burnFrom(bank, x);
        vm.expectRevert();
        token.transferWithAuthorization(bank, who, x, 0, block.timestamp + 1, bytes32(x), 27, r, r);
        vm.expectRevert();
        token.receiveWithAuthorization(bank, who, x, 0, block.timestamp + 1, bytes32(x), 27, r, r);
        vm.expectRevert();
        token.cancelAuthorization(bank, bytes32(x), 27, r, r);
        vm.expectRevert();
        token.permit(bank, who, x, block.timestamp, 27, r, r);
        // A forged signature recovers to somebody, but not to the bank.
        uint256 votes = token.getVotes(who);
        try token.delegateBySig(who, 0, block.timestamp, 27, r, r) {} catch {}
        vm.stopPrank();
        eq(token.getVotes(who), votes, "no votes of the bank");
    }

    function testFuzz_parameters(address who) public {
        _refused(who, sys.parameters, abi.encodeCall(parameters.set, (new Param[](0), new uint256[](0))));
        _refused(who, sys.parameters, abi.encodeCall(parameters.pause, ()));
        _refused(who, sys.parameters, abi.encodeCall(parameters.unpause, ()));
        _refused(who, sys.parameters, abi.encodeCall(parameters.setGuardian, (who)));
    }

    function testFuzz_registries(address who, bytes32 id) public {
        _refused(who, sys.verifiers, abi.encodeCall(verifiers.register, (Circuit.Batch, 2, who)));
        _refused(who, sys.verifiers, abi.encodeCall(verifiers.retire, (Circuit.Batch, 1)));
        _refused(who, sys.models, abi.encodeCall(models.register, (_model(id, 9))));
        _refused(who, sys.models, abi.encodeCall(models.retire, (id, 9)));
        _refused(who, sys.models, abi.encodeCall(models.setEmissionWeights, (new bytes32[](0), new uint256[](0))));
        _refused(who, sys.models, abi.encodeCall(models.setHardware, (id, id, "")));
        _refused(who, sys.operators, abi.encodeCall(operators.jail, (who)));
    }

    function testFuzz_staking(address who, uint104 x) public {
        _refused(who, sys.staking, abi.encodeCall(staking.bondFor, (who, x)));
        _refused(who, sys.staking, abi.encodeCall(staking.distribute, (who, 0, 0, x)));
        _refused(who, sys.staking, abi.encodeCall(staking.slash, (who, 0, x, Offence.Timeout, who)));
        _refused(who, sys.staking, abi.encodeCall(staking.forgive, (who, x)));
    }

    function testFuzz_rollup(address who, BatchHeader memory h, bytes32 tip) public {
        _refused(who, sys.rollup, abi.encodeCall(rollup.commitBatch, (h, "")));
        _refused(who, sys.rollup, abi.encodeCall(rollup.commitBatchCalldata, (h, "", "")));
        _refused(who, sys.rollup, abi.encodeCall(rollup.heartbeat, ()));
        _refused(who, sys.rollup, abi.encodeCall(rollup.registerChain, (9, tip, 9)));
        _refused(who, sys.rollup, abi.encodeCall(rollup.rotateSequencer, (who, "")));
        _refused(who, sys.rollup, abi.encodeCall(rollup.revertFrom, (0, h)));
        _refused(who, sys.rollup, abi.encodeCall(rollup.fine, (0, 1, who, 1)));
    }

    function testFuzz_money(address who, uint256 x) public {
        _refused(who, sys.audits, abi.encodeCall(audits.resolveBrake, (uint48(x))));
        _refused(who, sys.emissions, abi.encodeCall(emissions.closeEpoch, (0, new uint256[](0), x)));
        _refused(who, sys.treasury, abi.encodeCall(treasury.reward, (x)));
        _refused(who, sys.treasury, abi.encodeCall(treasury.pay, (sys.token, who, x)));
        _refused(who, sys.payments, abi.encodeCall(payments.closeEpoch, (0, new uint256[](0))));
        _refused(who, sys.payments, abi.encodeCall(payments.payFees, (0, x, false)));
        _refused(who, sys.payments, abi.encodeCall(payments.listAsset, (who)));
        _refused(who, sys.payments, abi.encodeCall(payments.allowAsset, (0, true)));
        _refused(who, sys.payments, abi.encodeCall(payments.setPrice, (MODEL, 0, x, x)));
        _refused(who, sys.payments, abi.encodeCall(payments.setPlan, (0, 0, 1, 1, true)));
    }

    function testFuzz_operator_functions(address who) public {
        vm.assume(who != address(0));
        bytes memory no = abi.encodeWithSelector(IOperators.NotAnOperator.selector, who);
        vm.startPrank(who);
        vm.expectRevert(no);
        operators.rotateKeys(who, "", 0, 0, 1, "");
        vm.expectRevert(no);
        operators.setCommission(0);
        vm.expectRevert(no);
        operators.setModels(new bytes32[](0));
        vm.expectRevert(no);
        operators.setUrl("");
        vm.expectRevert(no);
        operators.exit();
        Evidence memory e;
        vm.expectRevert(abi.encodeWithSelector(IMonaiGovernor.NotAnOperator.selector, who));
        governor.proposeAs(ProposalKind.Methodology, new address[](1), new uint256[](1), new bytes[](1), "", 0, e);
        vm.stopPrank();
    }

    /// @dev Not even governance gives the governor another timelock.
    function _noTimelockButOne() internal {
        vm.expectPartialRevert(IMonaiGovernor.ForbiddenCall.selector);
        vm.prank(sys.timelock);
        governor.updateTimelock(TimelockController(payable(stranger)));
    }

    function testFuzz_timelock(address who, uint256 delay) public {
        vm.assume(who != address(timelock));
        delay = within(delay, 301, type(uint128).max);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(TimelockController.TimelockUnauthorizedCaller.selector, who));
        timelock.updateDelay(delay);
        vm.prank(who);
        vm.expectRevert();
        timelock.schedule(who, 0, "", 0, 0, delay);
        bytes32 admin = timelock.DEFAULT_ADMIN_ROLE();
        vm.startPrank(who);
        vm.expectRevert();
        timelock.grantRole(admin, who);
        vm.expectRevert();
        timelock.revokeRole(admin, sys.timelock);
        vm.expectRevert(IAccessControl.AccessControlBadConfirmation.selector);
        timelock.renounceRole(admin, sys.timelock);
        vm.expectRevert();
        timelock.scheduleBatch(new address[](1), new uint256[](1), new bytes[](1), 0, 0, delay);
        vm.expectRevert();
        timelock.cancel(0);
        // Executing is for anyone, but only what was scheduled and waited for.
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.execute(who, 0, "", 0, 0);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        timelock.executeBatch(new address[](1), new uint256[](1), new bytes[](1), 0, 0);
        vm.stopPrank();
    }

    function testFuzz_governor(address who, uint256 x) public {
        vm.assume(who != address(timelock));
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, who));
        governor.setVotingPeriod(uint32(within(x, 1, 100)));
        vm.startPrank(who);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, who));
        governor.updateQuorumNumerator(5);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, who));
        governor.setProposalThreshold(x);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorOnlyExecutor.selector, who));
        governor.setVotingDelay(1);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, who));
        governor.castVoteBySig(x, 1, who, "");
        vm.expectPartialRevert(IGovernor.GovernorNonexistentProposal.selector);
        governor.castVoteWithReason(x, 1, "");
        vm.expectPartialRevert(IGovernor.GovernorNonexistentProposal.selector);
        governor.castVoteWithReasonAndParams(x, 1, "", "");
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, who));
        governor.castVoteWithReasonAndParamsBySig(x, 1, who, "", "", "");
        vm.stopPrank();
        _noTimelockButOne();
        vm.expectRevert(
            abi.encodeWithSelector(IMonaiGovernor.ForbiddenCall.selector, ProposalKind.Methodology, who, bytes4(0))
        );
        vm.prank(address(timelock));
        governor.relay(who, 0, "");
        vm.expectRevert(IMonaiGovernor.KindRequired.selector);
        governor.propose(new address[](0), new uint256[](0), new bytes[](0), "");
    }
}
