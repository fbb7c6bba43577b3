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
    #[must_use]
    pub fn password(&self) -> PathBuf {
        self.root.join("password")
    }

    /// Keystores of the sequencer, the nodes and those who own, hold and use.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The sequencer's folder without an L1; its store is in `store`.
    pub(super) fn sequencer(&self) -> PathBuf {
        self.root.join("sequencer")
    }

    /// Everything that belongs to one L1: its state, where its contracts are, and the sequencer that follows it.
    /// Deleting it founds a new chain.
    #[must_use]
    pub fn l1(&self) -> PathBuf {
        self.root.join("l1")
    }

    /// The sequencer's folder with an L1.
    #[must_use]
    pub fn l1_sequencer(&self) -> PathBuf {
        self.l1().join("sequencer")
    }

    /// The chain's state, which anvil writes.
    pub(super) fn chain_state(&self) -> PathBuf {
        self.l1().join("chain.json")
    }

    /// Where the contracts are.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.l1().join("addresses.json")
    }

    /// URL of the chain's JSON-RPC endpoint.
    #[must_use]
    pub fn rpc(&self) -> PathBuf {
        self.l1().join("rpc")
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
