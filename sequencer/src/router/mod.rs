//! The router: gives slots, draws nodes, relays what they stream, checks what they sign, fails over.
//!
//! Invariants:
//! * A slot is on disk before a node hears of it, and its end before the client hears of that.
//! * Every assigned slot ends exactly once: with an answer, or after as many attempts as the protocol allows.
//! * No id reaches a client that the receipt will not hold, whatever nodes do.

mod attempt;
mod close;
mod drive;
mod gate;
mod recovery;
pub(crate) mod slots;
pub(crate) mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;

use monai_protocol::messages::{Intake, Typed as _};
use monai_protocol::receipt::Signed;
use monai_protocol::{Address, Domain, EpochId, Finish, Lane, ModelId, Request, SecretKey, Signature, Slot};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Served;
use crate::clock::now_ms;
use crate::config::{Timeouts, ms};
use crate::hub::Hub;
use crate::ledger::{LOT_LANE, Ledger, ModelView, PREFERENCE_LANE};
use crate::metrics::Metrics;
use crate::records::OpenSlot;
use crate::secret::{ApiKeyHash, Secret32};
use crate::store::Store;
use gate::Gate;
use slots::{AssignError, Slots};
use verify::Place;

/// What is to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) completion: String,
    pub(crate) choice: u32,
    pub(crate) owner: ApiKeyHash,
    pub(crate) served: Arc<Served>,
    pub(crate) request: Request,
    /// Present if the user has a key of its own.
    pub(crate) user_signature: Option<Signature>,
    /// Nodes by the client's choice, best first. Absent: by lot.
    pub(crate) providers: Option<Vec<Address>>,
    /// True if ids reach the client before the answer is complete.
    pub(crate) stream: bool,
    /// Alternatives a token whose log-probabilities the client wants.
    pub(crate) logprobs: Option<u8>,
}

/// What the client's side hears of an answer.
#[derive(Debug)]
pub(crate) enum AnswerEvent {
    /// The next id.
    Id(u32, Option<Box<monai_protocol::wire::TokenLogprobs>>),
    /// Forget all ids: a node was shown to have streamed what the model does not decode. Only where nothing
    /// has reached the client.
    Reset,
    /// The answer is complete and its receipt on disk.
    Finished(Box<Answer>),
    /// There will be no answer.
    Failed(RouteError),
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) finish: Finish,
    pub(crate) ids: Vec<u32>,
    pub(crate) node: Address,
    /// Attempts before the one that answered.
    pub(crate) failovers: usize,
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) intake: Signed<Intake>,
    pub(crate) events: mpsc::UnboundedReceiver<AnswerEvent>,
    /// Cancelling it ends the answer after the ids that were streamed, if the gateway's key is the user's.
    pub(crate) enough: CancellationToken,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteError {
    /// No slot.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// No node that could be drawn is connected.
    #[error("no node for this model is connected")]
    NoNode,
    /// All nodes are busy and stay so.
    #[error("all nodes are busy")]
    Busy,
    /// Every node that was drawn failed.
    #[error("every drawn node failed")]
    NodesFailed,
    /// The sequencer is shutting down.
    #[error("the sequencer is shutting down")]
    Closing,
    /// The sequencer failed.
    #[error("internal error")]
    Internal,
}

/// The router.
pub(crate) struct Router {
    pub(crate) store: Arc<Store>,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) domain: Domain,
    pub(crate) hub: Arc<Hub>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) slots: Slots,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retention_secs: u64,
    gate: Gate,
    /// Blinds the cache scopes that nodes see. Never leaves this process.
    scope_salt: Secret32,
    /// Answers being driven; shutdown waits for them.
    tasks: TaskTracker,
    /// No new requests.
    closing: CancellationToken,
    /// Answers must end now.
    cut: CancellationToken,
}

/// What the router is made from.
pub(crate) struct RouterSetup {
    pub(crate) store: Arc<Store>,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) domain: Domain,
    pub(crate) hub: Arc<Hub>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) slots: Slots,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retention_secs: u64,
}

impl Router {
    pub(crate) fn new(s: RouterSetup) -> Self {
        Self {
            store: s.store,
            key: s.key,
            domain: s.domain,
            hub: s.hub,
            ledger: s.ledger,
            slots: s.slots,
            metrics: s.metrics,
            timeouts: s.timeouts,
            retention_secs: s.retention_secs,
            gate: Gate::default(),
            scope_salt: Secret32::new(rand::random()),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// The view of a model that new slots would get.
    pub(crate) fn model_view(&self, model: &ModelId) -> Option<Arc<ModelView>> {
        self.slots.view().models.get(model).cloned()
    }

    /// Streams that the nodes of the model's table have signed for, those that drain left out. A node counts for at
    /// most twice the median: nodes are drawn by weight and not by credit, so one that signs for a thousand streams
    /// would only fill the others.
    fn room(&self, model: &ModelId) -> usize {
        let Some(view) = self.model_view(model) else { return 0 };
        let mut credits: Vec<usize> = view
            .nodes()
            .iter()
            .filter_map(|n| self.hub.session(n))
            .filter(|s| s.accepts(model))
            .map(|s| s.credits(model) as usize)
            .collect();
        credits.sort_unstable();
        let most =
            credits.get(credits.len().saturating_sub(1) / 2).map_or(0, |median| median.saturating_mul(2));
        credits.iter().map(|&c| c.min(most)).sum()
    }

    /// What tells nodes the users of this gateway's key apart: a number for each API key and epoch, which says nothing
    /// about the key. A user who signs needs none: the node has his own key.
    fn cache_scope(&self, open: &OpenSlot) -> Option<u64> {
        if open.user_signature.is_some() {
            return None;
        }
        let mut hash = Sha256::new_with_prefix(self.scope_salt.expose());
        hash.update(open.epoch.0.to_be_bytes());
        hash.update(open.owner.bytes());
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// Says at once if nobody could answer, so that a stream need not begin.
    pub(crate) fn check_available(
        &self,
        model: &ModelId,
        providers: Option<&[Address]>,
    ) -> Result<(), RouteError> {
        if self.closing.is_cancelled() {
            return Err(RouteError::Closing);
        }
        if self.store.failed() {
            return Err(RouteError::Internal);
        }
        let view = self.model_view(model).filter(|v| v.table.is_some()).ok_or(AssignError::NoTable)?;
        let nodes = view.nodes();
        let candidates: Vec<&Address> = match providers {
            None => nodes.iter().collect(),
            Some(p) => p.iter().filter(|n| nodes.contains(n)).collect(),
        };
        if self.hub.any_accepts(model, candidates) { Ok(()) } else { Err(RouteError::NoNode) }
    }

    /// Gives the order a slot, on disk, and begins to answer it.
    pub(crate) async fn begin(self: &Arc<Self>, order: Order) -> Result<Answering, RouteError> {
        let model = order.request.model;
        self.check_available(&model, order.providers.as_deref())?;
        let inside = self
            .gate
            .enter(model, ms(self.timeouts.queue_ms), || self.room(&model))
            .await
            .ok_or(RouteError::Busy)?;
        if self.closing.is_cancelled() {
            return Err(RouteError::Closing);
        }
        let lane = if order.providers.is_some() { PREFERENCE_LANE } else { LOT_LANE };
        let open = OpenSlot {
            completion: order.completion,
            choice: order.choice,
            owner: order.owner,
            epoch: EpochId(0),
            lane,
            slot: Slot(0),
            received_ms: now_ms(),
            request: order.request,
            user_signature: order.user_signature,
            cancel: None,
        };
        // Driven in a task of its own from here on: once given, a slot must end, whoever listens.
        let (assigned, slot) = tokio::sync::oneshot::channel();
        let (events_in, events) = mpsc::unbounded_channel();
        let enough = CancellationToken::new();
        let (router, stop) = (self.clone(), enough.clone());
        let own_key = open.user_signature.is_some();
        let client = drive::Client {
            events: events_in,
            enough: stop,
            stream: order.stream,
            logprobs: order.logprobs,
            providers: order.providers,
        };
        self.tasks.spawn(async move {
            match router.slots.assign(open, own_key).await {
                Err(e) => drop(assigned.send(Err(e))),
                Ok((open, view)) => match router.intake(&open) {
                    Ok(intake) => {
                        drop(assigned.send(Ok(intake.clone())));
                        router.drive(order.served, open, view, intake, client, inside).await;
                    }
                    Err(error) => tracing::error!(%error, "an intake could not be signed"),
                },
            }
        });
        let intake = slot.await.map_err(|_| RouteError::Internal)??;
        Ok(Answering { intake, events, enough })
    }

    fn intake(&self, open: &OpenSlot) -> Result<Signed<Intake>, monai_protocol::keys::SignatureError> {
        let message = Intake {
            request: open.request.commitment(),
            model: open.request.model,
            lane: open.lane,
            slot: open.slot,
            received_ms: open.received_ms,
        };
        let signature = message.sign(&self.domain, &self.key)?;
        Ok(Signed { message, signature })
    }

    fn place(&self, served: &Served, open: &OpenSlot, intake: &Intake) -> Place {
        let own = open.request.params.stop_ids.iter().copied();
        let stops: BTreeSet<u32> = served.eos_ids().iter().copied().chain(own).collect();
        Place {
            domain: self.domain,
            r: intake.request,
            request: open.request.clone(),
            lane: open.lane,
            slot: open.slot,
            stops,
            vocab: served.vocab(),
        }
    }

    /// Room may have changed.
    pub(crate) fn room_changed(&self) {
        self.gate.room_changed();
    }

    /// Takes no new requests; waits for answers until `deadline`, then ends them where they are.
    pub(crate) async fn shutdown(&self) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout(ms(self.timeouts.shutdown_ms), self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            // Cancelled answers still need a node's signature; those that get none stay open on disk and are
            // closed at the next start.
            let grace = ms(self.timeouts.shutdown_ms.min(2_000));
            if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
                tracing::warn!(open = self.tasks.len(), "answers were left open; the next start closes them");
            }
        }
    }
}

/// How a lane is called in responses.
pub(crate) fn lane_name(lane: Lane) -> &'static str {
    if lane.by_preference() { "preference" } else { "lot" }
}
