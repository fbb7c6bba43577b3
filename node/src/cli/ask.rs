//! Options of the commands that ask a network and check what it says.

use super::layered::layered;
use super::prove::SetupArgs;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

/// `monai chat`, and `[chat]` in the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(after_help = "\
Without TEXT it is interactive: /help lists what can be typed, Ctrl-C stops an answer, Ctrl-D leaves.

Examples:
  monai chat
  monai chat \"Name the capital of France.\" --temperature 0
  monai chat --url http://127.0.0.1:8646/v1 \"Through my verifying proxy\"
  cat question.txt | monai chat - --json")]
pub struct ChatOptions {
    /// A question; `-` reads standard input; several words are joined
    #[serde(skip)]
    pub text: Vec<String>,
    /// Endpoint [default: http://127.0.0.1:8645/v1]
    #[arg(long, env = "MONAI_URL")]
    pub url: Option<String>,
    /// API key [default: devnet]
    #[arg(long, env = "MONAI_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Model [default: the first that the endpoint lists]
    #[arg(long, env = "MONAI_CHAT_MODEL")]
    pub model: Option<String>,
    /// System message
    #[arg(long, env = "MONAI_CHAT_SYSTEM")]
    pub system: Option<String>,
    /// Temperature, 0 is greedy [default: the endpoint's]
    #[arg(long, env = "MONAI_CHAT_TEMPERATURE")]
    pub temperature: Option<f64>,
    /// Nucleus: keep this share of the probability
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Seed; the same seed and messages give the same answer
    #[arg(long)]
    pub seed: Option<u64>,
    /// Longest answer in tokens
    #[arg(long, env = "MONAI_CHAT_MAX_TOKENS")]
    pub max_tokens: Option<u32>,
    /// Print one JSON object with answer, id, finish reason and usage instead of a stream of text
    #[arg(long)]
    #[serde(skip)]
    pub json: bool,
    /// Save the receipt of a one-shot answer here
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub receipt: Option<PathBuf>,
}
layered!(ChatOptions {
    text,
    url,
    api_key,
    model,
    system,
    temperature,
    top_p,
    seed,
    max_tokens,
    json,
    receipt,
});

/// When the proxy runs the model itself to compare bit for bit.
#[derive(ValueEnum, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum Reexecute {
    /// Every answer, before its end is passed on.
    Always,
    /// A random share of the answers (--sample-rate).
    Sample,
    /// Never: signatures, commitments and the receipt only.
    #[default]
    Never,
}

/// `monai proxy`, and `[proxy]` in the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[command(after_help = "\
Point any OpenAI client at http://127.0.0.1:8646/v1. Each request is turned into token ids here, with
the registered template, and signed with your key; each answer is checked against its intake, its
signatures and its receipt. What does not check is an error that says what is wrong: HTTP 502 with
code `verification_failed`, or an error event in a stream.

Examples:
  monai proxy --key user
  monai proxy --key user --reexecute sample --sample-rate 0.1")]
pub struct ProxyOptions {
    /// Address to listen at [default: 127.0.0.1:8646]
    #[arg(long, env = "MONAI_PROXY_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// The sequencer's endpoint [default: http://127.0.0.1:8645/v1]
    #[arg(long, env = "MONAI_URL")]
    pub url: Option<String>,
    /// API key for the sequencer; a client's own key wins [default: devnet]
    #[arg(long, env = "MONAI_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Your key: a keystore file, or a name in MONAI_HOME/keys [default: user]
    #[arg(long, env = "MONAI_PROXY_KEY", value_name = "KEY")]
    pub key: Option<String>,
    /// File whose first line is the key's password [default: MONAI_PASSWORD, or ask]
    #[arg(long, env = "MONAI_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Trust anchors [default: MONAI_HOME/devnet/anchors.json]
    #[arg(long, env = "MONAI_ANCHORS", value_name = "FILE")]
    pub anchors: Option<PathBuf>,
    /// Re-execute answers with the local model [default: never]
    #[arg(long, env = "MONAI_PROXY_REEXECUTE")]
    pub reexecute: Option<Reexecute>,
    /// Share of answers that `--reexecute sample` takes, 0 to 1 [default: 0.05]
    #[arg(long, env = "MONAI_PROXY_SAMPLE_RATE")]
    pub sample_rate: Option<f64>,
    /// Refuse models whose listed price of an input or output token is above this, in the payment asset's smallest
    /// unit [default: sign for whatever is listed]
    #[arg(long, env = "MONAI_PROXY_MAX_TOKEN_PRICE", value_name = "UNITS")]
    pub max_token_price: Option<u64>,
    /// Keep verified receipts in this folder [default: they are not kept]
    #[arg(long, env = "MONAI_PROXY_RECEIPTS", value_name = "DIR")]
    pub receipts: Option<PathBuf>,
    /// Threads for re-execution [default: one a physical core]
    #[arg(long, env = "MONAI_PROXY_THREADS")]
    pub threads: Option<usize>,
}
layered!(ProxyOptions {
    listen,
    url,
    api_key,
    key,
    password_file,
    anchors,
    reexecute,
    sample_rate,
    max_token_price,
    receipts,
    threads,
});

/// `monai audit`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Several receipts are also checked against each other: one slot can't hold two requests.

Exit codes: 0 all that is there is right (what is not fixed yet is said to be pending), 1 something is
wrong and named, 2 usage, 3 no anchors, or --reexecute without the model.

Examples:
  monai audit receipt.json
  monai audit receipt.json --reexecute --json
  monai audit receipt.json --prove
  curl -s -H 'Authorization: Bearer devnet' http://127.0.0.1:8645/v1/receipts/ID | monai audit -")]
pub struct AuditArgs {
    /// Receipt files; `-` reads standard input
    #[arg(required = true, value_name = "RECEIPT")]
    pub receipts: Vec<PathBuf>,
    /// Run the model again and compare every token
    #[arg(long)]
    pub reexecute: bool,
    /// Make a proof of each valid receipt's answer beside it, NAME.proof, and verify it
    #[arg(long)]
    pub prove: bool,
    /// Setup, for --prove
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Trust anchors [default: MONAI_HOME/devnet/anchors.json]
    #[arg(long, env = "MONAI_ANCHORS", value_name = "FILE")]
    pub anchors: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Threads for --reexecute [default: one a physical core]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// `monai network`.
#[derive(Args, Debug, Clone)]
pub struct NetworkArgs {
    /// Endpoint [default: http://127.0.0.1:8645/v1]
    #[arg(long, env = "MONAI_URL")]
    pub url: Option<String>,
    /// API key [default: devnet]
    #[arg(long, env = "MONAI_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Print the endpoint's JSON
    #[arg(long)]
    pub json: bool,
}
