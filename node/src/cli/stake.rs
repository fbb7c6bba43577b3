//! What can be said about stake.

use super::chain::ChainArgs;
use clap::Args;

/// `monai stake`.
#[derive(Args, Debug)]
#[command(after_help = "\
The first bond of an operator is part of its registration: --register, with the node's hot key.

Examples:
  monai stake 500 --key owner-1 --dry-run
  monai stake 2000 --key me --register --hot-key operator --commission 10 --url https://node.example")]
pub struct StakeArgs {
    /// Tokens to bond as the operator's own stake, such as 12.5
    pub amount: String,
    /// Register as an operator with this bond
    #[arg(long, requires = "hot_key")]
    pub register: bool,
    /// With --register: the key that the node signs with, a keystore file or a name
    #[arg(long, value_name = "KEY")]
    pub hot_key: Option<String>,
    /// With --register: percent of delegators' rewards that the operator keeps
    #[arg(long, default_value = "10", value_name = "PERCENT")]
    pub commission: String,
    /// With --register: where the operator tells about itself
    #[arg(long, default_value = "", value_name = "URL")]
    pub url: String,
    /// With --register: a model to serve, by its id (may repeat) [default: all active ones]
    #[arg(long, value_name = "ID")]
    pub model: Vec<String>,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `monai delegate` and `monai undelegate`.
#[derive(Args, Debug)]
#[command(after_help = "\
An operator is named by its address or by its node's hot key; `monai network` lists both. Delegated stake counts
from the next epoch; undelegated stake waits for the unbonding time, then `monai withdraw` pays it out.

Examples:
  monai delegate 0x… 100 --key holder --dry-run
  monai delegate 0x… 100 --key holder
  monai undelegate 0x… 40 --key holder")]
pub struct DelegateArgs {
    /// The operator
    pub operator: String,
    /// Tokens, such as 12.5
    pub amount: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `monai redelegate`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  monai redelegate 0x…FROM 0x…TO 100 --key holder")]
pub struct RedelegateArgs {
    /// The operator that the stake is with
    pub from: String,
    /// The operator that it goes to
    pub to: String,
    /// Tokens, such as 12.5
    pub amount: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `monai unbond`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  monai unbond 250 --key owner-1")]
pub struct UnbondArgs {
    /// Tokens of the operator's own stake, such as 12.5
    pub amount: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `monai withdraw`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  monai withdraw 0x… --key holder")]
pub struct WithdrawArgs {
    /// The operator that the stake was with; operators name themselves
    pub operator: String,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}

/// `monai claim`.
#[derive(Args, Debug)]
#[command(after_help = "\
Streams are emissions (0), governance rewards (1) and fees in asset i (2 + i).

Examples:
  monai claim 0x… --key holder --dry-run
  monai claim 0x… --stream emissions --key holder")]
pub struct ClaimArgs {
    /// The operator that the stake is with; operators name themselves
    pub operator: String,
    /// emissions, governance, fees-0, fees-1… [default: all that have something to pay]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Where, who, and whether for real
    #[command(flatten)]
    pub chain: ChainArgs,
}
