//! The devnet's model: the pinned SmolLM2-135M-Instruct, imported once.

use crate::cli::DevnetOptions;
use crate::error::{Error, FileContext as _, Result};
use crate::models::{ImportBar, ModelStore, StoredModel, import};
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// File name of the pinned GGUF.
const GGUF: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
/// Its SHA-256: the devnet serves this model and no look-alike.
const GGUF_SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// The name that clients use.
const NAME: &str = "SmolLM2-135M-Instruct";
/// Positions that the model is registered for: fewer than it was trained for, because a node that can't prove an answer
/// loses stake for it. So long an answer takes 15 GiB of memory to prove; twice as long, 41 (`monai prove --limits`).
const POSITIONS: usize = 512;

/// The models to serve: those named, or the pinned one, imported first where it is not there.
pub(super) fn models(options: &DevnetOptions, store: &ModelStore) -> Result<Vec<StoredModel>> {
    if !options.model.is_empty() {
        return options.model.iter().map(|m| store.find(m)).collect();
    }
    let known =
        |m: &StoredModel| m.note.source_sha256 == GGUF_SHA256 && m.note.max_positions == Some(POSITIONS);
    if let Some(model) = store.list()?.into_iter().find(|m| known(m) && m.name == NAME) {
        return Ok(vec![model]);
    }
    let gguf = find_gguf(options)?;
    let digest = sha256(&gguf)?;
    if digest != GGUF_SHA256 {
        return Err(Error::Malformed {
            path: gguf,
            what: format!(
                "its SHA-256 is {digest}, expected {GGUF_SHA256}; other models: `monai model import`, then --model"
            ),
        });
    }
    let imported = import(store, &gguf, Some(NAME.into()), Some(POSITIONS), &ImportBar::default())?;
    Ok(vec![imported.stored])
}

fn find_gguf(options: &DevnetOptions) -> Result<PathBuf> {
    let path = match &options.gguf {
        Some(path) => path.clone(),
        None => cache()?.join(GGUF),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::Missing(format!(
        "{}: the model is not there; run node/scripts/fetch-model (or `make devnet`), or give --gguf FILE",
        path.display()
    )))
}

/// `${MONAI_CACHE:-~/.cache/monai}`, as scripts/fetch-model has it.
fn cache() -> Result<PathBuf> {
    match std::env::var_os("MONAI_CACHE") {
        Some(dir) if !dir.is_empty() => Ok(PathBuf::from(dir)),
        _ => std::env::home_dir()
            .map(|h| h.join(".cache").join("monai"))
            .ok_or_else(|| Error::Usage("no home folder is known; give --gguf FILE".into())),
    }
}

/// SHA-256 of a file, in hex.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).at(path)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut chunk).at(path)? {
            0 => return Ok(hex::encode(digest.finalize())),
            n => digest.update(&chunk[..n]),
        }
    }
}
