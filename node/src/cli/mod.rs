//! The command line: what can be said, and nothing of how it is done.
//!
//! Option structs serve twice: clap fills them from flags and environment, serde from `monai.toml`.
//! So each option has one name, and the order flag > environment > file > default is one function.

mod ask;
mod chain;
mod gov;
mod keep;
mod layered;
mod pay;
mod prove;
mod serve;
mod stake;

pub use ask::{AuditArgs, ChatOptions, NetworkArgs, ProxyOptions, Reexecute};
pub use chain::ChainArgs;
pub use gov::{Ballot, GovCommand, ProposalArgs, ProposalText, ProposeCommand};
pub use keep::{KeysCommand, ModelCommand, PasswordArgs, StoreCommand};
pub use layered::Layered;
pub use pay::{SessionCommand, SubscribeArgs};
pub use prove::{ProveArgs, SetupArgs, VerifyArgs};
pub use serve::{DevnetOptions, EngineKind, NodeOptions, SequencerOptions};
pub use stake::{ClaimArgs, DelegateArgs, RedelegateArgs, StakeArgs, UnbondArgs, WithdrawArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use std::path::PathBuf;

const AFTER: &str = "\
Examples:
  monai devnet                                  a whole network on this machine
  monai chat \"Name the capital of France.\"      one question, streamed
  monai proxy --key user                        verify every answer for an unmodified OpenAI client
  monai audit receipt.json --reexecute          check a receipt, bit for bit
  monai prove receipt.json                      make a proof of its answer

Options may also stand in monai.toml (this folder, then MONAI_HOME) under the command's name, or in
the environment as MONAI_...; a flag wins over the environment, which wins over the file.

Exit codes: 0 done, 1 a check failed or an answer is wrong, 2 usage, configuration, or a file that
is not what it should be, 3 a model, key, anchors or other file is missing, 4 the other side is
unreachable or refused, 5 this machine failed (port taken, wrong password, disk, child process).";

/// MonAI: open language models answered by drawn nodes, with receipts that anyone can re-execute.
#[derive(Parser, Debug)]
#[command(name = "monai", version, about, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug, Clone, Default)]
pub struct GlobalOptions {
    /// Folder for models, keys and the devnet [default: ~/.monai]
    #[arg(long, global = true, env = "MONAI_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Configuration file [default: ./monai.toml, then MONAI_HOME/monai.toml]
    #[arg(long, global = true, env = "MONAI_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to log, in tracing's filter syntax, such as info or monai_node=debug [default: info for
    /// daemons, warn for the rest]
    #[arg(long, global = true, env = "MONAI_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Log lines as text or JSON; logs go to standard error
    #[arg(long, global = true, env = "MONAI_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(ValueEnum, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors: one JSON object a line.
    Json,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a whole network here: sequencer, three nodes, a real model
    Devnet(DevnetOptions),
    /// Serve models: dial out to sequencers and answer what is drawn
    Node(NodeOptions),
    /// Take requests, draw nodes, countersign and keep receipts
    Sequencer(SequencerOptions),
    /// Talk to a model; interactive without TEXT
    Chat(ChatOptions),
    /// A local OpenAI endpoint that signs requests and verifies every answer
    Proxy(ProxyOptions),
    /// Check receipts against trusted anchors
    Audit(AuditArgs),
    /// Prove a receipt's answer: that its model decodes exactly these ids from this prompt
    Prove(ProveArgs),
    /// Verify a proof of an answer
    Verify(VerifyArgs),
    /// Models: import, info, eval, list, commit
    #[command(subcommand)]
    Model(ModelCommand),
    /// Keys: encrypted keystore files; a private key is never printed
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Nodes, scores and weights of a network
    Network(NetworkArgs),
    /// Bond own stake of an operator, or register one
    Stake(StakeArgs),
    /// Delegate stake to an operator
    Delegate(DelegateArgs),
    /// Start withdrawing delegated stake
    Undelegate(DelegateArgs),
    /// Move delegated stake to another operator
    Redelegate(RedelegateArgs),
    /// Start withdrawing an operator's own stake
    Unbond(UnbondArgs),
    /// Take out stake that has waited for the unbonding time
    Withdraw(WithdrawArgs),
    /// Claim rewards of stake
    Claim(ClaimArgs),
    /// Escrows that pay the sequencer by vouchers: open, fund, voucher, redeem, close, exit, show
    #[command(subcommand)]
    Session(SessionCommand),
    /// Subscribe to a plan, or end a subscription
    Subscribe(SubscribeArgs),
    /// Proposals: propose, vote, queue, execute, settle, list
    #[command(subcommand)]
    Gov(GovCommand),
    /// The sequencer's store: backup, migrate
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  monai completions bash > /etc/bash_completion.d/monai")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// True for commands that run until stopped and so log at `info`.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        matches!(self, Self::Devnet(_) | Self::Node(_) | Self::Sequencer(_) | Self::Proxy(_))
    }
}
