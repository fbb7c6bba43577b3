//! How far the slots of each lane have been given, kept apart from the store.
//!
//! A slot is signed once: two intakes for one slot burn the sequencer's bond. The store knows which slots were given, so
//! a store that is wiped, or an old copy, would give them again without noticing. This file, which lies beside the key
//! and not in the store, is what notices: it is written whenever the store's counters are, and a store that is behind it
//! is refused. It is locked while a sequencer runs, so that no second one gives slots with the same key.
//!
//! A line is `LANE NEXT`: the store's key of the lane in hex, and the first slot that was not given. Lines are appended
//! and synced; later ones count. A last line without its end is what a crash left, and was never relied on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use monai_protocol::{Address, Domain};

use super::StoreError;

/// Above this the file is written anew, with one line a lane.
const MAX_BYTES: u64 = 1 << 20;

/// The open file.
#[derive(Debug)]
pub(crate) struct Marks {
    path: PathBuf,
    file: File,
    bytes: u64,
    next: BTreeMap<Vec<u8>, u64>,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |e| StoreError::Io(format!("{path}: {e}"))
}

impl Marks {
    /// The file of a key's address and a domain, in `dir`.
    pub(crate) fn path(dir: &Path, key: &Address, domain: &Domain) -> PathBuf {
        dir.join(format!("{key}-{}-{}.slots", domain.chain_id, domain.rollup))
    }

    /// Opens and locks the file, which may not exist yet.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = failed(path);
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path).map_err(&failed)?;
        if file.try_lock().is_err() {
            let what = "is in use: another sequencer runs with this key";
            return Err(StoreError::Io(format!("{} {what}", path.display())));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(&failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut next = BTreeMap::new();
        for line in text[..whole].lines() {
            let parsed =
                line.split_once(' ').and_then(|(k, n)| Some((hex::decode(k).ok()?, n.parse().ok()?)));
            let (lane, slot): (Vec<u8>, u64) =
                parsed.ok_or_else(|| StoreError::Io(format!("{} is damaged", path.display())))?;
            next.insert(lane, slot);
        }
        // What a crash left of a line must not become the beginning of the next one.
        file.set_len(whole as u64).map_err(&failed)?;
        Ok(Self { path: path.to_owned(), file, bytes: whole as u64, next })
    }

    /// The file's path, for messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// All lanes with the first slot that was not given.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.next.iter().map(|(lane, slot)| (lane.as_slice(), *slot))
    }

    /// Writes down how far lanes are, and syncs. Marks never go back.
    pub(crate) fn raise(
        &mut self,
        lanes: impl IntoIterator<Item = (Vec<u8>, u64)>,
    ) -> Result<(), StoreError> {
        let mut changed = BTreeMap::new();
        for (lane, slot) in lanes {
            let mark = self.next.entry(lane.clone()).or_default();
            if slot > *mark {
                *mark = slot;
                changed.insert(lane, slot);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let failed = failed(&self.path);
        if self.bytes > MAX_BYTES {
            return self.rewrite().map_err(failed);
        }
        let text = lines(&changed);
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(&failed)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Replaces the file by a short one.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let text = lines(&self.next);
        let new = self.path.with_extension("slots.new");
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&new)?;
        file.lock()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        self.file = file;
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn lines(marks: &BTreeMap<Vec<u8>, u64>) -> String {
    marks.iter().map(|(lane, slot)| format!("{} {slot}\n", hex::encode(lane))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_and_a_torn_line_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.slots");
        let mut marks = Marks::open(&path).unwrap();
        marks.raise([(vec![1], 5), (vec![2], 7)]).unwrap();
        marks.raise([(vec![1], 9), (vec![2], 3)]).unwrap();
        assert!(Marks::open(&path).unwrap_err().to_string().contains("in use"));
        drop(marks);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"01 99").unwrap();
        let marks = Marks::open(&path).unwrap();
        assert_eq!(marks.lanes().collect::<Vec<_>>(), [(&[1][..], 9), (&[2][..], 7)]);
        drop(marks);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(Marks::open(&path).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_long_file_becomes_a_short_one_that_is_still_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.slots");
        let mut marks = Marks::open(&path).unwrap();
        marks.raise([(vec![1], 1)]).unwrap();
        marks.bytes = MAX_BYTES + 1;
        marks.raise([(vec![1], 2)]).unwrap();
        marks.raise([(vec![1], 3)]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "01 2\n01 3\n");
        assert!(Marks::open(&path).is_err(), "locked");
    }
}
