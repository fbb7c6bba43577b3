//! Column families and the keys in them. Integers are big-endian, so byte order is number order.

use monai_protocol::{Address, EpochId, Lane, ModelId, Retry, Slot};

/// The column families. Each holds one kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cf {
    /// Schema version, domain, chain secret, the rollup state: single records by name.
    Meta,
    /// The next nonce of each user key that the gateway keeps, and nonces used by sovereign users.
    Nonces,
    /// (model, lane) → the next slot.
    NextSlots,
    /// Slots that are assigned and not closed.
    Open,
    /// Leaves that wait for a batch, with what the batch needs to know about them.
    Leaves,
    /// Signed evidence for each attempt at a slot; no plaintext.
    Evidence,
    /// Receipts by completion id and choice. They hold plaintext and end with the retention.
    Receipts,
    /// When each receipt's plaintext ends: (unix seconds, receipt key).
    Expiries,
    /// Batches by number.
    Batches,
    /// Epochs by (number, model): table, beacon, metrics.
    Epochs,
    /// Hash chains by (model, lane, first link).
    Chains,
}

impl Cf {
    /// All of them.
    pub(crate) const ALL: [Cf; 11] = [
        Cf::Meta,
        Cf::Nonces,
        Cf::NextSlots,
        Cf::Open,
        Cf::Leaves,
        Cf::Evidence,
        Cf::Receipts,
        Cf::Expiries,
        Cf::Batches,
        Cf::Epochs,
        Cf::Chains,
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
            Cf::Receipts => "receipts",
            Cf::Expiries => "expiries",
            Cf::Batches => "batches",
            Cf::Epochs => "epochs",
            Cf::Chains => "chains",
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

/// model ‖ lane ‖ slot ‖ retry.
pub(crate) fn attempt(model: &ModelId, l: Lane, s: Slot, retry: Retry) -> Vec<u8> {
    [slot(model, l, s), vec![retry.0]].concat()
}

/// epoch ‖ model.
pub(crate) fn epoch(epoch: EpochId, model: &ModelId) -> Vec<u8> {
    [&epoch.0.to_be_bytes()[..], &model.0].concat()
}

/// model ‖ lane ‖ first link.
pub(crate) fn chain(model: &ModelId, l: Lane, first: u64) -> Vec<u8> {
    [lane(model, l), first.to_be_bytes().to_vec()].concat()
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
