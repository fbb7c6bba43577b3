//! Options of the commands that look after files: models, keys, the store.

use super::prove::SetupArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `monai model`.
#[derive(Subcommand, Debug, Clone)]
pub enum ModelCommand {
    /// Turn a GGUF file or a Hugging Face folder into the integer model and keep it
    #[command(after_help = "\
The same source gives the same digest on every machine.

Examples:
  monai model import SmolLM2-135M-Instruct.Q4_1.gguf
  monai model import ./TinyLlama-1.1B-Chat-v1.0 --name tinyllama --max-positions 2048")]
    Import {
        /// A GGUF file, or a folder with safetensors, config.json and tokenizer.json
        source: PathBuf,
        /// Name for people [default: the file's or folder's]
        #[arg(long)]
        name: Option<String>,
        /// Longest sequence, prompt and answer together [default: the model's own]
        #[arg(long)]
        max_positions: Option<usize>,
        /// Also commit to the model, as `monai model commit` does
        #[arg(long)]
        commit: bool,
        /// Print {"name","digest","path"}
        #[arg(long)]
        json: bool,
    },
    /// Shape, digest and text configuration of a model
    Info {
        /// Digest, name, or file
        model: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Mean negative log-likelihood of a text, given as token ids
    #[command(after_help = "\
nll is the mean, over the n - 1 predicted ids, of the negative natural logarithm of the softmax (in
f64) of the integer logits at temperature 1, whose step is 1/4096. The first id is context only.

Example:
  monai model eval SmolLM2-135M-Instruct --ids ids.json --json")]
    Eval {
        /// Digest, name, or file
        model: String,
        /// A JSON array of token ids
        #[arg(long, value_name = "FILE")]
        ids: PathBuf,
        /// Print {"nll":…,"tokens":…}
        #[arg(long)]
        json: bool,
        /// Threads [default: one a physical core]
        #[arg(long)]
        threads: Option<usize>,
    },
    /// The commitment that a model is registered under and proofs are verified with
    #[command(after_help = "\
Made once, then kept: one curve point for two million weights, about a minute for 135 million. A run
that was stopped goes on where it stopped.

Example:
  monai model commit SmolLM2-135M-Instruct")]
    Commit {
        /// Digest, name, or file
        model: String,
        /// Where the file goes [default: MONAI_HOME/commitments/NAME.commitment]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Setup
        #[command(flatten)]
        setup: SetupArgs,
        /// Print {"model","model_commitment","chunks","setup","path"}
        #[arg(long)]
        json: bool,
    },
    /// Models in the store
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Where a password comes from. First this file, then MONAI_PASSWORD, then a prompt.
#[derive(Args, Debug, Clone, Default)]
pub struct PasswordArgs {
    /// File whose first line is the password [default: MONAI_PASSWORD, or ask]
    #[arg(long, env = "MONAI_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `monai keys`.
#[derive(Subcommand, Debug, Clone)]
pub enum KeysCommand {
    /// Make a key and keep it encrypted
    #[command(after_help = "Example:\n  monai keys new operator")]
    New {
        /// Name of the key
        name: String,
        /// Password
        #[command(flatten)]
        password: PasswordArgs,
        /// Print {"name","address","path"}
        #[arg(long)]
        json: bool,
    },
    /// Names and addresses of all keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The address of a key; asks for no password
    ShowAddress {
        /// Name or keystore file
        key: String,
    },
    /// Take over a keystore file, or a private key in hexadecimal from standard input
    #[command(after_help = "\
A private key is never taken from the command line, where other users of the machine could read it.

Examples:
  monai keys import operator keystore.json
  monai keys import operator - < key.hex")]
    Import {
        /// Name of the key
        name: String,
        /// A keystore file, or `-` for 64 hexadecimal digits on standard input
        source: PathBuf,
        /// Password: of the keystore file, and of the new one
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Write the address, without any secret, for somebody else's stakes file
    ExportAddress {
        /// Name or keystore file
        key: String,
        /// Where to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `monai store`.
#[derive(Subcommand, Debug, Clone)]
pub enum StoreCommand {
    /// Copy the store of a stopped sequencer, consistently; a running one makes its own copy on SIGUSR1
    #[command(after_help = "\
A running sequencer holds its store's lock. Send it SIGUSR1: it copies the store to the folder `backups`
beside it. Keep copies for reading. Never start a sequencer from an old one: it would sign slots again
that it has signed since, which burns its bond.

Examples:
  monai store backup --to /backup/monai-2026-11-22
  pkill -USR1 -f 'monai .*sequencer'")]
    Backup {
        /// The store [default: that of the devnet in MONAI_HOME]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// A folder that does not exist yet
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Bring a store of an older version to this one
    Migrate {
        /// The store [default: that of the devnet in MONAI_HOME]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}
