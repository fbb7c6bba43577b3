//! Running a model again to compare answers bit for bit.

use crate::engine::{AnyEngine, EngineOptions};
use crate::error::{Error, Result};
use crate::models::ModelStore;
use monai_protocol::types::Finish;
use monai_protocol::{ModelId, Reexecute, SelectionParams};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Key/value memory of an auditor's engine, MiB: one sequence at a time.
const KV_MIB: usize = 512;

/// Engines for the models that receipts name, loaded when first needed.
#[derive(Debug)]
pub struct Auditor {
    store: ModelStore,
    threads: Option<usize>,
    engines: Mutex<BTreeMap<ModelId, AnyEngine>>,
}

impl Auditor {
    /// An auditor that finds models in this store.
    #[must_use]
    pub fn new(store: ModelStore, threads: Option<usize>) -> Self {
        Self { store, threads, engines: Mutex::default() }
    }

    /// Loads a model.
    ///
    /// # Errors
    /// [`Error::Missing`] if the store has it not.
    pub fn prepare(&self, model: &ModelId) -> Result<AnyEngine> {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(model) {
            return Ok(engine.clone());
        }
        let loaded = Arc::new(self.store.get(model)?.load()?);
        let options =
            EngineOptions { threads: self.threads, kv_mib: KV_MIB, streams: 1, ..EngineOptions::default() };
        let engine = AnyEngine::start(loaded, &options)?;
        engines.insert(*model, engine.clone());
        Ok(engine)
    }
}

impl Reexecute for Auditor {
    type Error = Error;

    fn reexecute(
        &self,
        model: &ModelId,
        prompt: &[u32],
        params: &SelectionParams,
        at_most: u32,
    ) -> Result<(Vec<u32>, Finish)> {
        self.prepare(model)?.answer(prompt, params, at_most)
    }
}
