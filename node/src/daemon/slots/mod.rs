//! The slots that this node has signed: at most one answer each, for ever, on disk before it leaves.
//!
//! Two signed answers of one slot that differ are what the contract slashes, whoever asked for the
//! second. A sequencer may ask twice, on purpose or after a crash, so only the node's own memory
//! protects the node. The file is append-only; each append is synced before the answer is signed.
//!
//! Absent: prompts and answers, which are nowhere on disk; a protection against a second copy of the
//! key on another machine, which shares no file with this one.

mod known;
mod record;
#[cfg(test)]
mod tests;

pub(super) use record::{Signed, SlotKey};

use crate::clock::unix_ms;
use crate::error::{Error, FileContext as _};
use crate::home::{private_dir, write_atomic};
use known::{Known, Seen};
use monai_protocol::Address;
use monai_protocol::messages::RefusalReason;
use monai_protocol::types::RequestCommitment;
use record::{MAX_RECORD, Parsed, Record};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the file starts with.
const MAGIC: &[u8; 16] = b"monai slots v1\n\0";
/// Records held in memory and on disk, about 50 MB of file, before the older half is dropped.
const MAX_RECORDS: usize = 1 << 18;
/// How long a record is kept, milliseconds: 90 days. Slots older than that are refused.
const KEEP_MS: u64 = 90 * 24 * 3600 * 1000;

/// Why a slot is not answered or not signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SlotError {
    /// A job for it runs, in this session or another.
    #[error("the slot is being answered")]
    Live,
    /// Another request was answered there.
    #[error("another request was answered in the slot")]
    OtherRequest,
    /// Another answer to the same request was signed.
    #[error("another answer was signed for the slot")]
    OtherAnswer,
    /// It is so old that its record may have been dropped.
    #[error("the slot is too old")]
    Forgotten,
    /// The record could not be written; nothing is signed until a restart has read the file again,
    /// because after a failed write or sync nobody knows what is on the disk.
    #[error("the journal of signed slots can't be written")]
    Unwritable,
}

impl SlotError {
    /// What the sequencer is told.
    pub(super) fn reason(&self) -> RefusalReason {
        match self {
            // An honest sequencer fills a slot once: the job contradicts what it said before.
            Self::Live | Self::OtherRequest | Self::OtherAnswer | Self::Forgotten => RefusalReason::Malformed,
            Self::Unwritable => RefusalReason::Internal,
        }
    }
}

/// The open journal of one key.
#[derive(Debug)]
pub(super) struct Slots {
    path: PathBuf,
    /// Held locked while this process signs, so that two nodes with one key don't sign the same slot.
    _lock: File,
    /// The file; `None` after a write failed. Taken before `known` where both are needed.
    file: Mutex<Option<File>>,
    known: Mutex<Known>,
}

/// A slot that one job answers. Dropping it lets another job have the slot.
#[derive(Debug)]
pub(super) struct Claim {
    slots: Arc<Slots>,
    key: SlotKey,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.slots.known().live.remove(&self.key);
    }
}

impl Slots {
    /// Opens the journal of `node` in this folder, or makes it.
    ///
    /// # Errors
    /// A journal that another process uses, that can't be read or written, or that is damaged before
    /// its last record: a node that does not know what it signed must not go on.
    pub(super) fn open(dir: &Path, node: &Address) -> Result<Self, Error> {
        private_dir(dir)?;
        let path = dir.join(node.to_string());
        let lock_path = path.with_extension("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).at(&lock_path)?;
        lock.try_lock().map_err(|_| {
            Error::Local(format!("another node signs with the key {node}; every node needs its own key"))
        })?;
        let mut known = Known::default();
        let good = match std::fs::read(&path) {
            Ok(bytes) => Some((load(&bytes, &path, &mut known)?, bytes.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).at(&path),
        };
        let dropped = known.forget(unix_ms().saturating_sub(KEEP_MS), MAX_RECORDS);
        if dropped || good.is_none_or(|(good, len)| good != len) {
            rewrite(&path, &known)?;
        }
        let file = File::options().append(true).open(&path).at(&path)?;
        Ok(Self { path, _lock: lock, file: Mutex::new(Some(file)), known: Mutex::new(known) })
    }

    /// Gives the slot to a job, if no other has it and no other request was answered there.
    ///
    /// # Errors
    /// [`SlotError`].
    pub(super) fn claim(
        self: &Arc<Self>,
        key: SlotKey,
        request: RequestCommitment,
    ) -> Result<Claim, SlotError> {
        let mut known = self.known();
        match known.seen(&key) {
            Seen::Signed(signed) if signed.request != request => return Err(SlotError::OtherRequest),
            Seen::Forgotten => return Err(SlotError::Forgotten),
            Seen::Signed(_) | Seen::Never => {}
        }
        if !known.live.insert(key) {
            return Err(SlotError::Live);
        }
        drop(known);
        Ok(Claim { slots: self.clone(), key })
    }

    /// Writes down what will be signed. It is on disk when this returns; the caller signs after it.
    /// Blocks for a sync of the disk.
    ///
    /// # Errors
    /// [`SlotError`] where something else was written down before, or nothing can be.
    pub(super) fn record(&self, key: SlotKey, signed: Signed) -> Result<(), SlotError> {
        // Held until the end: of two that record one slot, the second sees the first.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match self.known().seen(&key) {
            Seen::Never => {}
            Seen::Signed(before) if before == signed => return Ok(()),
            Seen::Signed(before) if before.request != signed.request => return Err(SlotError::OtherRequest),
            Seen::Signed(_) => return Err(SlotError::OtherAnswer),
            Seen::Forgotten => return Err(SlotError::Forgotten),
        }
        let now = unix_ms();
        let record = Record::Signed(key, signed, now);
        let open = file.as_mut().ok_or(SlotError::Unwritable)?;
        if let Err(error) = open.write_all(&record.encode()).and_then(|()| open.sync_data()) {
            tracing::error!(path = %self.path.display(), %error, "signing nothing until the next start");
            *file = None;
            return Err(SlotError::Unwritable);
        }
        let mut known = self.known();
        known.apply(&record);
        if known.count() > MAX_RECORDS && known.forget(now.saturating_sub(KEEP_MS), MAX_RECORDS / 2) {
            // This answer is on disk. If the new file fails, the old one still holds it, but nothing
            // more may be appended to a file that perhaps has been replaced.
            *file = match rewrite(&self.path, &known)
                .and_then(|()| File::options().append(true).open(&self.path).at(&self.path))
            {
                Ok(file) => Some(file),
                Err(error) => {
                    tracing::error!(%error, "signing nothing until the next start");
                    None
                }
            };
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// As [`Slots::record`], for this slot, off the runtime's threads. A caller that is dropped
    /// meanwhile leaves a record without an answer, which is the safe side.
    ///
    /// # Errors
    /// As [`Slots::record`].
    pub(super) async fn record(&self, signed: Signed) -> Result<(), SlotError> {
        let (slots, key) = (self.slots.clone(), self.key);
        tokio::task::spawn_blocking(move || slots.record(key, signed))
            .await
            .map_err(|_| SlotError::Unwritable)?
    }
}

/// Reads all records, and returns how many bytes are good. A torn last record is no error: its answer
/// was not signed yet.
fn load(bytes: &[u8], path: &Path, known: &mut Known) -> Result<usize, Error> {
    if !bytes.starts_with(MAGIC) {
        return Err(Error::Malformed {
            path: path.to_path_buf(),
            what: "not a journal of signed slots".into(),
        });
    }
    let mut at = MAGIC.len();
    while at < bytes.len() {
        match Record::parse(&bytes[at..]) {
            Parsed::Record(record, used) => {
                known.apply(&record);
                at += used;
            }
            // Each append is synced before the next, so a crash harms only the last record. It may
            // leave the file longer than what was written, filled with zeros.
            Parsed::Broken if bytes.len() - at <= MAX_RECORD || bytes[at..].iter().all(|b| *b == 0) => break,
            Parsed::Broken => {
                let what = format!(
                    "damaged at byte {at}; a node that does not know what it signed can be slashed. \
                     Restore the file, or serve with a new key"
                );
                return Err(Error::Malformed { path: path.to_path_buf(), what });
            }
        }
    }
    Ok(at)
}

/// Writes the whole journal anew, and syncs the folder so that the new name survives a crash.
fn rewrite(path: &Path, known: &Known) -> Result<(), Error> {
    let mut bytes = MAGIC.to_vec();
    for record in known.records() {
        bytes.extend(record.encode());
    }
    write_atomic(path, &bytes, true)?;
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|d| d.sync_all()).at(dir)?;
    }
    Ok(())
}
