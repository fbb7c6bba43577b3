// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @dev Point evaluation of EIP-4844. A blob of 4096 elements is the polynomial that takes element i
/// at w^brp(i), where w has order 4096 and brp reverses 12 bits.
library Kzg {
    uint256 internal constant ELEMENTS = 4096;
    uint256 internal constant MODULUS = 52435875175126190479447740508185965837690552500527637822603658699938581184513;
    /// @dev 7^((MODULUS-1)/4096), of order 4096.
    uint256 private constant OMEGA = 39033254847818212395286706435128746857159659164139250548781411570340225835782;
    address private constant PRECOMPILE = address(0x0a);

    function versionedHash(bytes calldata commitment) internal pure returns (bytes32) {
        return bytes32((uint256(sha256(commitment)) & (type(uint256).max >> 8)) | (uint256(1) << 248));
    }

    /// @dev Point at which element `index` of a blob is read.
    function pointOf(uint256 index) internal pure returns (uint256 z) {
        uint256 power;
        for (uint256 i = 0; i < 12; ++i) {
            power = (power << 1) | ((index >> i) & 1);
        }
        z = 1;
        uint256 base = OMEGA;
        for (; power > 0; power >>= 1) {
            if (power & 1 == 1) z = mulmod(z, base, MODULUS);
            base = mulmod(base, base, MODULUS);
        }
    }

    /// @dev Whether element `index` of the blob is `value`.
    function opens(bytes32 hash, uint256 index, uint256 value, bytes calldata commitment, bytes calldata proof)
        internal
        view
        returns (bool)
    {
        (bool ok, bytes memory out) =
            PRECOMPILE.staticcall(abi.encodePacked(hash, pointOf(index), value, commitment, proof));
        if (!ok || out.length != 64) return false;
        (uint256 elements, uint256 modulus) = abi.decode(out, (uint256, uint256));
        return elements == ELEMENTS && modulus == MODULUS;
    }
}
