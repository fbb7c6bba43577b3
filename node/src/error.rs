//! What can go wrong, and the exit code that tells a script which kind it was.

use std::path::{Path, PathBuf};

/// All is done, and what was checked is right.
pub const EXIT_OK: u8 = 0;
/// A check failed, or an answer is wrong.
pub const EXIT_INVALID: u8 = 1;
/// Wrong usage or configuration, or a file that does not hold what it should (clap uses the same number).
pub const EXIT_USAGE: u8 = 2;
/// A model, key or anchors file is missing.
pub const EXIT_MISSING: u8 = 3;
/// The other side is unreachable or refused.
pub const EXIT_REMOTE: u8 = 4;
/// This machine failed: a port is taken, a disk is full, a permission is missing.
pub const EXIT_LOCAL: u8 = 5;

/// Why a command did not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something that has to be there is not; the text says how to get it.
    #[error("{0}")]
    Missing(String),
    /// Wrong usage or configuration.
    #[error("{0}")]
    Usage(String),
    /// A check failed: the text names what is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The wrong password, or a damaged keystore.
    #[error("{path}: wrong password, or the keystore is damaged")]
    Password {
        /// The keystore.
        path: PathBuf,
    },
    /// The other side can't be reached.
    #[error("{url}: {what}")]
    Unreachable {
        /// Where to.
        url: String,
        /// What happened.
        what: String,
    },
    /// The other side answered with an error.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// Where to.
        url: String,
        /// HTTP status.
        status: u16,
        /// The message of its error object, or the start of its body.
        message: String,
    },
    /// The address to listen at is taken or not allowed.
    #[error("can't listen at {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A model file, tokenizer or template is not right.
    #[error("model: {0}")]
    Model(String),
    /// The engine failed.
    #[error("engine: {0}")]
    Engine(String),
    /// A proof can't be made.
    #[error("prover: {0}")]
    Prover(String),
    /// The sequencer could not start or failed.
    #[error("sequencer: {0}")]
    Sequencer(String),
    /// A child process of the devnet ended.
    #[error("{name} ended ({status}); the end of {log}:\n{tail}")]
    Child {
        /// Which process.
        name: String,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A terminal or task failed.
    #[error("{0}")]
    Local(String),
}

fn hint(source: &std::io::Error) -> &'static str {
    if source.kind() == std::io::ErrorKind::AddrInUse {
        " (another program listens there; stop it or choose another port)"
    } else {
        ""
    }
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The exit code of the program for this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => EXIT_INVALID,
            Self::Usage(_) | Self::Malformed { .. } | Self::Model(_) => EXIT_USAGE,
            Self::Missing(_) => EXIT_MISSING,
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => EXIT_MISSING,
            Self::Unreachable { .. } | Self::Refused { .. } => EXIT_REMOTE,
            Self::File { .. }
            | Self::Password { .. }
            | Self::Listen { .. }
            | Self::Engine(_)
            | Self::Prover(_)
            | Self::Sequencer(_)
            | Self::Child { .. }
            | Self::Local(_) => EXIT_LOCAL,
        }
    }
}

/// Names the file in an I/O error, which the system's text does not.
pub trait FileContext<T> {
    /// Adds the path.
    ///
    /// # Errors
    /// [`Error::File`] for the same failure.
    fn at(self, path: &Path) -> Result<T>;
}

impl From<monai_model::ModelError> for Error {
    /// A model's file that can't be read is like any other; one that is no model is a fault of the input.
    fn from(e: monai_model::ModelError) -> Self {
        match e {
            monai_model::ModelError::Io { path, source } => Self::File { path, source },
            other => Self::Model(other.to_string()),
        }
    }
}

impl<T> FileContext<T> for std::io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File { path: path.to_path_buf(), source })
    }
}
