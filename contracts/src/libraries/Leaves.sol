// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IPoseidon} from "../interfaces/IPoseidon.sol";
import {BatchHeader, Opening} from "../interfaces/IRollup.sol";

/// @dev Openings of batch trees. The depth is pinned to the leaf count, since an inner node of the
/// tree has the same form as a leaf hash.
library Leaves {
    error OutsideTree(uint256 index);
    error NotInTree(uint256 computed);

    function depthOf(uint256 leafCount) internal pure returns (uint256 depth) {
        while (1 << depth < leafCount) ++depth;
    }

    /// @dev Reverts unless the opening is one of a leaf of the batch.
    function check(address poseidon, BatchHeader calldata header, Opening calldata leaf) internal pure {
        if (leaf.index >= header.leafCount || leaf.path.length != depthOf(header.leafCount)) {
            revert OutsideTree(leaf.index);
        }
        uint256 computed = IPoseidon(poseidon).root(leaf.r, leaf.o, leaf.meta, leaf.index, leaf.path);
        if (computed != header.root) revert NotInTree(computed);
    }
}
