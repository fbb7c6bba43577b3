//! Teacher-forced passes: logits of given ids, re-execution of an answer, traces.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use monai_model::artefact::Model;
use monai_protocol::{Finish, SelectionParams};

use crate::error::{EngineError, Mismatch};
use crate::forward::{Forward, MAX_ROWS, Profile, Row};
use crate::kv::{KvCache, KvShape};
use crate::logprobs;
use crate::program::Program;
use crate::selection::Selector;
use crate::trace::Trace;

/// Why an answer was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReexecutionError {
    /// The answer could not be re-executed at all.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The answer is not what the model decodes.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Mean negative log-likelihood of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nll {
    /// Nats a predicted id.
    pub nll: f64,
    /// Ids that were predicted: all but the first.
    pub tokens: usize,
}

/// What is done with the raw logits after a position.
type Visit<'a> = dyn FnMut(&mut Selector, usize, &[i64]) -> ControlFlow<()> + 'a;

/// Runs given ids through a program in one causal pass, many positions at a time.
///
/// It has threads and memory of its own, so audits do not disturb an engine that serves.
#[derive(Debug)]
pub struct Replay {
    forward: Forward,
    selector: Selector,
}

impl Replay {
    /// A replay on `threads` threads.
    ///
    /// # Errors
    /// If the number of threads is out of range or the system refuses one.
    pub fn new(program: Arc<Program>, threads: usize) -> Result<Self, EngineError> {
        let selector = Selector::new(program.isa);
        Ok(Self { forward: Forward::new(program, threads)?, selector })
    }

    /// Starts to record where time goes.
    pub fn start_profile(&mut self) {
        self.forward.profile = Some(Box::default());
    }

    /// What was recorded since [`Self::start_profile`].
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.forward.profile.take().map(|p| *p)
    }

    /// Calls `each(position, raw logits)` for every position from `from` on, in order, until it breaks.
    ///
    /// # Errors
    /// Ids outside the vocabulary; more ids than the model has positions.
    pub fn for_each_logits(
        &mut self,
        ids: &[u32],
        from: usize,
        mut each: impl FnMut(usize, &[i64]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.pass(ids, from, None, &mut |_, position, raw| each(position, raw))
    }

    /// Raw logits `[ids][vocab]` after every position. They take `8 * vocab` bytes a position; for long texts use
    /// [`Self::for_each_logits`].
    ///
    /// # Errors
    /// As [`Self::for_each_logits`].
    pub fn logits(&mut self, ids: &[u32]) -> Result<Vec<Vec<i64>>, EngineError> {
        let mut all = Vec::with_capacity(ids.len());
        self.for_each_logits(ids, 0, |_, raw| {
            all.push(raw.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// Mean negative log-likelihood of `ids[1..]` at temperature 1. `nll` is 0 for fewer than two ids.
    ///
    /// # Errors
    /// As [`Self::for_each_logits`].
    pub fn nll(&mut self, ids: &[u32]) -> Result<Nll, EngineError> {
        let arch = self.forward.program().model.arch.clone();
        let mut total = 0.0;
        self.for_each_logits(ids, 0, |position, raw| {
            if let Some(&next) = ids.get(position + 1) {
                total -= logprobs::of(&arch, raw, next);
            }
            ControlFlow::Continue(())
        })?;
        let tokens = ids.len().saturating_sub(1);
        Ok(Nll { nll: total / tokens.max(1) as f64, tokens })
    }

    /// Confirms that `output` is what the model decodes from `prompt`, bit for bit, and that it ends by the stop rule.
    ///
    /// `finish` is the claimed end; `None` leaves the end unchecked (a part of an answer).
    ///
    /// # Errors
    /// The first [`Mismatch`], or why nothing could be computed.
    pub fn reexecute(
        &mut self,
        prompt: &[u32],
        params: &SelectionParams,
        output: &[u32],
        finish: Option<Finish>,
    ) -> Result<(), ReexecutionError> {
        self.check_job(prompt, params)?;
        let program = Arc::clone(self.forward.program());
        if let Some(extra) = output.get(params.max_tokens as usize..).filter(|extra| !extra.is_empty()) {
            return Err(Mismatch::PastEnd { position: prompt.len() + output.len() - extra.len() }.into());
        }
        let ids = joined(prompt, output);
        let mut verdict = Ok(());
        self.pass(&ids, prompt.len() - 1, None, &mut |selector, position, raw| {
            verdict = check_position(&program, selector, prompt.len(), params, output, position + 1, raw);
            if verdict.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        verdict?;
        match finish {
            Some(finish) => Ok(check_finish(&program, params, output, finish)?),
            None => Ok(()),
        }
    }

    /// All tensors of a pass over `prompt ‖ output` with logits and selection at the output positions.
    ///
    /// # Errors
    /// As [`Self::reexecute`], without comparing the output: a trace of a wrong answer shows what should have come.
    pub fn trace(
        &mut self,
        prompt: &[u32],
        params: &SelectionParams,
        output: &[u32],
    ) -> Result<Trace, EngineError> {
        self.check_job(prompt, params)?;
        // The last id selects nothing and is part of no row, but the trace of its position is what a prover pads with.
        let ids = joined(prompt, output);
        let program = Arc::clone(self.forward.program());
        self.check(&ids)?;
        let mut trace = Trace::new(&program.model, &ids);
        self.pass(&ids, prompt.len() - 1, Some(&mut trace), &mut |_, _, _| ControlFlow::Continue(()))?;
        for last in &mut trace.finals {
            let word = params.word(last.position as u64 + 1);
            last.selected = self.selector.select(&last.logits, params, &program.model.tables.weight, word);
        }
        Ok(trace)
    }

    fn check_job(&self, prompt: &[u32], params: &SelectionParams) -> Result<(), EngineError> {
        params.validate()?;
        let arch = &self.forward.program().model.arch;
        if params.tau > arch.tau_max {
            return Err(EngineError::TauTooLarge { came: params.tau, max: arch.tau_max });
        }
        if prompt.is_empty() { Err(EngineError::EmptyPrompt) } else { Ok(()) }
    }

    fn check(&self, ids: &[u32]) -> Result<(), EngineError> {
        let program = self.forward.program();
        let max_positions = program.model.arch.max_positions;
        if ids.len() > max_positions {
            return Err(EngineError::TooLong { prompt: ids.len(), max_tokens: 0, max_positions });
        }
        program.check_ids(ids, 0)
    }

    /// The causal pass; logits from position `from` on.
    fn pass(
        &mut self,
        ids: &[u32],
        from: usize,
        mut trace: Option<&mut Trace>,
        each: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        self.check(ids)?;
        let shape: KvShape = self.forward.program().kv;
        let blocks = KvCache::blocks_for(ids.len());
        let mut cache = KvCache::new(shape, blocks * shape.block_len() * 2, false)?;
        let held: Vec<_> = (0..blocks).filter_map(|_| cache.allocate()).collect();
        let table = [cache.table(&held)];
        for start in (0..ids.len()).step_by(MAX_ROWS) {
            let end = ids.len().min(start + MAX_ROWS);
            let rows: Vec<Row> = (start..end)
                .map(|position| Row { id: ids[position], position, sequence: 0, logits: position >= from })
                .collect();
            self.forward.run(&rows, &table, trace.as_deref_mut())?;
            for (i, position) in (start.max(from)..end).enumerate() {
                if each(&mut self.selector, position, self.forward.logits(i)).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn joined(prompt: &[u32], output: &[u32]) -> Vec<u32> {
    [prompt, output].concat()
}

/// Checks the output id at `position` (in prompt and output together) against the raw logits before it.
fn check_position(
    program: &Program,
    selector: &mut Selector,
    prompt: usize,
    params: &SelectionParams,
    output: &[u32],
    position: usize,
    raw: &[i64],
) -> Result<(), Mismatch> {
    let index = position - prompt;
    let Some(&came) = output.get(index) else { return Ok(()) };
    if index > 0 && program.ends(output[index - 1], &params.stop_ids) {
        return Err(Mismatch::PastEnd { position });
    }
    let expected = selector.select(raw, params, &program.model.tables.weight, params.word(position as u64));
    if came == expected { Ok(()) } else { Err(Mismatch::Id { position, expected, came }) }
}

/// Checks the claimed end of an answer whose ids are right.
fn check_finish(
    program: &Program,
    params: &SelectionParams,
    output: &[u32],
    came: Finish,
) -> Result<(), Mismatch> {
    let expected = program.finish_after(params, output);
    let fits = match expected {
        Some(expected) => expected == came,
        // An answer that the stop rule has not ended can only have been cancelled.
        None => came == Finish::Cancelled,
    };
    let name = |f| match f {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Cancelled => "cancelled",
        _ => "no answer",
    };
    if fits {
        Ok(())
    } else {
        Err(Mismatch::Finish { expected: expected.map_or("unfinished", name), came: name(came) })
    }
}

/// [`Replay::reexecute`] on a model that is not prepared yet.
///
/// # Errors
/// As [`Replay::reexecute`]; a model of a shape that the engine does not compute.
pub fn reexecute(
    model: &Arc<Model>,
    threads: usize,
    prompt: &[u32],
    params: &SelectionParams,
    output: &[u32],
    finish: Option<Finish>,
) -> Result<(), ReexecutionError> {
    let program = Program::new(Arc::clone(model), None)?;
    Replay::new(program, threads)?.reexecute(prompt, params, output, finish)
}
