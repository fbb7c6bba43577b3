//! The nouns of the protocol as types, each with its one text encoding.

use crate::codec::{bytes_newtype, decode_decimal, decode_hex, field_newtype, integer_newtype};
use crate::field::{self, Fr};
use serde::{Deserialize, Serialize};

bytes_newtype!(
    /// A registered model: the digest of its weight commitment, tokenizer, template and shape.
    ModelId, 32
);
bytes_newtype!(
    /// The 20-byte address of a secp256k1 key: user, node operator, sequencer or contract.
    Address, 20
);
bytes_newtype!(
    /// The public randomness of an epoch, 256 bits (`prevRandao` of a block fixed by calendar).
    Beacon, 32
);
bytes_newtype!(
    /// A keccak-256 digest: EIP-712 digests, batch digests.
    Keccak, 32
);
bytes_newtype!(
    /// The digest, under keccak-256, of a batch header. Zero stands before the first batch.
    BatchDigest, 32
);
field_newtype!(
    /// R, the commitment to a request.
    RequestCommitment
);
field_newtype!(
    /// O, the commitment to an answer. Zero in the leaves of attempts that gave none.
    OutputCommitment
);
field_newtype!(
    /// A Poseidon digest: Merkle nodes and roots, table digests, running hashes.
    Digest
);
field_newtype!(
    /// A link of the sequencer's hash chain.
    ChainLink
);
integer_newtype!(
    /// The number of a slot, consecutive within a (model, lane), across epochs.
    Slot, u64
);
integer_newtype!(
    /// The number of an epoch.
    EpochId, u64
);
integer_newtype!(
    /// The slot of a node in the registry that tables are made from. A table holds some of the slots.
    NodeIndex, u16
);
integer_newtype!(
    /// The number of the attempt at a slot, from 0.
    Retry, u8
);
integer_newtype!(
    /// An EIP-155 chain id.
    ChainId, u64
);
integer_newtype!(
    /// A lane: an independent sequence of slots of one model.
    Lane, u32
);

impl Lane {
    /// Lanes with this bit hold requests that named their provider. Their node is chosen by the
    /// client instead of drawn, so they count for fees but not for uptime, speed or emissions.
    pub const PREFERENCE_BIT: u32 = 1 << 31;

    /// True if answers in this lane are placed by the client's choice, not by lot.
    #[must_use]
    pub fn by_preference(self) -> bool {
        self.0 & Self::PREFERENCE_BIT != 0
    }
}

impl Slot {
    /// Slots that share one link of the hash chain.
    pub const PER_LINK: u64 = 64;

    /// The index j = ⌊slot/64⌋ of the link that its draw uses.
    #[must_use]
    pub fn link_index(self) -> u64 {
        self.0 / Self::PER_LINK
    }
}

impl ModelId {
    /// The id as (high, low) field elements.
    #[must_use]
    pub fn limbs(&self) -> [Fr; 2] {
        field::split(&self.0)
    }
}

impl Beacon {
    /// The beacon as (high, low) field elements.
    #[must_use]
    pub fn limbs(&self) -> [Fr; 2] {
        field::split(&self.0)
    }
}

impl Address {
    /// The address that no key owns.
    pub const ZERO: Address = Address([0; 20]);

    /// The address as one field element.
    #[must_use]
    pub fn to_field(&self) -> Fr {
        field::from_address(&self.0)
    }
}

impl BatchDigest {
    /// What stands in `previous` of the first batch.
    pub const GENESIS: BatchDigest = BatchDigest([0; 32]);
}

impl OutputCommitment {
    /// What a leaf without an answer carries: missed, refused and busy attempts.
    pub const NONE: OutputCommitment = OutputCommitment(ark_ff::MontFp!("0"));
}

impl From<alloy_primitives::Address> for Address {
    fn from(a: alloy_primitives::Address) -> Self {
        Address(a.into_array())
    }
}

impl From<Address> for alloy_primitives::Address {
    fn from(a: Address) -> Self {
        alloy_primitives::Address::from(a.0)
    }
}

/// 128 random bits that hide the preimage of R and, through a hash, of O.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blinding(pub u128);

impl std::fmt::Display for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::codec::encode_hex(&self.0.to_be_bytes()))
    }
}

impl std::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The blinding is what keeps a prompt from being guessed; it does not belong in a log.
        f.write_str("Blinding(..)")
    }
}

impl std::str::FromStr for Blinding {
    type Err = crate::codec::CodecError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        decode_hex(s).map(|b| Self(u128::from_be_bytes(b)))
    }
}

impl Serialize for Blinding {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Blinding {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::codec::hex_from(d).map(|b| Self(u128::from_be_bytes(b)))
    }
}

/// An amount of the settlement token in its smallest unit (10^-18), a decimal string in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Amount {
    type Err = crate::codec::CodecError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        decode_decimal(s).map(Self)
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::codec::decimal::deserialize(d).map(Self)
    }
}

/// How an attempt at a slot ended. The number is what leaves and typed messages carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Finish {
    /// The model chose an end-of-sequence or stop id; that id is the last of the output.
    Stop = 1,
    /// The output reached the requested maximum.
    Length = 2,
    /// The requester signed to stop after k ids.
    Cancelled = 3,
    /// The node signed that it would not answer. Counts as a miss.
    Refused = 4,
    /// The node did not answer in time.
    Missed = 5,
    /// The node showed that its signed credit was exhausted. Costs no uptime and earns nothing.
    Busy = 6,
}

impl Finish {
    /// The finish with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Stop,
            2 => Self::Length,
            3 => Self::Cancelled,
            4 => Self::Refused,
            5 => Self::Missed,
            6 => Self::Busy,
            _ => return None,
        })
    }

    /// The number of this finish.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word for it, as receipts write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Missed => "missed",
            Self::Busy => "busy",
        }
    }

    /// True if the attempt gave an answer, so that it ends its slot.
    #[must_use]
    pub fn answered(self) -> bool {
        matches!(self, Self::Stop | Self::Length | Self::Cancelled)
    }
}

/// How strongly an answer is to be assured. The number is what R commits to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Assurance {
    /// Signatures only: never drawn for an audit.
    Signed = 0,
    /// Audited with the protocol's rate p.
    #[default]
    Sampled = 1,
    /// Proved always; the user pays for the proof.
    Proved = 2,
}

impl Assurance {
    /// The number of this assurance.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// What separates one deployment of the protocol from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// The chain of the rollup contract.
    pub chain_id: ChainId,
    /// The rollup contract.
    pub rollup: Address,
}
