//! What can be wrong with bytes and with an opening.

/// Why bytes are not the canonical encoding of anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("the input ends {missing} bytes early")]
    Truncated {
        /// Bytes that are missing.
        missing: usize,
    },
    /// Bytes follow the value.
    #[error("{extra} bytes follow the value")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A field element is not below its modulus.
    #[error("a field element is not below the modulus")]
    NonCanonicalScalar,
    /// A coordinate of a point is not below the scalar field's modulus.
    ///
    /// Coordinates live in the base field, which exceeds the scalar field by a part in `2^127`. That
    /// sliver is rejected everywhere, so a coordinate enters circuits and transcripts as one element.
    #[error("a coordinate is not below the scalar field's modulus")]
    NonCanonicalCoordinate,
    /// The coordinates do not satisfy the curve's equation.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The point is on the curve but outside the group of prime order (possible in G2 only).
    #[error("the point is outside the prime-order subgroup")]
    NotInSubgroup,
    /// A point that must not be the identity is.
    #[error("the point is the identity")]
    Identity,
    /// The bytes start with another magic number.
    #[error("not a {expected}")]
    Magic {
        /// What was expected.
        expected: &'static str,
    },
    /// A version that this program does not know.
    #[error("version {got} of {what} is unknown")]
    Version {
        /// Of what.
        what: &'static str,
        /// The version found.
        got: u32,
    },
    /// A number is outside its documented limits.
    #[error("{what} is {got}, which is outside {least}..={most}")]
    Range {
        /// Which number.
        what: &'static str,
        /// Its value.
        got: u64,
        /// Least allowed.
        least: u64,
        /// Most allowed.
        most: u64,
    },
    /// A byte that must be one of a few is none of them.
    #[error("{got} is no {what}")]
    Tag {
        /// What it should name.
        what: &'static str,
        /// The byte.
        got: u8,
    },
}

/// Why an opening is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// Commitments and coefficients must pair up.
    #[error("{commitments} commitments but {coefficients} coefficients")]
    Unpaired {
        /// Commitments given.
        commitments: usize,
        /// Coefficients given.
        coefficients: usize,
    },
    /// There must be at least one chunk and at most [`super::MAX_CHUNKS`].
    #[error("{0} chunks are outside the limits")]
    Chunks(usize),
    /// The point's length is zero, or larger than the setup supports.
    #[error("{got} variables, but the setup supports 1 to {most}")]
    Variables {
        /// Coordinates of the point.
        got: usize,
        /// Most that the setup supports.
        most: usize,
    },
    /// The combined commitment has a coordinate that is not canonical.
    #[error("the combined commitment: {0}")]
    Combined(DecodeError),
    /// The evaluation challenge is zero, which has probability about `2^-254`.
    #[error("the evaluation challenge has no inverse")]
    ZeroChallenge,
    /// The pairing equation does not hold: some claim of the opening is false.
    #[error("the opening does not verify")]
    Rejected,
}
