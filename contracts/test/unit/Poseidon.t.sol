// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Poseidon} from "../../src/Poseidon.sol";
import {IPoseidon} from "../../src/interfaces/IPoseidon.sol";
import {Kzg} from "../../src/libraries/Kzg.sol";
import {LeafCodec, LeafMeta} from "../../src/libraries/LeafCodec.sol";
import "../../src/libraries/PoseidonConstants.sol";
import {Test} from "../base/Test.sol";
import {vm} from "../base/Vm.sol";

/// @dev The permutation as the paper writes it, without assembly: the twin of the optimised one.
contract ReferencePoseidon {
    function hash(uint256 left, uint256 right) public pure returns (uint256) {
        bytes memory table = PoseidonConstants.ROUNDS;
        uint256[3] memory s = [uint256(0), left, right];
        for (uint256 round = 0; round < 65; ++round) {
            for (uint256 i = 0; i < 3; ++i) {
                s[i] = addmod(s[i], _constant(table, 3 * round + i), BN254_R);
            }
            bool full = round < 4 || round >= 61;
            for (uint256 i = 0; i < (full ? 3 : 1); ++i) {
                uint256 q = mulmod(s[i], s[i], BN254_R);
                s[i] = mulmod(mulmod(q, q, BN254_R), s[i], BN254_R);
            }
            s = [
                _dot(s, POSEIDON_M00, POSEIDON_M01, POSEIDON_M02),
                _dot(s, POSEIDON_M10, POSEIDON_M11, POSEIDON_M12),
                _dot(s, POSEIDON_M20, POSEIDON_M21, POSEIDON_M22)
            ];
        }
        return s[0];
    }

    function _constant(bytes memory table, uint256 i) private pure returns (uint256 c) {
        for (uint256 b = 0; b < 32; ++b) {
            c = (c << 8) | uint8(table[32 * i + b]);
        }
    }

    function _dot(uint256[3] memory s, uint256 a, uint256 b, uint256 c) private pure returns (uint256) {
        return
            addmod(
                addmod(mulmod(s[0], a, BN254_R), mulmod(s[1], b, BN254_R), BN254_R), mulmod(s[2], c, BN254_R), BN254_R
            );
    }
}

contract PoseidonTest is Test {
    Poseidon internal poseidon = new Poseidon();
    ReferencePoseidon internal twin = new ReferencePoseidon();

    function test_vectors() public view {
        string memory json = vm.readFile("test/vectors/poseidon.json");
        uint256[] memory left = vm.parseJsonUintArray(json, ".left");
        uint256[] memory right = vm.parseJsonUintArray(json, ".right");
        uint256[] memory hash = vm.parseJsonUintArray(json, ".hash");
        isTrue(hash.length == 16, "vectors are there");
        for (uint256 i = 0; i < hash.length; ++i) {
            eq(poseidon.hash(left[i], right[i]), hash[i], "vector");
        }
    }

    function testFuzz_agrees_with_its_twin(uint256 left, uint256 right) public view {
        left %= BN254_R;
        right %= BN254_R;
        eq(poseidon.hash(left, right), twin.hash(left, right), "twin");
    }

    function testFuzz_refuses_what_is_not_canonical(uint256 x) public {
        x = within(x, BN254_R, type(uint256).max);
        bytes memory no = abi.encodeWithSelector(IPoseidon.NotCanonical.selector, x);
        vm.expectRevert(no);
        poseidon.hash(x, 1);
        vm.expectRevert(no);
        poseidon.hash(1, x);
        vm.expectRevert(no);
        poseidon.leaf(1, 2, x);
        uint256[] memory path = new uint256[](1);
        path[0] = x;
        vm.expectRevert(no);
        poseidon.root(1, 2, 3, 0, path);
    }

    function testFuzz_root_follows_the_index(uint256 a, uint256 b, uint8 index) public view {
        a %= BN254_R;
        b %= BN254_R;
        index %= 4;
        uint256[] memory path = new uint256[](2);
        path[0] = a;
        path[1] = b;
        uint256 node = poseidon.hash(poseidon.hash(1, 2), 3);
        eq(poseidon.leaf(1, 2, 3), node, "leaf");
        node = index & 1 == 0 ? poseidon.hash(node, a) : poseidon.hash(a, node);
        node = index & 2 == 0 ? poseidon.hash(node, b) : poseidon.hash(b, node);
        eq(poseidon.root(1, 2, 3, index, path), node, "root");
    }

    function testFuzz_root_refuses_an_index_outside(uint256 index, uint8 depth) public {
        depth %= 33;
        index = within(index, uint256(1) << depth, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IPoseidon.BadPath.selector, index, uint256(depth)));
        poseidon.root(1, 2, 3, index, new uint256[](depth));
        vm.expectRevert(abi.encodeWithSelector(IPoseidon.BadPath.selector, 0, 33));
        poseidon.root(1, 2, 3, 0, new uint256[](33));
    }

    function testFuzz_leaf_codec_round_trips(LeafMeta memory m) public pure {
        m.nIn &= 0xfffff;
        m.nOut &= 0xfffff;
        m.finish &= 0xf;
        LeafMeta memory n = LeafCodec.unpack(LeafCodec.pack(m));
        eq(keccak256(abi.encode(m)), keccak256(abi.encode(n)), "round trip");
        isTrue(LeafCodec.pack(m) >> 172 == 0, "172 bits");
    }

    function unpack(uint256 meta) external pure returns (LeafMeta memory) {
        return LeafCodec.unpack(meta);
    }

    function testFuzz_leaf_codec_refuses_high_bits(uint256 meta) public {
        meta |= 1 << (172 + meta % 84);
        vm.expectRevert(abi.encodeWithSelector(LeafCodec.MalformedMeta.selector, meta));
        this.unpack(meta);
    }

    function testFuzz_blob_points_are_roots_of_unity(uint256 index) public pure {
        uint256 z = Kzg.pointOf(index % 4096);
        for (uint256 i = 0; i < 12; ++i) {
            z = mulmod(z, z, Kzg.MODULUS);
        }
        eq(z, 1, "order divides 4096");
        eq(Kzg.pointOf(0), 1, "element 0 at 1");
        eq(Kzg.pointOf(1), Kzg.MODULUS - 1, "element 1 at -1: indices are bit-reversed");
    }
}
