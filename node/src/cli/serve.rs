//! Options of the commands that run until they are stopped.

use super::layered::layered;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

/// Which engine computes. All give the same bits.
#[derive(ValueEnum, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// SIMD kernels on the CPU.
    #[default]
    Cpu,
    /// The exact-integer splitting on a candle device.
    Candle,
}

impl EngineKind {
    /// The name as it is written on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Candle => "candle",
        }
    }
}

/// `monai devnet`, and `[devnet]` in the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(after_help = "\
Prints a line `ready http://127.0.0.1:8645/v1` once a real answer has come back, and stays in the
foreground. Ctrl-C or SIGTERM stops everything; the next run continues with the same keys, receipts
and epochs. The API key is `devnet`.

Stakes, keys, models and parameters are read from an L1 of its own: an anvil with MonAI's contracts, compiled and
deployed from the checkout by the Foundry toolchain that npm installs there. --no-l1 does without: stakes then
come from a file.

Examples:
  monai devnet
  monai devnet --no-l1
  monai devnet --port 9000 --l1-port 0 --dir /tmp/net
  monai devnet --gguf SmolLM2-135M-Instruct.Q4_1.gguf")]
pub struct DevnetOptions {
    /// Port of the OpenAI endpoint on 127.0.0.1; 0 takes a free one [default: 8645]
    #[arg(long, env = "MONAI_DEVNET_PORT")]
    pub port: Option<u16>,
    /// Folder for everything the devnet keeps [default: MONAI_HOME/devnet]
    #[arg(long, env = "MONAI_DEVNET_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The pinned SmolLM2-135M-Instruct GGUF [default: where scripts/fetch-model puts it]
    #[arg(long, env = "MONAI_DEVNET_GGUF", value_name = "FILE")]
    pub gguf: Option<PathBuf>,
    /// Serve these models of the store instead of the pinned one (digest or name; may repeat)
    #[arg(long, value_name = "MODEL")]
    pub model: Vec<String>,
    /// Nodes to run, 1 to 16 [default: 3]
    #[arg(long, env = "MONAI_DEVNET_NODES")]
    pub nodes: Option<u16>,
    /// Engine of the nodes [default: cpu]
    #[arg(long, env = "MONAI_DEVNET_ENGINE")]
    pub engine: Option<EngineKind>,
    /// Run no L1: stakes come from a file, epochs from this machine's clock
    #[arg(long, env = "MONAI_DEVNET_NO_L1")]
    pub no_l1: bool,
    /// Port of the L1's JSON-RPC endpoint on 127.0.0.1; 0 takes a free one [default: 8545]
    #[arg(long, env = "MONAI_DEVNET_L1_PORT")]
    pub l1_port: Option<u16>,
    /// Folder of the contracts' sources and tools [default: ./contracts]
    #[arg(long, env = "MONAI_DEVNET_CONTRACTS", value_name = "DIR")]
    pub contracts: Option<PathBuf>,
}
layered!(DevnetOptions { port, dir, gguf, model, nodes, engine, no_l1, l1_port, contracts });

/// `monai node`, and `[node]` in the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(after_help = "\
SIGTERM or Ctrl-C drains: running answers are finished within --drain-seconds, new ones are refused,
then the program exits with 0. A second signal ends it at once.

Examples:
  monai node --sequencer ws://127.0.0.1:8645 --key operator
  monai node --sequencer wss://a.example --sequencer wss://b.example --key operator --threads 8")]
pub struct NodeOptions {
    /// A sequencer to dial, ws:// or wss:// (may repeat)
    #[arg(long, env = "MONAI_NODE_SEQUENCER", value_delimiter = ',', value_name = "URL")]
    pub sequencer: Vec<String>,
    /// A model to serve: digest or name in the store (may repeat) [default: all of the store]
    #[arg(long, env = "MONAI_NODE_MODEL", value_delimiter = ',')]
    pub model: Vec<String>,
    /// Hot operator key: a keystore file, or a name in MONAI_HOME/keys [default: node]
    #[arg(long, env = "MONAI_NODE_KEY", value_name = "KEY")]
    pub key: Option<String>,
    /// File whose first line is the key's password [default: MONAI_PASSWORD, or ask]
    #[arg(long, env = "MONAI_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Anchors that name the chain and the rollup [default: MONAI_HOME/devnet/anchors.json]
    #[arg(long, env = "MONAI_ANCHORS", value_name = "FILE")]
    pub anchors: Option<PathBuf>,
    /// JSON-RPC endpoint of L1: the log then says each epoch how this node stands there [default: don't look]
    #[arg(long, env = "MONAI_RPC", value_name = "URL", requires = "l1_addresses")]
    pub l1_rpc: Option<String>,
    /// Address file of the deployment
    #[arg(long, env = "MONAI_ADDRESSES", value_name = "FILE")]
    pub l1_addresses: Option<PathBuf>,
    /// Threads of the engine [default: one a physical core]
    #[arg(long, env = "MONAI_NODE_THREADS")]
    pub threads: Option<usize>,
    /// Memory for keys and values of running and reusable sequences, MiB [default: 512]
    #[arg(long, env = "MONAI_NODE_KV_MIB")]
    pub kv_mib: Option<usize>,
    /// Streams answered at the same time: the credit that is signed [default: 8]
    #[arg(long, env = "MONAI_NODE_MAX_STREAMS")]
    pub max_streams: Option<u16>,
    /// Most tokens a second of one stream; for tests and uneven devnets [default: unlimited]
    #[arg(long, env = "MONAI_NODE_MAX_TOKENS_PER_SECOND", value_name = "RATE")]
    pub max_tokens_per_second: Option<f64>,
    /// Engine [default: cpu]
    #[arg(long, env = "MONAI_NODE_ENGINE")]
    pub engine: Option<EngineKind>,
    /// How long running answers may take to finish when told to stop [default: 30]
    #[arg(long, env = "MONAI_NODE_DRAIN_SECONDS")]
    pub drain_seconds: Option<u64>,
    /// Take jobs of proofs at this loopback address, such as 127.0.0.1:8650 [default: take none]
    #[arg(long, env = "MONAI_NODE_PROVE_LISTEN", value_name = "ADDR")]
    pub prove_listen: Option<String>,
    /// Powers of tau for those proofs [default: an INSECURE setup for development]
    #[arg(long, env = "MONAI_SETUP", value_name = "FILE", requires = "prove_setup_digest")]
    pub prove_setup: Option<PathBuf>,
    /// BLAKE2b-512 digest of that file, in hexadecimal
    #[arg(long, env = "MONAI_SETUP_DIGEST", value_name = "HEX")]
    pub prove_setup_digest: Option<String>,
    /// Threads of the prover [default: all]
    #[arg(long, env = "MONAI_NODE_PROVE_THREADS")]
    pub prove_threads: Option<usize>,
    /// Drain when standard input ends, so that a child stops with the process that started it
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub stop_with_stdin: bool,
}
layered!(NodeOptions {
    sequencer,
    model,
    key,
    password_file,
    anchors,
    l1_rpc,
    l1_addresses,
    threads,
    kv_mib,
    max_streams,
    max_tokens_per_second,
    engine,
    drain_seconds,
    prove_listen,
    prove_setup,
    prove_setup_digest,
    prove_threads,
    stop_with_stdin,
});

/// `monai sequencer`, and `[sequencer]` in the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(
    after_help = "Example:\n  monai sequencer --listen 0.0.0.0:8645 --key sequencer --network network.toml"
)]
pub struct SequencerOptions {
    /// Address of the API and of the nodes' endpoint [default: 127.0.0.1:8645]
    #[arg(long, env = "MONAI_SEQUENCER_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Folder of the store [default: MONAI_HOME/sequencer]
    #[arg(long, env = "MONAI_SEQUENCER_DIR", value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Sequencer key: a keystore file, or a name in MONAI_HOME/keys [default: sequencer]
    #[arg(long, env = "MONAI_SEQUENCER_KEY", value_name = "KEY")]
    pub key: Option<String>,
    /// File whose first line is the key's password [default: MONAI_PASSWORD, or ask]
    #[arg(long, env = "MONAI_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Network file: chain, rollup, stakes, API keys, parameters [default: DIR/network.toml]
    #[arg(long, env = "MONAI_SEQUENCER_NETWORK", value_name = "FILE")]
    pub network: Option<PathBuf>,
    /// Stop when standard input ends, so that a child stops with the process that started it
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub stop_with_stdin: bool,
}
layered!(SequencerOptions { listen, dir, key, password_file, network, stop_with_stdin });
