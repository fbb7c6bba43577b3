//! One child process: started with a log file, restarted when it dies, stopped by closing its input.

use crate::error::{Error, FileContext as _, Result};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, timeout};

/// A child that lives shorter than this did not get going.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// Wait before a child is started again, for each short life in a row.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The wait grows no further after so many.
const LONGEST_WAIT_STEPS: u32 = 50;
/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 15;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Name in messages, and of the log file.
    pub(super) name: String,
    /// What runs; this program itself if absent.
    pub(super) program: Option<PathBuf>,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// Standard error goes here, appended.
    pub(super) log: PathBuf,
}

/// A child that runs.
#[derive(Debug)]
pub(super) struct Running {
    plan: Plan,
    child: Child,
    /// The child stops when this closes, which also happens when this process dies in any way.
    input: Option<ChildStdin>,
    started: Instant,
    short_lives: u32,
}

impl Running {
    /// Starts a child.
    ///
    /// # Errors
    /// A log that can't be written, or a program that can't be started.
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let (child, input) = spawn(&plan)?;
        let running = Self { plan, child, input, started: Instant::now(), short_lives: 0 };
        running.announce();
        Ok(running)
    }

    fn announce(&self) {
        let pid = self.child.id().map_or_else(|| "?".into(), |p| p.to_string());
        eprintln!("{} started (pid {pid}), log {}", self.plan.name, self.plan.log.display());
    }

    /// Waits until the child ends by itself, and starts it again.
    ///
    /// Safe to drop and call again.
    ///
    /// # Errors
    /// [`Error::Child`] if it ends with an error soon after its start.
    pub(super) async fn keep(&mut self) -> Result<()> {
        let status = self.child.wait().await.map_err(|e| Error::Local(format!("{}: {e}", self.plan.name)))?;
        let short = self.started.elapsed() < SHORT_LIFE;
        self.short_lives = if short { self.short_lives.saturating_add(1) } else { 0 };
        // An error of usage or a missing file will be the same the next time. A child that was killed comes back,
        // however often: that is what a devnet is for.
        if short && status.code().is_some_and(|c| c != 0) {
            return Err(self.failed(status));
        }
        eprintln!("{} ended ({status}); starting it again, see {}", self.plan.name, self.plan.log.display());
        tokio::time::sleep(FIRST_WAIT * self.short_lives.min(LONGEST_WAIT_STEPS)).await;
        (self.child, self.input) = spawn(&self.plan)?;
        self.started = Instant::now();
        self.announce();
        Ok(())
    }

    fn failed(&self, status: ExitStatus) -> Error {
        Error::Child {
            name: self.plan.name.clone(),
            status: status.to_string(),
            log: self.plan.log.clone(),
            tail: tail(&self.plan.log),
        }
    }

    /// Lets the child end by itself, or kills it after `patience`.
    pub(super) async fn stop(mut self, patience: Duration) {
        drop(self.input.take());
        if timeout(patience, self.child.wait()).await.is_err() {
            eprintln!("{} does not end; killing it", self.plan.name);
            let _ = self.child.kill().await;
        }
    }
}

fn spawn(plan: &Plan) -> Result<(Child, Option<ChildStdin>)> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&plan.log).at(&plan.log)?;
    let program = match &plan.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|e| Error::Local(format!("this program's path: {e}")))?,
    };
    let mut command = Command::new(&program);
    // The devnet's own files say everything; a variable meant for another node must not leak in.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("MONAI_") && name_text != "MONAI_LOG" && name_text != "MONAI_LOG_FORMAT" {
            command.env_remove(&name);
        }
    }
    command.args(&plan.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    let mut child = command.spawn().at(&program)?;
    let input = child.stdin.take();
    Ok((child, input))
}

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(16 << 10)..]).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
