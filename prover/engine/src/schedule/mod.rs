//! Continuous batching: which rows of which jobs make up the next pass.
//!
//! Every pass has one row of each stream that decodes. Streams that prefill share what is left: [`PREFILL_BESIDE_DECODE`]
//! rows while others decode, so that a long prompt delays their next id by a few tens of milliseconds and not by
//! seconds, and a whole pass otherwise. A short prompt gets an equal share beside a long one.
//!
//! When key/value memory runs out, the youngest stream gives its blocks to the oldest and waits. Its ids are known, so
//! that it is prefilled again later: the program is deterministic, and no bit of the answer depends on it. A job that fits
//! the memory alone is always finished, because the oldest stream never waits.

mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use monai_protocol::Finish;
use tokio::sync::watch;

use crate::engine::Stats;
use crate::error::EngineError;
use crate::forward::{Forward, MAX_ROWS, Profile, Row};
use crate::kernel::TILE;
use crate::kv::{KvCache, Table};
use crate::selection::Selector;
pub(crate) use stream::Submission;
use stream::{Next, Stream};

/// Rows of prefill in a pass that others decode in: whole tiles, about 30 ms for SmolLM2 on two old cores.
const PREFILL_BESIDE_DECODE: usize = 5 * TILE;
/// Time over which rates are averaged.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// What callers ask of the engine's thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// A job.
    Submit(Box<Submission>),
    /// Start to record time, or stop and return it.
    Profile {
        /// Which of both.
        start: bool,
        /// Where the record goes.
        reply: Sender<Option<Profile>>,
    },
    /// End now.
    Stop,
}

/// The engine's thread.
pub(crate) struct Scheduler {
    forward: Forward,
    cache: KvCache,
    selector: Selector,
    max_streams: usize,
    inbox: Receiver<Command>,
    jobs: watch::Sender<usize>,
    stats: Arc<Mutex<Stats>>,
    /// First come, first served; streams that had to wait again are at the front.
    waiting: VecDeque<Stream>,
    /// Oldest first.
    active: Vec<Stream>,
    arrivals: u64,
    prefill_rate: Rate,
    decode_rate: Rate,
}

/// A rate over the last [`RATE_WINDOW`] of work.
#[derive(Debug, Default)]
struct Rate {
    count: f64,
    seconds: f64,
}

impl Rate {
    fn add(&mut self, count: usize, time: Duration) {
        self.count += count as f64;
        self.seconds += time.as_secs_f64();
        let keep = (RATE_WINDOW.as_secs_f64() / self.seconds).min(1.0);
        self.count *= keep;
        self.seconds *= keep;
    }

    fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.count / self.seconds } else { 0.0 }
    }
}

impl Scheduler {
    pub(crate) fn new(
        forward: Forward,
        cache: KvCache,
        max_streams: usize,
        inbox: Receiver<Command>,
        jobs: watch::Sender<usize>,
        stats: Arc<Mutex<Stats>>,
    ) -> Self {
        let selector = Selector::new(forward.program().isa);
        Self {
            forward,
            cache,
            selector,
            max_streams,
            inbox,
            jobs,
            stats,
            waiting: VecDeque::new(),
            active: Vec::new(),
            arrivals: 0,
            prefill_rate: Rate::default(),
            decode_rate: Rate::default(),
        }
    }

    /// Serves until it is told to stop or nobody can tell it anything any more.
    pub(crate) fn run(mut self) {
        while self.receive() {
            self.sweep();
            self.admit();
            self.pass();
            self.publish();
        }
        for stream in self.active.drain(..).chain(self.waiting.drain(..)) {
            stream.fail(EngineError::Stopped);
            self.jobs.send_modify(|jobs| *jobs -= 1);
        }
    }

    /// Takes in what has been sent; waits where there is nothing else to do. False at the end.
    fn receive(&mut self) -> bool {
        loop {
            let idle = self.active.is_empty() && self.waiting.is_empty();
            let command = if idle {
                self.inbox.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.inbox.try_recv()
            };
            match command {
                Ok(Command::Submit(submission)) => {
                    self.arrivals += 1;
                    let stream = Stream::new(*submission, self.forward.program(), self.arrivals);
                    self.waiting.push_back(stream);
                }
                Ok(Command::Profile { start, reply }) => {
                    let recorded = self.forward.profile.take();
                    self.forward.profile = start.then(Box::default);
                    // Whoever asked may have gone.
                    let _ = reply.send(recorded.map(|p| *p));
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Ends cancelled jobs, and jobs that were complete when they came.
    fn sweep(&mut self) {
        let mut ended = Vec::new();
        let mut i = 0;
        while i < self.waiting.len() {
            let over = self.waiting[i].over();
            match over.and_then(|finish| self.waiting.remove(i).map(|s| (s, finish))) {
                Some(end) => ended.push(end),
                None => i += 1,
            }
        }
        let mut i = 0;
        while i < self.active.len() {
            match self.active[i].over() {
                Some(finish) => ended.push((self.active.remove(i), finish)),
                None => i += 1,
            }
        }
        for (stream, finish) in ended {
            self.end(stream, Ok(finish));
        }
    }

    /// Frees what a stream holds and tells its end.
    fn end(&mut self, mut stream: Stream, outcome: Result<Finish, EngineError>) {
        self.cache.release(&stream.take_blocks());
        self.lock_stats().ended += 1;
        // Who sees the end sees the memory free, and who waits for the last job finds its end sent.
        self.publish();
        match outcome {
            Ok(finish) => stream.finish(finish),
            Err(e) => stream.fail(e),
        }
        self.jobs.send_modify(|jobs| *jobs -= 1);
    }

    /// Moves waiting streams into the batch while there is room.
    fn admit(&mut self) {
        while self.active.len() < self.max_streams {
            let Some(mut stream) = self.waiting.pop_front() else { return };
            let reused = stream.take_prefix(&mut self.cache);
            let needed = KvCache::blocks_for(stream.target() + 1).saturating_sub(stream.held());
            // A lone stream fits, or it would have been refused.
            if needed > self.cache.available() && !self.active.is_empty() {
                self.cache.release(&stream.take_blocks());
                self.waiting.push_front(stream);
                return;
            }
            self.lock_stats().reused_ids += reused as u64;
            let at = self.active.partition_point(|s| s.arrival < stream.arrival);
            self.active.insert(at, stream);
        }
    }

    /// Rows for each active stream in the next pass, in their order.
    fn plan(&self) -> Vec<usize> {
        let decoding = self.active.iter().filter(|s| s.decodes()).count();
        let mut budget = if decoding > 0 { PREFILL_BESIDE_DECODE } else { MAX_ROWS };
        let mut plan: Vec<usize> = self.active.iter().map(|s| usize::from(s.decodes())).collect();
        // Those with least to do first: what they leave of their share goes to the others.
        let mut prefilling: Vec<usize> =
            (0..self.active.len()).filter(|&i| !self.active[i].decodes()).collect();
        prefilling.sort_by_key(|&i| self.active[i].remaining());
        let mut left = prefilling.len();
        for i in prefilling {
            let share = budget.div_ceil(left).min(self.active[i].remaining());
            plan[i] = share;
            budget -= share;
            left -= 1;
        }
        plan
    }

    /// Gives every stream the blocks its rows need, oldest first; those for which there are none wait again.
    fn allocate(&mut self, plan: &mut Vec<usize>) {
        let mut i = 0;
        while i < self.active.len() {
            let needed = KvCache::blocks_for(self.active[i].computed() + plan[i]);
            while self.active[i].held() < needed {
                if let Some(block) = self.cache.allocate() {
                    self.active[i].hold(block);
                    continue;
                }
                // The youngest makes room, if need be this stream itself.
                let Some(mut youngest) = self.active.pop() else { return };
                plan.pop();
                self.cache.release(&youngest.take_blocks());
                self.waiting.push_front(youngest);
                self.lock_stats().preemptions += 1;
                if i >= self.active.len() {
                    return;
                }
            }
            i += 1;
        }
    }

    /// One pass and what follows from it.
    fn pass(&mut self) {
        let mut plan = self.plan();
        self.allocate(&mut plan);
        let mut rows: Vec<Row> = Vec::new();
        for (sequence, (stream, &count)) in self.active.iter().zip(&plan).enumerate() {
            rows.extend(stream.rows(sequence, count));
        }
        if rows.is_empty() {
            return;
        }
        let begin = Instant::now();
        let tables: Vec<Table> = self
            .active
            .iter_mut()
            .map(|s| {
                s.started.get_or_insert(begin);
                self.cache.table(s.blocks())
            })
            .collect();
        let outcome = self.forward.run(&rows, &tables, None);
        drop(tables);
        if let Err(e) = outcome {
            // A device that failed has computed nothing for anybody.
            tracing::error!(error = %e, "a pass failed");
            for stream in std::mem::take(&mut self.active) {
                self.end(stream, Err(e.clone()));
            }
            return;
        }
        let mut prefilled = 0;
        for (stream, &count) in self.active.iter_mut().zip(&plan) {
            prefilled += if stream.decodes() { 0 } else { count };
            stream.advance(count, &mut self.cache);
        }
        let selected = self.select(&rows);
        let time = begin.elapsed();
        if prefilled > 0 {
            self.prefill_rate.add(prefilled, time);
        }
        if selected > 0 {
            self.decode_rate.add(selected, time);
        }
        let mut stats = self.lock_stats();
        stats.prefilled_ids += prefilled as u64;
        stats.new_ids += selected as u64;
    }

    /// Selects from the logits of the last pass and sends what was selected. Returns the number of new ids.
    fn select(&mut self, rows: &[Row]) -> usize {
        let mut selected = 0;
        let mut outcomes: Vec<Option<Result<Finish, EngineError>>> = vec![None; self.active.len()];
        for (i, row) in rows.iter().filter(|row| row.logits).enumerate() {
            let outcome = &mut outcomes[row.sequence];
            if outcome.is_some() {
                continue;
            }
            let program = self.forward.program();
            match self.active[row.sequence].take(
                program,
                &mut self.selector,
                row.position,
                self.forward.logits(i),
            ) {
                Next::Checked => {}
                Next::Selected => selected += 1,
                Next::Finished { finish, selected: new } => {
                    selected += usize::from(new);
                    *outcome = Some(Ok(finish));
                }
                Next::Failed(e) => *outcome = Some(Err(e)),
            }
        }
        for (i, outcome) in outcomes.into_iter().enumerate().rev() {
            if let Some(outcome) = outcome {
                let stream = self.active.remove(i);
                self.end(stream, outcome);
            }
        }
        selected
    }

    fn publish(&self) {
        let mut stats = self.lock_stats();
        stats.active = self.active.len();
        stats.prefill_per_second = self.prefill_rate.per_second();
        stats.decode_per_second = self.decode_rate.per_second();
        stats.kv_resident = self.cache.bytes();
        stats.kv_used = self.cache.held() * self.cache.block_bytes();
    }

    fn lock_stats(&self) -> std::sync::MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
