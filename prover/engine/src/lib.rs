//! Fast engines for the integer model: what a node serves with and an auditor re-executes with.
//!
//! Every engine computes the integer program of `monai-model` and nothing else, so all of them give the same bits as the
//! reference: on any kernel, with any number of threads, in any batch, with or without reused prefixes.
//!
//! - [`Engine`] serves: continuous batching over concurrent [`Job`]s, a paged key/value cache with prefix reuse.
//! - [`Replay`] runs given ids in one causal pass: logits, [`Replay::reexecute`] for audits, [`Replay::trace`] for provers.
//! - [`candle`]: the same engine with its matrices on any candle device ([`Program::on_device`]), by exact splitting.
//!
//! Deliberately absent: tokenizer and text (in `monai-model`), proofs, networking.

mod arena;
pub mod candle;
mod elementwise;
mod engine;
mod error;
mod forward;
mod job;
mod kernel;
mod kv;
mod logprobs;
mod memory;
mod pool;
mod program;
mod replay;
mod schedule;
mod selection;
#[cfg(test)]
mod testing;
mod trace;

pub use engine::{Engine, EngineConfig, MAX_QUEUE, MAX_STREAMS, Stats};
pub use error::{EngineError, Mismatch};
pub use forward::{Profile, Stage};
pub use job::{Canceller, Event, Finished, Job, Logprobs, MAX_LOGPROBS, Timings, Token, TokenStream};
pub use kernel::Kernel;
pub use memory::{Memory, memory};
pub use program::Program;
pub use replay::{Nll, ReexecutionError, Replay, reexecute};
pub use trace::{FinalTrace, LayerTrace, Trace};
