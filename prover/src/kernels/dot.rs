//! Small integers times field elements, summed without a modular reduction a term.

use ark_ff::{Field, One, PrimeField, Zero};
use monai_protocol::Fr;
use std::sync::OnceLock;

use super::values::Values;

/// `sum_i v_i x_i` limb by limb of the Montgomery form of `x`.
///
/// Terms of `|v| < 2^47` may be added `2^15` times, terms of `|v| < 2^31` `2^31` times, before a limb could overflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulator([i128; 4]);

impl Accumulator {
    /// Adds `v x`.
    #[inline(always)]
    pub fn add(&mut self, v: i64, x: &Fr) {
        let v = i128::from(v);
        for (acc, limb) in self.0.iter_mut().zip(x.0.0) {
            *acc += v * i128::from(limb);
        }
    }

    /// The sum.
    #[must_use]
    pub fn finish(&self) -> Fr {
        self.0.iter().zip(weights()).map(|(limb, w)| Fr::from(*limb) * w).sum()
    }
}

/// The same for integers that are not negative, which takes half of the instructions. Terms of `v < 2^40` may be added
/// `2^24` times before a limb could overflow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsigned([u128; 4]);

impl Unsigned {
    /// Adds `v x`.
    #[inline(always)]
    pub fn add(&mut self, v: u64, x: &Fr) {
        for (acc, limb) in self.0.iter_mut().zip(x.0.0) {
            *acc += u128::from(v) * u128::from(limb);
        }
    }

    /// The sum.
    #[must_use]
    pub fn finish(&self) -> Fr {
        self.0.iter().zip(weights()).map(|(limb, w)| Fr::from(*limb) * w).sum()
    }
}

/// The limbs are those of a multiple of the Montgomery radix R; each weight is `2^(64 k) / R`.
fn weights() -> &'static [Fr; 4] {
    static WEIGHTS: OnceLock<[Fr; 4]> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        let two64 = Fr::from(1u128 << 64);
        let radix = Fr::from(Fr::one().0);
        let inverse = radix.inverse().unwrap_or_else(Fr::zero);
        let mut w = [inverse; 4];
        for k in 1..4 {
            w[k] = w[k - 1] * two64;
        }
        w
    })
}

/// `sum_i v_i x_i` over the shorter length.
#[must_use]
pub fn dot<V: Values>(values: V, x: &[Fr]) -> Fr {
    let mut acc = Accumulator::default();
    for (i, x) in x.iter().enumerate().take(values.count()) {
        acc.add(values.at(i), x);
    }
    acc.finish()
}

/// The twin of [`dot`], by field operations.
#[must_use]
pub fn dot_reference<V: Values>(values: V, x: &[Fr]) -> Fr {
    x.iter().enumerate().take(values.count()).map(|(i, x)| Fr::from(values.at(i)) * x).sum()
}

const _: () = assert!(Fr::MODULUS_BIT_SIZE == 254);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Scaled;

    #[test]
    fn the_accumulators_agree_with_the_field() {
        let mut x = Fr::from(3u64);
        let mut xs = Vec::new();
        let mut vs: Vec<i64> = Vec::new();
        for i in 0..5000i64 {
            x = x.square() + Fr::from(i);
            xs.push(x);
            vs.push((i - 2500) * (i * i * i % 65_537) * 7);
        }
        assert_eq!(dot(&vs[..], &xs), dot_reference(&vs[..], &xs));
        let small: Vec<i32> = vs.iter().map(|v| (*v % 65_536) as i32).collect();
        assert_eq!(dot(&small[..], &xs), dot_reference(&small[..], &xs));
        assert_eq!(dot::<&[i32]>(&[], &[]), Fr::zero());
        let mut unsigned = Unsigned::default();
        for (v, x) in vs.iter().zip(&xs) {
            unsigned.add(v.unsigned_abs(), x);
        }
        let sum: Fr = vs.iter().zip(&xs).map(|(v, x)| Fr::from(v.unsigned_abs()) * x).sum();
        assert_eq!(unsigned.finish(), sum);
    }

    #[test]
    fn scaled_values_are_products() {
        let weights: Vec<i8> = (0..64).map(|i| (i * 37 % 256) as u8 as i8).collect();
        let multipliers = [3, -5, i32::MAX, i32::MIN];
        let all = Scaled::new(&weights, &multipliers, 4);
        let some = all.part(10, 40);
        for i in 0..40 {
            let at = i + 10;
            assert_eq!(some.at(i), i64::from(weights[at]) * i64::from(multipliers[at / 16]));
            assert!(some.at(i) + Scaled::BIAS.unwrap() >= 0);
        }
        assert_eq!((some.count(), all.part(60, 9).count(), all.part(70, 1).count()), (40, 4, 0));
    }
}
