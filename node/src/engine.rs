//! The engine that a node serves with, chosen by option. All engines give the same bits.

use crate::cli::EngineKind;
use crate::error::{Error, Result};
use candle_core::Device;
use monai_engine::{Engine, EngineConfig, EngineError, Job, Program, TokenStream};
use monai_model::artefact::Model;
use monai_protocol::SelectionParams;
use std::sync::Arc;

/// How to run an engine.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// Which one.
    pub kind: EngineKind,
    /// Threads; `None` is [`default_threads`].
    pub threads: Option<usize>,
    /// Key/value memory, MiB.
    pub kv_mib: usize,
    /// Jobs computed at a time.
    pub streams: usize,
}

/// An engine that serves one model, shared by all sessions.
#[derive(Debug, Clone)]
pub struct AnyEngine(Arc<Engine>);

impl AnyEngine {
    /// Prepares the model and starts the engine.
    ///
    /// # Errors
    /// [`Error::Usage`] for numbers out of range, [`Error::Engine`].
    pub fn start(model: Arc<Model>, options: &EngineOptions) -> Result<Self> {
        let config = EngineConfig {
            threads: options.threads.unwrap_or_else(default_threads),
            kv_bytes: options.kv_mib.saturating_mul(1 << 20),
            max_streams: options.streams.min(monai_engine::MAX_STREAMS),
            // Credit is counted per session; what is granted beyond the streams computed at a time waits here.
            max_queue: QUEUE,
            ..EngineConfig::default()
        };
        let program = match options.kind {
            EngineKind::Cpu => Program::new(model, config.kernel),
            // The first NVIDIA device where the program was built for one, candle's CPU device elsewhere.
            EngineKind::Candle => Device::cuda_if_available(0)
                .map_err(EngineError::from)
                .and_then(|d| Program::on_device(model, &d)),
        };
        match program.and_then(|p| Engine::with_program(p, config)) {
            Ok(engine) => Ok(Self(Arc::new(engine))),
            Err(error @ EngineError::Config { .. }) => Err(Error::Usage(error.to_string())),
            Err(error) => Err(Error::Engine(error.to_string())),
        }
    }

    /// Begins an answer.
    ///
    /// # Errors
    /// What the engine says of the job.
    pub fn submit(&self, job: Job) -> std::result::Result<TokenStream, EngineError> {
        self.0.submit(job)
    }

    /// Whether the stop rule ends an answer with these ids.
    #[must_use]
    pub fn ended(&self, params: &SelectionParams, output: &[u32]) -> bool {
        self.0.program().finish_after(params, output).is_some()
    }

    /// Jobs that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.0.stats().waiting
    }
}

/// Jobs that may wait: all that signed credits can let in.
const QUEUE: usize = monai_protocol::wire::MAX_CREDITS as usize;

/// Threads where nothing is said: one a logical core.
#[must_use]
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
