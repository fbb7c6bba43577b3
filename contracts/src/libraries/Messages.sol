// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @notice What the sequencer signs when it takes a request into a slot.
struct Intake {
    bytes32 requestCommitment;
    bytes32 model;
    uint32 lane;
    uint64 slot;
    uint64 receivedMs;
}

/// @notice What a node signs when an answer ends. Times are Unix milliseconds.
struct Response {
    bytes32 requestCommitment;
    bytes32 model;
    uint32 lane;
    uint64 slot;
    bytes32 outputCommitment;
    uint32 nIn;
    uint32 nOut;
    uint8 finish;
    uint64 receivedMs;
    uint64 firstTokenMs;
    uint64 doneMs;
}

/// @notice What the sequencer signs over a node's response: the response's digest in the same domain,
/// the sequencer's own times, the price and the draw. A receipt holds this signature, not one over the
/// response itself.
struct Attestation {
    bytes32 response;
    address node;
    uint64 epoch;
    uint8 retry;
    uint32 resumedFrom;
    uint64 dispatchedMs;
    uint64 firstTokenMs;
    uint64 doneMs;
    uint128 inputPrice;
    uint128 outputPrice;
    uint128 charge;
    bytes32 draw;
}

/// @dev EIP-712 messages of the protocol. One domain for all of them: name MonAI, version 1, the
/// chain, and the Rollup contract, whichever contract does the checking.
library Messages {
    uint8 internal constant STOP = 1;
    uint8 internal constant LENGTH = 2;
    uint8 internal constant CANCELLED = 3;
    uint8 internal constant REFUSED = 4;
    uint8 internal constant MISSED = 5;
    uint8 internal constant BUSY = 6;

    bytes32 internal constant INTAKE =
        keccak256("Intake(bytes32 requestCommitment,bytes32 model,uint32 lane,uint64 slot,uint64 receivedMs)");
    bytes32 internal constant RESPONSE = keccak256(
        "Response(bytes32 requestCommitment,bytes32 model,uint32 lane,uint64 slot,bytes32 outputCommitment,uint32 nIn,uint32 nOut,uint8 finish,uint64 receivedMs,uint64 firstTokenMs,uint64 doneMs)"
    );
    bytes32 internal constant ATTESTATION = keccak256(
        "Attestation(bytes32 response,address node,uint64 epoch,uint8 retry,uint32 resumedFrom,uint64 dispatchedMs,uint64 firstTokenMs,uint64 doneMs,uint128 inputPrice,uint128 outputPrice,uint128 charge,bytes32 draw)"
    );
    bytes32 internal constant BATCH = keccak256("Batch(uint64 number,bytes32 header)");
    bytes32 internal constant HOT_KEY = keccak256("HotKey(address operator,address hotKey,uint256 nonce)");
    bytes32 internal constant VOUCHER = keccak256("Voucher(bytes32 session,uint256 cumulative)");
    bytes32 internal constant CLOSE = keccak256("Close(bytes32 session,uint256 cumulative)");
    bytes32 internal constant LIVENESS = keccak256("Liveness(uint256 challenge,address operator)");

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    function domainSeparator(address rollup) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("MonAI"), keccak256("1"), block.chainid, rollup));
    }

    function digest(address rollup, bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(rollup), structHash);
    }

    function hash(Intake calldata m) internal pure returns (bytes32) {
        return keccak256(abi.encode(INTAKE, m));
    }

    function hash(Response calldata m) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESPONSE, m));
    }

    function hash(Attestation calldata m) internal pure returns (bytes32) {
        return keccak256(abi.encode(ATTESTATION, m));
    }

    function hashBatch(uint64 number, bytes32 header) internal pure returns (bytes32) {
        return keccak256(abi.encode(BATCH, number, header));
    }

    function hashHotKey(address operator, address hotKey, uint256 nonce) internal pure returns (bytes32) {
        return keccak256(abi.encode(HOT_KEY, operator, hotKey, nonce));
    }

    function hashVoucher(bytes32 session, uint256 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(VOUCHER, session, cumulative));
    }

    function hashClose(bytes32 session, uint256 cumulative) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSE, session, cumulative));
    }

    function hashLiveness(uint256 challenge, address operator) internal pure returns (bytes32) {
        return keccak256(abi.encode(LIVENESS, challenge, operator));
    }

    /// @dev Signer of a struct hash, or zero.
    function signer(address rollup, bytes32 structHash, bytes calldata signature) internal view returns (address) {
        (address who,,) = ECDSA.tryRecover(digest(rollup, structHash), signature);
        return who;
    }

    /// @dev Whether `account` signed: by its own key, which also serves accounts that delegate their
    /// code (EIP-7702) to something without ERC-1271, or by ERC-1271 if it has code.
    function signedBy(address rollup, address account, bytes32 structHash, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        bytes32 d = digest(rollup, structHash);
        (address who, ECDSA.RecoverError err,) = ECDSA.tryRecover(d, signature);
        if (err == ECDSA.RecoverError.NoError && who == account) return true;
        if (account.code.length == 0) return false;
        (bool ok, bytes memory returned) = account.staticcall(abi.encodeCall(IERC1271.isValidSignature, (d, signature)));
        return ok && returned.length == 32 && abi.decode(returned, (bytes32)) == IERC1271.isValidSignature.selector;
    }
}
