//! Threads for parallel sections of about a hundred microseconds.
//!
//! A section is a number of items that any thread may take, one at a time. The thread that starts a section works on it
//! too, and waits only for items that another thread has already taken: a worker that the system has not scheduled
//! (three nodes on two cores) delays nobody. Workers spin for some tens of microseconds between sections and then sleep.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::error::EngineError;

/// Turns of the spin loop before a worker sleeps: about 50 µs, longer than the gaps between the sections of a token,
/// shorter than what a scheduler would charge for being woken each time.
const SPINS: u32 = 1500;
/// Turns before the thread that waits for the last items yields its core.
const SPINS_BEFORE_YIELD: u32 = 200;
/// Most items of a section.
pub(crate) const MAX_ITEMS: usize = (1 << ITEM_BITS) - 1;
/// Most threads of a pool.
pub(crate) const MAX_THREADS: usize = 256;
const ITEM_BITS: u32 = 14;

/// The body of a section: `(thread, item)`.
type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// Threads that share sections.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Section number, next item, number of items: one word, so that an item is taken from the section it belongs to.
    state: AtomicU64,
    /// Items of the current section that are finished.
    done: AtomicUsize,
    /// The current section's body. Written between sections only; read only by who holds an unfinished item.
    body: UnsafeCell<Option<*const Body<'static>>>,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// Workers that sleep or are about to.
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

// SAFETY: `body` is the only field that is not `Sync` by itself; the protocol in its comment orders all accesses: it is
// written while no item is unfinished, published by the release store of `state`, and read after an acquiring exchange
// of `state` has taken an item of that very section.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is to a body that is `Sync`.
unsafe impl Send for Shared {}

/// `(section, next item, items)` of a state word.
fn unpack(state: u64) -> (u64, usize, usize) {
    let mask = (1 << ITEM_BITS) - 1;
    (state >> (2 * ITEM_BITS), (state >> ITEM_BITS & mask) as usize, (state & mask) as usize)
}

impl Shared {
    /// Takes an item of the current section, if there is one left.
    fn take(&self) -> Option<usize> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (_, next, items) = unpack(state);
            if next >= items {
                return None;
            }
            match self.state.compare_exchange_weak(
                state,
                state + (1 << ITEM_BITS),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(next),
                Err(now) => state = now,
            }
        }
    }

    /// Works on the current section until no item is left to take.
    fn work(&self, thread: usize) {
        while let Some(item) = self.take() {
            // SAFETY: this thread holds an unfinished item, so the section has not ended and its body is in place.
            let body = unsafe { (*self.body.get()).map(|b| &*b) };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if let Some(body) = body {
                    body(thread, item);
                }
            }));
            if outcome.is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    fn has_work(&self) -> bool {
        let (_, next, items) = unpack(self.state.load(Ordering::SeqCst));
        next < items
    }

    fn worker(&self, thread: usize) {
        let mut spins = 0;
        while !self.stop.load(Ordering::SeqCst) {
            if self.has_work() {
                self.work(thread);
                spins = 0;
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                // Announced before the last look: whoever starts a section after that look sees the sleeper.
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                if !self.has_work() && !self.stop.load(Ordering::SeqCst) {
                    drop(self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
                }
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                spins = 0;
            }
        }
    }

    fn wake_all(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }
}

impl Pool {
    /// A pool of `threads`, of which the caller's is one.
    ///
    /// # Errors
    /// If the number is out of range or the system refuses a thread.
    pub(crate) fn new(threads: usize) -> Result<Self, EngineError> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(EngineError::Config { field: "threads", came: threads, min: 1, max: MAX_THREADS });
        }
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            body: UnsafeCell::new(None),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for thread in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new()
                .name(format!("monai-engine-{thread}"))
                .spawn(move || shared.worker(thread))
                .map_err(|e| EngineError::Thread(e.to_string()))?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Threads, the caller's included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body(thread, item)` for all items below `items` and returns when all are finished.
    ///
    /// # Panics
    /// If a body panics, or `items` exceeds [`MAX_ITEMS`].
    pub(crate) fn run(&mut self, items: usize, body: &Body<'_>) {
        assert!(items <= MAX_ITEMS, "a section has at most {MAX_ITEMS} items");
        if items <= 1 || self.workers.is_empty() {
            (0..items).for_each(|item| body(0, item));
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The body is not used after this function, which returns when every item is
        // finished. `&mut self` and the finished previous section make this the only access.
        unsafe {
            let body: *const Body<'static> = std::mem::transmute::<&Body<'_>, *const Body<'static>>(body);
            *shared.body.get() = Some(body);
        }
        shared.done.store(0, Ordering::Relaxed);
        let (section, ..) = unpack(shared.state.load(Ordering::Relaxed));
        let next = (section + 1) & ((1 << (64 - 2 * ITEM_BITS)) - 1);
        shared.state.store(next << (2 * ITEM_BITS) | items as u64, Ordering::SeqCst);
        shared.wake_all();
        shared.work(0);
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < items {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a parallel section panicked"));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of bodies, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

/// A vector whose disjoint parts different threads write at the same time.
#[derive(Clone, Copy)]
pub(crate) struct Shards<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: access is only through `part`, whose contract makes parts disjoint.
unsafe impl<T: Send> Sync for Shards<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shards<T> {}

impl<T> Shards<T> {
    /// The parts of `all`, which must not be used otherwise, resized or dropped while they live.
    pub(crate) fn new(all: &mut Vec<T>) -> Self {
        // `Vec::as_mut_ptr` makes no reference to the entries, so several `Shards` of one vector may live together.
        Self { start: all.as_mut_ptr(), len: all.len() }
    }

    /// The parts of `len` entries at `start`, which the caller keeps alive and does not use otherwise.
    pub(crate) fn of_memory(start: *mut T, len: usize) -> Self {
        Self { start, len }
    }

    /// `len` entries from `start`, for reading.
    ///
    /// # Safety
    /// The vector is alive, and nobody writes these entries while the part lives.
    ///
    /// # Panics
    /// If the part is not inside the vector.
    pub(crate) unsafe fn read(&self, start: usize, len: usize) -> &[T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len), "a part inside its vector");
        // SAFETY: inside the vector by the assertion, not written by the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.add(start), len) }
    }

    /// `len` entries from `start`.
    ///
    /// # Safety
    /// The vector is alive, and no two live parts overlap.
    ///
    /// # Panics
    /// If the part is not inside the vector.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start.checked_add(len).is_some_and(|end| end <= self.len), "a part inside its vector");
        // SAFETY: inside the vector by the assertion, unaliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_in_every_section() {
        for threads in [1, 2, 5] {
            let mut pool = Pool::new(threads).unwrap();
            for round in 0..2000 {
                let items = round % 37;
                let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                pool.run(items, &|thread, item| {
                    assert!(thread < threads);
                    counts[item].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|c| c.load(Ordering::Relaxed) == 1),
                    "threads {threads} round {round}"
                );
            }
        }
    }

    #[test]
    fn a_sleeping_pool_wakes() {
        let mut pool = Pool::new(2).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while pool.shared.sleeping.load(Ordering::SeqCst) == 0 {
            assert!(std::time::Instant::now() < deadline, "the worker never slept");
            std::thread::yield_now();
        }
        // Each of the two items waits for the other, so both threads must come.
        let barrier = std::sync::Barrier::new(2);
        pool.run(2, &|_, _| {
            barrier.wait();
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let mut pool = Pool::new(2).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(8, &|_, item| assert!(item != 5))));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(8, &|_, item| {
            sum.fetch_add(item, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 28);
    }

    #[test]
    fn thread_counts_out_of_range_are_refused() {
        assert!(Pool::new(0).is_err());
        assert!(Pool::new(MAX_THREADS + 1).is_err());
    }
}
