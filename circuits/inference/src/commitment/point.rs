//! A commitment: a point of G1 that every consumer, circuit and contract included, can represent.

use ark_bn254::{Fq, G1Affine};
use ark_ec::AffineRepr;
use ark_ff::{PrimeField, Zero};
use monai_protocol::field::{self, Fr};

use super::{DecodeError, Reader};

/// A point of BN254's G1, on the curve and with both coordinates below the *scalar* field's modulus.
///
/// G1 has cofactor 1, so a point on the curve is in the group. The base field's modulus exceeds the
/// scalar field's by less than `2^127`, so a point made honestly has a larger coordinate with
/// probability about `2^-126`; refusing such points makes a coordinate exactly one scalar in
/// transcripts, circuits and contracts, with no second encoding. The identity, the commitment to
/// zeros, is written `(0, 0)`, which is not on the curve and so denotes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitment(G1Affine);

impl Commitment {
    /// Bytes of an encoding: `x` then `y`, 32 bytes each, big-endian (the EVM's form).
    pub const BYTES: usize = 64;

    /// The commitment to a chunk of zeros.
    pub const IDENTITY: Self = Self(G1Affine::identity());

    /// Accepts a point of the curve with representable coordinates.
    ///
    /// # Errors
    /// [`DecodeError::NotOnCurve`], [`DecodeError::NonCanonicalCoordinate`].
    pub fn new(point: G1Affine) -> Result<Self, DecodeError> {
        if !point.is_on_curve() {
            return Err(DecodeError::NotOnCurve);
        }
        if let Some((x, y)) = point.xy() {
            coordinate(&x)?;
            coordinate(&y)?;
            Ok(Self(point))
        } else {
            Ok(Self::IDENTITY)
        }
    }

    /// The point.
    pub const fn point(&self) -> G1Affine {
        self.0
    }

    /// `(x, y)` as scalars; `(0, 0)` for the identity.
    #[must_use]
    pub fn coordinates(&self) -> [Fr; 2] {
        let Some((x, y)) = self.0.xy() else { return [Fr::zero(); 2] };
        // The constructor has shown that both are representable, so zero is never taken for them.
        [coordinate(&x).unwrap_or_default(), coordinate(&y).unwrap_or_default()]
    }

    /// The canonical encoding.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let [x, y] = self.coordinates();
        let mut out = [0u8; Self::BYTES];
        let (head, tail) = out.split_at_mut(32);
        head.copy_from_slice(&field::to_bytes(x));
        tail.copy_from_slice(&field::to_bytes(y));
        out
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut base = || -> Result<Fq, DecodeError> {
            let x = reader.scalar().map_err(|e| match e {
                DecodeError::NonCanonicalScalar => DecodeError::NonCanonicalCoordinate,
                other => other,
            })?;
            // Below the smaller modulus, so below the larger one.
            Fq::from_bigint(x.into_bigint()).ok_or(DecodeError::NonCanonicalCoordinate)
        };
        let (x, y) = (base()?, base()?);
        if x.is_zero() && y.is_zero() {
            return Ok(Self::IDENTITY);
        }
        Self::new(G1Affine::new_unchecked(x, y))
    }

    /// Reads an encoding that must be the whole input.
    ///
    /// # Errors
    /// As [`Self::read`], and [`DecodeError::Trailing`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let point = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(point)
    }
}

/// A base-field coordinate as a scalar, where it is one.
fn coordinate(x: &Fq) -> Result<Fr, DecodeError> {
    Fr::from_bigint(x.into_bigint()).ok_or(DecodeError::NonCanonicalCoordinate)
}
