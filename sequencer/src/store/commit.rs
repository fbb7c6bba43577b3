//! Group commit: many tasks, one synced write.
//!
//! A change is a list of puts and deletes that must be seen together or not at all. Changes are applied in
//! the order in which they are handed over, each inside one RocksDB write batch, so after a crash the store
//! holds a prefix of them. A ticket resolves once its change is on disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use rocksdb::{DB, WriteBatch, WriteOptions};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::StoreError;
use super::keys::Cf;
use super::marks::Marks;
use crate::metrics::Metrics;

/// Most changes in one synced write: bounds how long the first of them waits.
const MAX_GROUP: usize = 512;

enum Op {
    Put(Cf, Vec<u8>, Vec<u8>),
    Delete(Cf, Vec<u8>),
}

/// Puts and deletes that belong together.
#[derive(Default)]
pub(crate) struct Change {
    ops: Vec<Op>,
}

impl Change {
    pub(crate) fn put(&mut self, cf: Cf, key: Vec<u8>, value: Vec<u8>) {
        self.ops.push(Op::Put(cf, key, value));
    }

    /// Puts the JSON form of a record.
    pub(crate) fn put_json<T: serde::Serialize>(
        &mut self,
        cf: Cf,
        key: Vec<u8>,
        value: &T,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value).map_err(|e| StoreError::Encode(cf.name(), e.to_string()))?;
        self.put(cf, key, bytes);
        Ok(())
    }

    pub(crate) fn delete(&mut self, cf: Cf, key: Vec<u8>) {
        self.ops.push(Op::Delete(cf, key));
    }

    /// Lanes and their next slots, where the change writes them.
    fn counters(&self) -> impl Iterator<Item = (Vec<u8>, u64)> {
        self.ops.iter().filter_map(|op| match op {
            Op::Put(Cf::NextSlots, lane, next) => {
                Some((lane.clone(), u64::from_be_bytes(next.as_slice().try_into().ok()?)))
            }
            _ => None,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

enum Order {
    Write(Change, oneshot::Sender<Result<(), StoreError>>),
    Stop,
}

/// The promise of a durable write.
#[must_use = "a change is durable only once its ticket resolved"]
pub(crate) struct Ticket(oneshot::Receiver<Result<(), StoreError>>);

impl Ticket {
    /// Waits until the change is on disk.
    pub(crate) async fn durable(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or(Err(StoreError::Stopped))
    }

    /// The same for threads outside the runtime.
    pub(crate) fn durable_blocking(self) -> Result<(), StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Stopped))
    }
}

/// The thread that writes.
pub(super) struct Writer {
    orders: Sender<Order>,
    /// Cancelled once a write has failed.
    broken: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// With `marks`, a change of the lanes' counters is in that file, too, before its ticket resolves.
    pub(super) fn start(
        db: Arc<DB>,
        mut marks: Option<Marks>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let (orders, inbox) = channel();
        let broken = CancellationToken::new();
        let broke = broken.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || run(&db, marks.as_mut(), &inbox, &broke, &metrics))
            .map_err(|e| StoreError::Io(e.to_string()))?;
        Ok(Self { orders, broken, thread: Some(thread) })
    }

    /// Hands a change over. Changes are written in the order of these calls.
    pub(super) fn submit(&self, change: Change) -> Ticket {
        let (done, ticket) = oneshot::channel();
        if let Err(lost) = self.orders.send(Order::Write(change, done))
            && let Order::Write(_, done) = lost.0
        {
            // The receiver of the answer may be gone already; then nobody needs to know.
            drop(done.send(Err(StoreError::Stopped)));
        }
        Ticket(ticket)
    }

    pub(super) fn failed(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Resolves once a write has failed.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What was submitted before is still written: the queue is in order.
        drop(self.orders.send(Order::Stop));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(
    db: &DB,
    mut marks: Option<&mut Marks>,
    inbox: &Receiver<Order>,
    broken: &CancellationToken,
    metrics: &Metrics,
) {
    let mut stop = false;
    while !stop {
        let Ok(first) = inbox.recv() else { return };
        let mut group = Vec::new();
        for order in std::iter::once(first).chain(inbox.try_iter().take(MAX_GROUP - 1)) {
            match order {
                Order::Write(change, done) => group.push((change, done)),
                Order::Stop => {
                    stop = true;
                    break;
                }
            }
        }
        if group.is_empty() {
            continue;
        }
        let began = Instant::now();
        // After a failed write the store may lack a change that later ones build on, so none may follow.
        let result = if broken.is_cancelled() {
            Err(StoreError::Failed)
        } else {
            let changes = || group.iter().map(|(c, _)| c);
            // The store first: it may be ahead of the marks, never behind.
            write(db, changes()).and_then(|()| match &mut marks {
                Some(marks) => marks.raise(changes().flat_map(Change::counters)),
                None => Ok(()),
            })
        };
        metrics.store_write(began.elapsed(), group.len());
        if let Err(error) = &result
            && !broken.is_cancelled()
        {
            tracing::error!(%error, "the store failed; no further request is accepted");
            broken.cancel();
        }
        for (_, done) in group {
            drop(done.send(result.clone()));
        }
    }
}

fn write<'a>(db: &DB, changes: impl Iterator<Item = &'a Change>) -> Result<(), StoreError> {
    let mut batch = WriteBatch::default();
    for change in changes {
        for op in &change.ops {
            match op {
                Op::Put(cf, key, value) => batch.put_cf(super::handle(db, *cf)?, key, value),
                Op::Delete(cf, key) => batch.delete_cf(super::handle(db, *cf)?, key),
            }
        }
    }
    let mut options = WriteOptions::default();
    options.set_sync(true);
    db.write_opt(batch, &options).map_err(StoreError::from)
}
