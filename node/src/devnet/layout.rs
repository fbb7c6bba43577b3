//! Where a devnet keeps its things.

use std::path::{Path, PathBuf};

/// The folder of a devnet.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// A devnet in this folder.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Held open, locked, by the devnet that runs here.
    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The random password of this devnet's keystores.
    pub(super) fn password(&self) -> PathBuf {
        self.root.join("password")
    }

    /// Keystores of the sequencer and the nodes.
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The sequencer's folder; its store is in `store`.
    pub(super) fn sequencer(&self) -> PathBuf {
        self.root.join("sequencer")
    }

    /// The sequencer's network file.
    pub(super) fn network(&self) -> PathBuf {
        self.root.join("network.toml")
    }

    /// Registered operators and their stakes.
    pub(super) fn stakes(&self) -> PathBuf {
        self.root.join("stakes.json")
    }

    /// Trust anchors for `audit`, `proxy` and `node`.
    #[must_use]
    pub fn anchors(&self) -> PathBuf {
        self.root.join("anchors.json")
    }

    /// The settings of one child process.
    pub(super) fn settings(&self, child: &str) -> PathBuf {
        self.root.join(format!("{child}.toml"))
    }

    /// Folder of the log files.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The log of one child process.
    #[must_use]
    pub fn log(&self, child: &str) -> PathBuf {
        self.logs().join(format!("{child}.log"))
    }
}
