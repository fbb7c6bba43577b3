//! What the end-to-end tests share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod fake_sequencer;
pub mod home;
