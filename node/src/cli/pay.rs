//! What can be said about paying.

use super::chain::ChainArgs;
use clap::{Args, Subcommand};

/// `monai session`.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
A session is an escrow from which the sequencer is paid by vouchers that the user signs. It may be in a stablecoin:
whoever pays never needs the token. What is left can always leave: at once with the sequencer's signature, after a
timeout without.

Examples:
  monai session open 10 --asset 1 --key user
  monai session voucher 0x… 4 --key user
  monai session exit 0x… --key user")]
pub enum SessionCommand {
    /// Open one with a deposit
    Open {
        /// What to deposit, such as 12.5
        amount: String,
        /// Asset by its number: 0 is the token, others are stablecoins
        #[arg(long, default_value_t = 1)]
        asset: u16,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Add to one
    Fund {
        /// The session
        session: String,
        /// What to add
        amount: String,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Sign that the sequencer is owed so much in all. Sends nothing
    Voucher {
        /// The session
        session: String,
        /// What is owed in all since the session was opened, such as 4
        cumulative: String,
        /// Where and who
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Hand a voucher in: its amount goes into the running epoch's pool. Anyone may
    Redeem {
        /// The session
        session: String,
        /// What the voucher says is owed in all
        cumulative: String,
        /// The user's signature, 0x and 130 digits
        #[arg(long)]
        signature: String,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Close at once, with the sequencer's signature
    Close {
        /// The session
        session: String,
        /// The sequencer's signature over the session and what has been redeemed
        #[arg(long)]
        signature: String,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Leave without the sequencer: starts the timeout, and after it takes the remainder
    Exit {
        /// The session
        session: String,
        /// Where, who, and whether for real
        #[command(flatten)]
        chain: ChainArgs,
    },
    /// Deposit, spent, remainder
    Show {
        /// The session
        session: String,
        /// Where
        #[command(flatten)]
        chain: ChainArgs,
    },
}

/// `monai subscribe`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  monai subscribe 0 --periods 3 --key user --dry-run\n  monai subscribe --end 7 --key user"
)]
pub struct SubscribeArgs {
    /// The plan's number
    #[arg(required_unless_present = "end")]
    pub plan: Option<u64>,
    /// How many of the plan's periods to pay for
    #[arg(long, default_value_t = 1)]
    pub periods: u64,
    /// End this subscription instead, and get what is left of it
    #[arg(long, value_name = "SUBSCRIPTION", conflicts_with = "plan")]
    pub end: Option<u64>,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}
