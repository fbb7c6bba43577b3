//! `monai model eval`: how well a model predicts a text.

use crate::error::{Error, FileContext as _, Result};
use monai_engine::{Nll, Program, Replay};
use monai_model::artefact::Model;
use std::path::Path;
use std::sync::Arc;

/// Most bytes of a file of ids.
const MAX_IDS_BYTES: u64 = 64 << 20;

/// Reads a JSON array of token ids.
pub(super) fn read_ids(path: &Path) -> Result<Vec<u32>> {
    let malformed = |what: String| Error::Malformed { path: path.to_path_buf(), what };
    let bytes = std::fs::metadata(path).at(path)?.len();
    if bytes > MAX_IDS_BYTES {
        return Err(malformed(format!("{bytes} bytes, at most {MAX_IDS_BYTES}")));
    }
    serde_json::from_slice(&std::fs::read(path).at(path)?)
        .map_err(|e| malformed(format!("not a JSON array of token ids: {e}")))
}

/// Mean nats a predicted id, at temperature 1.
pub(super) fn nll(model: Model, ids: &[u32], threads: usize) -> Result<Nll> {
    if ids.len() < 2 {
        return Err(Error::Usage("at least two ids are needed: the first one is context only".into()));
    }
    let most = model.arch.max_positions;
    if ids.len() > most {
        return Err(Error::Usage(format!("{} ids, the model has {most} positions", ids.len())));
    }
    let engine = |e: monai_engine::EngineError| Error::Engine(e.to_string());
    let program = Program::new(Arc::new(model), None).map_err(engine)?;
    Replay::new(program, threads).map_err(engine)?.nll(ids).map_err(engine)
}
