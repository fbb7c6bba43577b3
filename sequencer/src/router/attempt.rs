//! One attempt at a slot by one node.

use std::time::Duration;

use monai_protocol::messages::{Progress, Response, Typed as _};
use monai_protocol::receipt::Signed;
use monai_protocol::wire::{CancelJob, Job, ModelOffer, Refuse, SequencerFrame};
use monai_protocol::{Address, Finish, Retry};
use tokio::time::{Instant, sleep_until};

use super::drive::{Client, Run};
use super::verify::{Attempted, Invalid, RefusalKind, cancel_message, refusal};
use super::{AnswerEvent, Router};
use crate::clock::now_ms;
use crate::config::ms;
use crate::hub::{JobChannel, JobEvent};
use crate::records::OpenSlot;

/// Frames beyond tokens and running hashes that a job may have: accepted, the end, and one to spare.
const OTHER_FRAMES: usize = 3;

/// Why an attempt is a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    NotConnected,
    Disconnected,
    FirstToken,
    Stall,
    Deadline,
    /// A refusal after tokens: the tokens stand, so the record must say how many.
    BrokeOff,
    Invalid(Invalid),
}

/// Why an attempt gave no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Missed(Missed),
    Refused(Box<Refuse>, RefusalKind),
    Busy(Box<Refuse>, Box<ModelOffer>),
}

impl Failure {
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Busy(..) => "busy",
            Self::Refused(_, RefusalKind::PrefixMismatch) => "prefix_mismatch",
            Self::Refused(..) => "refused",
            Self::Missed(Missed::NotConnected) => "not_connected",
            Self::Missed(Missed::Disconnected) => "disconnected",
            Self::Missed(Missed::FirstToken) => "first_token",
            Self::Missed(Missed::Stall) => "stall",
            Self::Missed(Missed::Deadline) => "deadline",
            Self::Missed(Missed::BrokeOff) => "broke_off",
            Self::Missed(Missed::Invalid(_)) => "invalid",
        }
    }
}

/// A valid answer and its times by the sequencer's clock.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) node: Address,
    pub(super) retry: Retry,
    pub(super) response: Signed<Response>,
    pub(super) progress: Vec<Signed<Progress>>,
    pub(super) cancel: Option<Signed<monai_protocol::messages::Cancel>>,
    pub(super) dispatched_ms: u64,
    pub(super) first_token_ms: u64,
    pub(super) done_ms: u64,
}

/// How an attempt ended.
pub(super) enum AttemptEnd {
    Answered(Box<Answered>),
    Failed {
        failure: Failure,
        dispatched_ms: u64,
    },
    /// The sequencer had to stop.
    Cut,
}

/// The deadlines of an attempt.
struct Watch {
    first: Instant,
    end: Instant,
    stall: Duration,
    heard: Option<Instant>,
}

impl Watch {
    fn next(&self) -> (Instant, Missed) {
        let (at, why) = match self.heard {
            None => (self.first, Missed::FirstToken),
            Some(heard) => (heard + self.stall, Missed::Stall),
        };
        if self.end < at { (self.end, Missed::Deadline) } else { (at, why) }
    }
}

impl Router {
    pub(super) async fn attempt(
        &self,
        run: &mut Run,
        client: &Client,
        retry: Retry,
        node: Address,
    ) -> AttemptEnd {
        let dispatched_ms = now_ms().max(run.open.received_ms);
        let missed = |why| AttemptEnd::Failed { failure: Failure::Missed(why), dispatched_ms };
        let Some(session) = self.hub.session(&node) else { return missed(Missed::NotConnected) };
        let resume = run.resume();
        let offer = session.offer(&run.open.request.model);
        let max = run.open.request.params.max_tokens as usize;
        let frames = max + max / monai_protocol::output::PROGRESS_IDS + OTHER_FRAMES;
        let mut job = session.open_job(run.open.request.model, run.place.r, frames);
        let prefill = run.open.request.prompt.len() as u64 + resume.len() as u64;
        let to_first = self
            .timeouts
            .first_token_ms
            .saturating_add(self.timeouts.per_prompt_token_ms.saturating_mul(prefill));
        let left = (max as u64).saturating_sub(resume.len() as u64);
        let whole = to_first
            .saturating_add(self.timeouts.per_output_token_ms.saturating_mul(left))
            .saturating_add(self.timeouts.stall_ms);
        let frame = SequencerFrame::Job(Box::new(Job {
            job: job.id,
            request: run.open.request.clone(),
            lane: run.open.lane,
            slot: run.open.slot,
            received_ms: run.open.received_ms,
            intake_signature: run.intake.signature,
            retry,
            resume: resume.clone(),
            deadline_ms: dispatched_ms.saturating_add(whole),
            logprobs: client.logprobs,
            cache_scope: self.cache_scope(&run.open),
        }));
        if !session.send(frame) {
            return missed(Missed::Disconnected);
        }
        let began = Instant::now();
        let watch = Watch {
            first: began + ms(to_first),
            end: began + ms(whole),
            stall: ms(self.timeouts.stall_ms),
            heard: None,
        };
        let attempted = Attempted::new(node, resume.len() as u32);
        let end = Relay {
            router: self,
            run,
            client,
            retry,
            node,
            job: &mut job,
            attempted,
            watch,
            dispatched_ms,
            first_token_ms: None,
            offer,
            order: None,
        }
        .relay()
        .await;
        if !matches!(end, AttemptEnd::Answered(_)) {
            job.abandon(run.output.len());
        }
        end
    }
}

impl Run {
    /// What the next node is given. An answer that is over can't be continued, so of a complete one the last id
    /// is left out: the node derives it again and signs.
    fn resume(&self) -> Vec<u32> {
        let ids = &self.output.ids;
        let keep = if self.output.ended(&self.place) { ids.len().saturating_sub(1) } else { ids.len() };
        ids[..keep].to_vec()
    }
}

/// The frames of one attempt on their way to the client.
struct Relay<'a> {
    router: &'a Router,
    run: &'a mut Run,
    client: &'a Client,
    retry: Retry,
    node: Address,
    job: &'a mut JobChannel,
    attempted: Attempted,
    watch: Watch,
    dispatched_ms: u64,
    first_token_ms: Option<u64>,
    /// What the node had signed for when the job was sent.
    offer: Option<ModelOffer>,
    /// The order to stop that was sent to this node.
    order: Option<Signed<monai_protocol::messages::Cancel>>,
}

impl Relay<'_> {
    async fn relay(mut self) -> AttemptEnd {
        // Only the holder of the user's key can cancel; for the gateway's own key that is the gateway.
        let may_cancel = self.run.open.user_signature.is_none();
        loop {
            if may_cancel && self.run.cancelled && self.order.is_none() && self.prefix_verified() {
                self.send_cancel().await;
            }
            let (at, why) = self.watch.next();
            let listening = may_cancel && !self.run.cancelled;
            let cut = self.router.cut.clone();
            let event = tokio::select! {
                biased;
                event = self.job.next() => event,
                () = self.client.enough.cancelled(), if listening => { self.run.cancelled = true; continue }
                () = self.client.events.closed(), if listening => { self.run.cancelled = true; continue }
                () = cut.cancelled(), if listening => { self.run.cancelled = true; continue }
                () = cut.cancelled(), if !may_cancel => return AttemptEnd::Cut,
                () = sleep_until(at) => return self.failed(Failure::Missed(why)),
            };
            let end = match event {
                None => Some(self.failed(Failure::Missed(Missed::Disconnected))),
                Some(event) => self.take(event),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// True if a cancellation can be signed by this node with a good conscience: it has no prefix, or has
    /// re-derived it, which its first token shows.
    fn prefix_verified(&self) -> bool {
        self.run.output.ids.is_empty() || self.attempted.began()
    }

    /// Sends the order to stop: the one on disk once the answer has come that far, or else a new one for where the
    /// answer is, which goes to disk first. A slot has one order for ever, so its nodes can't sign different ends.
    ///
    /// Nothing is sent for an answer that has ended by itself: cut at its own end it could not be proved.
    async fn send_cancel(&mut self) {
        if self.run.output.ended(&self.run.place) {
            return;
        }
        let order = match &self.run.open.cancel {
            Some(order) if self.run.output.len() < order.message.up_to => return,
            Some(order) => order.clone(),
            None => {
                let message = cancel_message(self.run.place.r, self.run.output.len());
                let Ok(signature) = message.sign(&self.router.domain, &self.router.key) else { return };
                let order = Signed { message, signature };
                let open = OpenSlot { cancel: Some(order.clone()), ..self.run.open.clone() };
                if let Err(error) = self.router.slots.keep(&open).await {
                    tracing::error!(%error, slot = open.slot.0, "an order to stop could not be kept; it is not sent");
                    // The answer runs to its end instead.
                    self.run.cancelled = false;
                    return;
                }
                self.run.open = open;
                order
            }
        };
        let frame =
            CancelJob { job: self.job.id, up_to: order.message.up_to, signature: Some(order.signature) };
        self.job.session.send(SequencerFrame::Cancel(frame));
        self.watch.heard = Some(Instant::now());
        self.order = Some(order);
    }

    fn failed(&self, failure: Failure) -> AttemptEnd {
        AttemptEnd::Failed { failure, dispatched_ms: self.dispatched_ms }
    }

    fn invalid(&self, why: Invalid) -> AttemptEnd {
        tracing::warn!(node = %self.node, slot = self.run.open.slot.0, %why, "a node's answer is not valid");
        self.failed(Failure::Missed(Missed::Invalid(why)))
    }

    /// Takes one event; `Some` ends the attempt.
    fn take(&mut self, event: JobEvent) -> Option<AttemptEnd> {
        match event {
            JobEvent::Accepted => None,
            JobEvent::Token(token) => {
                match self.attempted.token(&self.run.place, &mut self.run.output, &token) {
                    Err(why) => return Some(self.invalid(why)),
                    Ok(new) => {
                        self.watch.heard = Some(Instant::now());
                        self.first_token_ms.get_or_insert_with(now_ms);
                        if let Some(id) = new {
                            if self.run.output.ids.len() == 1 {
                                self.first_token();
                            }
                            drop(self.client.events.send(AnswerEvent::Id(id, token.logprobs)));
                        }
                    }
                }
                None
            }
            JobEvent::Progress(frame) => self
                .attempted
                .progress(&self.run.place, &self.run.output, &frame)
                .err()
                .map(|e| self.invalid(e)),
            JobEvent::Done(done) => {
                let order = self.order.as_ref().map(|o| o.message.up_to);
                let run = &mut *self.run;
                Some(match self.attempted.done(&run.place, &mut run.output, &done, order) {
                    Err(why) => self.invalid(why),
                    Ok(response) => self.answered(response),
                })
            }
            JobEvent::Refuse(refuse) => Some(self.refused(refuse)),
        }
    }

    fn first_token(&self) {
        let waited = now_ms().saturating_sub(self.run.open.received_ms);
        let seconds = waited as f64 / 1e3;
        self.router.metrics.first_token.with_label_values(&[self.run.served.name.as_str()]).observe(seconds);
    }

    fn answered(&mut self, response: Signed<Response>) -> AttemptEnd {
        let done_ms = now_ms().max(self.dispatched_ms);
        let first_token_ms = self.first_token_ms.unwrap_or(done_ms).clamp(self.dispatched_ms, done_ms);
        // The answer may have ended by itself while the order was on its way.
        let cancel = self.order.take().filter(|_| response.message.finish == Finish::Cancelled);
        AttemptEnd::Answered(Box::new(Answered {
            node: self.node,
            retry: self.retry,
            response,
            progress: std::mem::take(&mut self.attempted.progress),
            cancel,
            dispatched_ms: self.dispatched_ms,
            first_token_ms,
            done_ms,
        }))
    }

    fn refused(&mut self, refuse: Box<Refuse>) -> AttemptEnd {
        let model = &self.run.open.request.model;
        // The credit that stood at dispatch: one that is taken back at the sight of a request excuses nothing.
        let offer = self.offer.take();
        let mut active = self.job.session.active_requests(model);
        // Its own job does not excuse the refusal.
        active.remove(&self.run.place.r);
        let kind = refusal(&self.run.place, self.retry, self.node, &refuse, offer.as_ref(), &active);
        match (kind, offer) {
            (Err(why), _) => self.invalid(why),
            (Ok(_), _) if self.attempted.began() => self.failed(Failure::Missed(Missed::BrokeOff)),
            (Ok(RefusalKind::Busy), Some(offer)) => self.failed(Failure::Busy(refuse, Box::new(offer))),
            (Ok(kind), _) => self.failed(Failure::Refused(refuse, kind)),
        }
    }
}
