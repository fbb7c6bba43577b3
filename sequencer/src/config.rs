//! What an operator decides: addresses, keys, models, limits, intervals. Every field has a unit and a default.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use monai_protocol::codec;
use monai_protocol::{Address, Amount, ChainId, Domain, ModelId, Parameters};
use serde::{Deserialize, Serialize};

use crate::secret::{ApiKeyHash, Secret32};

/// Everything a sequencer needs to start. Read from TOML or JSON; unknown fields are errors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequencerConfig {
    /// Where the HTTP server listens. Port 0 takes a free one.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Folder of the RocksDB store. Made if absent.
    pub data_dir: PathBuf,
    /// An existing folder, best that of the key, for the file that notes how far slots have been signed, apart from the
    /// store: a store that is behind it (wiped, or an old copy) is refused. Without it nothing notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marks_dir: Option<PathBuf>,
    /// The model store: a folder of artefacts under their identities.
    pub model_dir: PathBuf,
    /// The models served, at least one.
    pub models: Vec<ServedModel>,
    /// The secp256k1 key of the sequencer: it signs intakes, attestations and batches, and it is the user key
    /// of requests that come with an API key alone. Never written back by serde.
    #[serde(skip_serializing)]
    pub signing_key: Secret32,
    /// Chain of the rollup contract.
    pub chain_id: ChainId,
    /// Rollup contract; part of every signature's domain.
    pub rollup: Address,
    /// Keys that may use the API. Stored as hashes; see [`ApiKeyHash::of`].
    pub api_keys: Vec<ApiKey>,
    /// Without L1: registered operators and their stakes, as JSON `{"operators": [Operator, …]}`. Read at start and
    /// again before each epoch's table is fixed.
    #[serde(default)]
    pub stakes_file: PathBuf,
    /// The protocol's parameters. With L1, those that it governs take the place of these.
    #[serde(default)]
    pub parameters: Parameters,
    /// L1, from which stakes, keys, models, parameters and the calendar are read. Without it, stakes come from
    /// `stakes_file` and epochs from this machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l1: Option<crate::l1::L1Config>,
    /// Bounds on what clients may ask.
    #[serde(default)]
    pub limits: Limits,
    /// How long the sequencer waits for nodes and clients.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When batches and epochs end.
    #[serde(default)]
    pub intervals: Intervals,
    /// How long plaintext is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Ordinary requests that the sequencer sends to itself to measure nodes.
    #[serde(default)]
    pub canary: Canary,
}

impl SequencerConfig {
    /// The signature domain.
    #[must_use]
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, rollup: self.rollup }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8645))
}

/// A model and the terms it is served on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedModel {
    /// The name clients send as `model`. The hex model id is always accepted too.
    pub name: String,
    /// Its identity in the store.
    pub id: ModelId,
    /// Price of a prompt id.
    #[serde(default)]
    pub price_input: Amount,
    /// Price of an output id.
    #[serde(default)]
    pub price_output: Amount,
}

/// An API key as configured: a name for logs and metrics, and the hash of the secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Name of the key; appears in logs. Letters, digits, `-`, `_`.
    pub name: String,
    /// Hash of the secret.
    pub hash: ApiKeyHash,
    /// Bounds for this key where they differ from [`Limits::per_key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<KeyLimits>,
    /// True for the keys canaries use; their traffic is not told apart in any other way.
    #[serde(default)]
    pub canary: bool,
}

/// A registered operator: a line of the stakes file, or a row of L1's node table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The hot key that signs hellos and responses.
    pub operator: Address,
    /// Its slot in the registry, which leaves name it by; its position in the file if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
    /// The cold key that owns the stake.
    pub owner: Address,
    /// Stake, own and delegated, in 10^-9 tokens, a decimal string.
    #[serde(with = "codec::decimal")]
    pub stake: u64,
    /// The models that it registered for; all that the sequencer serves if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<BTreeSet<ModelId>>,
}

/// The stakes file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakesFile {
    /// All operators that may connect.
    pub operators: Vec<Operator>,
}

/// Bounds on what one API key may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyLimits {
    /// Requests a minute.
    pub requests_per_minute: u32,
    /// Prompt and output ids a minute. A request counts its prompt and its `max_tokens` at once, and gets
    /// back what it did not use.
    pub tokens_per_minute: u32,
    /// Choices being answered at once.
    pub concurrent: u32,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self { requests_per_minute: 6_000, tokens_per_minute: 4_000_000, concurrent: 64 }
    }
}

/// Bounds on what clients and nodes may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request body. More is refused with 413; up to 64 MiB of it are read and forgotten, so that the client
    /// sees that.
    pub body_bytes: usize,
    /// Open TCP connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Of these, connections of one IPv4 address or one IPv6 network of 64 bits; further ones are told 429 and closed.
    /// Behind a proxy, whose address all clients share, it is `connections`.
    pub connections_per_ip: usize,
    /// Choices being answered at once, all keys together.
    pub concurrent: u32,
    /// `n`, and prompts in one completions request.
    pub choices: u32,
    /// Stop strings of one request.
    pub stop_strings: usize,
    /// Bytes of one stop string.
    pub stop_string_bytes: usize,
    /// Output ids where a client names no maximum, bounded by the model's positions.
    pub default_max_tokens: u32,
    /// Bytes of one WebSocket message of a node.
    pub node_frame_bytes: usize,
    /// Node connections, authenticated or not.
    pub node_connections: usize,
    /// Bounds of a key that has none of its own.
    pub per_key: KeyLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            connections: 4_096,
            connections_per_ip: 512,
            concurrent: 256,
            choices: 16,
            stop_strings: 4,
            stop_string_bytes: 1_024,
            default_max_tokens: 1_024,
            node_frame_bytes: 1 << 20,
            node_connections: 256,
            per_key: KeyLimits::default(),
        }
    }
}

/// How long the sequencer waits. All in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// How long a request may wait until some node has room. Then it is refused, before it got a slot.
    pub queue_ms: u64,
    /// After a start, how long slots that a crash left open wait for the node that was drawn.
    pub recovery_ms: u64,
    /// From dispatch to a node's first token, before prompt length is counted.
    pub first_token_ms: u64,
    /// Added to `first_token_ms` for each prompt or resumed id, which the node has to prefill.
    pub per_prompt_token_ms: u64,
    /// Between two frames of an answer.
    pub stall_ms: u64,
    /// What each output id may take on average: with the first-token time, the deadline of a job.
    pub per_output_token_ms: u64,
    /// From the challenge to the node's hello.
    pub hello_ms: u64,
    /// Silence after which a node connection is closed. Pings go out three times as often.
    pub heartbeat_ms: u64,
    /// For a client to send the headers of its next request; what comes slower, or not at all, is closed.
    pub client_headers_ms: u64,
    /// For a client to send its body.
    pub client_read_ms: u64,
    /// A client that takes nothing for this long is treated as gone.
    pub client_write_ms: u64,
    /// Between keep-alive comments of a stream that has nothing to say.
    pub keepalive_ms: u64,
    /// For streams to end after shutdown begins; then they are cancelled.
    pub shutdown_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            queue_ms: 20_000,
            recovery_ms: 10_000,
            first_token_ms: 15_000,
            per_prompt_token_ms: 60,
            stall_ms: 10_000,
            per_output_token_ms: 1_000,
            hello_ms: 10_000,
            heartbeat_ms: 15_000,
            client_headers_ms: 10_000,
            client_read_ms: 30_000,
            client_write_ms: 30_000,
            keepalive_ms: 10_000,
            shutdown_ms: 10_000,
        }
    }
}

/// When batches and epochs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Intervals {
    /// Milliseconds between batches. Nothing is batched while there are no leaves.
    pub batch_ms: u64,
    /// Most leaves in a batch.
    pub batch_leaves: usize,
    /// Milliseconds of an epoch; 0 takes the protocol's parameter.
    pub epoch_ms: u64,
    /// Links of a new hash chain; each covers 64 slots of a lane. A lane takes at most `64 · chain_links`
    /// slots before its next chain, which needs a new epoch.
    pub chain_links: u64,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { batch_ms: 2_000, batch_leaves: 1_024, epoch_ms: 0, chain_links: 1 << 14 }
    }
}

/// How long plaintext (prompts, outputs, blindings) is kept. Commitments and signatures stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Seconds after an answer ended. Must exceed the audit windows, or a node could not be audited.
    pub plaintext_secs: u64,
    /// Seconds between runs of the deletion task.
    pub sweep_secs: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { plaintext_secs: 18 * 24 * 3_600, sweep_secs: 600 }
    }
}

/// Canaries: ordinary requests with an ordinary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Canary {
    /// Mean milliseconds between canaries for each model; 0 sends none.
    pub interval_ms: u64,
    /// Most output ids of one.
    pub max_tokens: u32,
}

impl Default for Canary {
    fn default() -> Self {
        Self { interval_ms: 0, max_tokens: 32 }
    }
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
