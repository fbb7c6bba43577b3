//! A folder of artefacts, each under its identity. Files in it are written once and never changed.

use std::path::{Path, PathBuf};

use super::{load, peek, write};
use crate::artefact::{Model, ModelId};
use crate::error::ModelError;

/// File extension of artefacts.
const EXTENSION: &str = "monai";

/// A content-addressed folder.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

/// One artefact in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What its file name says; [`Store::load`] checks it.
    pub id: ModelId,
    /// Where it is.
    pub path: PathBuf,
}

impl Store {
    /// Opens the folder and makes it where it is missing.
    ///
    /// # Errors
    /// [`ModelError::Io`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ModelError> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).map_err(ModelError::io(&dir))?;
        Ok(Self { dir })
    }

    /// Where a model is or would be.
    #[must_use]
    pub fn path(&self, id: &ModelId) -> PathBuf {
        self.dir.join(format!("{}.{EXTENSION}", hex::encode(id.0)))
    }

    /// Adds a model and writes its identity into `model.id`. Where it is already there and sound, nothing is written.
    ///
    /// # Errors
    /// As [`write`].
    pub fn add(&self, model: &mut Model) -> Result<ModelId, ModelError> {
        let id = super::identify(model)?;
        let path = self.path(&id);
        if load(&path, Some(&id)).is_err() {
            write(model, &path)?;
        }
        Ok(id)
    }

    /// Loads a model by its identity.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self, id: &ModelId) -> Result<Model, ModelError> {
        load(&self.path(id), Some(id))
    }

    /// All artefacts whose header can be read, by identity.
    ///
    /// # Errors
    /// [`ModelError::Io`] where the folder can't be listed.
    pub fn list(&self) -> Result<Vec<Stored>, ModelError> {
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(ModelError::io(&self.dir))? {
            let path = entry.map_err(ModelError::io(&self.dir))?.path();
            if let Some(id) = identity(&path)
                && peek(&path).is_ok()
            {
                out.push(Stored { id, path });
            }
        }
        out.sort_by_key(|s| s.id.0);
        Ok(out)
    }
}

fn identity(path: &Path) -> Option<ModelId> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let mut id = [0; 32];
    hex::decode_to_slice(path.file_stem()?.to_str()?, &mut id).ok()?;
    Some(ModelId(id))
}
