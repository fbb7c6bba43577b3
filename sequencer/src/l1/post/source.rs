//! What is to be posted, as the store has it.

use std::sync::Arc;

use alloy_primitives::{B256, U256};
use monai_contracts::{epochs::Epochs, rollup::Rollup};
use monai_protocol::receipt::Signed;
use monai_protocol::{BatchHeader, Leaf, field};

use super::epoch48;
use crate::l1::PostError;
use crate::records::{BatchData, Settlement};
use crate::store::{Cf, Store, decode};

/// Reads sealed batches and settlements.
pub(super) struct Source {
    store: Arc<Store>,
}

/// A sealed batch as it goes to L1.
pub(super) struct Sealed {
    pub(super) header: Signed<BatchHeader>,
    /// 96 bytes a leaf.
    pub(super) bytes: Vec<u8>,
}

impl Source {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The number of the next batch to be sealed: one past the last that is on disk, which is looked for from a
    /// number that exists.
    pub(super) fn sealed(&self, from: u64) -> Result<u64, PostError> {
        let mut number = from;
        while self.store.get(Cf::Batches, &number.to_be_bytes())?.is_some() {
            number += 1;
        }
        Ok(number)
    }

    pub(super) fn header(&self, number: u64) -> Result<Option<BatchHeader>, PostError> {
        let found: Option<Signed<BatchHeader>> = self.store.get_json(Cf::Batches, &number.to_be_bytes())?;
        Ok(found.map(|h| h.message))
    }

    /// Digest of the header before a number; zero before the first.
    pub(super) fn digest_below(&self, number: u64) -> Result<Option<B256>, PostError> {
        match number.checked_sub(1) {
            None => Ok(Some(B256::ZERO)),
            Some(last) => Ok(self.header(last)?.map(|h| B256::from(h.batch_digest().0))),
        }
    }

    pub(super) fn leaves(&self, number: u64) -> Result<Vec<Leaf>, PostError> {
        let data: Option<BatchData> = self.store.get_json(Cf::BatchData, &number.to_be_bytes())?;
        Ok(data.map(|d| d.leaves).unwrap_or_default())
    }

    pub(super) fn batch(&self, number: u64) -> Result<Option<Sealed>, PostError> {
        let Some(bytes) = self.store.get(Cf::Batches, &number.to_be_bytes())? else { return Ok(None) };
        let header: Signed<BatchHeader> = decode(Cf::Batches, &bytes)?;
        let mut bytes = Vec::new();
        for leaf in self.leaves(number)? {
            for element in leaf.elements().map_err(|e| PostError::Refused(e.to_string()))? {
                bytes.extend_from_slice(&field::to_bytes(element));
            }
        }
        Ok(Some(Sealed { header, bytes }))
    }

    pub(super) fn settlement(&self, epoch: u64) -> Result<Option<Settlement>, PostError> {
        Ok(self.store.get_json(Cf::Settlements, &epoch.to_be_bytes())?)
    }
}

fn word(digest: &monai_protocol::Digest) -> U256 {
    U256::from_be_bytes(digest.to_bytes())
}

/// A header as the rollup takes it.
pub(super) fn for_rollup(h: &BatchHeader) -> Rollup::BatchHeader {
    Rollup::BatchHeader {
        parent: h.parent.0.into(),
        model: h.model.0.into(),
        epoch: epoch48(h.epoch.0),
        circuitVersion: h.circuit_version,
        leafCount: h.leaf_count,
        root: word(&h.root),
        stateRoot: word(&h.state_root),
        links: word(&h.links),
        nodeRoots: word(&h.node_roots),
        data: h.data.0.into(),
    }
}

/// The same for the epochs' contract.
pub(super) fn for_epochs(h: &BatchHeader) -> Epochs::BatchHeader {
    let Rollup::BatchHeader {
        parent,
        model,
        epoch,
        circuitVersion,
        leafCount,
        root,
        stateRoot,
        links,
        nodeRoots,
        data,
    } = for_rollup(h);
    Epochs::BatchHeader {
        parent,
        model,
        epoch,
        circuitVersion,
        leafCount,
        root,
        stateRoot,
        links,
        nodeRoots,
        data,
    }
}
