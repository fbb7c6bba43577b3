//! Options of every command that acts on L1.

use clap::Args;
use std::path::PathBuf;

/// Where L1 is, who acts, and whether anything is sent.
#[derive(Args, Debug, Clone, Default)]
pub struct ChainArgs {
    /// JSON-RPC endpoint of the chain [default: the devnet's]
    #[arg(long, env = "MONAI_RPC", value_name = "URL")]
    pub rpc: Option<String>,
    /// Address file of the deployment [default: the devnet's]
    #[arg(long, env = "MONAI_ADDRESSES", value_name = "FILE")]
    pub addresses: Option<PathBuf>,
    /// The account that acts: a keystore file, or a name in MONAI_HOME/keys or in the devnet's keys
    #[arg(long, short, env = "MONAI_KEY", value_name = "KEY")]
    pub key: Option<String>,
    /// File whose first line is the key's password [default: MONAI_PASSWORD, or ask]
    #[arg(long, env = "MONAI_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Folder of the devnet that defaults are taken from [default: MONAI_HOME/devnet]
    #[arg(long, env = "MONAI_DEVNET_DIR", value_name = "DIR")]
    pub devnet: Option<PathBuf>,
    /// Try it, show what would happen and what it costs, and send nothing. Needs no password
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
