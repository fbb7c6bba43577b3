//! The durable state of a sequencer, in RocksDB.
//!
//! Invariants:
//! * A change is atomic and synced before its ticket resolves ([`commit`]).
//! * Nothing is acknowledged to anyone before its ticket resolved.
//! * The schema version is checked at open; an older one is refused until [`migrate`] ran.

pub(crate) mod commit;
pub(crate) mod keys;
mod maintain;
mod marks;

use std::path::Path;
use std::sync::Arc;

use monai_protocol::Domain;
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, ReadOptions};
use serde::de::DeserializeOwned;

pub(crate) use commit::{Change, Ticket};
pub(crate) use keys::Cf;
pub use maintain::{Migration, backup, migrate};
pub(crate) use marks::Marks;

use crate::metrics::Metrics;

/// The schema that this version reads and writes.
pub const SCHEMA_VERSION: u32 = 2;

const SCHEMA_KEY: &[u8] = b"schema";
const DOMAIN_KEY: &[u8] = b"domain";

/// Why the store can't do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// RocksDB says no.
    #[error("RocksDB: {0}")]
    Rocks(String),
    /// The operating system says no.
    #[error("input or output failed: {0}")]
    Io(String),
    /// A record can't be read.
    #[error("record in '{0}' is damaged: {1}")]
    Decode(&'static str, String),
    /// A record can't be written.
    #[error("record for '{0}' can't be encoded: {1}")]
    Encode(&'static str, String),
    /// The store is of another schema.
    #[error("the store has schema {found}, this version needs {SCHEMA_VERSION}; run `monai store migrate`")]
    Schema {
        /// The schema found.
        found: u32,
    },
    /// The store is of a network whose receipts mean something else.
    #[error(
        "a store of schema {found} can't be carried over: its tables name nodes otherwise; begin with an empty folder"
    )]
    Obsolete {
        /// The schema found.
        found: u32,
    },
    /// The store belongs to another chain or rollup.
    #[error("the store belongs to chain {} and rollup {}", .0.chain_id, .0.rollup)]
    Domain(Domain),
    /// The store gave fewer slots than the key has signed.
    #[error(
        "this key has signed the slots of a lane up to {signed} ({marks} says so), and the store has given {given}: it \
         was wiped, or is an old copy. To give them again would burn the bond. Bring back the newest store, or use a \
         new key"
    )]
    Behind {
        /// Slots of the lane that were signed.
        signed: u64,
        /// Slots of the lane that the store has given.
        given: u64,
        /// The file that says how many were signed.
        marks: String,
    },
    /// An earlier write failed, so nothing more is written.
    #[error("an earlier write failed; the store is read-only until a restart")]
    Failed,
    /// The store was closed.
    #[error("the store is closed")]
    Stopped,
    /// A backup's target exists.
    #[error("{0} exists already")]
    TargetExists(String),
    /// There is no store.
    #[error("{0} holds no store")]
    Absent(String),
}

impl From<rocksdb::Error> for StoreError {
    fn from(e: rocksdb::Error) -> Self {
        Self::Rocks(e.to_string())
    }
}

/// The open store. Cheap to share; closes when the last owner is gone.
pub(crate) struct Store {
    // Before `db`, so that the last changes are written before it closes.
    writer: commit::Writer,
    db: Arc<DB>,
}

fn options() -> Options {
    let mut o = Options::default();
    o.create_if_missing(true);
    o.create_missing_column_families(true);
    // A torn tail of the log is what a crash leaves; anything else damaged must not be passed over.
    o.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
    o.set_max_open_files(512);
    o.set_keep_log_file_num(4);
    o.set_max_total_wal_size(256 << 20);
    o.set_db_write_buffer_size(64 << 20);
    o
}

fn open_db(path: &Path, create: bool) -> Result<DB, StoreError> {
    let mut o = options();
    o.create_if_missing(create);
    let families = Cf::ALL.iter().map(|cf| ColumnFamilyDescriptor::new(cf.name(), Options::default()));
    Ok(DB::open_cf_descriptors(&o, path, families)?)
}

fn handle(db: &DB, cf: Cf) -> Result<&ColumnFamily, StoreError> {
    db.cf_handle(cf.name()).ok_or(StoreError::Rocks(format!("no column family '{}'", cf.name())))
}

/// Refuses a store that is behind the marks, and raises the marks to the store.
fn compare(db: &DB, mut marks: Marks) -> Result<Marks, StoreError> {
    let next = |bytes: &[u8]| {
        let bytes =
            bytes.try_into().map_err(|_| StoreError::Decode(Cf::NextSlots.name(), "malformed".into()))?;
        Ok::<_, StoreError>(u64::from_be_bytes(bytes))
    };
    for (lane, signed) in marks.lanes() {
        let given = db.get_cf(handle(db, Cf::NextSlots)?, lane)?.map_or(Ok(0), |b| next(&b))?;
        if given < signed {
            return Err(StoreError::Behind { signed, given, marks: marks.name() });
        }
    }
    let mut lanes = Vec::new();
    for item in db.iterator_cf(handle(db, Cf::NextSlots)?, IteratorMode::Start) {
        let (lane, value) = item?;
        lanes.push((lane.into_vec(), next(&value)?));
    }
    marks.raise(lanes)?;
    Ok(marks)
}

fn schema(db: &DB) -> Result<Option<u32>, StoreError> {
    let bytes = db.get_cf(handle(db, Cf::Meta)?, SCHEMA_KEY)?;
    bytes
        .map(|b| {
            let b: [u8; 4] =
                b.try_into().map_err(|_| StoreError::Decode("meta", "schema is not 4 bytes".into()))?;
            Ok(u32::from_be_bytes(b))
        })
        .transpose()
}

impl Store {
    /// Opens or makes the store in `path`. A store of another domain or schema is refused, and one that is behind the
    /// marks in the file `marks`.
    pub(crate) fn open(
        path: &Path,
        domain: &Domain,
        marks: Option<&Path>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let marks = marks.map(Marks::open).transpose()?;
        std::fs::create_dir_all(path).map_err(|e| StoreError::Io(format!("{}: {e}", path.display())))?;
        let db = Arc::new(open_db(path, true)?);
        match schema(&db)? {
            Some(SCHEMA_VERSION) => {
                let found: Domain = get_json(&db, Cf::Meta, DOMAIN_KEY)?
                    .ok_or(StoreError::Decode("meta", "the domain is absent".into()))?;
                if found != *domain {
                    return Err(StoreError::Domain(found));
                }
            }
            Some(found) => return Err(StoreError::Schema { found }),
            None => {
                let mut first = Change::default();
                first.put(Cf::Meta, SCHEMA_KEY.to_vec(), SCHEMA_VERSION.to_be_bytes().to_vec());
                first.put_json(Cf::Meta, DOMAIN_KEY.to_vec(), domain)?;
                let writer = commit::Writer::start(db.clone(), None, metrics.clone())?;
                writer.submit(first).durable_blocking()?;
            }
        }
        let marks = marks.map(|marks| compare(&db, marks)).transpose()?;
        let writer = commit::Writer::start(db.clone(), marks, metrics)?;
        Ok(Self { writer, db })
    }

    /// Hands a change over for a synced write, in the order of calls.
    pub(crate) fn submit(&self, change: Change) -> Ticket {
        self.writer.submit(change)
    }

    /// Writes a change and waits until it is on disk.
    pub(crate) async fn commit(&self, change: Change) -> Result<(), StoreError> {
        if change.is_empty() {
            return Ok(());
        }
        self.submit(change).durable().await
    }

    /// True after a write failed: nothing may be acknowledged any more.
    pub(crate) fn failed(&self) -> bool {
        self.writer.failed()
    }

    /// Resolves once a write has failed.
    pub(crate) async fn broken(&self) {
        self.writer.broken().await;
    }

    pub(crate) fn get_json<T: DeserializeOwned>(&self, cf: Cf, key: &[u8]) -> Result<Option<T>, StoreError> {
        get_json(&self.db, cf, key)
    }

    pub(crate) fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(handle(&self.db, cf)?, key)?)
    }

    /// Records whose keys start with `prefix`, in key order, at most `limit`.
    pub(crate) fn scan(&self, cf: Cf, prefix: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let from = IteratorMode::From(prefix, Direction::Forward);
        let mut out = Vec::new();
        for item in self.db.iterator_cf_opt(handle(&self.db, cf)?, options, from) {
            let (key, value) = item?;
            if !key.starts_with(prefix) || out.len() == limit {
                break;
            }
            out.push((key.into_vec(), value.into_vec()));
        }
        Ok(out)
    }

    /// The same, decoded from JSON.
    pub(crate) fn scan_json<T: DeserializeOwned>(
        &self,
        cf: Cf,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, StoreError> {
        self.scan(cf, prefix, limit)?.into_iter().map(|(key, bytes)| Ok((key, decode(cf, &bytes)?))).collect()
    }

    /// Writes a consistent copy of the store to a new folder.
    pub(crate) fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        maintain::checkpoint(&self.db, target)
    }

    /// Removes deleted plaintext from the files too: flushes, so that no log holds it, and rewrites the
    /// column families that ever held it.
    pub(crate) fn erase_deleted(&self) -> Result<(), StoreError> {
        maintain::erase_deleted(&self.db)
    }
}

/// A key and its value.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

pub(crate) fn decode<T: DeserializeOwned>(cf: Cf, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|e| StoreError::Decode(cf.name(), e.to_string()))
}

fn get_json<T: DeserializeOwned>(db: &DB, cf: Cf, key: &[u8]) -> Result<Option<T>, StoreError> {
    db.get_cf(handle(db, cf)?, key)?.map(|bytes| decode(cf, &bytes)).transpose()
}

#[cfg(test)]
mod tests;
