//! The node hub: who is connected, and the socket each dials in by.

mod session;
mod socket;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use monai_protocol::wire::FaultCode;
use monai_protocol::{Address, Domain, ModelId};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use strangers::Strangers;

pub(crate) use session::{JobChannel, JobEvent, Session};
pub(crate) use socket::serve;

use crate::config::{Limits, Timeouts};
use crate::metrics::Metrics;

/// All sessions of one sequencer.
pub(crate) struct Hub {
    pub(crate) domain: Domain,
    pub(crate) sequencer: Address,
    pub(crate) timeouts: Timeouts,
    pub(crate) frame_bytes: usize,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled at shutdown: sessions say goodbye and end.
    pub(crate) closing: CancellationToken,
    /// Connections without a hello.
    strangers: Strangers,
    /// Places for the connections of registered operators.
    pub(crate) places: Arc<Semaphore>,
    registered: RwLock<BTreeSet<Address>>,
    sessions: Mutex<BTreeMap<Address, Arc<Session>>>,
    numbers: AtomicU64,
    changes: Notify,
}

impl Hub {
    pub(crate) fn new(
        domain: Domain,
        sequencer: Address,
        limits: &Limits,
        timeouts: Timeouts,
        metrics: Arc<Metrics>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            domain,
            sequencer,
            timeouts,
            frame_bytes: limits.node_frame_bytes,
            metrics,
            closing,
            strangers: Strangers::default(),
            places: Arc::new(Semaphore::new(limits.node_connections)),
            registered: RwLock::default(),
            sessions: Mutex::default(),
            numbers: AtomicU64::new(1),
            changes: Notify::new(),
        }
    }

    /// Sets who may connect. Sessions of others end.
    pub(crate) fn set_registered(&self, operators: BTreeSet<Address>) {
        let gone: Vec<_> = {
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.values().filter(|s| !operators.contains(&s.node)).cloned().collect()
        };
        *self.registered.write().unwrap_or_else(PoisonError::into_inner) = operators;
        for session in gone {
            session.close(FaultCode::UnknownNode, "no longer a registered operator");
        }
    }

    /// True if the address is a registered operator.
    pub(crate) fn is_registered(&self, node: &Address) -> bool {
        self.registered.read().unwrap_or_else(PoisonError::into_inner).contains(node)
    }

    pub(crate) fn session(&self, node: &Address) -> Option<Arc<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    /// All sessions, by address.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// True if some node of `nodes` can take a job for the model now.
    pub(crate) fn any_accepts<'a>(
        &self,
        model: &ModelId,
        nodes: impl IntoIterator<Item = &'a Address>,
    ) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.into_iter().any(|n| sessions.get(n).is_some_and(|s| s.accepts(model)))
    }

    /// Resolves at the next change of who is connected with what. Waiters check first and come back, so one
    /// that slips between check and call is made good within a second.
    pub(crate) async fn changed(&self) {
        drop(tokio::time::timeout(Duration::from_secs(1), self.changes.notified()).await);
    }

    fn notify(&self) {
        self.changes.notify_waiters();
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds an authenticated session; an older one of the same node ends.
    fn insert(&self, session: Arc<Session>) {
        let old = {
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let old = sessions.insert(session.node, session);
            self.metrics.nodes.set(sessions.len() as i64);
            old
        };
        self.notify();
        if let Some(old) = old {
            old.close(FaultCode::Replaced, "a newer session of this node replaced this one");
        }
    }

    /// Removes a session, unless a newer one took its place.
    fn remove(&self, session: &Session) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.get(&session.node).is_some_and(|s| s.number == session.number) {
            sessions.remove(&session.node);
        }
        self.metrics.nodes.set(sessions.len() as i64);
        drop(sessions);
        self.notify();
    }
}
