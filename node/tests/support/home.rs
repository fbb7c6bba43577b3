//! A MONAI_HOME of its own for a test, with a tiny model in it.

use monai_model::testing::{TinyOptions, tiny};
use monai_node::home::Home;
use monai_node::keys::{KeyFolder, Password};
use monai_node::models::{ModelStore, Note, StoredModel};
use monai_protocol::SecretKey;
use std::path::{Path, PathBuf};

/// Password of all keys of tests.
pub const PASSWORD: &str = "only for tests";

/// A temporary home, removed when dropped.
pub struct TestHome {
    dir: tempfile::TempDir,
    pub home: Home,
    pub store: ModelStore,
    pub model: StoredModel,
}

impl TestHome {
    pub fn new() -> Self {
        Self::with(&TinyOptions { max_positions: 2048, ..TinyOptions::default() })
    }

    pub fn with(options: &TinyOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::find(Some(dir.path().to_path_buf())).unwrap();
        let store = ModelStore::new(home.models());
        let mut model = tiny(options).unwrap();
        let note = Note { name: "tiny".into(), ..Note::default() };
        let model = store.add(&mut model, note).unwrap();
        std::fs::write(dir.path().join("password"), PASSWORD).unwrap();
        Self { dir, home, store, model }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn password_file(&self) -> PathBuf {
        self.path().join("password")
    }

    /// A key that was made before.
    pub fn unlock(&self, name: &str) -> SecretKey {
        let path = KeyFolder::new(self.home.keys()).find(name).unwrap();
        monai_node::keys::unlock(&path, &Password::new(PASSWORD.into())).unwrap()
    }

    /// Makes a key in the home's key folder.
    pub fn key(&self, name: &str) -> SecretKey {
        let password = Password::new(PASSWORD.into());
        let stored = KeyFolder::new(self.home.keys()).create(name, &password).unwrap();
        monai_node::keys::unlock(&stored.path, &password).unwrap()
    }
}
