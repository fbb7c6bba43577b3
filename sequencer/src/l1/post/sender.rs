//! One transaction at a time: tried on the newest state, signed, sent, and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256};
use alloy_provider::{Provider as _, RootProvider};
use alloy_rpc_types_eth::{TransactionInput, TransactionReceipt, TransactionRequest};
use alloy_sol_types::SolCall;
use monai_protocol::{Keccak, SecretKey};
use tokio::time::Instant;

use crate::l1::PostError;

/// For a transaction to be in a block; then it is sent again, dearer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks for its receipt.
const POLL: Duration = Duration::from_millis(100);
/// Gas limit over what the trial used, in percent: an epoch may turn in between.
const GAS_MARGIN: u64 = 130;
/// Most gas of a transaction (EIP-7825).
const MOST_GAS: u64 = 1 << 24;
/// What one more attempt pays over the one before, in percent: less than a tenth more replaces nothing.
const DEARER: u32 = 25;
/// Attempts that raise the price.
const RAISES: u32 = 16;

/// Sends as the sequencer. The next nonce is always that of the newest block: what is sent while another transaction
/// waits takes its place, so nothing piles up behind one that is stuck.
pub(super) struct Sender {
    provider: RootProvider,
    key: Arc<SecretKey>,
    chain_id: u64,
    /// Transactions in a row that no block took.
    ignored: AtomicU32,
}

impl Sender {
    pub(super) fn new(provider: RootProvider, key: Arc<SecretKey>, chain_id: u64) -> Self {
        Self { provider, key, chain_id, ignored: AtomicU32::new(0) }
    }

    fn address(&self) -> Address {
        self.key.address().into()
    }

    /// Sends a call; returns once it is in a block and did not fail there.
    pub(super) async fn send(
        &self,
        what: &str,
        to: Address,
        call: &impl SolCall,
    ) -> Result<TransactionReceipt, PostError> {
        let input = Bytes::from(call.abi_encode());
        let request = TransactionRequest {
            from: Some(self.address()),
            to: Some(TxKind::Call(to)),
            input: TransactionInput::new(input.clone()),
            ..TransactionRequest::default()
        };
        let gas = self.provider.estimate_gas(request).await.map_err(|e| match e.as_error_resp() {
            Some(told) => PostError::Refused(format!("{what}: {told}")),
            None => PostError::Later(format!("{what}: {e}")),
        })?;
        let raw = self.signed(to, input, gas).await?;
        let pending = self.provider.send_raw_transaction(&raw).await;
        let hash = *pending.map_err(|e| PostError::Later(format!("{what}: {e}")))?.tx_hash();
        let begin = Instant::now();
        loop {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await? {
                self.ignored.store(0, Ordering::Relaxed);
                if !receipt.status() {
                    return Err(PostError::Later(format!("{what}: transaction {hash} failed")));
                }
                tracing::debug!(what, %hash, gas = receipt.gas_used, "posted");
                return Ok(receipt);
            }
            if begin.elapsed() > PATIENCE {
                self.ignored.fetch_add(1, Ordering::Relaxed);
                return Err(PostError::Later(format!("{what}: transaction {hash} is in no block yet")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn signed(&self, to: Address, input: Bytes, gas: u64) -> Result<Vec<u8>, PostError> {
        let nonce = self.provider.get_transaction_count(self.address()).latest().await?;
        let mut price = self.provider.get_gas_price().await?;
        for _ in 0..self.ignored.load(Ordering::Relaxed).min(RAISES) {
            price = price.saturating_mul(u128::from(100 + DEARER)) / 100;
        }
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce,
            gas_limit: (gas.saturating_mul(GAS_MARGIN) / 100).min(MOST_GAS).max(gas),
            max_fee_per_gas: price.saturating_mul(2),
            max_priority_fee_per_gas: price / 10,
            to: TxKind::Call(to),
            value: U256::ZERO,
            access_list: alloy_rpc_types_eth::AccessList::default(),
            input,
        };
        let digest = Keccak(transaction.signature_hash().0);
        let signed = self.key.sign(&digest).map_err(|e| PostError::Later(e.to_string()))?;
        let signature = Signature::from_raw(&signed.0).map_err(|e| PostError::Later(e.to_string()))?;
        let mut raw = Vec::new();
        transaction.into_signed(signature).eip2718_encode(&mut raw);
        Ok(raw)
    }
}
