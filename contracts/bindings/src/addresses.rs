//! The address file of a deployment.

use std::{fs, io, path::Path};

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

/// Why an address file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressesError {
    /// The file could not be read.
    #[error("address file {path}: {source}")]
    Read {
        /// Path of the file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not an address file.
    #[error("address file {path}: {source}")]
    Parse {
        /// Path of the file.
        path: String,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// What `make -C contracts deploy` writes: where the contracts are, and the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// Profile of the deployment, `devnet` or `production`.
    pub profile: String,
    /// Chain that it is on.
    pub chain_id: u64,
    /// Block from which events can matter.
    pub block: u64,
    /// Timestamp at which epoch 0 begins.
    pub genesis: u64,
    /// Length of an epoch in seconds.
    pub epoch_seconds: u64,
    /// ERC-20 token.
    pub token: Address,
    /// Bounded, governed parameters with history.
    pub parameters: Address,
    /// Verifiers by circuit and version.
    pub verifiers: Address,
    /// Poseidon over BN254, width 3.
    pub poseidon: Address,
    /// Operators, their keys, commission and table slots.
    pub operators: Address,
    /// Bonds, delegations, slashes, rewards.
    pub staking: Address,
    /// Node tables, epoch beacons and epoch proofs.
    pub epochs: Address,
    /// Registered models.
    pub models: Address,
    /// The chain of batches.
    pub rollup: Address,
    /// Blob faults and contradicting signatures.
    pub disputes: Address,
    /// Forced inclusion.
    pub inbox: Address,
    /// Selected and demanded proofs, liveness challenges.
    pub audits: Address,
    /// Pots, shares and claims.
    pub emissions: Address,
    /// The treasury.
    pub treasury: Address,
    /// Sessions, subscriptions and fee pools.
    pub payments: Address,
    /// The governor.
    pub governor: Address,
    /// The timelock.
    pub timelock: Address,
    /// Stand-in for all verifiers; zero outside the devnet profile.
    #[serde(default)]
    pub insecure_verifier: Address,
    /// Stand-in for a stablecoin; zero outside the devnet profile.
    #[serde(default)]
    pub insecure_stablecoin: Address,
}

impl Addresses {
    /// Reads an address file.
    ///
    /// # Errors
    /// [`AddressesError`] if the file can't be read or parsed.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, AddressesError> {
        let path = path.as_ref();
        let shown = || path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| AddressesError::Read { path: shown(), source })?;
        serde_json::from_str(&text).map_err(|source| AddressesError::Parse { path: shown(), source })
    }

    /// First second of an epoch.
    #[must_use]
    pub const fn epoch_start(&self, epoch: u64) -> u64 {
        self.genesis.saturating_add(epoch.saturating_mul(self.epoch_seconds))
    }

    /// Epoch that a timestamp belongs to; zero before genesis.
    #[must_use]
    pub const fn epoch_at(&self, timestamp: u64) -> u64 {
        match timestamp.saturating_sub(self.genesis).checked_div(self.epoch_seconds) {
            Some(epoch) => epoch,
            None => 0,
        }
    }
}
