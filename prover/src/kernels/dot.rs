//! Small integers times field elements, summed without a modular reduction a term.

use ark_ff::{Field, One, PrimeField, Zero};
use monai_protocol::Fr;
use std::sync::OnceLock;

/// An integer of the witness or of the model.
pub trait Small: Copy + Send + Sync {
    /// Its value.
    fn wide(self) -> i64;
}

impl Small for i32 {
    fn wide(self) -> i64 {
        self.into()
    }
}

impl Small for i64 {
    fn wide(self) -> i64 {
        self
    }
}

impl Small for u16 {
    fn wide(self) -> i64 {
        self.into()
    }
}

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
        // The limbs are those of a multiple of the Montgomery radix R; each weight is 2^(64 k) / R.
        static WEIGHTS: OnceLock<[Fr; 4]> = OnceLock::new();
        let weights = WEIGHTS.get_or_init(|| {
            let two64 = Fr::from(1u128 << 64);
            let radix = Fr::from(Fr::one().0);
            let inverse = radix.inverse().unwrap_or_else(Fr::zero);
            let mut w = [inverse; 4];
            for k in 1..4 {
                w[k] = w[k - 1] * two64;
            }
            w
        });
        self.0.iter().zip(weights).map(|(limb, w)| Fr::from(*limb) * w).sum()
    }
}

/// `sum_i v_i x_i` over the shorter length.
#[must_use]
pub fn dot<T: Small>(values: &[T], x: &[Fr]) -> Fr {
    let mut acc = Accumulator::default();
    for (v, x) in values.iter().zip(x) {
        acc.add(v.wide(), x);
    }
    acc.finish()
}

/// The twin of [`dot`], by field operations.
#[must_use]
pub fn dot_reference<T: Small>(values: &[T], x: &[Fr]) -> Fr {
    values.iter().zip(x).map(|(v, x)| Fr::from(v.wide()) * x).sum()
}

const _: () = assert!(Fr::MODULUS_BIT_SIZE == 254);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accumulator_agrees_with_the_field() {
        let mut x = Fr::from(3u64);
        let mut xs = Vec::new();
        let mut vs: Vec<i64> = Vec::new();
        for i in 0..5000i64 {
            x = x.square() + Fr::from(i);
            xs.push(x);
            vs.push((i - 2500) * (i * i * i % 65_537) * 7);
        }
        assert_eq!(dot(&vs, &xs), dot_reference(&vs, &xs));
        let small: Vec<i32> = vs.iter().map(|v| (*v % 65_536) as i32).collect();
        assert_eq!(dot(&small, &xs), dot_reference(&small, &xs));
        assert_eq!(dot::<i32>(&[], &[]), Fr::zero());
    }
}
