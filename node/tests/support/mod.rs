//! What the end-to-end tests share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod client;
pub mod fake_sequencer;
pub mod home;
pub mod meddler;
pub mod net;
pub mod process;
