//! Are these points the powers of one secret, the one in `[tau]_2`?

use ark_bn254::{Bn254, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ec::pairing::{Pairing, PairingOutput};
use ark_ff::Zero;
use halo2curves::serde::SerdeObject;

use super::Srs;
use crate::commit::field::{Point, RAW_POINT, to_ark};
use crate::commit::msm::msm;

impl Srs {
    /// Whether point 0 is the generator and every point is `tau` times the one before it.
    ///
    /// With random 128-bit `r_i`, `e(sum r_i P_(i+1), [1]_2) = e(sum r_i P_i, [tau]_2)` holds for points
    /// that are not such powers with probability `2^-128`. The `r_i` are drawn from a hash of all points,
    /// so whoever wrote the points could not know them.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        if self.points.first().map(to_ark) != Some(G1Affine::generator()) {
            return false;
        }
        let mut hasher = blake3::Hasher::new_derive_key("MonAI powers of tau, consistency check, version 1");
        hasher.update(&self.key.to_bytes());
        let mut bytes = Vec::with_capacity(RAW_POINT << 14);
        for points in self.points.chunks(1 << 14) {
            bytes.clear();
            for p in points {
                bytes.extend_from_slice(&p.affine().to_raw_bytes());
            }
            hasher.update(&bytes);
        }
        let mut stream = hasher.finalize_xof();
        let combination: Vec<[u64; 4]> = (1..self.points.len())
            .map(|_| {
                let mut r = [0u8; 16];
                stream.fill(&mut r);
                let r = u128::from_le_bytes(r);
                [r as u64, (r >> 64) as u64, 0, 0]
            })
            .collect();
        let low = to_ark(&Point::from(msm(&self.points[..combination.len()], &combination)));
        let high = to_ark(&Point::from(msm(&self.points[1..], &combination)));
        Bn254::multi_pairing([high, -low], [G2Affine::generator(), self.key.tau_g2()])
            == PairingOutput::zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_consistent_and_anything_else_is_not() {
        let srs = Srs::insecure_dev(6, b"consistent").unwrap();
        assert!(srs.is_consistent());
        for change in [0, 1, 17, 63] {
            let mut bad = srs.clone();
            bad.points[change] = -bad.points[change];
            assert!(!bad.is_consistent(), "power {change}");
        }
        let mut swapped = srs.clone();
        swapped.points.swap(20, 21);
        assert!(!swapped.is_consistent());
        let mut other = srs;
        other.key = Srs::insecure_dev(6, b"another").unwrap().key;
        assert!(!other.is_consistent());
    }
}
