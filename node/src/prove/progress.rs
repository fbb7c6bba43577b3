//! A proof's progress: a bar on a terminal, else a line for each stage; and the order to stop.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use monai_prover::{Progress, Stage};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// Shows how far a proof is and passes the order to stop on to it.
#[derive(Debug)]
pub(crate) struct ProofBar {
    bar: ProgressBar,
    lines: bool,
    /// The stage that was announced last, counted from 1.
    announced: AtomicU8,
    stop: Arc<AtomicBool>,
}

impl ProofBar {
    /// A bar that ends the proof once `stop` is true.
    pub(crate) fn new(stop: Arc<AtomicBool>) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("proving {bar:30} {pos:>3}% {msg} ({elapsed})") {
            bar.set_style(style);
        }
        if !lines {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Self { bar, lines, announced: AtomicU8::new(0), stop }
    }
}

/// Percent of the whole at a step of a stage.
pub(crate) fn percent(stage: Stage, done: usize, of: usize) -> u64 {
    let before: u64 = Stage::ALL.iter().filter(|s| **s < stage).map(|s| s.share()).sum();
    let (done, of) = (done as u64, (of as u64).max(1));
    before + stage.share() * done.min(of) / of
}

impl Progress for ProofBar {
    fn step(&self, stage: Stage, what: &'static str, done: usize, of: usize) {
        self.bar.set_position(percent(stage, done, of));
        self.bar.set_message(format!("{}: {what}", stage.name()));
        let number = Stage::ALL.iter().take_while(|s| **s <= stage).count() as u8;
        if self.lines && self.announced.fetch_max(number, Ordering::Relaxed) < number {
            eprintln!("proving: {} ({number} of {})", stage.name(), Stage::ALL.len());
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for ProofBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_rise_to_a_hundred() {
        let mut last = 0;
        for stage in Stage::ALL {
            for done in 0..=7 {
                let now = percent(stage, done, 7);
                assert!(now >= last);
                last = now;
            }
        }
        assert_eq!(last, 100);
    }
}
