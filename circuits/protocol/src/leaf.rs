//! A leaf of a batch: (R, O, packed metadata), three canonical field elements.

use crate::field::{self, Fr};
use crate::poseidon::poseidon2;
use crate::types::{Digest, Finish, Lane, NodeIndex, OutputCommitment, RequestCommitment, Retry, Slot};
use ark_ff::{PrimeField, Zero};
use serde::{Deserialize, Serialize};

/// Largest n_in and n_out: 20 bits.
pub const MAX_COUNT: u32 = (1 << 20) - 1;
/// The version that `meta` carries.
pub const LEAF_VERSION: u8 = 1;
/// Bits that `meta` uses; those above are zero.
pub const META_BITS: u32 = 172;

/// The public facts of one attempt at a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// The slot, bits 0..64.
    pub slot: Slot,
    /// The lane, bits 64..96.
    pub lane: Lane,
    /// The node's slot in the registry that the epoch's table was made from, bits 96..112.
    pub node: NodeIndex,
    /// Prompt ids, bits 112..132.
    pub n_in: u32,
    /// Output ids, bits 132..152.
    pub n_out: u32,
    /// How the attempt ended, bits 152..156.
    pub finish: Finish,
    /// The attempt, bits 156..164.
    pub retry: Retry,
    /// The leaf's version, bits 164..172.
    pub version: u8,
}

/// Why metadata can't be packed or unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// A count exceeds 20 bits.
    #[error("{field} is {came}, must fit 20 bits")]
    Count {
        /// `n_in` or `n_out`.
        field: &'static str,
        /// The value that came.
        came: u32,
    },
    /// A finish that has no meaning.
    #[error("{0} is no finish")]
    Finish(u8),
    /// A version other than [`LEAF_VERSION`].
    #[error("leaf version {0} is unknown")]
    Version(u8),
    /// Bits above the packed fields are set.
    #[error("bits above {META_BITS} are set")]
    HighBits,
}

impl Meta {
    /// Packs from the least significant bit.
    ///
    /// # Errors
    /// [`MetaError`] if a count or the version is out of range.
    pub fn pack(&self) -> Result<Fr, MetaError> {
        for (field, came) in [("n_in", self.n_in), ("n_out", self.n_out)] {
            if came > MAX_COUNT {
                return Err(MetaError::Count { field, came });
            }
        }
        if self.version != LEAF_VERSION {
            return Err(MetaError::Version(self.version));
        }
        let low = u128::from(self.slot.0)
            | (u128::from(self.lane.0) << 64)
            | (u128::from(self.node.0) << 96)
            | (u128::from(self.n_in & 0xffff) << 112);
        // From bit 128 on: the top 4 bits of n_in, then the rest.
        let high = u64::from(self.n_in >> 16)
            | (u64::from(self.n_out) << 4)
            | (u64::from(self.finish.code()) << 24)
            | (u64::from(self.retry.0) << 28)
            | (u64::from(self.version) << 36);
        let limbs = [low as u64, (low >> 64) as u64, high, 0];
        Ok(Fr::from_bigint(ark_ff::BigInt(limbs)).unwrap_or_default())
    }

    /// Unpacks; every element has at most one reading.
    ///
    /// # Errors
    /// [`MetaError`] if unused bits, finish or version are not as packed.
    pub fn unpack(packed: Fr) -> Result<Self, MetaError> {
        let [l0, l1, l2, l3] = field::limbs(packed);
        if l3 != 0 || l2 >> (META_BITS - 128) != 0 {
            return Err(MetaError::HighBits);
        }
        let finish_code = ((l2 >> 24) & 0xf) as u8;
        let version = (l2 >> 36) as u8;
        if version != LEAF_VERSION {
            return Err(MetaError::Version(version));
        }
        Ok(Self {
            slot: Slot(l0),
            lane: Lane(l1 as u32),
            node: NodeIndex((l1 >> 32) as u16),
            n_in: ((l1 >> 48) as u32) | (((l2 & 0xf) as u32) << 16),
            n_out: ((l2 >> 4) & u64::from(MAX_COUNT)) as u32,
            finish: Finish::from_code(finish_code).ok_or(MetaError::Finish(finish_code))?,
            retry: Retry((l2 >> 28) as u8),
            version,
        })
    }
}

/// A leaf. In JSON, `meta` stands unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// R.
    pub request: RequestCommitment,
    /// O, or [`OutputCommitment::NONE`] if the attempt gave no answer.
    pub output: OutputCommitment,
    /// What is public about the attempt.
    pub meta: Meta,
}

impl Leaf {
    /// The three elements (R, O, meta).
    ///
    /// # Errors
    /// [`MetaError`] if the metadata is out of range.
    pub fn elements(&self) -> Result<[Fr; 3], MetaError> {
        Ok([self.request.0, self.output.0, self.meta.pack()?])
    }

    /// Reads the three elements.
    ///
    /// # Errors
    /// [`MetaError`] if the metadata is not as packed.
    pub fn from_elements(e: [Fr; 3]) -> Result<Self, MetaError> {
        Ok(Self {
            request: RequestCommitment(e[0]),
            output: OutputCommitment(e[1]),
            meta: Meta::unpack(e[2])?,
        })
    }

    /// poseidon2(poseidon2(R, O), meta).
    ///
    /// # Errors
    /// [`MetaError`] if the metadata is out of range.
    pub fn hash(&self) -> Result<Digest, MetaError> {
        Ok(leaf_hash(self.elements()?))
    }
}

/// The hash of three leaf elements.
#[must_use]
pub fn leaf_hash(e: [Fr; 3]) -> Digest {
    Digest(poseidon2(poseidon2(e[0], e[1]), e[2]))
}

/// The hash of the zero leaf (0, 0, 0) that pads a tree: the blob's zeros hash to it as well.
#[must_use]
pub fn zero_leaf_hash() -> Digest {
    leaf_hash([Fr::zero(); 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            slot: Slot(u64::MAX),
            lane: Lane(0x8000_0001),
            node: NodeIndex(0xfffe),
            n_in: MAX_COUNT,
            n_out: 0x8_0001,
            finish: Finish::Busy,
            retry: Retry(255),
            version: LEAF_VERSION,
        }
    }

    #[test]
    fn packs_and_unpacks_at_the_bounds() {
        let m = meta();
        assert_eq!(Meta::unpack(m.pack().unwrap()), Ok(m));
        assert!(field::bits(m.pack().unwrap()) <= META_BITS);
        assert!(Meta { n_in: MAX_COUNT + 1, ..m }.pack().is_err());
        assert!(Meta { n_out: MAX_COUNT + 1, ..m }.pack().is_err());
        assert!(Meta { version: 0, ..m }.pack().is_err());
    }

    #[test]
    fn each_field_sits_where_the_document_says() {
        let zero = Meta {
            slot: Slot(0),
            lane: Lane(0),
            node: NodeIndex(0),
            n_in: 0,
            n_out: 0,
            finish: Finish::Stop,
            retry: Retry(0),
            version: LEAF_VERSION,
        };
        let base = zero.pack().unwrap();
        let at = |m: Meta| m.pack().unwrap() - base;
        let two = |n: u64| ark_ff::Field::pow(&Fr::from(2u64), [n]);
        assert_eq!(at(Meta { slot: Slot(1), ..zero }), two(0));
        assert_eq!(at(Meta { lane: Lane(1), ..zero }), two(64));
        assert_eq!(at(Meta { node: NodeIndex(1), ..zero }), two(96));
        assert_eq!(at(Meta { n_in: 1, ..zero }), two(112));
        assert_eq!(at(Meta { n_in: 1 << 19, ..zero }), two(131));
        assert_eq!(at(Meta { n_out: 1, ..zero }), two(132));
        assert_eq!(at(Meta { finish: Finish::Length, ..zero }), two(152));
        assert_eq!(at(Meta { retry: Retry(1), ..zero }), two(156));
        assert_eq!(base, two(152) + two(164));
    }

    #[test]
    fn rejects_what_it_would_not_pack() {
        let good = meta().pack().unwrap();
        let two = |n: u64| ark_ff::Field::pow(&Fr::from(2u64), [n]);
        assert_eq!(Meta::unpack(good + two(172)), Err(MetaError::HighBits));
        assert_eq!(Meta::unpack(good + two(192)), Err(MetaError::HighBits));
        assert_eq!(Meta::unpack(good + two(164)), Err(MetaError::Version(2)));
        assert_eq!(Meta::unpack(good + two(152)), Err(MetaError::Finish(7)));
        assert_eq!(Meta::unpack(Fr::zero()), Err(MetaError::Version(0)));
        assert!(Meta::unpack(-Fr::from(1u64)).is_err());
    }
}
