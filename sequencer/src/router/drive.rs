//! A slot from its first attempt to its end.

use std::sync::Arc;

use monai_protocol::messages::Intake;
use monai_protocol::receipt::Signed;
use monai_protocol::{Address, NodeIndex, Retry};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptEnd, Failure};
use super::gate::Inside;
use super::verify::{Output, Place, RefusalKind};
use super::{AnswerEvent, RouteError, Router};
use crate::catalogue::Served;
use crate::ledger::ModelView;
use crate::records::OpenSlot;

/// The client's side of an answer.
pub(super) struct Client {
    pub(super) events: mpsc::UnboundedSender<AnswerEvent>,
    pub(super) enough: CancellationToken,
    pub(super) stream: bool,
    pub(super) logprobs: Option<u8>,
    pub(super) providers: Option<Vec<Address>>,
}

/// An attempt that gave no answer, as it is going to be recorded.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) node: Address,
    pub(super) index: NodeIndex,
    pub(super) dispatched_ms: u64,
    pub(super) at_ms: u64,
    /// Ids that had reached the client, or the next attempt, by then.
    pub(super) streamed: u32,
    pub(super) failure: Failure,
}

/// A slot that is being answered.
pub(super) struct Run {
    pub(super) served: Arc<Served>,
    pub(super) open: OpenSlot,
    pub(super) view: Arc<ModelView>,
    pub(super) intake: Signed<Intake>,
    pub(super) place: Place,
    pub(super) output: Output,
    pub(super) failed: Vec<Failed>,
    /// True once the answer is to end where it is.
    pub(super) cancelled: bool,
}

impl Router {
    pub(super) async fn drive(
        &self,
        served: Arc<Served>,
        open: OpenSlot,
        view: Arc<ModelView>,
        intake: Signed<Intake>,
        client: Client,
        inside: Inside,
    ) {
        let place = self.place(&served, &open, &intake.message);
        let output = Output::new(&place);
        self.metrics.streams.inc();
        let cancelled = open.cancel.is_some();
        let mut run = Run { served, open, view, intake, place, output, failed: Vec::new(), cancelled };
        let last = self.attempts(&mut run, &client).await;
        // The client may be gone; the slot's end is recorded all the same.
        match last {
            Some(answered) => match self.close_answered(&run, answered).await {
                Ok(answer) => drop(client.events.send(AnswerEvent::Finished(Box::new(answer)))),
                Err(error) => {
                    tracing::error!(%error, slot = run.open.slot.0, "an answer could not be recorded");
                    drop(client.events.send(AnswerEvent::Failed(RouteError::Internal)));
                }
            },
            None if self.cut.is_cancelled() => {
                // Left open on disk; the next start closes it.
                drop(client.events.send(AnswerEvent::Failed(RouteError::Closing)));
            }
            None => {
                run.ensure_one_attempt();
                let error = match self.close_failed(&run).await {
                    Ok(()) if run.all_busy() => RouteError::Busy,
                    Ok(()) => RouteError::NodesFailed,
                    Err(error) => {
                        tracing::error!(%error, slot = run.open.slot.0, "a slot's end could not be recorded");
                        RouteError::Internal
                    }
                };
                drop(client.events.send(AnswerEvent::Failed(error)));
            }
        }
        self.metrics.streams.dec();
        drop(inside);
    }

    /// Tries the nodes in their order until one answers.
    async fn attempts(&self, run: &mut Run, client: &Client) -> Option<super::attempt::Answered> {
        for retry in 0..u8::MAX {
            let retry = Retry(retry);
            if self.cut.is_cancelled() && run.cancelled {
                return None;
            }
            let (index, node) = self.node(run, client, retry)?;
            if retry.0 > 0 && !run.output.ids.is_empty() {
                self.metrics.failovers.inc();
            }
            let before = run.output.len();
            match self.attempt(run, client, retry, node).await {
                AttemptEnd::Answered(answered) => return Some(*answered),
                AttemptEnd::Cut => return None,
                AttemptEnd::Failed { failure, dispatched_ms } => {
                    let label = failure.label();
                    self.metrics.misses.with_label_values(&[node.to_string().as_str(), label]).inc();
                    let said = match &failure {
                        Failure::Refused(refuse, _) | Failure::Busy(refuse, _) => Some(refuse.refusal.reason),
                        Failure::Missed(_) => None,
                    };
                    tracing::info!(
                        %node, slot = run.open.slot.0, retry = retry.0, reason = label, ?said,
                        "an attempt gave no answer"
                    );
                    let disputed = matches!(&failure, Failure::Refused(_, RefusalKind::PrefixMismatch));
                    let at_ms = crate::clock::now_ms().max(dispatched_ms);
                    let streamed = run.output.len().max(before);
                    run.failed.push(Failed { node, index, dispatched_ms, at_ms, streamed, failure });
                    if disputed {
                        // What an earlier node streamed is not what the model decodes, says this one. The rest of the
                        // table decides from the beginning: kept as a prefix, one false id would make every honest
                        // node refuse and the slot end without an answer. A client that has seen the ids is told so.
                        run.output = Output::new(&run.place);
                        run.failed.iter_mut().for_each(|f| f.streamed = 0);
                        drop(client.events.send(if client.stream {
                            AnswerEvent::Failed(RouteError::NodesFailed)
                        } else {
                            AnswerEvent::Reset
                        }));
                    }
                }
            }
        }
        None
    }

    /// The node of an attempt; `None` if the slot has had all it may have.
    fn node(&self, run: &Run, client: &Client, retry: Retry) -> Option<(NodeIndex, Address)> {
        let table = run.view.table.as_ref()?;
        if retry.0 >= run.view.attempts() {
            return None;
        }
        if let Some(providers) = &client.providers {
            let tried = |n: &Address| run.failed.iter().any(|f| f.node == *n);
            let node = *providers.iter().find(|n| !tried(n) && table.index_of(n).is_some())?;
            return Some((table.index_of(&node)?, node));
        }
        let index = run.view.draw(run.open.slot, retry).ok()?;
        Some((index, table.node(index)?))
    }
}

impl Run {
    /// A slot has at least one leaf. Only in the preference lane can there be none: if the epoch turned and none
    /// of the client's nodes is in the new table. Misses of that lane count for nothing.
    fn ensure_one_attempt(&mut self) {
        let first = self.view.table.as_ref().and_then(|t| t.entries.first());
        if let (true, Some(first)) = (self.failed.is_empty(), first) {
            let now = crate::clock::now_ms();
            self.failed.push(Failed {
                node: first.node,
                index: NodeIndex(0),
                dispatched_ms: now,
                at_ms: now,
                streamed: 0,
                failure: Failure::Missed(super::attempt::Missed::NotConnected),
            });
        }
    }

    fn all_busy(&self) -> bool {
        !self.failed.is_empty() && self.failed.iter().all(|f| matches!(f.failure, Failure::Busy(..)))
    }

    /// Ids that the attempts before had streamed, as the receipt counts them: refusals don't say.
    pub(super) fn resumed_from(&self) -> u32 {
        self.failed.iter().rev().find(|f| matches!(f.failure, Failure::Missed(_))).map_or(0, |f| f.streamed)
    }
}
