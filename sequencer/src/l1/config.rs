//! Where L1 is, and how deep a block must lie before it counts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where stakes, keys, models and parameters are read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L1Config {
    /// JSON-RPC endpoint, http:// or https://.
    pub rpc: String,
    /// The address file that the deployment wrote.
    pub addresses: PathBuf,
    /// Blocks on top of one that counts. Absent: the chain's own finality, which is right wherever it has one.
    /// Local chains have none; a few blocks are enough there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmations: Option<u64>,
    /// Posting batches and epochs. Absent: L1 is only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<super::PostConfig>,
    /// Milliseconds between looks at the chain.
    #[serde(default = "default_poll")]
    pub poll_ms: u64,
    /// Milliseconds that one request may take.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
}

fn default_poll() -> u64 {
    1_000
}

fn default_timeout() -> u64 {
    10_000
}
