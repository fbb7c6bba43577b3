//! The opening proof and its encoding.

use monai_protocol::field::{self, Fr};

use super::{Commitment, DecodeError, Reader};

/// A Mercury opening: eight points and six scalars, whatever the size of the polynomial.
///
/// `f` is the combined polynomial, `b = 2^t` the length of a row of its coefficient matrix. Values that
/// follow from the others (`S(zeta)`, `D(zeta)`) are not sent, so they can't contradict them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpeningProof {
    /// `h`: each row of the matrix folded with the low coordinates of the point.
    pub h: Commitment,
    /// `g`: the remainder of `f` modulo `X^b - alpha`.
    pub g: Commitment,
    /// `q`: the quotient of that division.
    pub q: Commitment,
    /// `S`: all but the constant term of the two batched inner products.
    pub s: Commitment,
    /// `D = X^(b-1) g(1/X)`, which is a polynomial only if `deg g < b`.
    pub d: Commitment,
    /// The witness of all evaluations at `zeta`.
    pub at_zeta: Commitment,
    /// The witness of all evaluations at `1/zeta`.
    pub at_inverse: Commitment,
    /// The witness of `h(alpha)`.
    pub at_alpha: Commitment,
    /// `h(alpha)`.
    pub h_alpha: Fr,
    /// `g(zeta)`.
    pub g_zeta: Fr,
    /// `g(1/zeta)`.
    pub g_inverse: Fr,
    /// `h(zeta)`.
    pub h_zeta: Fr,
    /// `h(1/zeta)`.
    pub h_inverse: Fr,
    /// `S(1/zeta)`.
    pub s_inverse: Fr,
}

impl OpeningProof {
    /// Bytes of the encoding: eight points of 64 bytes, then six scalars of 32, in the order of the fields.
    pub const BYTES: usize = 8 * Commitment::BYTES + 6 * 32;

    /// The canonical encoding, [`Self::BYTES`] long.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let points =
            [&self.h, &self.g, &self.q, &self.s, &self.d, &self.at_zeta, &self.at_inverse, &self.at_alpha];
        let scalars =
            [self.h_alpha, self.g_zeta, self.g_inverse, self.h_zeta, self.h_inverse, self.s_inverse];
        let mut out = Vec::with_capacity(Self::BYTES);
        for p in points {
            out.extend_from_slice(&p.to_bytes());
        }
        for x in scalars {
            out.extend_from_slice(&field::to_bytes(x));
        }
        out
    }

    /// Reads the canonical encoding.
    ///
    /// # Errors
    /// A [`DecodeError`] for anything that [`Self::to_bytes`] does not make.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            h: Commitment::read(reader)?,
            g: Commitment::read(reader)?,
            q: Commitment::read(reader)?,
            s: Commitment::read(reader)?,
            d: Commitment::read(reader)?,
            at_zeta: Commitment::read(reader)?,
            at_inverse: Commitment::read(reader)?,
            at_alpha: Commitment::read(reader)?,
            h_alpha: reader.scalar()?,
            g_zeta: reader.scalar()?,
            g_inverse: reader.scalar()?,
            h_zeta: reader.scalar()?,
            h_inverse: reader.scalar()?,
            s_inverse: reader.scalar()?,
        })
    }

    /// Reads an encoding that must be the whole input.
    ///
    /// # Errors
    /// As [`Self::read`], and [`DecodeError::Trailing`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let proof = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(proof)
    }
}
