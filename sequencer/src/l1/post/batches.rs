//! The chain of batches: committed in order, proved, their beacons captured, made final.

use std::future::Future;
use std::pin::Pin;

use alloy_primitives::{B256, Bytes, U256};
use alloy_provider::RootProvider;
use monai_contracts::rollup::Rollup;
use monai_protocol::BatchHeader;
use monai_protocol::receipt::Signed;

use super::insecure_proofs::{InsecureStamp, batch_inputs};
use super::source::for_rollup;
use super::{Now, PROOF_WINDOW, Poster, header, lock};
use crate::l1::{BatchPoster, PostError};

/// Batches that one look commits, and that it looks after.
const PER_LOOK: u64 = 32;
/// Blocks that L1 remembers the hash of.
const HISTORY: u64 = 8191;
/// States of a batch, by the contract's numbers.
const COMMITTED: u8 = 1;
const PROVEN: u8 = 2;

impl BatchPoster for Poster {
    fn post<'a>(
        &'a self,
        header: &'a Signed<BatchHeader>,
        leaves: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = Result<(), PostError>> + Send + 'a>> {
        Box::pin(async move {
            let call = Rollup::commitBatchCalldataCall {
                header: for_rollup(&header.message),
                leaves: Bytes::copy_from_slice(leaves),
                blockHeader: Bytes::new(),
            };
            let what = format!("commit batch {}", header.message.number);
            let receipt = self.sender.send(&what, self.addresses.rollup, &call).await?;
            tracing::info!(
                number = header.message.number,
                epoch = header.message.epoch.0,
                leaves = header.message.leaf_count,
                gas = receipt.gas_used,
                "batch committed on L1"
            );
            Ok(())
        })
    }
}

impl Poster {
    pub(super) async fn batches(&self, now: Now) -> Result<(), PostError> {
        let committed = self.commit(now).await;
        let on_l1 = self.rollup().batchCount().call().await?;
        let matured = self.mature(now, on_l1).await;
        committed.and(matured)
    }

    /// Commits what is sealed and not on L1.
    async fn commit(&self, now: Now) -> Result<(), PostError> {
        let rollup = self.rollup();
        for _ in 0..PER_LOOK {
            let number = rollup.batchCount().call().await?;
            let head = rollup.headHash().call().await?;
            {
                let mut status = lock(&self.status);
                status.committed = number;
                status.sealed = self.source.sealed(number)?;
            }
            if self.source.digest_below(number)? != Some(head) {
                let what =
                    format!("L1 has {number} batches and its last is {head}, which is not this chain's");
                self.halt(Some(what));
                return Ok(());
            }
            let Some(sealed) = self.source.batch(number)? else {
                self.halt(None);
                return Ok(());
            };
            let epoch = sealed.header.message.epoch.0;
            if epoch.saturating_add(1) < now.epoch {
                self.halt(Some(format!(
                    "batch {number} of epoch {epoch} was not committed in time: L1 is in epoch {}",
                    now.epoch
                )));
                return Ok(());
            }
            self.halt(None);
            self.post(&sealed.header, &sealed.bytes).await?;
            *lock(&self.alive) = now.time;
        }
        Ok(())
    }

    /// Notes why nothing more can be committed, or that it can.
    fn halt(&self, why: Option<String>) {
        let mut status = lock(&self.status);
        if let Some(why) = why.as_ref().filter(|w| status.halted.as_ref() != Some(*w)) {
            tracing::error!(
                why,
                "no batch can be committed any more; governance can name a sequencer that begins anew"
            );
        }
        status.halted = why;
    }

    /// Proves, captures and finalises what is on L1.
    async fn mature(&self, now: Now, committed: u64) -> Result<(), PostError> {
        let rollup = self.rollup();
        let first = self.final_below(committed).await?;
        let mut proved = first;
        for number in first..committed.min(first.saturating_add(PER_LOOK)) {
            let Some(h) = self.source.header(number)? else { break };
            if rollup.isReverted(number).call().await? {
                break;
            }
            let state = rollup.batch(number).call().await?;
            let captured = self.capture(now, number, state.beaconBlock.saturating_to()).await?;
            let mut proven = state.status == PROVEN;
            if state.status == COMMITTED && self.config.insecure_proofs {
                let window = self.parameter(PROOF_WINDOW, h.epoch.0).await?.saturating_to::<u64>();
                if now.time > state.committedAt.saturating_to::<u64>().saturating_add(window) {
                    self.halt(Some(format!("batch {number} was not proved in time; anybody may drop it")));
                    return Ok(());
                }
                self.prove(&rollup, &h).await?;
                proven = true;
            }
            if proven && proved == number {
                proved += 1;
            }
            lock(&self.status).proved = proved;
            let until = state.committedAt.saturating_to::<u64>() + state.faultWindow.saturating_to::<u64>();
            if proven && captured && now.time > until && *lock(&self.final_below) == number {
                let call = Rollup::finaliseBatchCall { number, header: for_rollup(&h) };
                self.sender.send(&format!("finalise batch {number}"), self.addresses.rollup, &call).await?;
                *lock(&self.final_below) = number + 1;
                lock(&self.status).finalised = number + 1;
            }
        }
        Ok(())
    }

    /// The first batch that is not final.
    async fn final_below(&self, committed: u64) -> Result<u64, PostError> {
        let last = self.rollup().finalisedHash().call().await?;
        let guess = *lock(&self.final_below);
        let is =
            |number: u64| -> Result<bool, PostError> { Ok(self.source.digest_below(number)? == Some(last)) };
        let mut found = Some(guess).filter(|g| *g <= committed);
        if !found.map_or(Ok(false), is)? {
            found = None;
            for number in (0..=committed).rev() {
                if is(number)? {
                    found = Some(number);
                    break;
                }
            }
        }
        let found = found.ok_or_else(|| {
            PostError::Later(format!("L1's last final batch {last} is none of this chain's"))
        })?;
        *lock(&self.final_below) = found;
        let mut status = lock(&self.status);
        status.finalised = found;
        status.proved = status.proved.max(found).min(committed);
        drop(status);
        Ok(found)
    }

    async fn prove(
        &self,
        rollup: &Rollup::RollupInstance<RootProvider>,
        h: &BatchHeader,
    ) -> Result<(), PostError> {
        let before = h.number.checked_sub(1).map(|n| self.source.header(n)).transpose()?.flatten();
        let state = match &before {
            Some(parent) => for_rollup(parent).stateRoot,
            None => rollup.genesisState().call().await?,
        };
        let inputs = batch_inputs(h, state, self.addresses.chain_id, self.addresses.rollup);
        let call = Rollup::proveBatchCall {
            number: h.number,
            header: for_rollup(h),
            parentNumber: before.as_ref().map_or(0, |p| p.number),
            parent: for_rollup(before.as_ref().unwrap_or(h)),
            proof: InsecureStamp::of(h.circuit_version, &inputs).0,
        };
        let what = format!("prove batch {} (insecure)", h.number);
        self.sender.send(&what, self.addresses.rollup, &call).await.map(drop)
    }

    /// Captures the beacon of a batch's block, once it is there. True if it is captured.
    async fn capture(&self, now: Now, number: u64, block: u64) -> Result<bool, PostError> {
        let known =
            self.rollup().beaconOf(alloy_primitives::aliases::U40::saturating_from(block)).call().await?;
        if known != B256::ZERO {
            return Ok(true);
        }
        if now.block <= block {
            return Ok(false);
        }
        if now.block > block.saturating_add(HISTORY) {
            let call = Rollup::rescheduleBeaconCall { number };
            self.sender
                .send(&format!("reschedule the beacon of batch {number}"), self.addresses.rollup, &call)
                .await?;
            return Ok(false);
        }
        let call = Rollup::captureBeaconCall { blockHeader: header::at(&self.provider, block).await?.rlp };
        self.sender
            .send(&format!("capture the beacon of batch {number}"), self.addresses.rollup, &call)
            .await?;
        Ok(true)
    }

    /// The state root after the last final batch of an earlier epoch, or what the chain began with.
    pub(super) async fn state_before(&self, epoch: u64) -> Result<U256, PostError> {
        let mut number = *lock(&self.final_below);
        while let Some(below) = number.checked_sub(1) {
            match self.source.header(below)? {
                Some(h) if h.epoch.0 < epoch => return Ok(for_rollup(&h).stateRoot),
                _ => number = below,
            }
        }
        Ok(self.rollup().genesisState().call().await?)
    }
}
