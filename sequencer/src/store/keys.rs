//! Column families and the keys in them. Integers are big-endian, so byte order is number order.

use monai_protocol::{Address, EpochId, Lane, ModelId, Slot};

/// The column families. Each holds one kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cf {
    /// Schema version, domain, chain secret, the rollup state: single records by name.
    Meta,
    /// Nonces that users with their own keys have used, until those requests expire.
    Nonces,
    /// (model, lane) → the next slot.
    NextSlots,
    /// Slots that are assigned and not closed.
    Open,
    /// Closed slots whose leaves wait for a batch.
    Leaves,
    /// What was signed about each closed slot, by (model, lane, slot); no plaintext.
    Evidence,
    /// Where a batch holds each slot's answer, by (model, lane, slot).
    Inclusions,
    /// Receipts by completion id and choice. They hold plaintext and end with the retention.
    Receipts,
    /// When each receipt's plaintext ends: (unix seconds, receipt key).
    Expiries,
    /// Signed batch headers by number.
    Batches,
    /// The leaves and speed totals of batches, by number.
    BatchData,
    /// Epochs by (number, model): beacon, table, chain.
    Epochs,
    /// What the end of each epoch settled, by its number.
    Settlements,
}

impl Cf {
    /// All of them.
    pub(crate) const ALL: [Cf; 13] = [
        Cf::Meta,
        Cf::Nonces,
        Cf::NextSlots,
        Cf::Open,
        Cf::Leaves,
        Cf::Evidence,
        Cf::Inclusions,
        Cf::Receipts,
        Cf::Expiries,
        Cf::Batches,
        Cf::BatchData,
        Cf::Epochs,
        Cf::Settlements,
    ];

    /// The families that hold prompts, outputs or blindings.
    pub(crate) const PLAINTEXT: [Cf; 2] = [Cf::Open, Cf::Receipts];

    /// The name in RocksDB.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Cf::Meta => "meta",
            Cf::Nonces => "nonces",
            Cf::NextSlots => "next_slots",
            Cf::Open => "open",
            Cf::Leaves => "leaves",
            Cf::Evidence => "evidence",
            Cf::Inclusions => "inclusions",
            Cf::Receipts => "receipts",
            Cf::Expiries => "expiries",
            Cf::Batches => "batches",
            Cf::BatchData => "batch_data",
            Cf::Epochs => "epochs",
            Cf::Settlements => "settlements",
        }
    }
}

/// model ‖ lane.
pub(crate) fn lane(model: &ModelId, lane: Lane) -> Vec<u8> {
    [&model.0[..], &lane.0.to_be_bytes()].concat()
}

/// model ‖ lane ‖ slot.
pub(crate) fn slot(model: &ModelId, l: Lane, slot: Slot) -> Vec<u8> {
    [lane(model, l), slot.0.to_be_bytes().to_vec()].concat()
}

/// Reads the key that [`slot`] wrote.
pub(crate) fn parse_slot(key: &[u8]) -> Option<(ModelId, Lane, Slot)> {
    let model = key.get(..32)?.try_into().ok()?;
    let lane = key.get(32..36)?.try_into().ok()?;
    let slot = key.get(36..44).filter(|_| key.len() == 44)?.try_into().ok()?;
    Some((ModelId(model), Lane(u32::from_be_bytes(lane)), Slot(u64::from_be_bytes(slot))))
}

/// epoch ‖ model.
pub(crate) fn epoch(epoch: EpochId, model: &ModelId) -> Vec<u8> {
    [&epoch.0.to_be_bytes()[..], &model.0].concat()
}

/// completion id ‖ 0 ‖ choice.
pub(crate) fn receipt(completion: &str, choice: u32) -> Vec<u8> {
    [completion.as_bytes(), &[0], &choice.to_be_bytes()].concat()
}

/// unix seconds ‖ receipt key.
pub(crate) fn expiry(at: u64, receipt: &[u8]) -> Vec<u8> {
    [&at.to_be_bytes()[..], receipt].concat()
}

/// user ‖ nonce.
pub(crate) fn used_nonce(user: &Address, nonce: u64) -> Vec<u8> {
    [&user.0[..], &nonce.to_be_bytes()].concat()
}

/// Reads the key that [`lane`] wrote.
pub(crate) fn parse_lane(key: &[u8]) -> Option<(ModelId, Lane)> {
    let model = key.get(..32)?.try_into().ok()?;
    let lane = key.get(32..).filter(|l| l.len() == 4)?.try_into().ok()?;
    Some((ModelId(model), Lane(u32::from_be_bytes(lane))))
}
