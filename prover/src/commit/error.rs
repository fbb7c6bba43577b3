//! What can go wrong on the prover's side.

use monai_inference::commitment::{DecodeError, OpeningError};

/// Why a setup, a commitment or an opening could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// More values than the setup has points.
    #[error("{values} values, but the setup has {points} points")]
    TooLong {
        /// Values given.
        values: usize,
        /// Points of the setup.
        points: usize,
    },
    /// The lists that must pair up do not.
    #[error("{what}: {left} against {right}")]
    Unpaired {
        /// What does not pair up.
        what: &'static str,
        /// One length.
        left: usize,
        /// The other.
        right: usize,
    },
    /// A number of variables outside `1..=28`, or beyond the file.
    #[error("{got} variables are outside 1..={most}")]
    Variables {
        /// What was asked for.
        got: usize,
        /// What is possible.
        most: usize,
    },
    /// A point is the identity, off the curve, or not representable.
    #[error("point: {0}")]
    Point(#[from] DecodeError),
    /// The statement of an opening is malformed.
    #[error("opening: {0}")]
    Opening(#[from] OpeningError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not what it claims to be.
    #[error("{path}: {reason}")]
    Setup {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A file's digest is not the one that the caller pinned.
    #[error("{path}: its digest is {got}, expected {expected}")]
    Digest {
        /// The file.
        path: std::path::PathBuf,
        /// Digest found, in hex.
        got: String,
        /// Digest expected, in hex.
        expected: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<crate::progress::Cancelled> for CommitError {
    fn from(_: crate::progress::Cancelled) -> Self {
        Self::Cancelled
    }
}
