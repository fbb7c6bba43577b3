//! Sums of products of field elements, reduced once a sum.

use ark_ff::{BigInteger, Field, One, PrimeField, Zero};
use monai_protocol::Fr;
use std::sync::OnceLock;

/// `sum a b` of Montgomery forms, as an integer of nine limbs: `2^64` products fit. Half the work of a product is its
/// reduction, which is left to the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct WideSum([u64; 9]);

impl WideSum {
    /// Adds `a b`.
    #[inline(always)]
    pub fn add(&mut self, a: &Fr, b: &Fr) {
        let (a, b) = (&a.0.0, &b.0.0);
        for (i, a) in a.iter().enumerate() {
            let mut carry = 0u64;
            for (j, b) in b.iter().enumerate() {
                // At most (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1.
                let t = u128::from(*a) * u128::from(*b) + u128::from(self.0[i + j]) + u128::from(carry);
                self.0[i + j] = t as u64;
                carry = (t >> 64) as u64;
            }
            let mut over;
            (self.0[i + 4], over) = self.0[i + 4].overflowing_add(carry);
            for limb in &mut self.0[i + 5..] {
                let (sum, next) = limb.overflowing_add(u64::from(over));
                *limb = sum;
                over = next;
            }
        }
    }

    /// A sum from its limbs.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn from_limbs(limbs: [u64; 9]) -> Self {
        Self(limbs)
    }

    /// The sum.
    #[must_use]
    pub fn finish(&self) -> Fr {
        // The limbs are those of S R^2, and the sum is S.
        static INVERSE: OnceLock<Fr> = OnceLock::new();
        let inverse = INVERSE.get_or_init(|| Fr::from(Fr::one().0).inverse().unwrap_or_else(Fr::zero));
        let part = |limbs: &[u64]| {
            let mut out = [0u64; 4];
            out[..limbs.len()].copy_from_slice(limbs);
            Fr::from_le_bytes_mod_order(&ark_ff::BigInt(out).to_bytes_le())
        };
        (part(&self.0[..4]) * inverse + part(&self.0[4..8])) * inverse + part(&self.0[8..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_the_field() {
        let mut x = -Fr::one();
        let (mut wide, mut sum) = (WideSum::default(), Fr::zero());
        for i in 0..3000u64 {
            let y = x.square() - Fr::from(i);
            wide.add(&x, &y);
            sum += x * y;
            // The largest limbs first, then all kinds.
            x = if i < 1000 { -Fr::from(i) } else { y + x };
            assert_eq!(wide.finish(), sum);
        }
        assert_eq!(WideSum::default().finish(), Fr::zero());
    }
}
