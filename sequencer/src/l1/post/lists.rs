//! What an epoch's proof binds in the clear: a cell for each slot and model, a fee for each slot and asset.
//!
//! Cells are what the ledger's own transition computed. Fees divide what users paid into the epoch's pools by the charges
//! for what each node answered in it, at the listed prices, rounded down; what is left stays in the pools. Both follow
//! from batches that are on L1 and from L1's pools, so whoever follows L1 gets the same lists.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use monai_contracts::models::ModelRegistry;
use monai_contracts::operators::Operators;
use monai_contracts::payments::Payments;
use monai_protocol::ModelId;
use monai_protocol::emission::Cell;

use super::{Poster, epoch48, lock};
use crate::l1::PostError;
use crate::records::Settlement;

/// Slots that a table can have.
const MAX_SLOTS: u64 = 4096;

/// The lists, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lists {
    pub(super) size: usize,
    pub(super) models: usize,
    pub(super) assets: usize,
    pub(super) cells: Vec<U256>,
    pub(super) fees: Vec<U256>,
}

fn count(what: &str, n: U256) -> Result<usize, PostError> {
    usize::try_from(n)
        .ok()
        .filter(|n| *n as u64 <= MAX_SLOTS)
        .ok_or_else(|| PostError::Later(format!("{n} {what}")))
}

impl Poster {
    /// The lists of an epoch whose batches are final.
    pub(super) async fn lists(&self, epoch: u64, settlement: &Settlement) -> Result<Lists, PostError> {
        let (a, e) = (&self.addresses, epoch48(epoch));
        let operators = Operators::new(a.operators, self.provider.clone());
        let registry = ModelRegistry::new(a.models, self.provider.clone());
        let payments = Payments::new(a.payments, self.provider.clone());
        let size = count("slots", operators.tableSize(e).call().await?)?;
        let columns = count("models", registry.countAt(e).call().await?)?;
        let assets = count("assets", payments.assetCountAt(e).call().await?)?;
        let mut models = Vec::with_capacity(columns);
        for index in 0..columns {
            models.push(ModelId(registry.idAt(U256::from(index)).call().await?.0));
        }
        let mut pools = Vec::with_capacity(assets);
        for asset in 0..assets {
            pools.push(payments.poolOf(e, U256::from(asset)).call().await?);
        }
        let charges = self.charges(epoch)?;
        Ok(Lists {
            size,
            models: columns,
            assets,
            cells: cells(size, &models, settlement),
            fees: fees(size, &pools, &charges),
        })
    }

    /// What was charged for the answers of each slot's node in an epoch.
    fn charges(&self, epoch: u64) -> Result<BTreeMap<usize, u128>, PostError> {
        let mut charges = BTreeMap::new();
        let mut number = *lock(&self.final_below);
        while let Some(below) = number.checked_sub(1) {
            number = below;
            let Some(h) = self.source.header(number)? else { break };
            if h.epoch.0 < epoch {
                break;
            }
            let Some((input, output)) = self.prices.get(&h.model).filter(|_| h.epoch.0 == epoch) else {
                continue;
            };
            for leaf in self.source.leaves(number)? {
                if leaf.meta.finish.answered() {
                    let charge = u128::from(leaf.meta.n_in)
                        .saturating_mul(input.0)
                        .saturating_add(u128::from(leaf.meta.n_out).saturating_mul(output.0));
                    let sum: &mut u128 = charges.entry(usize::from(leaf.meta.node.0)).or_default();
                    *sum = sum.saturating_add(charge);
                }
            }
        }
        Ok(charges)
    }
}

/// Slots that nothing was measured in have no share, and nothing that could be held against them.
fn cells(size: usize, models: &[ModelId], settlement: &Settlement) -> Vec<U256> {
    (0..size)
        .flat_map(|slot| models.iter().map(move |model| (slot, model)))
        .map(|(slot, model)| {
            let of_model = settlement.models.get(model);
            let cell =
                of_model.and_then(|m| m.iter().find(|(s, _)| usize::from(s.0) == slot)).map(|(_, c)| *c);
            cell.unwrap_or_else(Cell::default).word()
        })
        .collect()
}

fn fees(size: usize, pools: &[U256], charges: &BTreeMap<usize, u128>) -> Vec<U256> {
    let total = charges.values().fold(U256::ZERO, |t, c| t.saturating_add(U256::from(*c)));
    (0..size)
        .flat_map(|slot| pools.iter().map(move |pool| (slot, pool)))
        .map(|(slot, pool)| {
            let charge = charges.get(&slot).map_or(U256::ZERO, |c| U256::from(*c));
            // Pools are sums of 128-bit amounts.
            let part = pool.saturating_mul(charge);
            part.checked_div(total).unwrap_or(U256::ZERO).min(U256::from(u128::MAX))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_protocol::NodeIndex;

    #[test]
    fn rows_stand_at_their_slots() {
        let (a, b) = (ModelId([1; 32]), ModelId([2; 32]));
        let cell = Cell { share: 7, uptime: 8, speed: 9 };
        let settlement = Settlement { models: BTreeMap::from([(b, BTreeMap::from([(NodeIndex(2), cell)]))]) };
        let got = cells(3, &[a, b], &settlement);
        assert_eq!(got.len(), 6);
        assert_eq!(got[5], U256::from(7) | U256::from(8) << 64 | U256::from(9) << 128);
        assert!(got[..5].iter().all(|c| *c == Cell::default().word()));
    }

    #[test]
    fn fees_follow_charges_and_never_exceed_a_pool() {
        let charges = BTreeMap::from([(0, 1), (2, 2)]);
        let pools = [U256::from(100), U256::ZERO];
        let n = |x: u64| U256::from(x);
        assert_eq!(fees(3, &pools, &charges), [n(33), n(0), n(0), n(0), n(66), n(0)]);
        assert_eq!(fees(2, &pools, &BTreeMap::new()), [n(0); 4], "nobody answered: the pool waits");
    }
}
