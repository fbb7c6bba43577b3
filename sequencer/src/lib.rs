//! The sequencer: the OpenAI API, slots and draws, the node hub, receipts, batches and epochs.
//!
//! Deliberately absent: engines and provers; transactions on L1, which is only read. The sequencer computes no token; it draws
//! nodes, relays what they sign, checks it and keeps the evidence. `README.md` beside this crate is the
//! API reference and lists what is kept of prompts and what survives a crash.

#![forbid(unsafe_code)]

mod accept;
mod api;
mod canary;
mod catalogue;
mod clock;
mod config;
mod hub;
mod l1;
mod ledger;
mod metrics;
pub mod openai;
mod records;
mod retention;
mod router;
mod secret;
mod server;
mod store;

pub use config::{
    ApiKey, Canary, Intervals, KeyLimits, Limits, Operator, Retention, SequencerConfig, ServedModel,
    StakesFile, Timeouts,
};
pub use l1::{BatchPoster, L1Config, L1Error, PostConfig, PostError};
pub use ledger::LedgerError;
pub use secret::{ApiKeyHash, Secret32};
pub use server::{RunningSequencer, Sequencer, StartError};
pub use store::{Migration, SCHEMA_VERSION, StoreError, backup, migrate};
