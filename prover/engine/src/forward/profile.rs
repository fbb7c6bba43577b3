//! Where the time of forward passes goes.

use std::time::{Duration, Instant};

/// A part of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Embedding and norms.
    Norm,
    /// Query, key and value projections with RoPE.
    Qkv,
    /// Scores, softmax, values.
    Attention,
    /// Output projection.
    Output,
    /// Gate and up projections with SiLU.
    GateUp,
    /// Row exponents.
    Exponent,
    /// Down projection.
    Down,
    /// Logits.
    Logits,
}

impl Stage {
    /// All stages, in order of the pass.
    pub const ALL: [Self; 8] = [
        Self::Norm,
        Self::Qkv,
        Self::Attention,
        Self::Output,
        Self::GateUp,
        Self::Exponent,
        Self::Down,
        Self::Logits,
    ];
}

/// Time spent in each stage, on the thread that leads the passes.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    spent: [Duration; 8],
    last: Option<Instant>,
}

impl Profile {
    pub(crate) fn begin(&mut self) {
        self.last = Some(Instant::now());
    }

    pub(crate) fn mark(&mut self, stage: Stage) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.spent[stage as usize] += now - last;
        }
    }

    /// Time spent in a stage.
    #[must_use]
    pub fn spent(&self, stage: Stage) -> Duration {
        self.spent[stage as usize]
    }
}
