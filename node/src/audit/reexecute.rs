//! Running a model again to compare answers bit for bit.

use crate::error::{Error, Result};
use crate::models::ModelStore;
use monai_engine::{Program, ReexecutionError, Replay};
use monai_protocol::receipt::Receipt;
use monai_protocol::types::Finish;
use monai_protocol::{ModelId, SelectionParams};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Models that receipts name, loaded when first needed.
///
/// An answer is checked in one causal pass over prompt and output, many positions at a time: each
/// id must be the one that the model selects after the ids before it. That is as strict as decoding
/// again, one id after the other, and several times faster.
#[derive(Debug)]
pub struct Auditor {
    store: ModelStore,
    threads: usize,
    replays: Mutex<BTreeMap<ModelId, Arc<Mutex<Replay>>>>,
}

impl Auditor {
    /// An auditor that finds models in this store.
    #[must_use]
    pub fn new(store: ModelStore, threads: Option<usize>) -> Self {
        Self {
            store,
            threads: threads.unwrap_or_else(crate::engine::default_threads),
            replays: Mutex::default(),
        }
    }

    /// Loads a model.
    ///
    /// # Errors
    /// [`Error::Missing`] if the store has it not; a file that is not this model.
    pub fn prepare(&self, model: &ModelId) -> Result<()> {
        self.replay(model).map(|_| ())
    }

    fn replay(&self, model: &ModelId) -> Result<Arc<Mutex<Replay>>> {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(replay) = replays.get(model) {
            return Ok(replay.clone());
        }
        let loaded = Arc::new(self.store.get(model)?.load()?);
        let engine = |e: monai_engine::EngineError| Error::Engine(e.to_string());
        let program = Program::new(loaded, None).map_err(engine)?;
        let replay = Arc::new(Mutex::new(Replay::new(program, self.threads).map_err(engine)?));
        replays.insert(*model, replay.clone());
        Ok(replay)
    }

    /// Confirms that a receipt's output is what its model decodes from its prompt.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first place that differs; anything else kept the check from running.
    pub fn confirm(&self, receipt: &Receipt) -> Result<()> {
        let request = &receipt.request;
        let finish = receipt.response.message.finish;
        self.compare(&request.model, &request.prompt, &request.params, &receipt.output, finish)
    }

    fn compare(
        &self,
        model: &ModelId,
        prompt: &[u32],
        params: &SelectionParams,
        output: &[u32],
        finish: Finish,
    ) -> Result<()> {
        let replay = self.replay(model)?;
        let mut replay = replay.lock().unwrap_or_else(PoisonError::into_inner);
        match replay.reexecute(prompt, params, output, Some(finish)) {
            Ok(()) => Ok(()),
            Err(ReexecutionError::Mismatch(what)) => Err(Error::Invalid(format!("re-execution: {what}"))),
            // A job that no engine would take was not answered by one either.
            Err(ReexecutionError::Engine(what)) => Err(Error::Invalid(format!("re-execution: {what}"))),
        }
    }
}
