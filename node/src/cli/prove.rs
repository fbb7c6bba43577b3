//! Options of the commands that make and check proofs.

use clap::Args;
use std::path::PathBuf;

/// Where the public setup comes from.
#[derive(Args, Debug, Clone, Default)]
pub struct SetupArgs {
    /// Powers of tau of a public ceremony: a .ptau file, or halo2 parameters in raw form
    /// [default: an INSECURE setup for development, made here once]
    #[arg(long, env = "MONAI_SETUP", value_name = "FILE", requires = "setup_digest")]
    pub setup: Option<PathBuf>,
    /// BLAKE2b-512 digest that the ceremony published for the file, in hexadecimal
    #[arg(long, env = "MONAI_SETUP_DIGEST", value_name = "HEX")]
    pub setup_digest: Option<String>,
}

/// `monai prove`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
The proof shows prompt and answer to whoever has it: it is not zero-knowledge.

Proving runs on this machine, or with --node on one whose daemon listens for jobs (monai node
--prove-listen). Ctrl-C cancels; a second one ends at once.

Exit codes: 0 proved, 1 the answer is not the model's, 2 usage, 3 no such model or file, 4 the node
refused, 5 this machine can't (memory, disk) or the proof was cancelled.

Several receipts of one model make one proof, which shares the most expensive part among them; it goes
to the first receipt's name with .proof. A node takes one receipt a job.

Examples:
  monai prove receipt.json
  monai prove monday.json tuesday.json wednesday.json --out week.proof
  monai prove receipt.json --out answer.proof --json
  monai prove receipt.json --setup powersOfTau28_hez_final_21.ptau --setup-digest 9aef0573…
  monai prove receipt.json --node http://127.0.0.1:8650 --token-file ~/.monai/prove/token
  monai prove --limits SmolLM2-135M-Instruct")]
pub struct ProveArgs {
    /// The receipt, or several of one model; `-` reads standard input
    #[arg(required_unless_present = "limits", value_name = "RECEIPT")]
    pub receipts: Vec<PathBuf>,
    /// Where the proof goes [default: the first receipt's name with .proof]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Setup
    #[command(flatten)]
    pub setup: SetupArgs,
    /// Threads [default: all]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Send the job to a node instead, and wait for the proof
    #[arg(long, env = "MONAI_PROVE_NODE", value_name = "URL")]
    pub node: Option<String>,
    /// File with the node's token [default: MONAI_HOME/prove/token]
    #[arg(long, env = "MONAI_PROVE_TOKEN_FILE", value_name = "FILE", requires = "node")]
    pub token_file: Option<PathBuf>,
    /// Print the longest answer of this model that the memory here can prove, and end
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["receipts", "out", "node"])]
    pub limits: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `monai verify`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
A proof may be about several answers: all are right, and all are listed.

Needs no weights and no setup: the proof carries both public parts, and the model's commitment, which
the registration publishes, binds them. It is given as 64 hexadecimal digits, or as a file that
`monai model commit` wrote. A proof under a setup for development is marked INSECURE: anybody can forge
it.

Exit codes: 0 the proof is right, 1 it is not, 2 usage, 3 a file is missing.

Examples:
  monai verify receipt.proof --model-commitment SmolLM2-135M-Instruct.commitment
  monai verify receipt.proof --model-commitment 0x1f2e… --receipt receipt.json")]
pub struct VerifyArgs {
    /// The proof
    pub proof: PathBuf,
    /// The registered model: its commitment's file, or the commitment in hexadecimal
    #[arg(long, env = "MONAI_MODEL_COMMITMENT", value_name = "FILE|HEX")]
    pub model_commitment: String,
    /// Also check that the proof is about this receipt's answer; may be repeated
    #[arg(long, value_name = "FILE")]
    pub receipt: Vec<PathBuf>,
    /// Refuse a proof whose setup is not that of a public ceremony
    #[arg(long)]
    pub require_ceremony: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
