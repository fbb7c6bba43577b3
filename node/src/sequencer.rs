//! `monai sequencer` and `monai store`: the `monai-sequencer` library with a key and a configuration.

use crate::cli::{SequencerOptions, StoreCommand};
use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, unlock};
use crate::stop::{StopSources, stop_signal};
use monai_protocol::codec::encode_hex;
use monai_sequencer::{RunningSequencer, Sequencer, SequencerConfig, StartError};
use std::net::SocketAddr;
use std::path::Path;
use zeroize::Zeroize as _;

/// Runs the sequencer until it is told to stop.
///
/// # Errors
/// A key or network file that is missing or wrong; a port that is taken; a store that can't be opened.
pub async fn run(options: SequencerOptions, home: &Home) -> Result<()> {
    let dir = options.dir.clone().unwrap_or_else(|| home.root().join("sequencer"));
    let network = options.network.clone().unwrap_or_else(|| dir.join("network.toml"));
    let name = options.key.clone().unwrap_or_else(|| "sequencer".into());
    let path = KeyFolder::new(home.keys()).find(&name)?;
    let password = PasswordSource { file: options.password_file.clone() }.get(&path.display().to_string())?;
    let key = unlock(&path, &password)?;
    let mut table = read_network(&network)?;
    // The key goes through the configuration's own parser, so it exists as text for this moment.
    let mut secret = encode_hex(&*key.to_bytes());
    table.insert("signing_key".into(), secret.clone().into());
    secret.zeroize();
    if let Some(listen) = &options.listen {
        table.insert("listen".into(), listen.clone().into());
    }
    if options.dir.is_some() || !table.contains_key("data_dir") {
        table.insert("data_dir".into(), dir.join("store").display().to_string().into());
    }
    if !table.contains_key("model_dir") {
        table.insert("model_dir".into(), home.models().display().to_string().into());
    }
    // How far slots have been signed is kept beside the key that signs them, so that it survives the store.
    if let Some(beside) = path.parent().filter(|_| !table.contains_key("marks_dir")) {
        table.insert("marks_dir".into(), beside.display().to_string().into());
    }
    let config: SequencerConfig = toml::Value::Table(table)
        .try_into()
        .map_err(|e| Error::Malformed { path: network, what: e.to_string() })?;
    let stop = stop_signal(StopSources { stdin: options.stop_with_stdin });
    serve(config, &dir.join("backups"), stop).await
}

async fn serve(
    config: SequencerConfig,
    backups: &Path,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let running = Sequencer::start(config).await.map_err(|e| match e {
        StartError::Listen { address, source } => Error::Listen { address: address.to_string(), source },
        other => Error::Sequencer(other.to_string()),
    })?;
    tracing::info!(address = %running.addr(), "serving");
    announce(&format!("listening http://{}/v1", running.addr()));
    let failed = tokio::select! {
        // The sender lives as long as the signal task, so an error can only mean that the runtime ends.
        _ = stop.wait_for(|s| *s) => false,
        () = running.failed() => true,
        never = back_up_on_signal(&running, backups) => match never {},
    };
    tracing::info!("stopping: letting streams end");
    running.shutdown().await;
    if failed {
        let what = "the store could not be written (see the log above); nothing acknowledged is lost";
        return Err(Error::Sequencer(what.into()));
    }
    Ok(())
}

/// A line on standard output for scripts; who started this may have closed its end.
fn announce(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// SIGUSR1 makes a consistent copy of the running store, in a new folder named by the time in milliseconds.
#[cfg(unix)]
async fn back_up_on_signal(running: &RunningSequencer, backups: &Path) -> std::convert::Infallible {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut orders) = signal(SignalKind::user_defined1()) else { return std::future::pending().await };
    loop {
        if orders.recv().await.is_none() {
            return std::future::pending().await;
        }
        let target = backups.join(crate::clock::unix_ms().to_string());
        let done = std::fs::create_dir_all(backups)
            .map_err(|e| e.to_string())
            .and_then(|()| running.backup(&target).map_err(|e| e.to_string()));
        match done {
            Ok(()) => {
                tracing::info!(to = %target.display(), "backed up");
                announce(&format!("backup {}", target.display()));
            }
            Err(error) => tracing::error!(error, to = %target.display(), "the backup failed"),
        }
    }
}

#[cfg(not(unix))]
async fn back_up_on_signal(_: &RunningSequencer, _: &Path) -> std::convert::Infallible {
    std::future::pending().await
}

/// Says clearly that an address is taken, before anything is imported or started.
///
/// Returns the address with the port that port 0 becomes.
///
/// # Errors
/// [`Error::Listen`].
pub async fn free(address: SocketAddr) -> Result<SocketAddr> {
    let failed = |source| Error::Listen { address: address.to_string(), source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    listener.local_addr().map_err(failed)
}

fn read_network(path: &Path) -> Result<toml::Table> {
    if !path.is_file() {
        return Err(Error::Missing(format!(
            "{}: no network file; node/README.md describes it, and `monai devnet` writes one",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).at(path)?;
    let table: toml::Table = toml::from_str(&text)
        .map_err(|e| Error::Malformed { path: path.to_path_buf(), what: e.to_string() })?;
    if table.contains_key("signing_key") {
        return Err(Error::Malformed {
            path: path.to_path_buf(),
            what: "a key does not belong in this file; use an encrypted keystore and --key".into(),
        });
    }
    Ok(table)
}

/// `monai store`.
///
/// # Errors
/// What the store says.
pub fn store(command: StoreCommand, home: &Home) -> Result<()> {
    let default = || {
        let devnet = crate::devnet::Layout::new(home.devnet());
        let with_l1 = devnet.l1_sequencer().join("store");
        if with_l1.is_dir() { with_l1 } else { home.devnet().join("sequencer").join("store") }
    };
    match command {
        StoreCommand::Backup { dir, to } => {
            let dir = dir.unwrap_or_else(default);
            monai_sequencer::backup(&dir, &to).map_err(|e| Error::Sequencer(e.to_string()))?;
            println!("{} is a copy of {}", to.display(), dir.display());
        }
        StoreCommand::Migrate { dir } => {
            let dir = dir.unwrap_or_else(default);
            let done = monai_sequencer::migrate(&dir).map_err(|e| Error::Sequencer(e.to_string()))?;
            if done.from == done.to {
                println!("{} is of version {} already", dir.display(), done.to);
            } else {
                println!("{}: version {} is now {}", dir.display(), done.from, done.to);
            }
        }
    }
    Ok(())
}
