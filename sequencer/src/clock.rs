//! The wall clock, in the units that signed messages use.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Unix seconds.
pub(crate) fn now_secs() -> u64 {
    now_ms() / 1_000
}
