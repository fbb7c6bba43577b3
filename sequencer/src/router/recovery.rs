//! After a start: slots that were given but not ended.
//!
//! Their clients are gone, and no receipt was promised. Each still has to end exactly once: the drawn nodes are
//! asked again, in the same order as before, and the answer runs to the end that it would have had: a node may have
//! signed that end already, and must never be led to sign another one for the same slot. An order to stop that was
//! given before the crash is on disk and is given again, word for word. Nodes that don't come back in time have missed
//! the slot. Clients can fetch the receipts.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::drive::Client;
use super::{RouteError, Router};
use crate::catalogue::Catalogue;
use crate::config::ms;
use crate::ledger::LedgerError;
use crate::ledger::view::EpochView;
use crate::records::OpenSlot;
use crate::store::Cf;

impl Router {
    /// Begins to close what was left open, in the background. Returns how many slots that are.
    pub(crate) fn recover(self: &Arc<Self>, catalogue: &Catalogue) -> Result<usize, LedgerError> {
        let open: Vec<OpenSlot> =
            self.store.scan_json(Cf::Open, &[], usize::MAX)?.into_iter().map(|(_, slot)| slot).collect();
        let count = open.len();
        let mut views: Vec<EpochView> = Vec::new();
        for slot in open {
            let Some(served) = catalogue.by_id(&slot.request.model) else {
                tracing::warn!(
                    model = %slot.request.model, slot = slot.slot.0,
                    "an open slot of a model that is not served any more stays open; its lane waits until it is served again"
                );
                continue;
            };
            if !views.iter().any(|v| v.epoch == slot.epoch) {
                views.push(self.ledger.view(slot.epoch)?);
            }
            let view = views
                .iter()
                .find(|v| v.epoch == slot.epoch)
                .and_then(|v| v.models.get(&slot.request.model))
                .ok_or(LedgerError::Inconsistent("an open slot of an unknown epoch"))?
                .clone();
            let (router, served) = (self.clone(), served.clone());
            let intake = self.intake(&slot)?;
            let inside = self.gate.force(slot.request.model);
            self.tasks.spawn(async move {
                router.await_nodes(&slot, &view).await;
                let (events, ears) = mpsc::unbounded_channel();
                let enough = CancellationToken::new();
                // By the client's choice is gone with the client; any node of the table may end the slot.
                let providers = slot.lane.by_preference().then(|| view.nodes());
                let client = Client { events, enough, stream: true, logprobs: None, providers };
                router.drive(served, slot, view, intake, client, inside).await;
                router.metrics.recovered.inc();
                drop(ears);
            });
        }
        Ok(count)
    }

    /// Gives the nodes time to dial in again: those that could be drawn for the slot's attempts.
    async fn await_nodes(&self, slot: &OpenSlot, view: &crate::ledger::ModelView) {
        let nodes = view.nodes();
        let model = slot.request.model;
        let all_here = || nodes.iter().all(|n| self.hub.session(n).is_some_and(|s| s.serves(&model)));
        let wait = async {
            while !all_here() {
                self.hub.changed().await;
            }
        };
        // Time being up is not an error: then the missing ones have missed.
        drop(tokio::time::timeout(ms(self.timeouts.recovery_ms), wait).await);
    }
}

impl From<LedgerError> for RouteError {
    fn from(error: LedgerError) -> Self {
        tracing::error!(%error, "the ledger failed");
        Self::Internal
    }
}
