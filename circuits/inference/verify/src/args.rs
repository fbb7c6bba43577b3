//! Command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use monai_protocol::{Finish, OutputCommitment, RequestCommitment};

/// Checks a proof that answers are exactly what a registered model decodes from committed requests.
///
/// A proof may be about several answers; the values given with --request, --output, --n-in, --n-out and --finish must then
/// all be those of one of them.
///
/// Exit code 0: valid. 1: refused, or about another answer. 2: wrong arguments or an unreadable file.
#[derive(Debug, Parser)]
#[command(name = "monai-verify", version)]
pub(crate) struct Args {
    /// The proof's file.
    pub(crate) proof: PathBuf,
    /// M, the registered model commitment: 64 hexadecimal digits, or a file with its content
    #[arg(long, value_name = "FILE|HEX")]
    pub(crate) model_commitment: String,
    /// The setup's verifier key; without it the key is taken from the proof's file, and must be the one that M names
    #[arg(long, value_name = "FILE")]
    pub(crate) setup: Option<PathBuf>,
    /// R that the proof must be about
    #[arg(long, value_name = "HEX")]
    pub(crate) request: Option<RequestCommitment>,
    /// O that the proof must be about
    #[arg(long, value_name = "HEX")]
    pub(crate) output: Option<OutputCommitment>,
    /// Prompt ids that the proof must be about
    #[arg(long, value_name = "N")]
    pub(crate) n_in: Option<u32>,
    /// Answer ids that the proof must be about
    #[arg(long, value_name = "N")]
    pub(crate) n_out: Option<u32>,
    /// How the answer must have ended
    #[arg(long)]
    pub(crate) finish: Option<End>,
    /// Refuse a proof whose setup is an insecure development one
    #[arg(long)]
    pub(crate) require_ceremony: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum End {
    /// With an end or stop id.
    Stop,
    /// At its greatest length.
    Length,
    /// By the requester's word.
    Cancelled,
}

impl From<End> for Finish {
    fn from(end: End) -> Self {
        match end {
            End::Stop => Self::Stop,
            End::Length => Self::Length,
            End::Cancelled => Self::Cancelled,
        }
    }
}
