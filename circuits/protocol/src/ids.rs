//! Token ids in the field: seven ids of 32 bits to an element.

use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::types::Digest;

/// Ids in one element: 7 · 32 = 224 bits stay below the modulus.
pub const IDS_PER_ELEMENT: usize = 7;

/// Packs ids, the first of each seven lowest: Σ id_k · 2^(32k).
///
/// Not injective on trailing zero ids by itself; wherever it is used the count stands beside it.
#[must_use]
pub fn pack_ids(ids: &[u32]) -> Vec<Fr> {
    ids.chunks(IDS_PER_ELEMENT)
        .map(|chunk| {
            let mut limbs = [0u64; 4];
            for (k, id) in chunk.iter().enumerate() {
                limbs[k / 2] |= u64::from(*id) << (32 * (k % 2));
            }
            // 224 bits are always canonical; the fallback can't be reached.
            <Fr as ark_ff::PrimeField>::from_bigint(ark_ff::BigInt(limbs)).unwrap_or_default()
        })
        .collect()
}

/// H(ids), which R and O hold next to the number of ids.
#[must_use]
pub fn hash_ids(ids: &[u32]) -> Digest {
    Digest(hash(Tag::Ids, &pack_ids(ids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_id_is_lowest() {
        let packed = pack_ids(&[1, 2, 0, 0, 0, 0, 0, 9]);
        assert_eq!(packed, vec![Fr::from(1u64 + (2u64 << 32)), Fr::from(9u64)]);
        assert!(pack_ids(&[]).is_empty());
        assert_eq!(crate::field::bits(pack_ids(&[u32::MAX; 7])[0]), 224);
    }
}
