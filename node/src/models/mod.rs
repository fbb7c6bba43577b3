//! The models of this machine: artefacts in a content-addressed folder, found by digest or name.

mod command;
mod eval;
mod import;
mod progress;

pub use command::run;
pub use import::{Imported, import};
pub use progress::ImportBar;

use crate::error::{Error, FileContext as _, Result};
use crate::home::write_atomic;
use monai_model::artefact::Model;
use monai_model::file::{self, Store};
use monai_protocol::ModelId;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Most bytes of the note beside an artefact.
const MAX_NOTE_BYTES: u64 = 16 << 10;

/// `MONAI_HOME/models`.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: PathBuf,
}

/// What import notes beside an artefact. For people and for finding it again; no check rests on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// Name given at import.
    pub name: String,
    /// SHA-256 of the GGUF file it was made of, in hex; empty for folders.
    pub source_sha256: String,
    /// The option `max_positions` of the import, if it was given.
    pub max_positions: Option<usize>,
}

/// An artefact in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredModel {
    /// Its identity.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What import noted.
    pub note: Note,
}

impl StoredModel {
    /// Maps and checks the whole artefact.
    ///
    /// # Errors
    /// A file that is not this model.
    pub fn load(&self) -> Result<Model> {
        Ok(file::load(&self.path, Some(&self.id))?)
    }
}

impl ModelStore {
    /// The store in this folder, which need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All models, by name.
    ///
    /// # Errors
    /// A folder that can't be read.
    pub fn list(&self) -> Result<Vec<StoredModel>> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let stored = self.open()?.list()?;
        let mut models = Vec::with_capacity(stored.len());
        for s in stored {
            let note = read_note(&note_path(&s.path)).unwrap_or_default();
            let name = if note.name.is_empty() { short(&s.id) } else { note.name.clone() };
            models.push(StoredModel { id: s.id, name, path: s.path, note });
        }
        models.sort_by(|a, b| a.name.cmp(&b.name).then(a.id.0.cmp(&b.id.0)));
        Ok(models)
    }

    /// The model with this digest (whole, or its first 8 digits or more), name, or file.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none, [`Error::Usage`] if there are several.
    pub fn find(&self, wanted: &str) -> Result<StoredModel> {
        let digits = wanted.strip_prefix("0x").unwrap_or(wanted).to_ascii_lowercase();
        let by_digest = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let mut found: Vec<_> = self
            .list()?
            .into_iter()
            .filter(|m| m.name == wanted || (by_digest && hex::encode(m.id.0).starts_with(&digits)))
            .collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::Missing(format!(
                "no model {wanted} in {}; `monai model list` shows those that are there, `monai model import` adds one",
                self.dir.display()
            ))),
            n => Err(Error::Usage(format!("{wanted} names {n} models; give the digest"))),
        }
    }

    /// The model with this identity.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn get(&self, id: &ModelId) -> Result<StoredModel> {
        self.find(&hex::encode(id.0))
    }

    /// Loads what `find` finds, or a file outside the store.
    ///
    /// # Errors
    /// As [`ModelStore::find`] and [`StoredModel::load`].
    pub fn load(&self, wanted: &str) -> Result<Model> {
        let path = Path::new(wanted);
        if path.is_file() {
            return Ok(file::load(path, None)?);
        }
        self.find(wanted)?.load()
    }

    /// Adds a model with its note.
    ///
    /// # Errors
    /// A folder that can't be written.
    pub fn add(&self, model: &mut Model, note: Note) -> Result<StoredModel> {
        let store = self.open()?;
        let id = store.add(model)?;
        let path = store.path(&id);
        let text = serde_json::to_vec(&note).map_err(|e| Error::Local(e.to_string()))?;
        write_atomic(&note_path(&path), &text, false)?;
        Ok(StoredModel { id, name: note.name.clone(), path, note })
    }

    fn open(&self) -> Result<Store> {
        Ok(Store::open(&self.dir)?)
    }
}

fn note_path(artefact: &Path) -> PathBuf {
    artefact.with_extension("json")
}

fn read_note(path: &Path) -> Result<Note> {
    if std::fs::metadata(path).at(path)?.len() > MAX_NOTE_BYTES {
        return Err(Error::Malformed { path: path.to_path_buf(), what: "too long for a note".into() });
    }
    serde_json::from_slice(&std::fs::read(path).at(path)?)
        .map_err(|e| Error::Malformed { path: path.to_path_buf(), what: e.to_string() })
}

fn short(id: &ModelId) -> String {
    hex::encode(&id.0[..8])
}
