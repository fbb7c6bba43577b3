//! Slots: consecutive within each (model, lane), each given once, on disk before anyone hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use monai_protocol::{Address, Lane, ModelId, Slot};

use crate::ledger::view::EpochView;
use crate::ledger::{LedgerError, ModelView, meta};
use crate::records::OpenSlot;
use crate::store::{Cf, Change, Store, StoreError, Ticket, keys};

/// Nonces that one write covers. A restart continues at the next mark, so nonces count up but may skip.
const NONCES_PER_MARK: u64 = 4_096;

/// Why a request gets no slot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssignError {
    /// The request's time is over.
    #[error("the request expired")]
    Expired,
    /// The user has used this nonce.
    #[error("the nonce was used before")]
    NonceUsed,
    /// No node qualifies for the model in this epoch.
    #[error("no node qualifies for this model in this epoch")]
    NoTable,
    /// The lane's hash chain is used up until the next epoch.
    #[error("the lane takes no more slots in this epoch")]
    ChainExhausted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The counters.
pub(crate) struct Slots {
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

struct Inner {
    view: Arc<EpochView>,
    next: BTreeMap<(ModelId, Lane), Slot>,
    nonce: u64,
    nonce_mark: u64,
    /// Nonces of users' own keys whose write is on its way.
    pending: BTreeSet<(Address, u64)>,
}

impl Slots {
    /// Continues where the store stopped.
    pub(crate) fn open(store: Arc<Store>, view: Arc<EpochView>) -> Result<Self, StoreError> {
        let mut next = BTreeMap::new();
        for (raw, value) in store.scan(Cf::NextSlots, &[], usize::MAX)? {
            let damaged = || StoreError::Decode(Cf::NextSlots.name(), "malformed".into());
            let (model, lane) = keys::parse_lane(&raw).ok_or_else(damaged)?;
            let slot = u64::from_be_bytes(value.try_into().map_err(|_| damaged())?);
            next.insert((model, lane), Slot(slot));
        }
        let mark = match store.get(Cf::Meta, meta::NONCE_MARK)? {
            None => 0,
            Some(b) => u64::from_be_bytes(
                b.try_into().map_err(|_| StoreError::Decode(Cf::Meta.name(), "nonce mark".into()))?,
            ),
        };
        let inner = Inner { view, next, nonce: mark, nonce_mark: mark, pending: BTreeSet::new() };
        Ok(Self { store, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch that new slots belong to.
    pub(crate) fn view(&self) -> Arc<EpochView> {
        self.lock().view.clone()
    }

    /// The next slot of a lane.
    pub(crate) fn next(&self, model: ModelId, lane: Lane) -> Slot {
        self.lock().next.get(&(model, lane)).copied().unwrap_or_default()
    }

    /// A fresh nonce of the gateway's user key.
    pub(crate) fn nonce(&self) -> u64 {
        let mut inner = self.lock();
        if inner.nonce == inner.nonce_mark {
            inner.nonce_mark += NONCES_PER_MARK;
            let mut change = Change::default();
            change.put(Cf::Meta, meta::NONCE_MARK.to_vec(), inner.nonce_mark.to_be_bytes().to_vec());
            // Not waited for: writes are in order, so a slot that is durable has its mark durable too.
            drop(self.store.submit(change));
        }
        let nonce = inner.nonce;
        inner.nonce += 1;
        nonce
    }

    /// Gives the next slot of `(open.request.model, open.lane)` to `open` and waits until that is on disk.
    /// `own_key` marks requests whose user has a key of its own, so that its nonces are checked.
    pub(crate) async fn assign(
        &self,
        mut open: OpenSlot,
        own_key: bool,
    ) -> Result<(OpenSlot, Arc<ModelView>), AssignError> {
        let model = open.request.model;
        let nonce = (open.request.user, open.request.nonce);
        let (ticket, view) = {
            let mut inner = self.lock();
            if open.received_ms / 1_000 > open.request.expiry {
                return Err(AssignError::Expired);
            }
            let view = inner.view.models.get(&model).cloned().ok_or(AssignError::NoTable)?;
            if view.table.is_none() {
                return Err(AssignError::NoTable);
            }
            let slot = inner.next.get(&(model, open.lane)).copied().unwrap_or_default();
            if !open.lane.by_preference() && !view.covers(slot) {
                return Err(AssignError::ChainExhausted);
            }
            let mut change = Change::default();
            if own_key {
                let key = keys::used_nonce(&nonce.0, nonce.1);
                if inner.pending.contains(&nonce) || self.store.get(Cf::Nonces, &key)?.is_some() {
                    return Err(AssignError::NonceUsed);
                }
                change.put(Cf::Nonces, key, open.request.expiry.to_be_bytes().to_vec());
            }
            open.slot = slot;
            open.epoch = inner.view.epoch;
            let after = Slot(slot.0 + 1);
            change.put(Cf::NextSlots, keys::lane(&model, open.lane), after.0.to_be_bytes().to_vec());
            change.put_json(Cf::Open, keys::slot(&model, open.lane, slot), &open)?;
            // Counted up and handed over under one lock, so slots reach the disk in their order.
            inner.next.insert((model, open.lane), after);
            if own_key {
                inner.pending.insert(nonce);
            }
            (self.store.submit(change), view)
        };
        let durable = ticket.durable().await;
        if own_key {
            self.lock().pending.remove(&nonce);
        }
        durable?;
        Ok((open, view))
    }

    /// Writes an open slot again and waits until that is on disk.
    pub(crate) async fn keep(&self, open: &OpenSlot) -> Result<(), StoreError> {
        let mut change = Change::default();
        change.put_json(Cf::Open, keys::slot(&open.request.model, open.lane, open.slot), open)?;
        self.store.submit(change).durable().await
    }

    /// Moves to another epoch: `next` learns where each lane stands and returns the new view, while no slot
    /// can be given. Blocks until the change is on disk.
    pub(crate) fn rotate(
        &self,
        next: impl FnOnce(&dyn Fn(ModelId, Lane) -> Slot) -> Result<(Arc<EpochView>, Ticket), LedgerError>,
    ) -> Result<(), LedgerError> {
        let ticket = {
            let mut inner = self.lock();
            let slots = &inner.next;
            let (view, ticket) = next(&|model, lane| slots.get(&(model, lane)).copied().unwrap_or_default())?;
            inner.view = view;
            ticket
        };
        Ok(ticket.durable_blocking()?)
    }
}
