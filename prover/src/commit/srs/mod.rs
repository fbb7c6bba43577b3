//! The setup: powers of a secret `tau` in G1, and `[tau]_2`.
//!
//! Production loads the powers of a public ceremony ([`Srs::from_ptau`], [`Srs::from_halo2`]) once and
//! keeps them in this program's own file ([`Srs::save`], [`Srs::load`]). Development makes its own
//! ([`Srs::insecure_dev`]): whoever knows the seed can forge, and the key says so.

mod ceremony;
mod check;
mod dev;
mod file;

use monai_inference::commitment::{SetupKind, VerifierKey};

use super::error::CommitError;
use super::field::Point;

/// Powers of tau: `[tau^i]_1` for `i < 2^variables`, and the verifier's key.
#[derive(Clone, Debug)]
pub struct Srs {
    points: Vec<Point>,
    key: VerifierKey,
}

impl Srs {
    /// The verifier's key, which names the kind of setup.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Where `tau` came from.
    #[must_use]
    pub const fn kind(&self) -> SetupKind {
        self.key.kind()
    }

    /// A chunk has at most `2^variables` values.
    #[must_use]
    pub const fn variables(&self) -> usize {
        self.key.variables()
    }

    /// The first `n` powers.
    pub(crate) fn points(&self, n: usize) -> Result<&[Point], CommitError> {
        self.points.get(..n).ok_or(CommitError::TooLong { values: n, points: self.points.len() })
    }
}
