//! The Foundry toolchain, which `make` in the contracts' folder installs from npm.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where the contracts and their tools are.
#[derive(Clone, Debug)]
pub(in crate::devnet) struct Tools {
    pub(super) contracts: PathBuf,
    pub(super) anvil: PathBuf,
}

impl Tools {
    /// Finds the contracts, and installs the tools that their lock file pins if they are not there.
    ///
    /// # Errors
    /// [`Error::Missing`], which names the way without an L1.
    pub(in crate::devnet) async fn find(given: Option<&Path>) -> Result<Self> {
        let contracts = given.map_or_else(|| PathBuf::from("contracts"), Path::to_path_buf);
        if !contracts.join("foundry.toml").is_file() {
            return Err(Error::Missing(format!(
                "{}: no contracts here; run this in the checkout, give --contracts DIR, or --no-l1 for stakes from a file",
                contracts.display()
            )));
        }
        let contracts =
            std::fs::canonicalize(&contracts).map_err(|source| Error::File { path: contracts, source })?;
        if anvil(&contracts).is_none() {
            eprintln!(
                "installing anvil and forge from npm into {}",
                contracts.join("node_modules").display()
            );
            make(&contracts, &["deps"], &[], None).await?;
        }
        let anvil = anvil(&contracts).ok_or_else(|| {
            Error::Missing(format!(
                "npm brought no anvil for this machine into {}; --no-l1 takes stakes from a file",
                contracts.join("node_modules").display()
            ))
        })?;
        Ok(Self { contracts, anvil })
    }
}

/// The native program: signals sent to npm's wrapper would not reach it.
fn anvil(contracts: &Path) -> Option<PathBuf> {
    let packages = std::fs::read_dir(contracts.join("node_modules/@foundry-rs")).ok()?;
    packages
        .flatten()
        .filter(|p| p.file_name().to_string_lossy().starts_with("anvil-"))
        .map(|p| p.path().join("bin/anvil"))
        .find(|p| p.is_file())
}

/// Runs `make` in the contracts' folder. Its output goes to a log, or to standard error.
///
/// # Errors
/// A target that fails, with the end of its log.
pub(super) async fn make(
    contracts: &Path,
    arguments: &[&str],
    environment: &[(&str, String)],
    log: Option<&Path>,
) -> Result<()> {
    let mut command = Command::new("make");
    command.arg("-C").arg(contracts).args(arguments).envs(environment.iter().cloned());
    command.stdin(Stdio::null()).kill_on_drop(true);
    match log {
        Some(path) => {
            let open = || {
                std::fs::File::options()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|source| Error::File { path: path.to_path_buf(), source })
            };
            command.stdout(open()?).stderr(open()?);
        }
        None => {
            command.stdout(Stdio::null());
        }
    }
    let what = format!("make {}", arguments.join(" "));
    let status = command
        .status()
        .await
        .map_err(|e| Error::Missing(format!("{what}: {e}; --no-l1 takes stakes from a file")))?;
    if status.success() {
        return Ok(());
    }
    Err(match log {
        Some(log) => Error::Child {
            name: what,
            status: status.to_string(),
            log: log.to_path_buf(),
            tail: crate::devnet::child::tail(log),
        },
        None => Error::Local(format!("{what}: {status}; --no-l1 takes stakes from a file")),
    })
}
