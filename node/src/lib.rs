//! The `monai` program as a library: the node daemon, and the commands that wire everything.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`], [`settings`] | what can be said: flags, environment, `monai.toml` |
//! | [`daemon`] | `monai node` |
//! | [`sequencer`] | `monai sequencer`, around `monai-sequencer` |
//! | [`devnet`] | a whole network of child processes on this machine |
//! | [`chat`], [`network`], [`openai`] | asking an endpoint |
//! | [`proxy`], [`audit`], [`anchors`] | trusting none of its answers unseen |
//! | [`prove`] | proofs of answers, made and verified |
//! | `l1` | acting on L1: stake, sessions, proposals |
//! | [`models`], [`keys`], [`home`] | what is kept on disk, and where |
//!
//! Deliberately absent: the integer model and its kernels (`monai-model`, `monai-engine`), the rules
//! of the protocol (`monai-protocol`), the proof system (`monai-inference`, `monai-prover`), and
//! routing (`monai-sequencer`).

pub mod anchors;
pub mod audit;
pub mod chat;
pub mod cli;
pub(crate) mod clock;
pub mod daemon;
pub mod devnet;
pub mod engine;
pub mod error;
pub mod home;
pub mod keys;
pub(crate) mod l1;
pub mod logging;
pub mod models;
pub mod network;
pub mod openai;
pub mod prove;
pub mod proxy;
pub mod sequencer;
pub mod settings;
pub mod stop;

use cli::{Cli, Command, Layered as _, ModelCommand};
use error::{Error, Result};
use settings::Settings;

/// Runs a parsed command line to its end.
///
/// # Errors
/// What the command says; [`Error::exit_code`] is the program's exit code.
pub fn run(cli: Cli) -> Result<()> {
    if let Command::Completions { shell } = cli.command {
        use clap::CommandFactory as _;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "monai", &mut script);
        print!("{}", String::from_utf8_lossy(&script));
        return Ok(());
    }
    let (settings, home) = Settings::load(&cli.global)?;
    logging::start(&cli, &settings)?;
    match cli.command {
        Command::Devnet(options) => in_runtime(devnet::run(options.or(settings.devnet), &home)),
        Command::Node(options) => in_runtime(daemon::run(options.or(settings.node), &home)),
        Command::Sequencer(options) => in_runtime(sequencer::run(options.or(settings.sequencer), &home)),
        Command::Chat(options) => in_runtime(chat::run(options.or(settings.chat), &home)),
        Command::Proxy(options) => in_runtime(proxy::run(options.or(settings.proxy), &home)),
        Command::Audit(args) => audit::run(&args, &home),
        Command::Prove(args) => in_runtime(prove::run(args, &home)),
        Command::Verify(args) => prove::verify(&args),
        Command::Model(ModelCommand::Commit { model, out, setup, json }) => {
            let stored = models::ModelStore::new(home.models()).find(&model)?;
            in_runtime(prove::commit::run(stored, out, setup, home, json))
        }
        Command::Model(command) => models::run(command, &home),
        Command::Keys(command) => keys::run(command, &home),
        Command::Network(args) => in_runtime(network::run(args, &settings.chat)),
        Command::Stake(args) => in_runtime(l1::stake(args, &home)),
        Command::Delegate(args) => in_runtime(l1::delegate(args, &home)),
        Command::Undelegate(args) => in_runtime(l1::undelegate(args, &home)),
        Command::Redelegate(args) => in_runtime(l1::redelegate(args, &home)),
        Command::Unbond(args) => in_runtime(l1::unbond(args, &home)),
        Command::Withdraw(args) => in_runtime(l1::withdraw(args, &home)),
        Command::Claim(args) => in_runtime(l1::claim(args, &home)),
        Command::Session(command) => in_runtime(l1::session(command, &home)),
        Command::Subscribe(args) => in_runtime(l1::subscribe(args, &home)),
        Command::Gov(command) => in_runtime(l1::gov(command, &home)),
        Command::Store(command) => sequencer::store(command, &home),
        Command::Completions { .. } => Ok(()),
    }
}

fn in_runtime<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Local(format!("runtime: {e}")))?;
    let outcome = runtime.block_on(future);
    // What still runs (a blocked prompt, a dropped answer) must not hold the exit back.
    runtime.shutdown_background();
    outcome
}
