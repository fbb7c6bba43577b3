//! Deletes plaintext when its time is over, from the files too.
//!
//! A mark in the store says that deleted plaintext may still be in its files. It is set with the deletion and
//! goes once the files are rewritten, so a crash in between is made good at the next sweep.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::now_secs;
use crate::metrics::Metrics;
use crate::records::StoredReceipt;
use crate::store::{Cf, Change, Store, StoreError, decode};

/// Receipts in one write.
const CHUNK: usize = 256;
/// The mark, in [`Cf::Meta`].
const ERASURE_DUE: &[u8] = b"erasure_due";

/// Erases everything whose retention has ended at `now` (unix seconds). Returns how many receipts that were.
pub(crate) async fn sweep(store: &Arc<Store>, metrics: &Metrics, now: u64) -> Result<usize, StoreError> {
    let mut erased = 0;
    loop {
        let due: Vec<Vec<u8>> = store
            .scan(Cf::Expiries, &[], CHUNK)?
            .into_iter()
            .map(|(key, _)| key)
            .take_while(|key| {
                key.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes) <= Some(now)
            })
            .collect();
        if due.is_empty() {
            break;
        }
        let mut change = Change::default();
        for key in &due {
            let receipt = key.get(8..).unwrap_or_default();
            if let Some(bytes) = store.get(Cf::Receipts, receipt)?
                && let StoredReceipt::Kept(plaintext) = decode(Cf::Receipts, &bytes)?
            {
                change.put_json(
                    Cf::Receipts,
                    receipt.to_vec(),
                    &StoredReceipt::Erased { owner: plaintext.owner },
                )?;
                erased += 1;
            }
            change.delete(Cf::Expiries, key.clone());
        }
        change.put(Cf::Meta, ERASURE_DUE.to_vec(), vec![1]);
        store.commit(change).await?;
    }
    metrics.erased.inc_by(erased as u64);
    forget_nonces(store, now).await?;
    if store.get(Cf::Meta, ERASURE_DUE)?.is_some() {
        let files = store.clone();
        tokio::task::spawn_blocking(move || files.erase_deleted())
            .await
            .map_err(|_| StoreError::Stopped)??;
        let mut done = Change::default();
        done.delete(Cf::Meta, ERASURE_DUE.to_vec());
        store.commit(done).await?;
        tracing::info!(erased, "plaintext deleted at the end of its retention");
    }
    Ok(erased)
}

/// Nonces of requests that expired can't be used again anyway.
async fn forget_nonces(store: &Store, now: u64) -> Result<(), StoreError> {
    let mut change = Change::default();
    for (key, value) in store.scan(Cf::Nonces, &[], usize::MAX)? {
        if value.try_into().map(u64::from_be_bytes).is_ok_and(|expiry| expiry < now) {
            change.delete(Cf::Nonces, key);
        }
    }
    store.commit(change).await
}

/// The task: sweeps now and then. A sweep that has begun is finished before the task ends.
pub(crate) async fn run(
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    every: std::time::Duration,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = sweep(&store, &metrics, now_secs()).await {
            tracing::error!(%error, "the retention could not be enforced");
        }
    }
}
