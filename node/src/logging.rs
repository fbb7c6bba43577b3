//! Logs: to standard error, as text or JSON. Standard output belongs to results.

use crate::cli::{Cli, LogFormat};
use crate::error::{Error, Result};
use crate::settings::Settings;
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging as flags, environment and file say.
///
/// # Errors
/// [`Error::Usage`] for a filter that can't be read.
pub fn start(cli: &Cli, settings: &Settings) -> Result<()> {
    let default = if cli.command.is_daemon() { "info" } else { "warn" };
    let filter = cli.global.log.as_deref().or(settings.log.as_deref()).unwrap_or(default);
    let filter =
        EnvFilter::try_new(filter).map_err(|e| Error::Usage(format!("log filter {filter:?}: {e}")))?;
    let format = cli.global.log_format.or(settings.log_format).unwrap_or_default();
    let ansi = std::io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|e| Error::Local(format!("logging: {e}")))
}
