//! The one field of the protocol, BN254's scalar field, and its canonical encodings.

use ark_ff::{BigInteger, PrimeField};

/// An element of the scalar field of BN254, the native field of every hash and circuit of MonAI.
pub type Fr = ark_bn254::Fr;

/// The canonical encoding of an element: 32 bytes, big-endian, below the modulus.
#[must_use]
pub fn to_bytes(x: Fr) -> [u8; 32] {
    let mut out = [0u8; 32];
    for (chunk, limb) in out.chunks_exact_mut(8).zip(x.into_bigint().0.iter().rev()) {
        chunk.copy_from_slice(&limb.to_be_bytes());
    }
    out
}

/// Decodes the canonical encoding; `None` for the modulus and anything above it.
///
/// Rejecting instead of reducing keeps every element at exactly one encoding, so nothing that is
/// signed or committed can be written in two ways.
#[must_use]
pub fn from_bytes(bytes: &[u8; 32]) -> Option<Fr> {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        *limb = u64::from_be_bytes(word);
    }
    Fr::from_bigint(ark_ff::BigInt(limbs))
}

/// The low 64 bits of the canonical integer of `x`.
#[must_use]
pub fn low_u64(x: Fr) -> u64 {
    x.into_bigint().0[0]
}

/// The low 128 bits of the canonical integer of `x`.
#[must_use]
pub fn low_u128(x: Fr) -> u128 {
    let limbs = x.into_bigint().0;
    u128::from(limbs[0]) | (u128::from(limbs[1]) << 64)
}

/// The canonical integer of `x` as four 64-bit limbs, least significant first.
#[must_use]
pub fn limbs(x: Fr) -> [u64; 4] {
    x.into_bigint().0
}

/// Splits 256 bits, given big-endian, into (high, low) halves of 128 bits.
///
/// A digest of 256 bits does not fit the 254-bit field, and reducing it would let two digests share
/// an element; two limbs keep it injective.
#[must_use]
pub fn split(bytes: &[u8; 32]) -> [Fr; 2] {
    let mut hi = [0u8; 16];
    let mut lo = [0u8; 16];
    hi.copy_from_slice(&bytes[..16]);
    lo.copy_from_slice(&bytes[16..]);
    [Fr::from(u128::from_be_bytes(hi)), Fr::from(u128::from_be_bytes(lo))]
}

/// 20 bytes, given big-endian, as one element.
#[must_use]
pub fn from_address(bytes: &[u8; 20]) -> Fr {
    let mut wide = [0u8; 32];
    wide[12..].copy_from_slice(bytes);
    // 160 bits are always below the modulus.
    let [hi, lo] = split(&wide);
    hi * Fr::from(1u128 << 64) * Fr::from(1u128 << 64) + lo
}

/// The number of significant bits of the canonical integer of `x`.
#[must_use]
pub fn bits(x: Fr) -> u32 {
    x.into_bigint().num_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::Field;

    #[test]
    fn encoding_is_canonical() {
        let x = Fr::from(0x0102_0304u64) * Fr::from(u128::MAX);
        assert_eq!(from_bytes(&to_bytes(x)), Some(x));
        let mut modulus = to_bytes(-Fr::ONE);
        modulus[31] += 1;
        assert_eq!(from_bytes(&modulus), None);
        assert_eq!(from_bytes(&[0xff; 32]), None);
    }

    #[test]
    fn halves_rebuild() {
        let mut b = [0u8; 32];
        for (i, x) in b.iter_mut().enumerate() {
            *x = i as u8;
        }
        let [hi, lo] = split(&b);
        assert_eq!(low_u128(hi), u128::from_be_bytes(b[..16].try_into().unwrap()));
        assert_eq!(low_u128(lo), u128::from_be_bytes(b[16..].try_into().unwrap()));
        let a: [u8; 20] = b[..20].try_into().unwrap();
        assert_eq!(to_bytes(from_address(&a))[12..], a);
    }
}
