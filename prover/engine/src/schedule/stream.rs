//! One job on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use monai_protocol::Finish;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::{EngineError, Mismatch};
use crate::forward::Row;
use crate::job::{Event, Finished, Job, Timings, Token};
use crate::kv::{BLOCK, BlockId, KvCache, PrefixKey};
use crate::logprobs;
use crate::program::Program;
use crate::selection::Selector;

/// A job as it reaches the engine's thread.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) job: Job,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) at: Instant,
}

/// What the logits of a row led to.
pub(super) enum Next {
    /// A resumed id was confirmed.
    Checked,
    /// A new id was sent.
    Selected,
    /// The answer is complete, with a new id or after the last resumed one was confirmed.
    Finished { finish: Finish, selected: bool },
    /// The resumed output is wrong.
    Failed(EngineError),
}

/// A job that waits or is computed.
#[derive(Debug)]
pub(super) struct Stream {
    job: Job,
    events: UnboundedSender<Event>,
    cancelled: Arc<AtomicBool>,
    /// Number of the job in order of arrival.
    pub(super) arrival: u64,
    /// The answer so far, resumed ids first.
    output: Vec<u32>,
    /// How the answer had ended when it came, where it had.
    ended: Option<Finish>,
    /// Resumed ids that need no check any more.
    checked: usize,
    blocks: Vec<BlockId>,
    /// Names of the leading blocks that are full.
    keys: Vec<PrefixKey>,
    /// Positions whose keys and values are in the blocks.
    computed: usize,
    submitted: Instant,
    /// When its first row was computed.
    pub(super) started: Option<Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
    reused: usize,
}

impl Stream {
    pub(super) fn new(submission: Submission, program: &Program, arrival: u64) -> Self {
        let Submission { job, events, cancelled, at } = submission;
        let ended = program.finish_after(&job.params, &job.resume).filter(|_| !job.resume.is_empty());
        let checked = if job.verify_resume { 0 } else { job.resume.len() };
        Self {
            output: job.resume.clone(),
            job,
            events,
            cancelled,
            arrival,
            ended,
            checked,
            blocks: Vec::new(),
            keys: Vec::new(),
            computed: 0,
            submitted: at,
            started: None,
            first: None,
            last: None,
            reused: 0,
        }
    }

    /// How the job ends without another pass, if it does.
    pub(super) fn over(&self) -> Option<Finish> {
        if self.cancelled.load(Ordering::Acquire) {
            return Some(Finish::Cancelled);
        }
        self.ended.filter(|_| self.checked == self.job.resume.len())
    }

    fn known(&self) -> usize {
        self.job.prompt.len() + self.output.len()
    }

    /// Positions that are to be computed with the ids known so far. The last id of a complete answer selects nothing.
    pub(super) fn target(&self) -> usize {
        self.known() - usize::from(self.ended.is_some())
    }

    /// Positions in the blocks.
    pub(super) fn computed(&self) -> usize {
        self.computed
    }

    /// Positions still to compute before the next new id.
    pub(super) fn remaining(&self) -> usize {
        self.target() - self.computed
    }

    /// Whether all but a just selected id is computed.
    pub(super) fn decodes(&self) -> bool {
        self.remaining() == 1 && self.first.is_some()
    }

    fn id(&self, position: usize) -> u32 {
        match position.checked_sub(self.job.prompt.len()) {
            Some(index) => self.output[index],
            None => self.job.prompt[position],
        }
    }

    /// The next `count` rows. Logits are wanted where an id is to be selected or confirmed.
    pub(super) fn rows(&self, sequence: usize, count: usize) -> impl Iterator<Item = Row> {
        let first_checked = self.job.prompt.len() + self.checked;
        let (known, resumed) = (self.known(), self.job.prompt.len() + self.job.resume.len());
        (self.computed..self.computed + count).map(move |position| {
            let next = position + 1;
            let logits = next == known || (first_checked..resumed).contains(&next);
            Row { id: self.id(position), position, sequence, logits }
        })
    }

    pub(super) fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// Number of blocks.
    pub(super) fn held(&self) -> usize {
        self.blocks.len()
    }

    /// Takes a block for its next positions.
    pub(super) fn hold(&mut self, block: BlockId) {
        self.blocks.push(block);
    }

    /// Gives up all blocks; what was computed is to be computed again.
    pub(super) fn take_blocks(&mut self) -> Vec<BlockId> {
        self.computed = 0;
        self.keys.clear();
        std::mem::take(&mut self.blocks)
    }

    /// Takes what the cache has of the known ids. At least one position is left to compute, and all that are needed to
    /// check resumed ids. Returns the number of positions found.
    pub(super) fn take_prefix(&mut self, cache: &mut KvCache) -> usize {
        let unchecked = self.checked < self.job.resume.len();
        let most = if unchecked { self.job.prompt.len() + self.checked } else { self.target() } - 1;
        let ids: Vec<u32> = (0..most).map(|p| self.id(p)).collect();
        for (block, key) in cache.find(self.job.cache_scope, &ids, most) {
            self.blocks.push(block);
            self.keys.push(key);
        }
        self.computed = self.blocks.len() * BLOCK;
        if self.started.is_none() {
            self.reused = self.computed;
        }
        self.computed
    }

    /// Notes that a pass has computed `count` more positions.
    pub(super) fn advance(&mut self, count: usize, cache: &mut KvCache) {
        self.computed += count;
        while (self.keys.len() + 1) * BLOCK <= self.computed {
            let block = self.keys.len();
            let ids: Vec<u32> = (block * BLOCK..(block + 1) * BLOCK).map(|p| self.id(p)).collect();
            let parent = self.keys.last().copied().unwrap_or_else(|| PrefixKey::root(self.job.cache_scope));
            let key = parent.extend(&ids);
            cache.seal(self.blocks[block], key);
            self.keys.push(key);
        }
    }

    /// Takes in the raw logits after `position`.
    pub(super) fn take(
        &mut self,
        program: &Program,
        selector: &mut Selector,
        position: usize,
        raw: &[i64],
    ) -> Next {
        let params = &self.job.params;
        let position = position + 1;
        let word = params.word(position as u64);
        let id = selector.select(raw, params, &program.model.tables.weight, word);
        let index = position - self.job.prompt.len();
        if let Some(&came) = self.output.get(index) {
            if came != id {
                return Next::Failed(EngineError::ResumeMismatch(Mismatch::Id {
                    position,
                    expected: id,
                    came,
                }));
            }
            self.checked = self.checked.max(index + 1);
            return match self.over() {
                Some(finish) => Next::Finished { finish, selected: false },
                None => Next::Checked,
            };
        }
        let logprobs = self.job.logprobs.map(|n| logprobs::top(&program.model.arch, raw, id, n));
        self.output.push(id);
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        // A receiver that has gone has cancelled the job; the next sweep ends it.
        let _ = self.events.send(Event::Token(Token { id, index, logprobs }));
        match program.finish_after(params, &self.output) {
            Some(finish) => Next::Finished { finish, selected: true },
            None => Next::Selected,
        }
    }

    /// Tells the end of the answer.
    pub(super) fn finish(self, finish: Finish) {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let first = self.first.unwrap_or(now);
        let since = |later: Instant, earlier: Instant| later.saturating_duration_since(earlier);
        let timings = Timings {
            queued: since(started, self.submitted),
            prefill: since(first, started),
            decode: self.last.map_or(Duration::ZERO, |last| since(last, first)),
            prompt_ids: self.job.prompt.len() + self.job.resume.len(),
            reused_ids: self.reused,
            new_ids: self.output.len() - self.job.resume.len(),
        };
        // Nobody may listen any more.
        let _ =
            self.events.send(Event::Finished(Finished { finish, output_ids: self.output.len(), timings }));
    }

    /// Tells that the job was stopped.
    pub(super) fn fail(self, error: EngineError) {
        let _ = self.events.send(Event::Failed(error));
    }
}
