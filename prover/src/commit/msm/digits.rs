//! Signed digits of scalars (Booth's recoding): carry-free, so each window is read on its own.
//!
//! For a two's-complement integer `x` and windows of `c` bits,
//! `d_w = bits(x, w c, c) + bit(x, w c - 1) - 2^c bit(x, w c + c - 1)`, with `-2^(c-1) <= d_w <= 2^(c-1)`
//! and `x = sum_w d_w 2^(w c)`, as long as the windows reach the sign bit.

/// A scalar as the bucket method sees it.
pub(crate) trait Digits: Copy + Send + Sync {
    /// Digit of window `w` of `c` bits, `1 <= c <= 22`.
    fn digit(self, w: u32, c: u32) -> i32;
    /// The least `b` such that the scalar lies in `[-2^(b-1), 2^(b-1))`.
    fn bits(self) -> u32;
}

macro_rules! small {
    ($($t:ty),*) => {$(
        impl Digits for $t {
            #[inline(always)]
            fn digit(self, w: u32, c: u32) -> i32 {
                booth(i64::from(self), w, c)
            }
            #[inline(always)]
            fn bits(self) -> u32 {
                i64::from(self).bits()
            }
        }
    )*};
}
small!(i8, i16, u16, i32, u32);

impl Digits for i64 {
    #[inline(always)]
    fn digit(self, w: u32, c: u32) -> i32 {
        booth(self, w, c)
    }
    #[inline(always)]
    fn bits(self) -> u32 {
        // The magnitude bits, one's complement for negatives, and the sign.
        65 - (self ^ (self >> 63)).leading_zeros()
    }
}

#[inline(always)]
fn booth(x: i64, w: u32, c: u32) -> i32 {
    let at = w * c;
    // Under the lowest window there is a zero; above the sign bit there are copies of it.
    let shifted = if at == 0 { x << 1 } else { x >> (at - 1).min(63) };
    fold(shifted & ((1 << (c + 1)) - 1), c)
}

/// `c + 1` bits, the lowest from the window below, as a digit.
#[inline(always)]
fn fold(field: i64, c: u32) -> i32 {
    let sign = field >> c;
    (((field + 1) >> 1) - (sign << c)) as i32
}

/// The canonical integer of a scalar, below `2^254`.
impl Digits for [u64; 4] {
    #[inline(always)]
    fn digit(self, w: u32, c: u32) -> i32 {
        let at = w * c;
        let field = if at == 0 {
            (self[0] << 1) & ((1 << (c + 1)) - 1)
        } else {
            let from = at - 1;
            let (limb, shift) = ((from / 64) as usize, from % 64);
            let low = self.get(limb).copied().unwrap_or(0) >> shift;
            let high = if shift == 0 { 0 } else { self.get(limb + 1).copied().unwrap_or(0) << (64 - shift) };
            (low | high) & ((1 << (c + 1)) - 1)
        };
        fold(field as i64, c)
    }
    #[inline(always)]
    fn bits(self) -> u32 {
        for (i, limb) in self.iter().enumerate().rev() {
            if *limb != 0 {
                return 64 * i as u32 + 65 - limb.leading_zeros();
            }
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::PrimeField;

    fn recompose<S: Digits>(x: S, c: u32) -> i128 {
        (0..x.bits().div_ceil(c)).map(|w| i128::from(x.digit(w, c)) << (w * c)).sum()
    }

    #[test]
    fn digits_recompose_and_stay_in_range() {
        let samples = [
            0i64,
            1,
            -1,
            2,
            -2,
            63,
            64,
            127,
            128,
            -127,
            -128,
            -129,
            255,
            256,
            32767,
            32768,
            -32768,
            65535,
            1 << 20,
            -(1 << 20),
            i64::from(i32::MAX),
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
            0x1234_5678_9abc_def0,
        ];
        for c in 2..=20 {
            for x in samples {
                assert_eq!(recompose(x, c), i128::from(x), "{x} in windows of {c}");
                for w in 0..x.bits().div_ceil(c) {
                    assert!(x.digit(w, c).abs() <= 1 << (c - 1));
                }
            }
        }
        for x in i8::MIN..=i8::MAX {
            assert_eq!(recompose(x, 8), i128::from(x));
            assert!(x.bits() <= 8);
        }
    }

    #[test]
    fn wide_digits_recompose() {
        use ark_bn254::Fr;
        for c in [5u32, 13, 15, 16, 17] {
            for x in [
                Fr::from(0),
                Fr::from(1),
                -Fr::from(1),
                -Fr::from(12345),
                Fr::from(u64::MAX),
                Fr::from(u128::MAX),
            ] {
                let limbs = x.into_bigint().0;
                let base = Fr::from(1u64 << c);
                let sum = (0..limbs.bits().div_ceil(c))
                    .rev()
                    .fold(Fr::from(0), |acc, w| acc * base + Fr::from(limbs.digit(w, c)));
                assert_eq!(sum, x);
            }
        }
    }
}
