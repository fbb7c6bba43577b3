//! Trust anchors: the keys and facts that receipts are checked against.
//!
//! A file of them is the JSON of [`TrustAnchors`]. `monai devnet` writes and refreshes the one of its
//! own network; those of a network on L1 are read from the chain.

use crate::error::{Error, FileContext as _, Result};
use crate::home::{Home, write_atomic};
use monai_protocol::types::Domain;
use monai_protocol::{Address, TrustAnchors};
use std::path::{Path, PathBuf};

/// Most bytes of an anchors file.
const MAX_ANCHORS_BYTES: u64 = 64 << 20;

/// Anchors with the file that they came from.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// The file.
    pub path: PathBuf,
    /// What is trusted.
    pub trust: TrustAnchors,
}

impl Anchors {
    /// Reads the given file, or that of the default devnet.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none; [`Error::Malformed`].
    pub fn load(given: Option<&Path>, home: &Home) -> Result<Self> {
        let path = given.map_or_else(|| home.anchors(), Path::to_path_buf);
        if !path.is_file() {
            return Err(Error::Missing(format!(
                "{}: no anchors file; start `monai devnet` once, or give --anchors FILE",
                path.display()
            )));
        }
        if std::fs::metadata(&path).at(&path)?.len() > MAX_ANCHORS_BYTES {
            return Err(Error::Malformed { path, what: "too long for an anchors file".into() });
        }
        let text = std::fs::read(&path).at(&path)?;
        let trust = serde_json::from_slice(&text)
            .map_err(|e| Error::Malformed { path: path.clone(), what: e.to_string() })?;
        Ok(Self { path, trust })
    }

    /// Writes them back, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.trust).map_err(|e| Error::Local(e.to_string()))?;
        write_atomic(&self.path, &text, false)
    }

    /// The deployment.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.trust.domain
    }

    /// The sequencer's key.
    #[must_use]
    pub fn sequencer(&self) -> Address {
        self.trust.sequencer
    }
}
