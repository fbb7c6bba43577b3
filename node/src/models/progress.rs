//! The progress bar of an import. Where standard error is no terminal, a line each tenth.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use monai_model::quantise::Progress;
use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shows how far an import is.
#[derive(Debug)]
pub struct ImportBar {
    bar: ProgressBar,
    lines: bool,
    tenth: AtomicU64,
}

impl Default for ImportBar {
    fn default() -> Self {
        let lines = !std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("importing {bar:30} {pos}/{len} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        Self { bar, lines, tenth: AtomicU64::new(0) }
    }
}

impl Progress for ImportBar {
    fn begin(&self, total: usize) {
        self.bar.set_length(total as u64);
        if self.lines {
            eprintln!("importing: 0%");
        }
    }

    fn step(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.inc(1);
        let tenth = self.bar.position() * 10 / self.bar.length().unwrap_or(1).max(1);
        if self.lines && self.tenth.fetch_max(tenth, Ordering::Relaxed) < tenth {
            eprintln!("importing: {}%", tenth * 10);
        }
    }
}

impl Drop for ImportBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
