//! `monai model eval`: how well a model predicts a text.

use crate::error::{Error, FileContext as _, Result};
use monai_engine::{EngineError, Program, Replay};
use monai_model::artefact::Model;
use monai_model::semantics::{LOGIT_BITS, logit};
use std::ops::ControlFlow;
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

/// Mean negative log-likelihood of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nll {
    /// Nats a predicted id: the arithmetic mean over all of them.
    pub(super) nll: f64,
    /// Ids that were predicted: all but the first.
    pub(super) tokens: usize,
}

/// Evaluates the logits that selection sees: the integers `L = r32(tau A)` at temperature 1, step 2^-12.
pub(super) fn nll(model: Model, ids: &[u32], threads: usize) -> Result<Nll> {
    if ids.len() < 2 {
        return Err(Error::Usage("at least two ids are needed: the first one is context only".into()));
    }
    let most = model.arch.max_positions;
    if ids.len() > most {
        return Err(Error::Usage(format!("{} ids, the model has {most} positions", ids.len())));
    }
    let tau = model.arch.tau_one.saturating_add(1 << 31) >> 32;
    let tau = u32::try_from(tau).unwrap_or(u32::MAX).clamp(1, model.arch.tau_max);
    let engine = |e: EngineError| Error::Engine(e.to_string());
    let program = Program::new(Arc::new(model), None).map_err(engine)?;
    let mut replay = Replay::new(program, threads).map_err(engine)?;
    let mut total = 0.0;
    replay
        .for_each_logits(ids, 0, |position, raw| {
            if let Some(&next) = ids.get(position + 1) {
                total -= log_probability(raw, tau, next);
            }
            ControlFlow::Continue(())
        })
        .map_err(engine)?;
    let tokens = ids.len() - 1;
    Ok(Nll { nll: total / tokens as f64, tokens })
}

/// Natural logarithm of the softmax, in f64, of the integer logits at `id`.
fn log_probability(raw: &[i64], tau: u32, id: u32) -> f64 {
    let step = f64::from(1u32 << LOGIT_BITS);
    let top = raw.iter().copied().max().map_or(0, |a| logit(tau, a));
    let distance = |a: i64| (logit(tau, a) - top) as f64 / step;
    let sum: f64 = raw.iter().map(|&a| distance(a).exp()).sum();
    raw.get(id as usize).map_or(f64::NEG_INFINITY, |&a| distance(a) - sum.ln())
}
