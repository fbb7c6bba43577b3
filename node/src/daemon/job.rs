//! One answer, from the sequencer's job to the node's signature.

use super::desk::Orders;
use super::pace::Pace;
use super::service::Service;
use super::slots::{Claim, Signed};
use crate::clock::unix_ms;
use monai_engine::{EngineError, Event, Job as EngineJob, Logprobs, TokenStream};
use monai_protocol::messages::{Cancel, Progress, Refusal, RefusalReason, Response};
use monai_protocol::output::RunningHash;
use monai_protocol::types::{Digest, RequestCommitment};
use monai_protocol::wire::{
    CancelJob, Done, Job, JobId, NodeFrame, ProgressFrame, Refuse, Token, TokenLogprobs,
};
use monai_protocol::{Finish, Signature, Typed, output_commitment};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Longest time for one job, whatever the sequencer says.
const MAX_JOB_MS: u64 = 24 * 60 * 60 * 1000;
/// How far a job may seem to come from the future before the clocks are said to disagree.
const CLOCK_WARNING_MS: u64 = 2_000;

/// What a running job says to its session, in order.
#[derive(Debug)]
pub(super) enum Note {
    /// A frame to send.
    Frame(Box<NodeFrame>),
    /// The job has ended and its seat is free.
    Ended(JobId),
}

/// Why a job ends without an answer.
enum Stop {
    /// Refuse, with a signature.
    Refuse(RefusalReason),
    /// The answer is wanted no more, or the session is gone: say nothing.
    Drop,
}

/// The refusal that an engine's error becomes.
fn reason(error: &EngineError) -> RefusalReason {
    match error {
        EngineError::TooLong { .. } | EngineError::KvTooSmall { .. } => RefusalReason::TooLong,
        EngineError::ResumeMismatch(_) | EngineError::ResumeEnded { .. } => RefusalReason::PrefixMismatch,
        EngineError::Draining => RefusalReason::Draining,
        EngineError::EmptyPrompt
        | EngineError::UnknownId { .. }
        | EngineError::Selection(_)
        | EngineError::TauTooLarge { .. } => RefusalReason::Malformed,
        // Credit is counted before the engine is asked, so a full engine is this node's own fault.
        _ => RefusalReason::Internal,
    }
}

/// An answer being given.
pub(super) struct Answering {
    service: Arc<Service>,
    job: Job,
    request: RequestCommitment,
    /// The slot, which is this job's alone as long as it runs.
    claim: Claim,
    notes: mpsc::Sender<Note>,
    received_ms: u64,
    /// When an answer no longer counts, by this machine's steady clock.
    deadline: Instant,
    first_token_ms: Option<u64>,
    /// All output ids that have left, resumed ones included.
    ids: Vec<u32>,
    running: RunningHash,
    pace: Pace,
    /// Whether the engine has confirmed the resumed ids. Until then none of them may be signed.
    verified: bool,
    /// A valid cancel order that came before that.
    held: Option<u32>,
}

impl Answering {
    /// A job that has a seat.
    pub(super) fn new(
        service: Arc<Service>,
        job: Job,
        request: RequestCommitment,
        claim: Claim,
        notes: mpsc::Sender<Note>,
    ) -> Self {
        let running = RunningHash::new(request, job.request.blinding);
        let pace = Pace::new(service.rate);
        let verified = job.resume.is_empty();
        // The sequencer's clock and this one need not agree, so the deadline is as far from now as it was from the
        // request's arrival there; a retry gets more than is left, and the sequencer cancels it in time.
        let window = job.deadline_ms.saturating_sub(job.received_ms).min(MAX_JOB_MS);
        let now = unix_ms();
        if now > job.deadline_ms || now.saturating_add(CLOCK_WARNING_MS) < job.received_ms {
            tracing::warn!(
                job = job.job.0,
                local_ms = now,
                received_ms = job.received_ms,
                deadline_ms = job.deadline_ms,
                "this machine's clock and the sequencer's disagree: answers are given, but their speed may not count"
            );
        }
        Self {
            deadline: Instant::now() + std::time::Duration::from_millis(window),
            service,
            job,
            request,
            claim,
            notes,
            received_ms: unix_ms(),
            first_token_ms: None,
            ids: Vec::new(),
            running,
            pace,
            verified,
            held: None,
        }
    }

    /// Answers, or refuses, and says that the seat is free.
    pub(super) async fn run(mut self, orders: Orders) {
        let (id, notes) = (self.job.job, self.notes.clone());
        let last = match self.answer(orders).await {
            Ok(done) => Some(done),
            Err(Stop::Refuse(why)) => {
                tracing::warn!(job = id.0, reason = ?why, "a job is refused, which counts as a miss");
                refusal(&self.service, &self.job, self.request, why, Vec::new())
            }
            Err(Stop::Drop) => None,
        };
        // The slot is free before the sequencer hears of the end: it may ask for it again at once.
        drop(self);
        if let Some(frame) = last {
            let _ = notes.send(Note::Frame(Box::new(frame))).await;
        }
        let _ = notes.send(Note::Ended(id)).await;
    }

    async fn answer(&mut self, mut orders: Orders) -> Result<NodeFrame, Stop> {
        let mut stream = self.submit()?;
        self.send(NodeFrame::Accepted { job: self.job.job }).await?;
        // The running hash covers the whole answer, so the resumed ids enter it too; the blocks that
        // they complete were signed by the node that streamed them.
        for &id in &self.job.resume {
            self.running.push(id);
        }
        self.ids.clone_from(&self.job.resume);
        loop {
            let event = tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => match self.cancelled_at(&order)? {
                        Some(up_to) if self.verified => return self.finish_cancelled(&stream, up_to).await,
                        Some(up_to) => {
                            self.held.get_or_insert(up_to);
                            continue;
                        }
                        None => continue,
                    },
                    // The session is gone; dropping the stream frees the engine.
                    None => return Err(Stop::Drop),
                },
                () = self.deadline() => return Err(Stop::Refuse(RefusalReason::Deadline)),
                event = stream.next() => event,
            };
            match event {
                Some(Event::Token(token)) => {
                    // The engine selects a new id only after all resumed ones were what it selects.
                    self.verified = true;
                    if let Some(up_to) = self.held {
                        return self.finish_cancelled(&stream, up_to).await;
                    }
                    if let Some(up_to) = self.wait_for_pace(&mut orders).await? {
                        return self.finish_cancelled(&stream, up_to).await;
                    }
                    self.token(token.id, token.logprobs).await?;
                }
                Some(Event::Finished(end)) => return self.done(end.finish).await,
                Some(Event::Failed(error)) => {
                    tracing::warn!(job = self.job.job.0, %error, "the engine stopped the job");
                    return Err(Stop::Refuse(reason(&error)));
                }
                None => return Err(Stop::Refuse(RefusalReason::Internal)),
            }
        }
    }

    fn submit(&self) -> Result<TokenStream, Stop> {
        let request = &self.job.request;
        if self.job.deadline_ms <= self.job.received_ms {
            return Err(Stop::Refuse(RefusalReason::Deadline));
        }
        let Some(served) = self.service.model(&request.model) else {
            return Err(Stop::Refuse(RefusalReason::ModelNotLoaded));
        };
        let job = EngineJob {
            prompt: request.prompt.clone(),
            resume: self.job.resume.clone(),
            // Another node's ids are not signed on trust: one wrong id would be this node's slash.
            verify_resume: true,
            params: request.params.clone(),
            logprobs: self.job.logprobs.map(usize::from),
            cache_scope: cache_scope(&request.user.0, self.job.cache_scope),
        };
        served.engine.submit(job).map_err(|error| {
            tracing::info!(job = self.job.job.0, %error, "the engine refused the job");
            Stop::Refuse(reason(&error))
        })
    }

    async fn deadline(&self) {
        sleep_until(self.deadline).await;
    }

    /// Waits until the next token may leave; an order that comes meanwhile is obeyed at once.
    async fn wait_for_pace(&mut self, orders: &mut Orders) -> Result<Option<u32>, Stop> {
        let Some(due) = self.pace.due(Instant::now()) else { return Ok(None) };
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => match self.cancelled_at(&order)? {
                        Some(up_to) => return Ok(Some(up_to)),
                        None => continue,
                    },
                    None => return Err(Stop::Drop),
                },
                () = sleep_until(due) => return Ok(None),
            }
        }
    }

    /// Where a cancel order ends the answer; `None` for an order that its requester did not sign, that asks for more
    /// than has been streamed, or for an end that the answer has by itself: cut there it could not be proved.
    fn cancelled_at(&self, order: &CancelJob) -> Result<Option<u32>, Stop> {
        let Some(signature) = &order.signature else { return Err(Stop::Drop) };
        let cancel = Cancel { request: self.request, up_to: order.up_to };
        let signed = cancel.verify(&self.service.domain, signature, self.job.request.user).is_ok();
        let request = &self.job.request;
        let ended =
            |ids| self.service.model(&request.model).is_some_and(|m| m.engine.ended(&request.params, ids));
        if signed && self.ids.get(..order.up_to as usize).is_some_and(|ids| !ended(ids)) {
            return Ok(Some(order.up_to));
        }
        tracing::warn!(
            job = order.job.0,
            up_to = order.up_to,
            signed,
            "ignoring a cancel order that is not valid"
        );
        Ok(None)
    }

    async fn token(&mut self, id: u32, logprobs: Option<Logprobs>) -> Result<(), Stop> {
        self.first_token_ms.get_or_insert_with(unix_ms);
        let index = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ids.push(id);
        self.service.meter.count();
        let logprobs = logprobs.map(|l| Box::new(displayed(&l)));
        self.send(NodeFrame::Token(Token { job: self.job.job, index, id, logprobs })).await?;
        if let Some((up_to, running)) = self.running.push(id) {
            self.progress(up_to, running).await?;
        }
        Ok(())
    }

    async fn progress(&self, up_to: u32, running: Digest) -> Result<(), Stop> {
        let job = &self.job;
        let progress = Progress {
            request: self.request,
            model: job.request.model,
            lane: job.lane,
            slot: job.slot,
            up_to,
            running,
        };
        let signature = self.sign(&progress)?;
        self.send(NodeFrame::Progress(ProgressFrame { job: job.job, progress, signature })).await
    }

    async fn finish_cancelled(&mut self, stream: &TokenStream, up_to: u32) -> Result<NodeFrame, Stop> {
        stream.cancel();
        self.ids.truncate(up_to as usize);
        self.done(Finish::Cancelled).await
    }

    /// The signed end. It is signed only once it is on disk that nothing else may be.
    async fn done(&mut self, finish: Finish) -> Result<NodeFrame, Stop> {
        let done_ms = unix_ms();
        let job = &self.job;
        let response = Response {
            request: self.request,
            model: job.request.model,
            lane: job.lane,
            slot: job.slot,
            output: output_commitment(job.request.blinding, finish, &self.ids),
            n_in: job.request.n_in(),
            n_out: u32::try_from(self.ids.len()).unwrap_or(u32::MAX),
            finish,
            received_ms: self.received_ms,
            // Where all ids were resumed, or none came before a cancellation, the end stands for it.
            first_token_ms: self.first_token_ms.unwrap_or(done_ms),
            done_ms,
        };
        let signed = Signed {
            request: response.request,
            output: response.output,
            n_in: response.n_in,
            n_out: response.n_out,
            finish,
        };
        self.claim.record(signed).await.map_err(|error| {
            tracing::warn!(job = job.job.0, slot = %job.slot, %error, "not signing");
            Stop::Refuse(error.reason())
        })?;
        let signature = self.sign(&response)?;
        Ok(NodeFrame::Done(Box::new(Done { job: job.job, response, signature })))
    }

    fn sign(&self, message: &impl Typed) -> Result<Signature, Stop> {
        message.sign(&self.service.domain, &self.service.key).map_err(|error| {
            tracing::error!(%error, "signing failed");
            Stop::Refuse(RefusalReason::Internal)
        })
    }

    async fn send(&self, frame: NodeFrame) -> Result<(), Stop> {
        self.notes.send(Note::Frame(Box::new(frame))).await.map_err(|_| Stop::Drop)
    }
}

/// Log-probabilities in the unit of the wire.
fn displayed(l: &Logprobs) -> TokenLogprobs {
    // The cast saturates, so even minus infinity has a number.
    let micro = |nats: f64| (nats * 1e6).round() as i64;
    TokenLogprobs { chosen: micro(l.chosen), top: l.top.iter().map(|(id, p)| (*id, micro(*p))).collect() }
}

/// A signed refusal; `None` if even signing fails, which leaves the sequencer to its timeout.
pub(super) fn refusal(
    service: &Service,
    job: &Job,
    request: RequestCommitment,
    reason: RefusalReason,
    active: Vec<RequestCommitment>,
) -> Option<NodeFrame> {
    let refusal = Refusal {
        request,
        model: job.request.model,
        lane: job.lane,
        slot: job.slot,
        retry: job.retry,
        reason,
        at_ms: unix_ms(),
        active,
    };
    let signature = refusal.sign(&service.domain, &service.key).ok()?;
    Some(NodeFrame::Refuse(Box::new(Refuse { job: job.job, refusal, signature })))
}

/// One cache scope for each user key and, among the users of a gateway's key, for each scope that the sequencer tells
/// apart: nobody learns from timings what somebody else has asked. The key is hashed in, so no scope that a sequencer
/// names can reach into the cache of a user with a key of his own.
fn cache_scope(user: &[u8; 20], told_apart: Option<u64>) -> u64 {
    let mut hash = Sha256::new_with_prefix(b"monai prefix cache");
    hash.update(user);
    if let Some(scope) = told_apart {
        hash.update(scope.to_be_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_prefixes_are_shared_by_nobody_else() {
        let scopes = [
            cache_scope(&[1; 20], None),
            cache_scope(&[1; 20], Some(0)),
            cache_scope(&[1; 20], Some(1)),
            cache_scope(&[2; 20], None),
            cache_scope(&[2; 20], Some(1)),
        ];
        let distinct: std::collections::BTreeSet<u64> = scopes.into();
        assert_eq!(distinct.len(), scopes.len(), "{scopes:?}");
        assert_eq!(cache_scope(&[2; 20], Some(1)), scopes[4], "the same user finds his own prefixes");
    }
}
