//! The rows of a proved epoch, rebuilt from what its proof left in L1's log: a node's shares, metrics and fees, with
//! their Merkle proof.

use super::place::Chain;
use crate::error::{Error, Result};
use alloy_primitives::aliases::U48;
use alloy_primitives::{B256, U256, keccak256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::Filter;
use alloy_sol_types::{SolEvent as _, SolValue as _};
use monai_contracts::epochs::Epochs;
use monai_contracts::operators::Operators;

/// What an epoch's proof showed.
#[derive(Clone, Debug)]
pub(super) struct ProvedEpoch {
    cells: Vec<Vec<U256>>,
    fees: Vec<Vec<U256>>,
}

/// One node's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) slot: u16,
    /// A cell for each model.
    pub(super) cells: Vec<U256>,
    /// A fee for each asset.
    pub(super) fees: Vec<U256>,
    pub(super) proof: Vec<B256>,
}

impl ProvedEpoch {
    /// Reads an epoch; `None` if it is not proved.
    pub(super) async fn read(chain: &Chain, epoch: u64) -> Result<Option<Self>> {
        let filter = Filter::new()
            .address(chain.addresses.epochs)
            .event_signature(Epochs::EpochProved::SIGNATURE_HASH)
            .topic1(U256::from(epoch))
            .from_block(chain.addresses.block);
        let logs = chain.provider.get_logs(&filter).await.map_err(|e| chain.away(&e))?;
        // The last one: an endpoint may still list what a reorg took back.
        let Some(event) = logs.iter().rev().find_map(|l| l.log_decode::<Epochs::EpochProved>().ok()) else {
            return Ok(None);
        };
        let event = event.inner.data;
        let operators = Operators::new(chain.addresses.operators, chain.provider.clone());
        let size = operators
            .tableSize(U48::saturating_from(epoch))
            .call()
            .await
            .map_err(|e| chain.call_failed(e))?;
        let size = size.saturating_to::<usize>();
        let lists = Self { cells: rows(&event.cells, size), fees: rows(&event.fees, size) };
        if lists.root() != Some(event.root) {
            return Err(Error::Invalid(format!(
                "the lists of epoch {epoch} do not make its root; is this its chain?"
            )));
        }
        Ok(Some(lists))
    }

    fn leaf(&self, slot: usize) -> Option<B256> {
        let (cells, fees) = (self.cells.get(slot)?, self.fees.get(slot)?);
        let encoded = (U256::from(slot), cells.clone(), fees.clone()).abi_encode_params();
        Some(keccak256(keccak256(encoded)))
    }

    fn leaves(&self) -> Vec<B256> {
        (0..self.cells.len()).filter_map(|slot| self.leaf(slot)).collect()
    }

    fn root(&self) -> Option<B256> {
        let mut level = self.leaves();
        while level.len() > 1 {
            level = above(&level);
        }
        level.first().copied()
    }

    /// The row of a slot.
    pub(super) fn row(&self, slot: u16) -> Option<Row> {
        let mut at = usize::from(slot);
        let (cells, fees) = (self.cells.get(at)?.clone(), self.fees.get(at)?.clone());
        let mut proof = Vec::new();
        let mut level = self.leaves();
        while level.len() > 1 {
            // The last of an odd level is carried up without a sibling.
            proof.extend(level.get(at ^ 1));
            at /= 2;
            level = above(&level);
        }
        Some(Row { slot, cells, fees, proof })
    }
}

impl Row {
    /// Uptime in a model's column, 10^18 for all.
    pub(super) fn uptime(&self, model: usize) -> Option<u64> {
        self.cells.get(model).map(|cell| cell.as_limbs()[1])
    }
}

fn rows(list: &[U256], size: usize) -> Vec<Vec<U256>> {
    let width = list.len().checked_div(size).unwrap_or(0);
    (0..size).map(|i| list.get(i * width..(i + 1) * width).unwrap_or_default().to_vec()).collect()
}

/// The next level of a commutative keccak tree.
fn above(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match *pair {
            [a, b] => {
                let (low, high) = if a < b { (a, b) } else { (b, a) };
                keccak256([low.as_slice(), high.as_slice()].concat())
            }
            _ => pair.first().copied().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_leads_to_the_root() {
        for size in 1..=9usize {
            let list: Vec<U256> = (0..2 * size).map(U256::from).collect();
            let lists = ProvedEpoch { cells: rows(&list, size), fees: rows(&list, size) };
            for slot in 0..size {
                let row = lists.row(slot as u16).unwrap();
                assert_eq!(row.cells, [U256::from(2 * slot), U256::from(2 * slot + 1)]);
                let reached =
                    row.proof.iter().fold(lists.leaf(slot).unwrap(), |node, other| above(&[node, *other])[0]);
                assert_eq!(Some(reached), lists.root(), "{slot} of {size}");
            }
            assert!(lists.row(size as u16).is_none());
        }
    }
}
