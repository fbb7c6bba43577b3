//! `monai sequencer` and `monai store`: the `monai-sequencer` library with a key and a configuration.

use crate::cli::{SequencerOptions, StoreCommand};
use crate::error::{Error, FileContext as _, Result};
use crate::home::Home;
use crate::keys::{KeyFolder, PasswordSource, unlock};
use crate::stop::{StopSources, stop_signal};
use monai_protocol::codec::encode_hex;
use monai_sequencer::{Sequencer, SequencerConfig, StartError};
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
    let config: SequencerConfig = toml::Value::Table(table)
        .try_into()
        .map_err(|e| Error::Malformed { path: network, what: e.to_string() })?;
    let stop = stop_signal(StopSources { stdin: options.stop_with_stdin });
    serve(config, stop).await
}

async fn serve(config: SequencerConfig, mut stop: tokio::sync::watch::Receiver<bool>) -> Result<()> {
    let running = Sequencer::start(config).await.map_err(|e| match e {
        StartError::Listen { address, source } => Error::Listen { address: address.to_string(), source },
        other => Error::Sequencer(other.to_string()),
    })?;
    tracing::info!(address = %running.addr(), "serving");
    {
        use std::io::Write as _;
        // For scripts that asked for port 0; who started this may have closed its end.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening http://{}/v1", running.addr()).and_then(|()| out.flush());
    }
    // The sender lives as long as the signal task, so an error can only mean that the runtime ends.
    let _ = stop.wait_for(|s| *s).await;
    tracing::info!("stopping: letting streams end");
    running.shutdown().await;
    Ok(())
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
