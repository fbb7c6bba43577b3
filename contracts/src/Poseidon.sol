// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPoseidon} from "./interfaces/IPoseidon.sol";
import {
    BN254_R,
    PoseidonConstants,
    POSEIDON_M00,
    POSEIDON_M01,
    POSEIDON_M02,
    POSEIDON_M10,
    POSEIDON_M11,
    POSEIDON_M12,
    POSEIDON_M20,
    POSEIDON_M21,
    POSEIDON_M22
} from "./libraries/PoseidonConstants.sol";

/// @dev The permutation is the one place in this project with hand-written assembly. The measured
/// need is in README.md: a fault proof hashes about thirteen times, and the plain Solidity twin in
/// test/ costs several times as much. The twin is fuzzed against this contract.
contract Poseidon is IPoseidon {
    uint256 private constant MAX_DEPTH = 32;

    /// @inheritdoc IPoseidon
    function hash(uint256 left, uint256 right) external pure returns (uint256) {
        _canonical(left);
        _canonical(right);
        return _permute(PoseidonConstants.ROUNDS, left, right);
    }

    /// @inheritdoc IPoseidon
    function leaf(uint256 r, uint256 o, uint256 meta) external pure returns (uint256) {
        return _leaf(PoseidonConstants.ROUNDS, r, o, meta);
    }

    /// @inheritdoc IPoseidon
    function root(uint256 r, uint256 o, uint256 meta, uint256 index, uint256[] calldata path)
        external
        pure
        returns (uint256 node)
    {
        uint256 depth = path.length;
        if (depth > MAX_DEPTH || index >> depth != 0) revert BadPath(index, depth);
        bytes memory rounds = PoseidonConstants.ROUNDS;
        node = _leaf(rounds, r, o, meta);
        for (uint256 i = 0; i < depth; ++i) {
            uint256 sibling = path[i];
            _canonical(sibling);
            node = (index >> i) & 1 == 0 ? _permute(rounds, node, sibling) : _permute(rounds, sibling, node);
        }
    }

    function _leaf(bytes memory rounds, uint256 r, uint256 o, uint256 meta) private pure returns (uint256) {
        _canonical(r);
        _canonical(o);
        _canonical(meta);
        return _permute(rounds, _permute(rounds, r, o), meta);
    }

    function _canonical(uint256 value) private pure {
        if (value >= BN254_R) revert NotCanonical(value);
    }

    /// @dev State words stay below 4r < 2^256 between rounds: a row of the matrix is three reduced
    /// products, and one reduced constant is added. Every product reduces its inputs again.
    function _permute(bytes memory rounds, uint256 left, uint256 right) private pure returns (uint256 s0) {
        assembly ("memory-safe") {
            let p := BN254_R
            let s1 := left
            let s2 := right
            s0 := 0
            let at := add(rounds, 32)
            // 65 rounds of 96 bytes; the first and last four are full.
            let partialFrom := add(at, 384)
            let partialTo := add(at, 5856)
            let end := add(at, 6240)
            for {} lt(at, end) { at := add(at, 96) } {
                s0 := add(s0, mload(at))
                s1 := add(s1, mload(add(at, 32)))
                s2 := add(s2, mload(add(at, 64)))
                let q := mulmod(s0, s0, p)
                s0 := mulmod(mulmod(q, q, p), s0, p)
                if or(lt(at, partialFrom), iszero(lt(at, partialTo))) {
                    q := mulmod(s1, s1, p)
                    s1 := mulmod(mulmod(q, q, p), s1, p)
                    q := mulmod(s2, s2, p)
                    s2 := mulmod(mulmod(q, q, p), s2, p)
                }
                let n0 :=
                    add(add(mulmod(s0, POSEIDON_M00, p), mulmod(s1, POSEIDON_M01, p)), mulmod(s2, POSEIDON_M02, p))
                let n1 :=
                    add(add(mulmod(s0, POSEIDON_M10, p), mulmod(s1, POSEIDON_M11, p)), mulmod(s2, POSEIDON_M12, p))
                s2 := add(add(mulmod(s0, POSEIDON_M20, p), mulmod(s1, POSEIDON_M21, p)), mulmod(s2, POSEIDON_M22, p))
                s0 := n0
                s1 := n1
            }
            s0 := mod(s0, p)
        }
    }
}
