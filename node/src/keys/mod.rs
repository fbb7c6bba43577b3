//! Keys as encrypted keystore files (Web3 Secret Storage v3: scrypt, AES-128-CTR). The secret
//! exists in the clear only in memory, in a type that wipes itself and does not print.

mod command;
mod password;

pub use command::run;
pub use password::{Password, PasswordSource};

use crate::error::{Error, FileContext as _, Result};
use crate::home::{private_dir, write_atomic};
use alloy_signer_local::PrivateKeySigner;
use k256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use monai_protocol::{Address, SecretKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Most bytes of a keystore file; real ones have about 500.
const MAX_KEYSTORE_BYTES: u64 = 64 << 10;

/// The keystores of one folder, by name.
#[derive(Clone, Debug)]
pub struct KeyFolder(PathBuf);

/// A keystore on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// File name without `.json`.
    pub name: String,
    /// The address that the file states; unlocking checks it.
    pub address: Address,
    /// The file.
    pub path: PathBuf,
}

impl KeyFolder {
    /// The keystores in this folder, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// The file of a key given by name or by path.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none.
    pub fn find(&self, key: &str) -> Result<PathBuf> {
        let named = self.0.join(format!("{key}.json"));
        let given = PathBuf::from(key);
        if valid_name(key) && named.is_file() {
            Ok(named)
        } else if given.is_file() {
            Ok(given)
        } else {
            Err(Error::Missing(format!(
                "no key {key}: neither {} nor a file of that name; make one with `monai keys new {key}`",
                named.display()
            )))
        }
    }

    /// All keystores, by name.
    ///
    /// # Errors
    /// A file that is no keystore.
    pub fn list(&self) -> Result<Vec<StoredKey>> {
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).at(&self.0),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.at(&self.0)?.path();
            if path.extension().is_some_and(|e| e == "json") {
                keys.push(describe(&path)?);
            }
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    /// Makes a new random key.
    ///
    /// # Errors
    /// A name that is taken or not allowed.
    pub fn create(&self, name: &str, password: &Password) -> Result<StoredKey> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        let secret = loop {
            OsRng.fill_bytes(&mut *bytes);
            // All but 2^-128 of the strings are keys.
            if let Some(secret) = SecretKey::from_bytes(&bytes) {
                break secret;
            }
        };
        self.store(name, &secret, password)
    }

    /// Encrypts a key under a new name.
    ///
    /// # Errors
    /// A name that is taken or not allowed.
    pub fn store(&self, name: &str, secret: &SecretKey, password: &Password) -> Result<StoredKey> {
        if !valid_name(name) {
            return Err(Error::Usage(format!(
                "{name:?} is no name for a key: letters, digits, - and _ only"
            )));
        }
        private_dir(&self.0)?;
        let path = self.0.join(format!("{name}.json"));
        if path.exists() {
            return Err(Error::Usage(format!("{} exists; a key is never overwritten", path.display())));
        }
        // The library writes the file itself and with the process's mask, so it writes into a
        // private folder of its own first.
        let scratch = self.0.join(format!(".new-{}", std::process::id()));
        private_dir(&scratch)?;
        let written = PrivateKeySigner::encrypt_keystore(
            &scratch,
            &mut OsRng,
            *secret.to_bytes(),
            password.expose(),
            Some(name),
        )
        .map_err(|e| Error::Local(format!("can't encrypt the key: {e}")));
        let file = scratch.join(name);
        let text = written.and_then(|_| std::fs::read(&file).at(&file));
        let _ = std::fs::remove_dir_all(&scratch);
        let mut json: serde_json::Value = serde_json::from_slice(&text?)
            .map_err(|e| Error::Malformed { path: path.clone(), what: e.to_string() })?;
        // Like other wallets, the file says whose it is, so that addresses need no password.
        json["address"] = secret.address().to_string().trim_start_matches("0x").into();
        write_atomic(&path, json.to_string().as_bytes(), true)?;
        Ok(StoredKey { name: name.into(), address: secret.address(), path })
    }
}

/// Decrypts a keystore file.
///
/// # Errors
/// [`Error::Password`], or a file that is no keystore or whose stated address is another one.
pub fn unlock(path: &Path, password: &Password) -> Result<SecretKey> {
    check_size(path)?;
    let signer = PrivateKeySigner::decrypt_keystore(path, password.expose())
        .map_err(|_| Error::Password { path: path.to_path_buf() })?;
    let bytes = Zeroizing::new(signer.to_bytes().0);
    let secret = SecretKey::from_bytes(&bytes).ok_or_else(|| Error::Malformed {
        path: path.to_path_buf(),
        what: "it holds no secp256k1 key".into(),
    })?;
    if let Ok(stated) = describe(path)
        && stated.address != secret.address()
    {
        return Err(Error::Malformed {
            path: path.to_path_buf(),
            what: format!(
                "it states the address {}, but holds the key of {}",
                stated.address,
                secret.address()
            ),
        });
    }
    Ok(secret)
}

/// Reads name and address of a keystore file without its password.
///
/// # Errors
/// A file that is absent, or no keystore with an address.
pub fn describe(path: &Path) -> Result<StoredKey> {
    check_size(path)?;
    let malformed = |what: String| Error::Malformed { path: path.to_path_buf(), what };
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).at(path)?)
        .map_err(|e| malformed(format!("not a keystore: {e}")))?;
    let address = json["address"].as_str().ok_or_else(|| malformed("it states no address".into()))?;
    let address = format!("0x{}", address.trim_start_matches("0x").to_ascii_lowercase())
        .parse()
        .map_err(|e| malformed(format!("its address: {e}")))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(StoredKey { name, address, path: path.to_path_buf() })
}

fn check_size(path: &Path) -> Result<()> {
    let bytes = std::fs::metadata(path).at(path)?.len();
    if bytes > MAX_KEYSTORE_BYTES {
        return Err(Error::Malformed {
            path: path.to_path_buf(),
            what: format!("{bytes} bytes are no keystore"),
        });
    }
    Ok(())
}

fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_only_with_their_password() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().join("keys"));
        let password = Password::new("correct horse".into());
        let stored = folder.create("operator", &password).unwrap();
        assert_eq!(folder.list().unwrap(), vec![stored.clone()]);
        let secret = unlock(&folder.find("operator").unwrap(), &password).unwrap();
        assert_eq!(secret.address(), stored.address);
        let wrong = Password::new("wrong".into());
        assert!(matches!(unlock(&stored.path, &wrong), Err(Error::Password { .. })));
        let text = std::fs::read_to_string(&stored.path).unwrap();
        assert!(!text.contains(&hex::encode(*secret.to_bytes())));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&stored.path).unwrap().permissions().mode() & 0o077, 0);
        }
    }

    #[test]
    fn names_are_not_overwritten_and_stay_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().to_path_buf());
        let password = Password::new("p".into());
        folder.create("a", &password).unwrap();
        assert!(matches!(folder.create("a", &password), Err(Error::Usage(_))));
        assert!(matches!(folder.create("../b", &password), Err(Error::Usage(_))));
        assert!(matches!(folder.find("absent"), Err(Error::Missing(_))));
    }

    #[test]
    fn a_false_address_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let folder = KeyFolder::new(dir.path().to_path_buf());
        let password = Password::new("p".into());
        let stored = folder.create("a", &password).unwrap();
        let text = std::fs::read_to_string(&stored.path).unwrap();
        let other = text.replace(&stored.address.to_string()[2..], &"11".repeat(20));
        assert_ne!(text, other);
        std::fs::write(&stored.path, other).unwrap();
        assert!(matches!(unlock(&stored.path, &password), Err(Error::Malformed { .. })));
    }
}
