//! The element-wise rules on rows, written so that the compiler vectorises them.
//!
//! Each function is compiled twice from one body: portably and for AVX2 ([`twins!`]). Integer code has one meaning, so
//! the twins can't differ. Bodies avoid what AVX2 lacks: a 64-bit product is formed from values known to fit 32 bits, and
//! an arithmetic 64-bit shift is a logical one where only the low bits are kept.

use monai_model::semantics as s;

/// Defines a function `name(isa, args…)` whose body is compiled portably and for AVX2, chosen at run time.
macro_rules! twins {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name(isa: $crate::kernel::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if isa.avx2() {
                    // SAFETY: an `Isa` with AVX2 exists only where the processor has it.
                    return unsafe { avx2($($arg),*) };
                }
            }
            let _ = isa;
            body($($arg),*)
        }
    };
}
pub(crate) use twins;

use crate::kernel::LANES;

/// Residuals of at most this magnitude (`-2^25` is one) take the vectorised path of the norm; with fewer than
/// [`NORM_FAST_LEN`] of them the sum of squares is below `2^64`. In SmolLM2 they stay below `2^23`.
const NORM_FAST: i64 = 1 << 25;
/// See [`NORM_FAST`].
const NORM_FAST_LEN: usize = 1 << 14;

twins! {
    /// RMSNorm of a row (rule 3) without gain; returns `inv`.
    pub(crate) fn normalise(h: &[i64], eps: u64, y: &mut [i16]) -> u64 {
        let bits = h.iter().fold(0, |bits, &v| bits | (v ^ (v >> 63)));
        if bits < NORM_FAST && h.len() < NORM_FAST_LEN {
            let sum = h.iter().map(|&v| (i64::from(v as i32) * i64::from(v as i32)) as u64).sum::<u64>();
            let inv = s::norm_inverse(u128::from(sum), eps);
            // `inv < 2^31`, so both factors are 32-bit.
            for (y, &v) in y.iter_mut().zip(h) {
                *y = ((i64::from(v as i32) * i64::from(inv as i32) + (1 << 15)) as u64 >> 16) as i16;
            }
            return inv;
        }
        let sum = h.iter().map(|&v| u128::from(v.unsigned_abs()) * u128::from(v.unsigned_abs())).sum();
        let inv = s::norm_inverse(sum, eps);
        for (y, &v) in y.iter_mut().zip(h) {
            *y = s::norm_apply(v, inv) as i16;
        }
        inv
    }
}

twins! {
    /// `z = r16(y * gain)` of the last norm, in place. `|y| <= 32767` and `|gain| <= 2^16`: the product fits 32 bits.
    pub(crate) fn final_gain(y: &mut [i16], gain: &[i32]) {
        for (y, &g) in y.iter_mut().zip(gain) {
            *y = ((i32::from(*y) * g + (1 << 15)) >> 16) as i16;
        }
    }
}

twins! {
    /// `h += r16(raw)`.
    pub(crate) fn add_r16(h: &mut [i64], raw: &[i64]) {
        for (h, &a) in h.iter_mut().zip(raw) {
            *h += s::r16(a);
        }
    }
}

twins! {
    /// `h += r32(raw * 2^exponent)`.
    pub(crate) fn add_r32(h: &mut [i64], raw: &[i64], exponent: u32) {
        for (h, &a) in h.iter_mut().zip(raw) {
            *h += s::r32(a << exponent);
        }
    }
}

twins! {
    /// `r16(raw)` of values that fit 16 bits.
    pub(crate) fn to_16(raw: &[i64], out: &mut [i16]) {
        for (o, &a) in out.iter_mut().zip(raw) {
            *o = ((a + (1 << 15)) as u64 >> 16) as i16;
        }
    }
}

twins! {
    /// `P = SILU[r16(gate) + 2^15] * up` of one panel (rule 6). `silu` has 2^16 entries.
    pub(crate) fn gate_products(gate: &[i64; LANES], up: &[i64; LANES], silu: &[i32; s::TABLE_LEN], p: &mut [i64]) {
        for ((p, &gate), &up) in p.iter_mut().zip(gate).zip(up) {
            let g = ((gate + (1 << 15)) as u64 >> 16) as u16;
            *p = i64::from(silu[usize::from(g ^ 0x8000)]) * up;
        }
    }
}

twins! {
    /// Least and largest entry of a row.
    fn extremes(p: &[i64]) -> (i64, i64) {
        p.iter().fold((i64::MAX, i64::MIN), |(min, max), &v| (min.min(v), max.max(v)))
    }
}

twins! {
    /// `t = r32(P * 2^shift)` of values that then fit 16 bits.
    fn shifted(p: &[i64], shift: u32, t: &mut [i16]) {
        for (t, &p) in t.iter_mut().zip(p) {
            *t = (((p << shift) + (1 << 31)) as u64 >> 32) as i16;
        }
    }
}

/// The row `t` of rule 6 and its exponent.
pub(crate) fn gated_row(isa: crate::kernel::Isa, p: &[i64], t: &mut [i16]) -> u32 {
    let (min, max) = extremes(isa, p);
    let Some(x) = s::row_exponent(min, max) else {
        unreachable!("import proves that every row fits the largest exponent");
    };
    shifted(isa, p, s::MAX_ROW_EXPONENT - x, t);
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Isa, Kernel};
    use monai_model::reference;
    use proptest::prelude::*;

    fn isas() -> impl Iterator<Item = Isa> {
        Kernel::available().map(|k| Isa::check(k).unwrap())
    }

    #[test]
    fn the_sum_of_squares_of_the_norm_does_not_wrap() {
        let h = vec![-NORM_FAST; NORM_FAST_LEN];
        for isa in isas() {
            let mut y = vec![0; h.len()];
            normalise(isa, &h, 1, &mut y);
            assert!(y.iter().map(|&v| i64::from(v)).eq(reference::normalise(&h, 1)));
        }
    }

    proptest! {
        /// Small rows take the vectorised path, large ones the wide one; both are the rule.
        #[test]
        fn norm_is_the_rule(
            len in 1usize..200, magnitude in 0u32..40, eps in 1u64..1 << 40, seed in any::<u64>()
        ) {
            let h = crate::testing::integers(seed, len, 1 << magnitude);
            for isa in isas() {
                let mut y = vec![0; len];
                normalise(isa, &h, eps, &mut y);
                let expected = reference::normalise(&h, eps);
                prop_assert!(y.iter().map(|&v| i64::from(v)).eq(expected));
            }
        }

        #[test]
        fn gated_row_is_the_rule(len in 1usize..200, magnitude in 0u32..47, seed in any::<u64>()) {
            let p = crate::testing::integers(seed, len, (1i64 << magnitude) - (1i64 << magnitude >> 15));
            let (min, max) = (*p.iter().min().unwrap(), *p.iter().max().unwrap());
            let x = s::row_exponent(min, max).unwrap();
            for isa in isas() {
                let mut t = vec![0; len];
                prop_assert_eq!(gated_row(isa, &p, &mut t), x);
                prop_assert!(t.iter().map(|&v| i64::from(v)).eq(p.iter().map(|&p| s::gated(p, x))));
            }
        }

        #[test]
        fn additions_are_the_rule(len in 1usize..100, x in 0u32..16, seed in any::<u64>()) {
            let h = crate::testing::integers(seed, len, 1 << 40);
            let raw = crate::testing::integers(seed ^ 1, len, 1 << 46);
            for isa in isas() {
                let (mut a, mut b) = (h.clone(), h.clone());
                add_r16(isa, &mut a, &raw);
                add_r32(isa, &mut b, &raw, x);
                for i in 0..len {
                    prop_assert_eq!(a[i], h[i] + s::r16(raw[i]));
                    prop_assert_eq!(b[i], h[i] + s::r32(raw[i] << x));
                }
            }
        }
    }

    #[test]
    fn final_gain_is_the_rule_at_its_extremes() {
        let y: Vec<i16> = vec![32767, -32767, 0, 1, -1, 32767, -32767, 12345];
        let gain = vec![65536, 65536, 5, 32768, 32768, -65536, -65536, -777];
        for isa in isas() {
            let mut z = y.clone();
            final_gain(isa, &mut z, &gain);
            for i in 0..y.len() {
                assert_eq!(i64::from(z[i]), s::r16(i64::from(y[i]) * i64::from(gain[i])));
            }
        }
    }
}
