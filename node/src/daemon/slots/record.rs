//! One record of the journal as bytes: length, payload, checksum.
//!
//! | part | bytes |
//! |---|---|
//! | length of the payload, little-endian | 4 |
//! | payload: kind (1), chain id (8), rollup (20), model (32), lane (4), slot (8), then for a signed slot R (32), O (32), n_in (4), n_out (4), finish (1), unix ms (8) | 73 or 154 |
//! | first bytes of the payload's SHA-256 | 8 |

use monai_protocol::types::{
    Address, ChainId, Domain, Finish, Lane, ModelId, OutputCommitment, RequestCommitment, Slot,
};
use sha2::{Digest as _, Sha256};

/// Bytes of the length before a payload.
const LENGTH: usize = 4;
/// Bytes of the checksum after a payload.
const CHECKSUM: usize = 8;
/// Payload that names a slot.
const NAMED: usize = 1 + 8 + 20 + 32 + 4 + 8;
/// Payload of a signed slot.
const SIGNED: usize = NAMED + 32 + 32 + 4 + 4 + 1 + 8;
/// The longest record; no append leaves more than this behind when it is torn.
pub(super) const MAX_RECORD: usize = LENGTH + SIGNED + CHECKSUM;

/// Where a node signs at most one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::daemon) struct SlotKey {
    /// Chain and rollup contract, in this order.
    pub(super) domain: (ChainId, Address),
    /// The model.
    pub(super) model: ModelId,
    /// The lane.
    pub(super) lane: Lane,
    /// The slot.
    pub(super) slot: Slot,
}

impl SlotKey {
    /// A slot of a deployment.
    pub(in crate::daemon) fn new(domain: &Domain, model: ModelId, lane: Lane, slot: Slot) -> Self {
        Self { domain: (domain.chain_id, domain.rollup), model, lane, slot }
    }
}

/// What was signed for a slot. The times are no part of it: two of them do not contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) struct Signed {
    /// R.
    pub(in crate::daemon) request: RequestCommitment,
    /// O.
    pub(in crate::daemon) output: OutputCommitment,
    /// Ids of the prompt.
    pub(in crate::daemon) n_in: u32,
    /// Ids of the answer.
    pub(in crate::daemon) n_out: u32,
    /// How it ended.
    pub(in crate::daemon) finish: Finish,
}

/// A line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// A slot that was signed, and when, unix milliseconds.
    Signed(SlotKey, Signed, u64),
    /// All slots of the lane below this one are signed no more, as their records were dropped.
    Floor(SlotKey),
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A record and its length in bytes.
    Record(Record, usize),
    /// None that is whole and unharmed.
    Broken,
}

impl Record {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, key) = match self {
            Self::Signed(key, ..) => (1u8, key),
            Self::Floor(key) => (2, key),
        };
        let mut payload = vec![kind];
        payload.extend(key.domain.0.0.to_le_bytes());
        payload.extend(key.domain.1.0);
        payload.extend(key.model.0);
        payload.extend(key.lane.0.to_le_bytes());
        payload.extend(key.slot.0.to_le_bytes());
        if let Self::Signed(_, signed, at_ms) = self {
            payload.extend(signed.request.to_bytes());
            payload.extend(signed.output.to_bytes());
            payload.extend(signed.n_in.to_le_bytes());
            payload.extend(signed.n_out.to_le_bytes());
            payload.push(signed.finish as u8);
            payload.extend(at_ms.to_le_bytes());
        }
        let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
        bytes.extend(&payload);
        bytes.extend(&Sha256::digest(&payload)[..CHECKSUM]);
        bytes
    }

    /// The record that these bytes start with.
    pub(super) fn parse(bytes: &[u8]) -> Parsed {
        Self::whole(bytes).map_or(Parsed::Broken, |(record, used)| Parsed::Record(record, used))
    }

    fn whole(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        if length != NAMED && length != SIGNED {
            return None;
        }
        let payload = bytes.get(LENGTH..LENGTH + length)?;
        let used = LENGTH + length + CHECKSUM;
        if bytes.get(LENGTH + length..used)? != &Sha256::digest(payload)[..CHECKSUM] {
            return None;
        }
        Some((Self::payload(payload)?, used))
    }

    fn payload(mut p: &[u8]) -> Option<Self> {
        let long = p.len() == SIGNED;
        let [kind] = take(&mut p)?;
        let key = SlotKey {
            domain: (ChainId(u64::from_le_bytes(take(&mut p)?)), Address(take(&mut p)?)),
            model: ModelId(take(&mut p)?),
            lane: Lane(u32::from_le_bytes(take(&mut p)?)),
            slot: Slot(u64::from_le_bytes(take(&mut p)?)),
        };
        match (kind, long) {
            (1, true) => {
                let signed = Signed {
                    request: RequestCommitment::from_bytes(&take(&mut p)?)?,
                    output: OutputCommitment::from_bytes(&take(&mut p)?)?,
                    n_in: u32::from_le_bytes(take(&mut p)?),
                    n_out: u32::from_le_bytes(take(&mut p)?),
                    finish: Finish::from_code(take::<1>(&mut p)?[0])?,
                };
                Some(Self::Signed(key, signed, u64::from_le_bytes(take(&mut p)?)))
            }
            (2, false) => Some(Self::Floor(key)),
            _ => None,
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
