//! What the router needs of an epoch: tables, beacon and chains, fixed for as long as the epoch lasts.

use std::collections::BTreeMap;
use std::sync::Arc;

use monai_protocol::chain::{ChainAnchor, HashChain};
use monai_protocol::draw::{DrawError, context_digest, draw};
use monai_protocol::receipt::DrawRecord;
use monai_protocol::{
    Address, Beacon, ChainLink, Digest, DrawInputs, EpochId, Lane, ModelId, NodeIndex, Retry, Slot, Table,
};

use crate::records::EpochRecord;

/// The lane of requests whose node is drawn. More lanes are a matter of load, not of meaning.
pub(crate) const LOT_LANE: Lane = Lane(0);
/// The lane of requests that named their provider.
pub(crate) const PREFERENCE_LANE: Lane = Lane(Lane::PREFERENCE_BIT);
/// The lanes of each model.
pub(crate) const LANES: [Lane; 2] = [LOT_LANE, PREFERENCE_LANE];

/// One model in one epoch.
#[derive(Clone, Debug)]
pub(crate) struct ModelView {
    pub(crate) epoch: EpochId,
    pub(crate) model: ModelId,
    pub(crate) beacon: Beacon,
    /// None if no node qualifies: the model can't be asked in this epoch.
    pub(crate) table: Option<Arc<Table>>,
    pub(crate) anchor: ChainAnchor,
    chain: Arc<HashChain>,
    max_attempts: u64,
}

/// One epoch.
#[derive(Clone, Debug)]
pub(crate) struct EpochView {
    pub(crate) epoch: EpochId,
    pub(crate) models: BTreeMap<ModelId, Arc<ModelView>>,
}

impl ModelView {
    pub(crate) fn new(epoch: EpochId, record: EpochRecord, chain: Arc<HashChain>, max_attempts: u64) -> Self {
        Self {
            epoch,
            model: record.chain.model,
            beacon: record.beacon,
            table: record.table.map(Arc::new),
            anchor: record.chain,
            chain,
            max_attempts,
        }
    }

    /// s_j of a slot; `None` if the chain does not cover it.
    pub(crate) fn link(&self, slot: Slot) -> Option<ChainLink> {
        self.chain.link(slot.link_index())
    }

    /// True if the slot can be drawn for.
    pub(crate) fn covers(&self, slot: Slot) -> bool {
        self.anchor.covers(slot.link_index()).is_ok()
    }

    /// Attempts at a slot: as many as the parameter says, and no more than there are nodes.
    pub(crate) fn attempts(&self) -> u8 {
        let nodes = self.table.as_ref().map_or(0, |t| t.entries.len() as u64);
        u8::try_from(self.max_attempts.min(nodes)).unwrap_or(u8::MAX)
    }

    /// The node of an attempt in the lot lane.
    pub(crate) fn draw(&self, slot: Slot, retry: Retry) -> Result<NodeIndex, DrawError> {
        let (Some(table), Some(link)) = (&self.table, self.link(slot)) else {
            return Err(DrawError::TableSize(0));
        };
        let inputs = DrawInputs { beacon: self.beacon, link, model: self.model, lane: LOT_LANE, slot };
        draw(&inputs, table, retry)
    }

    /// All nodes of the table.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        self.table.as_ref().map(|t| t.entries.iter().map(|e| e.node).collect()).unwrap_or_default()
    }

    /// The digest that attestations carry.
    pub(crate) fn context(&self, lane: Lane) -> Option<Digest> {
        let chain = (!lane.by_preference()).then_some(&self.anchor);
        self.table.as_ref().map(|t| context_digest(&self.beacon, t, chain))
    }
}

/// The draw's inputs as receipts carry them.
pub(crate) fn draw_record(record: &EpochRecord, lane: Lane, link: Option<ChainLink>) -> Option<DrawRecord> {
    Some(DrawRecord {
        beacon: record.beacon,
        table: record.table.clone()?,
        chain: (!lane.by_preference()).then(|| record.chain.clone()),
        link: link.filter(|_| !lane.by_preference()),
    })
}
