// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Third element of a batch leaf, unpacked.
struct LeafMeta {
    uint64 slot;
    uint32 lane;
    uint16 node;
    uint32 nIn;
    uint32 nOut;
    uint8 finish;
    uint8 retry;
    uint8 version;
}

/// @dev Layout from the least significant bit: slot 64, lane 32, node 16, n_in 20, n_out 20,
/// finish 4, retry 8, version 8; the higher bits are zero.
library LeafCodec {
    /// @notice Bits above the layout are set.
    error MalformedMeta(uint256 meta);

    uint256 internal constant BITS = 172;

    function unpack(uint256 meta) internal pure returns (LeafMeta memory m) {
        if (meta >> BITS != 0) revert MalformedMeta(meta);
        m.slot = uint64(meta);
        m.lane = uint32(meta >> 64);
        m.node = uint16(meta >> 96);
        m.nIn = uint32((meta >> 112) & 0xfffff);
        m.nOut = uint32((meta >> 132) & 0xfffff);
        m.finish = uint8((meta >> 152) & 0xf);
        m.retry = uint8(meta >> 156);
        m.version = uint8(meta >> 164);
    }

    function pack(LeafMeta memory m) internal pure returns (uint256) {
        return uint256(m.slot) | uint256(m.lane) << 64 | uint256(m.node) << 96 | uint256(m.nIn & 0xfffff) << 112
            | uint256(m.nOut & 0xfffff) << 132 | uint256(m.finish & 0xf) << 152 | uint256(m.retry) << 156
            | uint256(m.version) << 164;
    }
}
