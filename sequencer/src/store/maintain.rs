//! What is done to a store besides reading and writing it: backup, migration, erasure.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, WriteOptions};

use super::{Cf, SCHEMA_KEY, SCHEMA_VERSION, StoreError, handle, open_db, schema};

/// What [`migrate`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The schema before.
    pub from: u32,
    /// The schema now.
    pub to: u32,
}

fn exists(path: &Path) -> bool {
    path.join("CURRENT").is_file()
}

pub(super) fn checkpoint(db: &DB, target: &Path) -> Result<(), StoreError> {
    if target.exists() {
        return Err(StoreError::TargetExists(target.display().to_string()));
    }
    Checkpoint::new(db)?.create_checkpoint(target)?;
    Ok(())
}

/// Writes a consistent copy of the store in `data_dir` to the new folder `target`, by a RocksDB checkpoint.
/// The sequencer must not be running (RocksDB holds a lock); a running one makes its own copy through
/// [`crate::RunningSequencer::backup`].
///
/// # Errors
/// [`StoreError::Absent`], [`StoreError::TargetExists`], or what RocksDB reports.
pub fn backup(data_dir: &Path, target: &Path) -> Result<(), StoreError> {
    if !exists(data_dir) {
        return Err(StoreError::Absent(data_dir.display().to_string()));
    }
    checkpoint(&open_db(data_dir, false)?, target)
}

/// Brings the store in `data_dir` to [`SCHEMA_VERSION`]. The sequencer must not be running.
///
/// # Errors
/// [`StoreError::Absent`]; [`StoreError::Obsolete`] for schema 1; [`StoreError::Schema`] if the store is of a newer version than this program
/// knows; or what RocksDB reports (it refuses while another process has the store open).
pub fn migrate(data_dir: &Path) -> Result<Migration, StoreError> {
    if !exists(data_dir) {
        return Err(StoreError::Absent(data_dir.display().to_string()));
    }
    // Opening creates the column families that an older schema lacks.
    let db = open_db(data_dir, false)?;
    let from = schema(&db)?.unwrap_or(0);
    if from > SCHEMA_VERSION {
        return Err(StoreError::Schema { found: from });
    }
    if from == 1 {
        return Err(StoreError::Obsolete { found: from });
    }
    if from < SCHEMA_VERSION {
        // A store without a version was never completed and holds nothing.
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        db.put_cf_opt(handle(&db, Cf::Meta)?, SCHEMA_KEY, SCHEMA_VERSION.to_be_bytes(), &synced)?;
    }
    Ok(Migration { from, to: SCHEMA_VERSION })
}

pub(super) fn erase_deleted(db: &DB) -> Result<(), StoreError> {
    // The write-ahead log goes only once every family that it covers is flushed.
    for cf in Cf::ALL {
        db.flush_cf(handle(db, cf)?)?;
    }
    for cf in Cf::PLAINTEXT {
        let handle = handle(db, cf)?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        db.compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &options);
    }
    Ok(())
}
