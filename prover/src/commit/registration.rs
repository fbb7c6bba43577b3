//! Committing to all chunks of a model: once, with progress, and resumable.
//!
//! The file holds a header and, for each chunk that is done, its commitment and a checksum, appended as
//! they come. A run that was stopped goes on after the last whole record.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use monai_inference::commitment::Commitment;

use super::chunk::ChunkRef;
use super::error::CommitError;
use super::srs::Srs;

const MAGIC: [u8; 8] = *b"MNCHK\0\0\x01";
const CHECKSUM: usize = 16;
const RECORD: usize = Commitment::BYTES + CHECKSUM;

/// What a list of commitments belongs to. A file with another identity is begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkListId {
    /// The artefact's identity.
    pub model: [u8; 32],
    /// Digest of whatever else decides the values: the layout's version and shape.
    pub layout: [u8; 32],
}

/// Commits to all chunks, taking up the work that `cache` records.
///
/// `progress` is told chunks done and in all, before each, and may stop the work, which a later call
/// continues.
///
/// The cache is trusted: whoever can write it decides what is committed. Registration recomputes without one.
///
/// # Errors
/// [`CommitError::Io`], [`CommitError::Cancelled`], and as [`Srs::commit`].
pub fn commit_resumable(
    srs: &Srs,
    id: &ChunkListId,
    chunks: &[ChunkRef<'_>],
    cache: &Path,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Commitment>, CommitError> {
    let count = chunks.len();
    let io = |source| CommitError::Io { path: cache.to_owned(), source };
    if let Some(folder) = cache.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(cache).map_err(io)?;
    let mut stored = Vec::new();
    file.read_to_end(&mut stored).map_err(io)?;
    let header = header(srs, id, count);
    let mut done = match stored.strip_prefix(&header[..]) {
        Some(records) => valid_records(&header, records, count),
        None => {
            file.set_len(0).map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.write_all(&header).map_err(io)?;
            Vec::new()
        }
    };
    // A record that was cut short or damaged goes, with all that follow it.
    let end = (header.len() + done.len() * RECORD) as u64;
    file.set_len(end).map_err(io)?;
    file.seek(SeekFrom::Start(end)).map_err(io)?;
    for (index, chunk) in chunks.iter().enumerate().skip(done.len()) {
        if progress(index, count).is_break() {
            return Err(CommitError::Cancelled);
        }
        let commitment = srs.commit(*chunk)?;
        let bytes = commitment.to_bytes();
        let mut record = bytes.to_vec();
        record.extend_from_slice(&checksum(&header, index, &bytes));
        file.write_all(&record).and_then(|()| file.sync_data()).map_err(io)?;
        done.push(commitment);
    }
    // Told, not asked: everything is done.
    let _ = progress(count, count);
    Ok(done)
}

fn header(srs: &Srs, id: &ChunkListId, count: usize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&id.model);
    out.extend_from_slice(&id.layout);
    out.extend_from_slice(&srs.key().digest());
    out.extend_from_slice(&(count as u64).to_le_bytes());
    out
}

fn checksum(header: &[u8], index: usize, commitment: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    hasher.update(&(index as u64).to_le_bytes());
    hasher.update(commitment);
    let mut out = [0u8; CHECKSUM];
    hasher.finalize_xof().fill(&mut out);
    out
}

fn valid_records(header: &[u8], records: &[u8], count: usize) -> Vec<Commitment> {
    records
        .chunks_exact(RECORD)
        .take(count)
        .enumerate()
        .map_while(|(index, record)| {
            let (bytes, sum) = record.split_at(Commitment::BYTES);
            (checksum(header, index, bytes) == sum).then(|| Commitment::from_bytes(bytes).ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ChunkListId = ChunkListId { model: [7; 32], layout: [8; 32] };

    /// Runs over five chunks, stopping after `most` new ones; returns the result and which were computed.
    fn run(
        srs: &Srs,
        id: &ChunkListId,
        path: &Path,
        most: usize,
    ) -> (Result<Vec<Commitment>, CommitError>, Vec<usize>) {
        let values: Vec<i32> = (0..80).map(|i| i * 7 - 50).collect();
        let chunks: Vec<ChunkRef<'_>> = values.chunks(16).map(ChunkRef::I32).collect();
        let mut made = Vec::new();
        let result = commit_resumable(srs, id, &chunks, path, &mut |done, all| {
            if done == all {
                return ControlFlow::Continue(());
            }
            if made.len() == most {
                return ControlFlow::Break(());
            }
            made.push(done);
            ControlFlow::Continue(())
        });
        (result, made)
    }

    #[test]
    fn a_stopped_run_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models/chunks");
        let srs = Srs::insecure_dev(4, b"resume").unwrap();
        let whole = run(&srs, &ID, &folder.path().join("other"), 9).0.unwrap();
        assert_eq!(whole.len(), 5);
        let (stopped, made) = run(&srs, &ID, &path, 2);
        assert!(matches!(stopped, Err(CommitError::Cancelled)));
        assert_eq!(made, [0, 1]);
        let (rest, made) = run(&srs, &ID, &path, 9);
        assert_eq!(rest.unwrap(), whole);
        assert_eq!(made, [2, 3, 4]);
        let (again, made) = run(&srs, &ID, &path, 9);
        assert_eq!(again.unwrap(), whole);
        assert!(made.is_empty());
        // A record cut short, a damaged one, and another model.
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        assert_eq!(run(&srs, &ID, &path, 9).1, [4]);
        let mut bad = bytes.clone();
        let second = bytes.len() - 4 * RECORD;
        bad[second] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let (result, made) = run(&srs, &ID, &path, 9);
        assert_eq!(made, [1, 2, 3, 4]);
        assert_eq!(result.unwrap(), whole);
        let other = ChunkListId { model: [9; 32], ..ID };
        assert_eq!(run(&srs, &other, &path, 9).1, [0, 1, 2, 3, 4]);
        let other_setup = Srs::insecure_dev(4, b"another").unwrap();
        assert_eq!(run(&other_setup, &other, &path, 9).1, [0, 1, 2, 3, 4]);
    }
}
