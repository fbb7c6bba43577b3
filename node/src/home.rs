//! Where things are kept: one folder, `MONAI_HOME`, with one folder in it for each kind of thing.

use crate::error::{Error, FileContext as _, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// `MONAI_HOME`.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder given, or `~/.monai`.
    ///
    /// # Errors
    /// [`Error::Usage`] where neither a folder nor a home is known.
    pub fn find(given: Option<PathBuf>) -> Result<Self> {
        given
            .or_else(|| std::env::home_dir().map(|h| h.join(".monai")))
            .map(Self)
            .ok_or_else(|| Error::Usage("no home folder is known; give --home DIR".into()))
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Imported models, a file each, named by digest.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.0.join("models")
    }

    /// Encrypted keystores.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The default devnet.
    #[must_use]
    pub fn devnet(&self) -> PathBuf {
        self.0.join("devnet")
    }

    /// Trust anchors of the default devnet.
    #[must_use]
    pub fn anchors(&self) -> PathBuf {
        self.devnet().join("anchors.json")
    }

    /// Counters of requests signed with each key, so that a nonce is never used twice.
    #[must_use]
    pub fn nonces(&self) -> PathBuf {
        self.0.join("nonces")
    }

    /// Slots that nodes have signed, a journal for each key. Whoever moves a key to another machine
    /// moves its journal with it.
    #[must_use]
    pub fn slots(&self) -> PathBuf {
        self.0.join("slots")
    }

    /// Powers of tau for proofs.
    #[must_use]
    pub fn setup(&self) -> PathBuf {
        self.0.join("setup")
    }

    /// Commitments to models.
    #[must_use]
    pub fn commitments(&self) -> PathBuf {
        self.0.join("commitments")
    }

    /// The queue of proofs, and the token to use it with.
    #[must_use]
    pub fn prove(&self) -> PathBuf {
        self.0.join("prove")
    }

    /// Lines typed in `monai chat`.
    #[must_use]
    pub fn chat_history(&self) -> PathBuf {
        self.0.join("chat-history.txt")
    }
}

/// Makes a folder that only its owner can read.
///
/// # Errors
/// [`Error::File`].
pub fn private_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).at(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).at(path)?;
    }
    Ok(())
}

/// Writes a file whole or not at all, readable by its owner only if `private`: a temporary file in
/// the same folder is synced and then renamed over it.
///
/// # Errors
/// [`Error::File`].
pub fn write_atomic(path: &Path, bytes: &[u8], private: bool) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if private {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = private;
    let mut file = options.open(&temporary).at(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).at(&temporary)?;
    std::fs::rename(&temporary, path).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atomic_files_replace_and_are_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_atomic(&path, b"one", true).unwrap();
        write_atomic(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
