//! Settling epochs, in their order: an epoch without batches is skipped, one with batches is proved.

use alloy_primitives::{B256, U256};
use alloy_provider::RootProvider;
use monai_contracts::epochs::Epochs;
use monai_protocol::batch::CIRCUIT_VERSION;

use super::insecure_proofs::{InsecureStamp, insecure_commitment, split};
use super::lists::Lists;
use super::source::for_epochs;
use super::{Now, Poster, epoch48, header, lock};
use crate::l1::PostError;

/// Epochs that one look settles.
const PER_LOOK: u64 = 32;
/// Blocks that L1 remembers the hash of.
const HISTORY: u64 = 8191;
/// How old a block must be, to show that the beacon's block can't be shown any more: forgotten soon, and not yet.
const ALMOST_FORGOTTEN: u64 = 8100;
/// Parameters that the proof is about, by position, in the order of its public inputs.
const ROUTING: [u8; 8] = [0, 1, 45, 46, 47, 48, 49, 42];

impl Poster {
    fn contract(&self) -> Epochs::EpochsInstance<RootProvider> {
        Epochs::new(self.addresses.epochs, self.provider.clone())
    }

    pub(super) async fn epochs(&self, now: Now) -> Result<(), PostError> {
        let rollup = self.rollup();
        for _ in 0..PER_LOOK {
            let epoch = self.contract().nextEpoch().call().await?.saturating_to::<u64>();
            lock(&self.status).next_epoch = epoch;
            // Until then a batch of it may still come.
            if now.epoch < epoch.saturating_add(2) {
                return Ok(());
            }
            let number = *lock(&self.final_below);
            let waiting =
                if number < rollup.batchCount().call().await? { self.source.header(number)? } else { None };
            if waiting.as_ref().is_some_and(|h| h.epoch.0 <= epoch) {
                return Ok(());
            }
            let next = waiting.as_ref().map(for_epochs).unwrap_or_default();
            let state = rollup.stateOf(epoch48(epoch)).call().await?;
            if state.is_zero() {
                let call = Epochs::skipCall { nextNumber: number, next };
                self.sender.send(&format!("skip epoch {epoch}"), self.addresses.epochs, &call).await?;
                continue;
            }
            let beacon = self.epoch_beacon(now, epoch).await?;
            let Some(settlement) = self.source.settlement(epoch)?.filter(|_| self.config.insecure_proofs)
            else {
                return Ok(());
            };
            let lists = self.lists(epoch, &settlement).await?;
            let (statement, inputs) = self.statement(epoch, state, beacon, &lists).await?;
            let Lists { cells, fees, .. } = lists;
            let proof = InsecureStamp::of(CIRCUIT_VERSION, &inputs).0;
            let call = Epochs::proveCall { statement, cells, fees, nextNumber: number, next, proof };
            let what = format!("prove epoch {epoch} (insecure)");
            let receipt = self.sender.send(&what, self.addresses.epochs, &call).await?;
            tracing::info!(epoch, gas = receipt.gas_used, "epoch proved on L1, by an insecure stand-in");
        }
        Ok(())
    }

    /// The beacon of an epoch, captured first if it is not.
    async fn epoch_beacon(&self, now: Now, epoch: u64) -> Result<B256, PostError> {
        let (contract, e) = (self.contract(), epoch48(epoch));
        let known = contract.beaconOf(e).call().await?;
        if known != B256::ZERO {
            return Ok(known);
        }
        let from = contract.beaconTime(e).call().await?.saturating_to::<u64>();
        let Some((block, parent)) = header::first_not_before(&self.provider, from, now.block).await? else {
            return Err(PostError::Later(format!("the beacon of epoch {epoch} has no block yet")));
        };
        if now.block > block.number.saturating_add(HISTORY) {
            let old = header::at(&self.provider, now.block.saturating_sub(ALMOST_FORGOTTEN)).await?;
            let call = Epochs::rescheduleBeaconCall { epoch: e, oldHeader: old.rlp };
            self.sender
                .send(&format!("reschedule the beacon of epoch {epoch}"), self.addresses.epochs, &call)
                .await?;
            return Err(PostError::Later(format!("the beacon of epoch {epoch} is of a later block now")));
        }
        let call = Epochs::captureBeaconCall { epoch: e, blockHeader: block.rlp, parentHeader: parent.rlp };
        self.sender
            .send(&format!("capture the beacon of epoch {epoch}"), self.addresses.epochs, &call)
            .await?;
        Ok(contract.beaconOf(e).call().await?)
    }

    /// The statement of an epoch and the public inputs of its proof, as `Epochs.prove` lists them.
    async fn statement(
        &self,
        epoch: u64,
        state: U256,
        beacon: B256,
        lists: &Lists,
    ) -> Result<(Epochs::EpochStatement, Vec<U256>), PostError> {
        let (contract, e) = (self.contract(), epoch48(epoch));
        let table = insecure_commitment("insecure table", &contract.nodeTable(e).call().await?);
        let listed: Vec<U256> = lists.cells.iter().chain(&lists.fees).copied().collect();
        let list = insecure_commitment("insecure lists", &listed);
        let tip = self.rollup().chainAt(e).call().await?.tip;
        let bound = contract.bindTable(e, table).call().await?;
        let bound_lists = contract.bindLists(e, lists.cells.clone(), lists.fees.clone(), list).call().await?;
        let mut inputs = vec![U256::from(epoch), self.state_before(epoch).await?, state];
        inputs.extend(split(beacon));
        inputs.extend(split(tip));
        inputs.extend([lists.size, lists.models, lists.assets].map(U256::from));
        inputs.extend([table, bound.point, bound.value, list, bound_lists.point, bound_lists.value]);
        for index in ROUTING {
            inputs.push(self.parameter(index, epoch).await?);
        }
        let statement = Epochs::EpochStatement {
            epoch: e,
            circuitVersion: CIRCUIT_VERSION,
            tableCommitment: table,
            listCommitment: list,
        };
        Ok((statement, inputs))
    }
}
