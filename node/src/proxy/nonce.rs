//! Nonces: one counter a key, on disk, that never goes back.

use crate::error::{Error, FileContext as _, Result};
use crate::home::{private_dir, write_atomic};
use monai_protocol::Address;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Nonces that are reserved with one write. A crash skips at most so many, which costs nothing.
const RESERVE: u64 = 64;

/// The counter of one key. The file holds the first nonce that was never handed out.
#[derive(Debug)]
pub(super) struct Nonces {
    path: PathBuf,
    /// Held locked while this process counts, so that two proxies with one key can't hand out the same.
    _lock: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    reserved: u64,
}

impl Nonces {
    /// Opens the counter of `user` in this folder; a new one starts at `start`.
    ///
    /// With the time in milliseconds as the start, a counter that was lost goes on above all that it
    /// handed out, because no key signs a request a millisecond for long.
    ///
    /// # Errors
    /// A counter that another process uses, or that can't be read.
    pub(super) fn open(dir: &Path, user: &Address, start: u64) -> Result<Self> {
        private_dir(dir)?;
        let path = dir.join(user.to_string());
        let lock_path = path.with_extension("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).at(&lock_path)?;
        lock.try_lock().map_err(|_| {
            Error::Local(format!("another proxy signs with the key {user}; every proxy needs its own key"))
        })?;
        let next = match std::fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map_err(|_| Error::Malformed { path: path.clone(), what: "not a counter".into() })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => start,
            Err(e) => return Err(e).at(&path),
        };
        Ok(Self { path, _lock: lock, state: Mutex::new(State { next, reserved: next }) })
    }

    /// The next nonce. It is on disk as used before it is returned.
    ///
    /// # Errors
    /// A disk that can't be written.
    pub(super) fn take(&self) -> Result<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next >= state.reserved {
            let reserved = state.next.saturating_add(RESERVE);
            write_atomic(&self.path, reserved.to_string().as_bytes(), true)?;
            state.reserved = reserved;
        }
        let nonce = state.next;
        state.next += 1;
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_comes_twice_even_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let user = Address([7; 20]);
        let mut last = None;
        for _ in 0..3 {
            let nonces = Nonces::open(dir.path(), &user, 5).unwrap();
            for _ in 0..=RESERVE {
                let n = nonces.take().unwrap();
                assert!(last.is_none_or(|l| n > l));
                last = Some(n);
            }
            // Dropped without any goodbye, as a crash would.
        }
        let _first = Nonces::open(dir.path(), &user, 5).unwrap();
        assert!(Nonces::open(dir.path(), &user, 5).is_err());
        assert_eq!(Nonces::open(dir.path(), &Address([8; 20]), 5).unwrap().take().unwrap(), 5);
    }
}
