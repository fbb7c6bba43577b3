//! What goes into an engine and what comes out of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use monai_protocol::{Finish, SelectionParams};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::error::EngineError;

/// Most alternatives a token that an answer can carry (the OpenAI API's own limit).
pub const MAX_LOGPROBS: usize = 20;

/// One answer to compute.
#[derive(Clone, Debug)]
pub struct Job {
    /// Ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// Ids of the answer that are known already, for example because another node has streamed them.
    /// They are taken in like prompt ids and not emitted again; the answer goes on after them, bit for bit as if this
    /// engine had selected them.
    pub resume: Vec<u32>,
    /// Whether each id of `resume` is checked to be the one that the model selects. It costs the logits of those
    /// positions, about a quarter more than prefilling them.
    pub verify_resume: bool,
    /// How ids are selected and where the answer ends.
    pub params: SelectionParams,
    /// `Some(n)`: each token carries its log-probability and those of the `n` likeliest ids (at most
    /// [`MAX_LOGPROBS`]), at temperature 1. Display only; it can't change an answer.
    pub logprobs: Option<usize>,
    /// Cached prefixes are reused only among jobs of one scope. Bits never depend on reuse, but time does: give the
    /// jobs of each user an own scope if users must not learn from timings what others have asked.
    pub cache_scope: u64,
}

impl Job {
    /// A job without resumed ids and log-probabilities.
    #[must_use]
    pub fn new(prompt: Vec<u32>, params: SelectionParams) -> Self {
        Self { prompt, resume: Vec::new(), verify_resume: false, params, logprobs: None, cache_scope: 0 }
    }
}

/// Log-probabilities of one position at temperature 1, natural logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the id that was selected.
    pub chosen: f64,
    /// The likeliest ids, best first; ties by id.
    pub top: Vec<(u32, f64)>,
}

/// One id of the answer, sent as soon as it is selected and before the next is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The id.
    pub id: u32,
    /// Its index in the answer, from 0, counting resumed ids.
    pub index: usize,
    /// Where the job asked for them.
    pub logprobs: Option<Logprobs>,
}

/// Where the time of an answer went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From submission until the first batch that held a row of this job.
    pub queued: Duration,
    /// From then until the first new id (or the end, where there is none).
    pub prefill: Duration,
    /// From the first new id to the last.
    pub decode: Duration,
    /// Prompt and resumed ids.
    pub prompt_ids: usize,
    /// Those of them whose keys and values came from the prefix cache.
    pub reused_ids: usize,
    /// Ids that this job selected.
    pub new_ids: usize,
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// `Stop`, `Length` or `Cancelled`.
    pub finish: Finish,
    /// Ids of the whole answer, resumed ones included.
    pub output_ids: usize,
    /// Where the time went.
    pub timings: Timings,
}

/// What an answer stream yields: tokens, then exactly one end.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The next id.
    Token(Token),
    /// The answer is complete, or was cancelled.
    Finished(Finished),
    /// The job was stopped by an error; nothing follows.
    Failed(EngineError),
}

/// The answer to a [`Job`], as it comes. Dropping it cancels the job.
#[derive(Debug)]
pub struct TokenStream {
    pub(crate) events: UnboundedReceiver<Event>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) ended: bool,
}

impl TokenStream {
    /// The next event; `None` after the end. Safe to use in `select!`: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        self.watch(event)
    }

    /// The same for threads outside an async runtime.
    ///
    /// # Panics
    /// If called from async code (as `tokio`'s `blocking_recv`).
    pub fn blocking_next(&mut self) -> Option<Event> {
        let event = self.events.blocking_recv();
        self.watch(event)
    }

    /// All ids that are still to come, and how the answer ends, for threads outside an async runtime.
    ///
    /// # Errors
    /// What stopped the job.
    ///
    /// # Panics
    /// As [`Self::blocking_next`].
    pub fn blocking_rest(mut self) -> Result<(Vec<u32>, Finish), EngineError> {
        let mut ids = Vec::new();
        loop {
            match self.blocking_next() {
                Some(Event::Token(token)) => ids.push(token.id),
                Some(Event::Finished(end)) => return Ok((ids, end.finish)),
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(EngineError::Stopped),
            }
        }
    }

    /// An engine that goes away without an end has stopped; the end is told once.
    fn watch(&mut self, event: Option<Event>) -> Option<Event> {
        match event {
            Some(Event::Token(_)) => {}
            Some(_) => self.ended = true,
            None if !self.ended => {
                self.ended = true;
                return Some(Event::Failed(EngineError::Stopped));
            }
            None => {}
        }
        event
    }

    /// Stops the job before its next id. The stream still ends with [`Event::Finished`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// A handle that cancels the job from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.cancelled))
    }
}

/// Cancels one job.
#[derive(Clone, Debug)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// See [`TokenStream::cancel`].
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for TokenStream {
    fn drop(&mut self) {
        self.cancel();
    }
}
