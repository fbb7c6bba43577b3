//! Values to commit to, in whatever integer type the witness keeps them.

use ark_bn254::Fr;

use super::error::CommitError;
use super::field::{Point, Sum, scalar_limbs, to_ark};
use super::msm::msm_watched;
use super::srs::Srs;
use crate::progress::Progress;
use halo2curves::group::Group;
use monai_inference::commitment::Commitment;
use rayon::prelude::*;

/// A chunk's values: evaluations of a multilinear polynomial, index bit `j` being variable `j`. A chunk
/// that is shorter than the power of two stands for its padding with zeros.
#[derive(Clone, Copy, Debug)]
pub enum ChunkRef<'a> {
    /// 8-bit values.
    I8(&'a [i8]),
    /// 16-bit values.
    I16(&'a [i16]),
    /// 16-bit values without a sign.
    U16(&'a [u16]),
    /// 32-bit values.
    I32(&'a [i32]),
    /// 32-bit values without a sign.
    U32(&'a [u32]),
    /// 64-bit values.
    I64(&'a [i64]),
    /// Field elements.
    Fr(&'a [Fr]),
    /// Int8 weights with an integer multiplier for every row of `row` values: value `i` is
    /// `values[i] * multipliers[i / row]`.
    Scaled {
        /// The weights.
        values: &'a [i8],
        /// One multiplier a row.
        multipliers: &'a [i32],
        /// Values in a row; divides the number of values.
        row: usize,
    },
    /// Several lists, one after another.
    Joined(&'a [ChunkRef<'a>]),
}

impl ChunkRef<'_> {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::I8(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Fr(v) => v.len(),
            Self::Scaled { values, .. } => values.len(),
            Self::Joined(parts) => parts.iter().map(Self::len).sum(),
        }
    }

    /// There are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `i` as a scalar; zero beyond the end. For tests and reference twins.
    #[must_use]
    pub fn value(&self, i: usize) -> Fr {
        match self {
            Self::I8(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::I16(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::U16(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::I32(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::U32(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::I64(v) => v.get(i).map_or_else(Fr::default, |x| Fr::from(*x)),
            Self::Fr(v) => v.get(i).copied().unwrap_or_default(),
            Self::Scaled { values, multipliers, row } => match (values.get(i), multipliers.get(i / row)) {
                (Some(x), Some(m)) => Fr::from(i64::from(*x) * i64::from(*m)),
                _ => Fr::default(),
            },
            Self::Joined(parts) => {
                let mut i = i;
                for part in *parts {
                    if i < part.len() {
                        return part.value(i);
                    }
                    i -= part.len();
                }
                Fr::default()
            }
        }
    }

    /// Checks that the parts of the chunk fit together.
    pub(crate) fn check(&self) -> Result<(), CommitError> {
        if let Self::Joined(parts) = self {
            return parts.iter().try_for_each(Self::check);
        }
        if let Self::Scaled { values, multipliers, row } = self
            && (*row == 0 || row.checked_mul(multipliers.len()) != Some(values.len()))
        {
            return Err(CommitError::Unpaired {
                what: "weights and rows of multipliers",
                left: values.len(),
                right: multipliers.len().saturating_mul(*row),
            });
        }
        Ok(())
    }
}

impl Srs {
    /// Commits to one chunk.
    ///
    /// # Errors
    /// [`CommitError::TooLong`], [`CommitError::Unpaired`], [`CommitError::Point`] (probability `2^-126`).
    pub fn commit(&self, chunk: ChunkRef<'_>) -> Result<Commitment, CommitError> {
        self.commit_watched(chunk, &())
    }

    /// [`Self::commit`] that can be cancelled.
    ///
    /// # Errors
    /// As [`Self::commit`], and [`CommitError::Cancelled`].
    pub fn commit_watched(
        &self,
        chunk: ChunkRef<'_>,
        progress: &dyn Progress,
    ) -> Result<Commitment, CommitError> {
        let msm = Watched(progress);
        chunk.check()?;
        let points = self.points(chunk.len())?;
        let sum = match chunk {
            ChunkRef::I8(v) => msm.sum(points, v)?,
            ChunkRef::I16(v) => msm.sum(points, v)?,
            ChunkRef::U16(v) => msm.sum(points, v)?,
            ChunkRef::I32(v) => msm.sum(points, v)?,
            ChunkRef::U32(v) => msm.sum(points, v)?,
            ChunkRef::I64(v) => msm.sum(points, v)?,
            ChunkRef::Fr(v) => {
                let limbs: Vec<[u64; 4]> = v.par_iter().with_min_len(1 << 10).map(scalar_limbs).collect();
                msm.sum(points, &limbs)?
            }
            ChunkRef::Scaled { .. } => msm.sum(points, &products(&chunk)?)?,
            // Short parts share a bucket pass where both are integers.
            ChunkRef::Joined([one]) => return self.commit_watched(*one, progress),
            ChunkRef::Joined(parts) => {
                let mut all = Vec::with_capacity(chunk.len());
                for part in parts {
                    all.extend(products(part)?);
                }
                msm.sum(points, &all)?
            }
        };
        commitment(&sum)
    }

    /// Commits to many chunks, in parallel.
    ///
    /// # Errors
    /// As [`Self::commit`], of any chunk.
    pub fn commit_all(&self, chunks: &[ChunkRef<'_>]) -> Result<Vec<Commitment>, CommitError> {
        chunks.iter().map(|c| self.commit(*c)).collect()
    }
}

/// The values of a chunk of integers in 64 bits.
fn products(chunk: &ChunkRef<'_>) -> Result<Vec<i64>, CommitError> {
    match chunk {
        ChunkRef::I64(v) => Ok(v.to_vec()),
        ChunkRef::Scaled { values, multipliers, row } => Ok(values
            .par_chunks(*row)
            .with_min_len(64)
            .zip(*multipliers)
            .flat_map_iter(|(v, m)| v.iter().map(|x| i64::from(*x) * i64::from(*m)))
            .collect()),
        other => Err(CommitError::Unpaired {
            what: "64-bit integers and other values",
            left: 0,
            right: other.len(),
        }),
    }
}

/// Sums for somebody who may cancel them.
struct Watched<'a>(&'a dyn Progress);

impl Watched<'_> {
    fn sum<S: super::msm::Digits>(&self, points: &[Point], scalars: &[S]) -> Result<Sum, CommitError> {
        Ok(msm_watched(points, scalars, self.0)?)
    }
}

/// A sum as a commitment.
pub(crate) fn commitment(sum: &Sum) -> Result<Commitment, CommitError> {
    if bool::from(sum.is_identity()) {
        return Ok(Commitment::IDENTITY);
    }
    Ok(Commitment::new(to_ark(&Point::from(*sum)))?)
}
