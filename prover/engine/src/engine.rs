//! The serving engine: a thread that batches the jobs of many callers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use monai_model::artefact::Model;
use tokio::sync::{mpsc, watch};

use crate::error::EngineError;
use crate::forward::{Forward, Profile};
use crate::job::{Job, MAX_LOGPROBS, TokenStream};
use crate::kernel::Kernel;
use crate::kv::KvCache;
use crate::memory::memory;
use crate::pool::MAX_THREADS;
use crate::program::Program;
use crate::replay::Replay;
use crate::schedule::{Command, Scheduler, Submission};

/// Most streams that an engine computes at a time: each has a row in every pass, and prefill needs rows too.
pub const MAX_STREAMS: usize = 64;
/// Most jobs that may wait.
pub const MAX_QUEUE: usize = 1 << 16;

/// How an engine uses the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Threads that compute, the engine's own included.
    pub threads: usize,
    /// Most memory for keys and values in bytes. It is taken when needed and never exceeded: when it is full, cached
    /// prefixes go first, then the youngest stream waits and is recomputed later, which changes no bit of its answer.
    pub kv_bytes: usize,
    /// Most jobs that are computed at a time, at most [`MAX_STREAMS`].
    pub max_streams: usize,
    /// Most jobs that wait for that, at most [`MAX_QUEUE`]; one more is refused as [`EngineError::Busy`].
    pub max_queue: usize,
    /// The kernel; `None` is the fastest that the processor has.
    pub kernel: Option<Kernel>,
    /// Whether prefixes that other jobs have computed are reused.
    pub prefix_reuse: bool,
}

impl Default for EngineConfig {
    /// All cores, 256 MiB of keys and values, 8 streams, 64 waiting jobs.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            kv_bytes: 256 << 20,
            max_streams: 8,
            max_queue: 64,
            kernel: None,
            prefix_reuse: true,
        }
    }
}

impl EngineConfig {
    fn validate(&self) -> Result<(), EngineError> {
        let within = |field, came, min, max| {
            if (min..=max).contains(&came) {
                Ok(())
            } else {
                Err(EngineError::Config { field, came, min, max })
            }
        };
        within("threads", self.threads, 1, MAX_THREADS)?;
        within("max_streams", self.max_streams, 1, MAX_STREAMS)?;
        within("max_queue", self.max_queue, 0, MAX_QUEUE)
    }
}

/// What an engine is doing and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Jobs that are computed now.
    pub active: usize,
    /// Jobs that wait.
    pub waiting: usize,
    /// Jobs that have ended, however.
    pub ended: u64,
    /// Prompt and resumed ids that were computed.
    pub prefilled_ids: u64,
    /// Prompt and resumed ids whose keys and values were in the cache.
    pub reused_ids: u64,
    /// Ids that were selected.
    pub new_ids: u64,
    /// Streams that had to make room for older ones.
    pub preemptions: u64,
    /// Rows prefilled a second, averaged over the last seconds in which there was work.
    pub prefill_per_second: f64,
    /// Ids selected a second, likewise.
    pub decode_per_second: f64,
    /// Memory for keys and values that streams hold, in bytes.
    pub kv_used: usize,
    /// Memory for keys and values that was taken from the system, cached prefixes included, in bytes.
    pub kv_resident: usize,
    /// The limit of that.
    pub kv_limit: usize,
    /// Resident memory of the process in bytes; 0 where the system does not tell.
    pub resident: u64,
}

/// Computes answers for many callers at a time.
///
/// Dropping it stops all jobs with [`EngineError::Stopped`]; [`Engine::drain`] lets them end first.
#[derive(Debug)]
pub struct Engine {
    program: Arc<Program>,
    config: EngineConfig,
    kv_blocks: usize,
    commands: Sender<Command>,
    draining: AtomicBool,
    /// Jobs that have been submitted and have not ended.
    jobs: watch::Sender<usize>,
    stats: Arc<Mutex<Stats>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Prepares a model and starts an engine for it.
    ///
    /// # Errors
    /// See [`Program::new`] and [`Engine::with_program`].
    pub fn new(model: Arc<Model>, config: EngineConfig) -> Result<Self, EngineError> {
        Self::with_program(Program::new(model, config.kernel)?, config)
    }

    /// Starts an engine for a program that others may use too.
    ///
    /// # Errors
    /// A configuration out of range; less key/value memory than one block; no thread.
    pub fn with_program(program: Arc<Program>, config: EngineConfig) -> Result<Self, EngineError> {
        config.validate()?;
        let cache = KvCache::new(program.kv, config.kv_bytes, config.prefix_reuse)?;
        let kv_blocks = cache.limit();
        if kv_blocks == 0 {
            return Err(EngineError::KvTooSmall { needed: 1, total: 0 });
        }
        let forward = Forward::new(Arc::clone(&program), config.threads)?;
        let (commands, inbox) = channel();
        let (jobs, _) = watch::channel(0);
        let stats = Arc::new(Mutex::new(Stats { kv_limit: config.kv_bytes, ..Stats::default() }));
        let scheduler =
            Scheduler::new(forward, cache, config.max_streams, inbox, jobs.clone(), Arc::clone(&stats));
        let thread = std::thread::Builder::new()
            .name("monai-engine".to_owned())
            .spawn(move || scheduler.run())
            .map_err(|e| EngineError::Thread(e.to_string()))?;
        let draining = AtomicBool::new(false);
        Ok(Self { program, config, kv_blocks, commands, draining, jobs, stats, thread: Some(thread) })
    }

    /// The program that it runs.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Queues a job; its ids arrive one by one, each before the next is computed.
    ///
    /// # Errors
    /// Whatever about the job can't be served: see [`EngineError`]. [`EngineError::Busy`] passes with time.
    pub fn submit(&self, job: Job) -> Result<TokenStream, EngineError> {
        self.check(&job)?;
        if self.draining.load(Ordering::Acquire) {
            return Err(EngineError::Draining);
        }
        let most = self.config.max_streams + self.config.max_queue;
        let taken = self.jobs.send_if_modified(|jobs| {
            let free = *jobs < most;
            *jobs += usize::from(free);
            free
        });
        if !taken {
            return Err(EngineError::Busy { queued: self.config.max_queue });
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let submission = Submission { job, events, cancelled: Arc::clone(&cancelled), at: Instant::now() };
        if self.commands.send(Command::Submit(Box::new(submission))).is_err() {
            self.jobs.send_modify(|jobs| *jobs -= 1);
            return Err(EngineError::Stopped);
        }
        Ok(TokenStream { events: receiver, cancelled, ended: false })
    }

    /// Checks all that can be known of a job before it runs.
    fn check(&self, job: &Job) -> Result<(), EngineError> {
        job.params.validate()?;
        let arch = &self.program.model.arch;
        if job.params.tau > arch.tau_max {
            return Err(EngineError::TauTooLarge { came: job.params.tau, max: arch.tau_max });
        }
        if let Some(came) = job.logprobs.filter(|&n| n > MAX_LOGPROBS) {
            return Err(EngineError::TooManyLogprobs { came, max: MAX_LOGPROBS });
        }
        let (prompt, max_tokens) = (job.prompt.len(), job.params.max_tokens as usize);
        if prompt == 0 {
            return Err(EngineError::EmptyPrompt);
        }
        if prompt.saturating_add(max_tokens) > arch.max_positions {
            return Err(EngineError::TooLong { prompt, max_tokens, max_positions: arch.max_positions });
        }
        self.program.check_ids(&job.prompt, 0)?;
        self.program.check_ids(&job.resume, prompt)?;
        let before_last = &job.resume[..job.resume.len().saturating_sub(1)];
        if let Some(index) = before_last.iter().position(|&id| self.program.ends(id, &job.params.stop_ids)) {
            return Err(EngineError::ResumeEnded { index });
        }
        if job.resume.len() > max_tokens {
            return Err(EngineError::ResumeEnded { index: max_tokens });
        }
        let needed = KvCache::blocks_for(prompt + max_tokens);
        if needed > self.kv_blocks {
            return Err(EngineError::KvTooSmall { needed, total: self.kv_blocks });
        }
        Ok(())
    }

    /// What it is doing and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = *self.jobs.borrow();
        stats.waiting = jobs.saturating_sub(stats.active);
        stats.resident = memory().map_or(0, |m| m.resident);
        stats
    }

    /// Takes no new jobs, and returns when those that it has have ended.
    pub async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.jobs.subscribe().wait_for(|&jobs| jobs == 0).await;
    }

    /// Starts to record where the time of passes goes, or stops and returns it.
    ///
    /// # Errors
    /// [`EngineError::Stopped`].
    pub fn profile(&self, start: bool) -> Result<Option<Profile>, EngineError> {
        let (reply, answer) = channel();
        self.commands.send(Command::Profile { start, reply }).map_err(|_| EngineError::Stopped)?;
        answer.recv().map_err(|_| EngineError::Stopped)
    }

    /// Raw logits `[ids][vocab]` after every position, on threads of their own beside the engine's.
    ///
    /// # Errors
    /// See [`Replay::logits`].
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<Vec<i64>>, EngineError> {
        Replay::new(Arc::clone(&self.program), self.config.threads)?.logits(ids)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The thread may have ended already; then there is nobody to tell.
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's thread panicked");
        }
    }
}
