//! Jobs as files in one folder. A job is its receipt, `NUMBER-ID.receipt`; how it ended is a second file beside it:
//! `.proof`, `.failed` or `.cancelled`. A receipt without one is queued, in the order of numbers.
//!
//! Each file is written whole, synced and renamed, and the folder is synced after it, before anybody is told. So a
//! process that is killed at any moment leaves each job accepted or not, and ended or not; what was being proved is queued
//! again. There is no state besides.

use crate::error::{Error, FileContext as _, Result};
use crate::home::{private_dir, write_atomic};
use monai_protocol::receipt::Receipt;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Jobs that may wait. One more is refused.
pub(super) const MAX_QUEUED: usize = 64;
/// Ended jobs that are kept for their submitters; older ones go.
pub(super) const MAX_ENDED: usize = 256;
/// Most bytes of a reason that is kept.
const MAX_REASON: usize = 4096;

/// Names a job: the same receipt is the same job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(String);

impl JobId {
    /// The job that proves this receipt's answer.
    pub(super) fn of(receipt: &Receipt) -> Self {
        let response = &receipt.response.message;
        let mut digest = Sha256::new();
        digest.update(b"monai proof job");
        digest.update(response.request.to_bytes());
        digest.update(response.output.to_bytes());
        Self(hex::encode(&digest.finalize()[..16]))
    }

    /// A name that came from outside.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits, or is being proved.
    Queued,
    /// Has its proof.
    Done,
    /// Has none, and why.
    Failed(String),
    /// Is no longer wanted.
    Cancelled,
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) state: State,
}

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Too many wait.
    #[error("{MAX_QUEUED} jobs wait already")]
    Full,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] Error),
}

/// The folder, and what is in it.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// Held locked, so that two processes don't prove the same jobs.
    _lock: File,
    jobs: Mutex<BTreeMap<JobId, Entry>>,
}

impl Store {
    /// Opens the folder and reads which jobs there are.
    ///
    /// # Errors
    /// A folder that another process uses, or that can't be read.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        private_dir(dir)?;
        let lock_path = dir.join("lock");
        let lock =
            File::options().create(true).truncate(false).write(true).open(&lock_path).at(&lock_path)?;
        lock.try_lock()
            .map_err(|_| Error::Local(format!("another process proves the jobs in {}", dir.display())))?;
        let mut jobs = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for item in std::fs::read_dir(dir).at(dir)? {
            let path = item.at(dir)?.path();
            let Some((number, id, kind)) = parts(&path) else { continue };
            match kind.as_str() {
                "receipt" => {
                    jobs.insert(id, Entry { number, state: State::Queued });
                }
                "proof" => {
                    ends.insert(id, State::Done);
                }
                "cancelled" => {
                    ends.insert(id, State::Cancelled);
                }
                "failed" => {
                    let reason = std::fs::read_to_string(&path).unwrap_or_default();
                    ends.insert(id, State::Failed(reason));
                }
                _ => {}
            }
        }
        for (id, end) in ends {
            if let Some(entry) = jobs.get_mut(&id) {
                entry.state = end;
            }
        }
        Ok(Self { dir: dir.to_path_buf(), _lock: lock, jobs: Mutex::new(jobs) })
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job. It is on disk when this returns. A job that failed or was cancelled is queued again; one that waits or
    /// is done is left as it is.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn accept(&self, id: &JobId, receipt: &[u8]) -> std::result::Result<State, Refusal> {
        let mut jobs = self.jobs();
        let known = jobs.get(id).map(|e| e.state.clone());
        if let Some(state @ (State::Queued | State::Done)) = known {
            return Ok(state);
        }
        if jobs.values().filter(|e| e.state == State::Queued).count() >= MAX_QUEUED {
            return Err(Refusal::Full);
        }
        let number = jobs.values().map(|e| e.number + 1).max().unwrap_or(0);
        if let Some(old) = jobs.remove(id) {
            self.remove(old.number, id)?;
        }
        write_atomic(&self.path(number, id, "receipt"), receipt, true)?;
        self.sync()?;
        jobs.insert(id.clone(), Entry { number, state: State::Queued });
        self.forget(&mut jobs)?;
        Ok(State::Queued)
    }

    /// The job that has waited longest, with its receipt.
    ///
    /// # Errors
    /// A receipt that can't be read.
    pub(super) fn next(&self) -> Result<Option<(JobId, Vec<u8>)>> {
        let jobs = self.jobs();
        let first = jobs.iter().filter(|(_, e)| e.state == State::Queued).min_by_key(|(_, e)| e.number);
        let Some((id, entry)) = first else { return Ok(None) };
        let path = self.path(entry.number, id, "receipt");
        Ok(Some((id.clone(), std::fs::read(&path).at(&path)?)))
    }

    /// Writes down how a job ended, unless it has ended otherwise meanwhile. Returns whether it was written.
    ///
    /// # Errors
    /// [`Error::File`]; the job stays queued then.
    pub(super) fn end(&self, id: &JobId, state: State, proof: &[u8]) -> Result<bool> {
        let mut jobs = self.jobs();
        let Some(entry) = jobs.get_mut(id).filter(|e| e.state == State::Queued) else { return Ok(false) };
        let (kind, content): (_, Vec<u8>) = match &state {
            State::Queued => return Ok(false),
            State::Done => ("proof", proof.to_vec()),
            State::Failed(reason) => {
                let end = reason.floor_char_boundary(MAX_REASON);
                ("failed", reason.as_bytes()[..end].to_vec())
            }
            State::Cancelled => ("cancelled", Vec::new()),
        };
        write_atomic(&self.path(entry.number, id, kind), &content, true)?;
        self.sync()?;
        entry.state = state;
        self.forget(&mut jobs)?;
        Ok(true)
    }

    /// All jobs, oldest first.
    pub(super) fn list(&self) -> Vec<(JobId, Entry)> {
        let mut all: Vec<_> = self.jobs().iter().map(|(id, e)| (id.clone(), e.clone())).collect();
        all.sort_by_key(|(_, e)| e.number);
        all
    }

    /// How a job stands.
    pub(super) fn get(&self, id: &JobId) -> Option<Entry> {
        self.jobs().get(id).cloned()
    }

    /// The proof of a job that is done.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn proof(&self, id: &JobId) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.get(id).filter(|e| e.state == State::Done) else { return Ok(None) };
        let path = self.path(entry.number, id, "proof");
        std::fs::read(&path).at(&path).map(Some)
    }

    /// Drops the oldest of too many ended jobs.
    fn forget(&self, jobs: &mut BTreeMap<JobId, Entry>) -> Result<()> {
        let mut ended: Vec<_> = jobs
            .iter()
            .filter(|(_, e)| e.state != State::Queued)
            .map(|(id, e)| (e.number, id.clone()))
            .collect();
        ended.sort();
        let surplus = ended.len().saturating_sub(MAX_ENDED);
        for (number, id) in ended.into_iter().take(surplus) {
            jobs.remove(&id);
            self.remove(number, &id)?;
        }
        Ok(())
    }

    /// Removes a job's files, its receipt last: without one the others mean nothing.
    fn remove(&self, number: u64, id: &JobId) -> Result<()> {
        for kind in ["proof", "failed", "cancelled", "receipt"] {
            let path = self.path(number, id, kind);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at(&path),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: u64, id: &JobId, kind: &str) -> PathBuf {
        self.dir.join(format!("{number:012}-{}.{kind}", id.0))
    }

    /// Makes the names of new files survive a crash.
    fn sync(&self) -> Result<()> {
        #[cfg(unix)]
        File::open(&self.dir).and_then(|d| d.sync_all()).at(&self.dir)?;
        Ok(())
    }
}

/// Number, id and kind of a job's file.
fn parts(path: &Path) -> Option<(u64, JobId, String)> {
    let (stem, kind) = path.file_name()?.to_str()?.split_once('.')?;
    let (number, id) = stem.split_once('-')?;
    Some((number.parse().ok()?, JobId::parse(id)?, kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> JobId {
        JobId::parse(&format!("{n:032x}")).unwrap()
    }

    #[test]
    fn jobs_survive_a_restart_in_their_order_and_with_their_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for n in [5, 3, 9, 1] {
            assert_eq!(store.accept(&id(n), format!("receipt {n}").as_bytes()).unwrap(), State::Queued);
        }
        assert!(Store::open(dir.path()).is_err());
        assert!(store.end(&id(5), State::Done, b"proof 5").unwrap());
        assert!(store.end(&id(9), State::Failed("why".into()), b"").unwrap());
        assert!(!store.end(&id(9), State::Done, b"").unwrap());
        drop(store);
        // A file that was being written when the process was killed.
        std::fs::write(dir.path().join("000000000001-x.proof.77.tmp"), b"half").unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.next().unwrap().unwrap(), (id(3), b"receipt 3".to_vec()));
        assert_eq!(store.get(&id(9)).unwrap().state, State::Failed("why".into()));
        assert_eq!(store.proof(&id(5)).unwrap().unwrap(), b"proof 5");
        assert_eq!(store.proof(&id(3)).unwrap(), None);
        store.end(&id(3), State::Cancelled, b"").unwrap();
        assert_eq!(store.next().unwrap().unwrap().0, id(1));
        // What failed may be tried again, at the end of the queue; what is done is not done twice.
        assert_eq!(store.accept(&id(9), b"again").unwrap(), State::Queued);
        assert_eq!(store.accept(&id(5), b"again").unwrap(), State::Done);
        assert_eq!(store.list().last().unwrap().0, id(9));
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.get(&id(9)).unwrap().state, State::Queued);
    }

    #[test]
    fn the_queue_and_what_has_ended_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for n in 0..MAX_QUEUED {
            store.accept(&id(n), b"r").unwrap();
        }
        assert!(matches!(store.accept(&id(9999), b"r"), Err(Refusal::Full)));
        for n in 0..MAX_ENDED + 3 {
            store.accept(&id(n), b"r").unwrap();
            store.end(&id(n), State::Cancelled, b"").unwrap();
        }
        assert_eq!(store.list().len(), MAX_ENDED);
        assert!(store.get(&id(0)).is_none() && store.get(&id(3)).is_some());
        let files = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, 2 * MAX_ENDED + 1);
    }

    #[test]
    fn names_from_outside_are_names_of_jobs_only() {
        assert!(JobId::parse(&"0a".repeat(16)).is_some());
        for bad in ["", "../../../../etc/passwd", &"0A".repeat(16), &"0a".repeat(17)] {
            assert!(JobId::parse(bad).is_none());
        }
    }
}
