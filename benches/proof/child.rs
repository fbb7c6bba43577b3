//! A child process, with the memory and processor time that it took.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Between two looks at a child's memory. Its high-water mark only rises, so what is missed is what the last moments add.
const LOOK: Duration = Duration::from_millis(50);

/// What a child said and took.
pub(crate) struct Ended {
    pub(crate) output: String,
    pub(crate) seconds: f64,
    pub(crate) core_seconds: f64,
    pub(crate) peak_rss: u64,
}

/// Runs a command to its end; a failure is an error with what it said.
pub(crate) fn run(command: &mut Command) -> Result<Ended> {
    let name = format!("{command:?}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let mut pipe = child.stdout.take().context("a child without standard output")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut pipe, &mut text).map(|_| text)
    });
    let (mut peak_rss, mut core_seconds) = (0, 0.0);
    let status = loop {
        peak_rss = peak(child.id()).unwrap_or(0).max(peak_rss);
        core_seconds = cpu(child.id()).unwrap_or(0.0).max(core_seconds);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let seconds = start.elapsed().as_secs_f64();
    let output = reader.join().ok().context("reading a child")??;
    ensure!(status.success(), "{name} ended with {status}: {output}");
    Ok(Ended { output, seconds, core_seconds, peak_rss })
}

/// `VmHWM` of a process in bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// User and system time of a process, from fields in hundredths of a second.
fn cpu(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Some(ticks as f64 / 100.0)
}
