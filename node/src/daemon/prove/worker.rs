//! Proves one job after the other, on a thread of its own.

use super::store::{JobId, State, Store};
use crate::cli::SetupArgs;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::prove::{Maker, percent};
use monai_protocol::receipt::Receipt;
use monai_prover::{Progress, Stage};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What the worker is doing, shared with whoever asks.
#[derive(Debug, Default)]
pub(super) struct Watch {
    now: Mutex<Option<Running>>,
    /// Told when a job comes or the worker is to stop.
    change: Condvar,
    stop: AtomicBool,
}

/// A job in hand.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) id: JobId,
    pub(super) steps: Arc<Steps>,
    cancel: Arc<AtomicBool>,
}

/// How far a job is.
#[derive(Debug, Default)]
pub(super) struct Steps {
    percent: AtomicU64,
    stage: Mutex<&'static str>,
}

impl Steps {
    pub(super) fn percent(&self) -> u64 {
        self.percent.load(Ordering::Relaxed)
    }

    pub(super) fn stage(&self) -> &'static str {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Tell {
    steps: Arc<Steps>,
    cancel: Arc<AtomicBool>,
}

impl Progress for Tell {
    fn step(&self, stage: Stage, _: &'static str, done: usize, of: usize) {
        self.steps.percent.fetch_max(percent(stage, done, of), Ordering::Relaxed);
        *self.steps.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage.name();
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl Watch {
    fn now(&self) -> MutexGuard<'_, Option<Running>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job in hand.
    pub(super) fn running(&self) -> Option<Running> {
        self.now().clone()
    }

    /// Wakes the worker.
    pub(super) fn wake(&self) {
        let _now = self.now();
        self.change.notify_all();
    }

    /// Stops the work on a job that has been cancelled.
    pub(super) fn abandon(&self, id: &JobId) {
        if let Some(running) = self.now().as_ref().filter(|r| r.id == *id) {
            running.cancel.store(true, Ordering::Relaxed);
        }
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Worker {
    watch: Arc<Watch>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Worker {
    /// Starts with the oldest job that has not ended.
    ///
    /// # Errors
    /// Where the system gives no threads.
    pub(super) fn start(
        store: Arc<Store>,
        home: &Home,
        setup: &SetupArgs,
        threads: Option<usize>,
    ) -> Result<Self> {
        let watch = Arc::new(Watch::default());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .build()
            .map_err(|e| Error::Local(e.to_string()))?;
        let (shared, maker) = (watch.clone(), Maker::new(home, setup));
        let thread = std::thread::Builder::new()
            .name("prover".into())
            .spawn(move || run(&store, &shared, &maker, &pool))
            .map_err(|e| Error::Local(e.to_string()))?;
        Ok(Self { watch, thread: Some(thread) })
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    /// Stops the job in hand, which stays queued, and waits for the thread to end.
    pub(super) fn stop(&mut self) {
        self.watch.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.watch.now().as_ref() {
            running.cancel.store(true, Ordering::Relaxed);
        }
        self.watch.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has been logged by its hook; the jobs are on disk.
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, watch: &Watch, maker: &Maker, pool: &rayon::ThreadPool) {
    while !watch.stop.load(Ordering::Relaxed) {
        match store.next() {
            Ok(Some((id, receipt))) => {
                if let Err(error) = job(store, watch, maker, pool, &id, &receipt) {
                    // Nothing can be written down: going on would prove the same job for ever.
                    tracing::error!(job = id.as_str(), %error, "no more proofs until the next start");
                    return;
                }
            }
            Ok(None) => {
                let now = watch.now();
                // Looked at again under the lock that wakers take, so that no job is slept over.
                let idle = !watch.stop.load(Ordering::Relaxed) && matches!(store.next(), Ok(None));
                if idle {
                    drop(watch.change.wait(now));
                }
            }
            Err(error) => {
                tracing::error!(%error, "no more proofs until the next start");
                return;
            }
        }
    }
}

fn job(
    store: &Store,
    watch: &Watch,
    maker: &Maker,
    pool: &rayon::ThreadPool,
    id: &JobId,
    receipt: &[u8],
) -> Result<()> {
    let (steps, cancel) = (Arc::new(Steps::default()), Arc::new(AtomicBool::new(false)));
    *watch.now() = Some(Running { id: id.clone(), steps: steps.clone(), cancel: cancel.clone() });
    // An order to cancel or to stop may have come before the job was in hand.
    let wanted = store.get(id).is_some_and(|e| e.state == State::Queued);
    if !wanted || watch.stop.load(Ordering::Relaxed) {
        *watch.now() = None;
        return Ok(());
    }
    tracing::info!(job = id.as_str(), "proving");
    let tell = Tell { steps, cancel: cancel.clone() };
    let work = || {
        let receipt = Receipt::from_json(receipt).map_err(|e| Error::Invalid(e.to_string()))?;
        pool.install(|| maker.prove(std::slice::from_ref(&receipt), &tell, &cancel))
    };
    // A job that makes the prover panic must not keep all others from being proved.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::Prover("the prover stopped at a bug of its own".into())));
    *watch.now() = None;
    match outcome {
        Ok(made) => {
            tracing::info!(
                job = id.as_str(),
                seconds = made.time.as_secs_f64(),
                bytes = made.bytes.len(),
                "proved"
            );
            store.end(id, State::Done, &made.bytes)?;
        }
        // Whoever cancelled it has written that down; an order to stop leaves it queued.
        Err(_) if cancel.load(Ordering::Relaxed) => {}
        Err(error) => {
            tracing::warn!(job = id.as_str(), %error, "not proved");
            store.end(id, State::Failed(error.to_string()), b"")?;
        }
    }
    Ok(())
}
