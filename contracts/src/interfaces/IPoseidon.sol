// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @title Poseidon over BN254, width 3
/// @notice t = 3, R_F = 8, R_P = 57, S-box x^5, the constants that circomlib uses. The state is
/// (0, left, right) and the output is state element 0.
interface IPoseidon {
    /// @notice An input is not a canonical field element, that is, not below the BN254 order.
    error NotCanonical(uint256 value);
    /// @notice The path is longer than a tree of 2^32 leaves needs, or the index lies outside the tree.
    error BadPath(uint256 index, uint256 length);

    /// @notice Hash of two canonical field elements.
    function hash(uint256 left, uint256 right) external pure returns (uint256);

    /// @notice Hash of a batch leaf: H(H(r, o), meta).
    function leaf(uint256 r, uint256 o, uint256 meta) external pure returns (uint256);

    /// @notice Root that a leaf (r, o, meta) at `index` opens to along `path`, siblings listed from
    /// the leaves upward.
    function root(uint256 r, uint256 o, uint256 meta, uint256 index, uint256[] calldata path)
        external
        pure
        returns (uint256);
}
