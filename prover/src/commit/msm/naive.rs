//! The reference twin of the bucket method: each product on its own, by double and add, summed.

use ark_bn254::{Fr, G1Projective};
use ark_ec::{AdditiveGroup, CurveGroup};

use crate::commit::field::{Point, Sum, from_ark, to_ark};

/// `sum_i scalars[i] * points[i]`, computed by arkworks and slowly.
pub(crate) fn naive(points: &[Point], scalars: &[Fr]) -> Sum {
    let mut total = G1Projective::ZERO;
    for (p, s) in points.iter().zip(scalars) {
        total += to_ark(p) * s;
    }
    Sum::from(from_ark(&total.into_affine()).affine())
}
