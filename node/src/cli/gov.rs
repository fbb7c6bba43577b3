//! What can be said about governance.

use super::chain::ChainArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `monai gov`.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Operators propose, against a bond; stake votes. A proposal runs: pending, active, succeeded or defeated, queued,
executed; then anyone settles it, which pays the bond back and the reward out, or slashes a wasteful proposer.

Examples:
  monai gov propose set AuditSlash=150tokens --text \"lower slash\" --reward 10 --key owner-1 --dry-run
  monai gov list
  monai gov vote 1234… for --key owner-1
  monai gov vote 1234… wasteful --through 0x… --key holder
  monai gov queue 1234… --key holder && monai gov execute 1234… --key holder")]
pub enum GovCommand {
    /// Propose one of the four kinds
    #[command(subcommand)]
    Propose(ProposeCommand),
    /// Vote with own and delegated stake, or with --through for one's own part of an operator's
    Vote {
        /// The proposal
        proposal: String,
        /// How
        #[arg(value_enum)]
        vote: Ballot,
        /// Vote with what one has delegated to this operator, against whatever it votes
        #[arg(long, value_name = "OPERATOR")]
        through: Option<String>,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Put a proposal that succeeded into the timelock
    Queue(ProposalArgs),
    /// Execute a proposal whose delay is over
    Execute(ProposalArgs),
    /// Pay a proposal that has ended: bond and reward, or slash
    Settle(ProposalArgs),
    /// All proposals: state, votes, terms
    List {
        /// Where
        #[command(flatten)]
        chain: ChainArgs,
    },
}

/// A proposal to act on.
#[derive(Args, Debug)]
pub struct ProposalArgs {
    /// The proposal
    pub proposal: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// What every proposal has.
#[derive(Args, Debug)]
pub struct ProposalText {
    /// What is proposed, in words
    #[arg(long)]
    pub text: String,
    /// Tokens asked for from the treasury if it is executed; each kind has a cap
    #[arg(long, default_value = "0", value_name = "TOKENS")]
    pub reward: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// The four kinds.
#[derive(Subcommand, Debug)]
pub enum ProposeCommand {
    /// Adopt a model of this machine's store
    AdoptModel {
        /// Digest or name in the store
        model: String,
        /// Commitment to its weights, below the order of BN254
        #[arg(long, value_name = "HEX")]
        weight_commitment: String,
        /// First epoch that serves it
        #[arg(long)]
        from: u64,
        /// First epoch that no longer does [default: never ends]
        #[arg(long)]
        until: Option<u64>,
        /// Seconds to prove an answer
        #[arg(long, default_value_t = 60)]
        deadline: u32,
        /// Seconds that each position adds
        #[arg(long, default_value_t = 5)]
        deadline_per_position: u32,
        /// Text, reward, and whether for real
        #[command(flatten)]
        proposal: ProposalText,
    },
    /// Announce hardware requirements for a model
    Hardware {
        /// The model's id; 0 for all
        model: String,
        /// Digest of the document
        #[arg(long, value_name = "HEX")]
        digest: String,
        /// Where the document is
        #[arg(long)]
        uri: String,
        /// Text, reward, and whether for real
        #[command(flatten)]
        proposal: ProposalText,
    },
    /// Change parameters: NAME=VALUE, with values such as 150tokens, 2%, 20
    Set {
        /// NAME=VALUE (may repeat)
        #[arg(required = true)]
        change: Vec<String>,
        /// Text, reward, and whether for real
        #[command(flatten)]
        proposal: ProposalText,
    },
    /// Report an operator whose proved uptime is below the minimum
    Report {
        /// The operator
        operator: String,
        /// A proved epoch, whose row is read from L1
        #[arg(long, required_unless_present = "evidence")]
        epoch: Option<u64>,
        /// JSON instead: {"epoch", "model", "row": {"slot", "cells", "fees"}, "proof"}; the row's Merkle proof
        #[arg(long, value_name = "FILE", conflicts_with = "epoch")]
        evidence: Option<PathBuf>,
        /// Text, reward, and whether for real
        #[command(flatten)]
        proposal: ProposalText,
    },
}

/// How one may vote.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballot {
    /// No.
    Against,
    /// Yes.
    For,
    /// Counts for the quorum only.
    Abstain,
    /// No, and the proposer's node should pay for the waste.
    Wasteful,
}

impl Ballot {
    /// As the contract has it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Against => 0,
            Self::For => 1,
            Self::Abstain => 2,
            Self::Wasteful => 3,
        }
    }
}
