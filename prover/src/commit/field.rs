//! The two libraries' field elements and points, and how to move between them.
//!
//! Interfaces speak arkworks, as the verifier does. Kernels run on halo2curves, whose assembly multiplies
//! a quarter faster. Both keep elements as four limbs in the same Montgomery form (`R = 2^256`), so moving
//! one is a copy of 32 bytes; the tests pin that.

use ark_bn254::{Fq, Fr, G1Affine};
use ark_ff::{BigInt, PrimeField};
use halo2curves::bn256;
use halo2curves::serde::SerdeObject;

/// The base field under the kernels.
pub(crate) type Base = bn256::Fq;

/// An affine point under the kernels; the identity is `(0, 0)`. One cache line: the kernels are bound by
/// loads of points in no order, and a point across two lines costs two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Point {
    pub(crate) x: Base,
    pub(crate) y: Base,
}

impl Point {
    /// The neutral element.
    pub(crate) const IDENTITY: Self = Self { x: Base::zero(), y: Base::zero() };

    /// No point of the curve has `x = 0`, because 3 is no square in the base field.
    #[inline(always)]
    pub(crate) fn is_identity(&self) -> bool {
        self.x == Base::zero()
    }

    /// The curve library's form.
    pub(crate) const fn affine(&self) -> bn256::G1Affine {
        bn256::G1Affine { x: self.x, y: self.y }
    }
}

impl From<bn256::G1Affine> for Point {
    fn from(p: bn256::G1Affine) -> Self {
        Self { x: p.x, y: p.y }
    }
}

impl From<Sum> for Point {
    fn from(p: Sum) -> Self {
        use halo2curves::group::Curve;
        p.to_affine().into()
    }
}

impl std::ops::Neg for Point {
    type Output = Self;
    fn neg(self) -> Self {
        Self { x: self.x, y: -self.y }
    }
}

/// A projective point under the kernels.
pub(crate) type Sum = bn256::G1;

/// Bytes of a point as raw limbs.
pub(crate) const RAW_POINT: usize = 64;

/// A base-field element from its Montgomery limbs, which must be below the modulus.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) fn base_from_limbs(limbs: [u64; 4]) -> Base {
    Base::from_raw_bytes_unchecked(bytemuck::bytes_of(&limbs))
}

/// The Montgomery limbs of a base-field element.
pub(crate) fn base_limbs(x: &Base) -> [u64; 4] {
    let bytes = x.to_raw_bytes();
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut word = [0u8; 8];
        word.copy_from_slice(chunk);
        *limb = u64::from_le_bytes(word);
    }
    limbs
}

/// A kernel point as arkworks' point.
pub(crate) fn to_ark(p: &Point) -> G1Affine {
    if p.is_identity() {
        return G1Affine::identity();
    }
    let base = |x: &Base| Fq::new_unchecked(BigInt(base_limbs(x)));
    G1Affine::new_unchecked(base(&p.x), base(&p.y))
}

/// arkworks' point as a kernel point.
#[cfg(test)]
pub(crate) fn from_ark(p: &G1Affine) -> Point {
    use ark_ec::AffineRepr;
    if p.is_zero() {
        return Point::IDENTITY;
    }
    Point { x: base_from_limbs(p.x.0.0), y: base_from_limbs(p.y.0.0) }
}

/// The canonical integer of a scalar, least significant limb first.
pub(crate) fn scalar_limbs(x: &Fr) -> [u64; 4] {
    x.into_bigint().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::{AffineRepr, CurveGroup};
    use halo2curves::CurveAffine;

    #[test]
    fn both_libraries_keep_the_same_limbs() {
        let generator = G1Affine::generator();
        for k in 1u64..50 {
            let p = (generator * Fr::from(k * k * k)).into_affine();
            let q = from_ark(&p);
            assert!(bool::from(q.affine().is_on_curve()));
            assert_eq!(to_ark(&q), p);
            assert_eq!(bn256::Fq::from(k), base_from_limbs(Fq::from(k).0.0));
            let h = Sum::from(bn256::G1Affine::generator()) * bn256::Fr::from(k * k * k);
            assert_eq!(Point::from(h), q);
        }
        assert_eq!(from_ark(&G1Affine::identity()), Point::IDENTITY);
        assert_eq!(to_ark(&Point::IDENTITY), G1Affine::identity());
    }
}
