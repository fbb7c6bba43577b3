//! Scalar twins of the integer rules: the one place that says what each operation means.
//!
//! `SEMANTICS.md` states the rules in mathematics; engines, auditor and circuits must agree with these functions bit
//! for bit. Nothing here saturates: the bounds that import proves make every result fit its width.

/// Largest magnitude of a normalised activation.
pub const NORM_MAX: i64 = 32767;
/// `C` of the RMSNorm rule: `NORM_MAX * 2^16`.
pub const NORM_C: u64 = (NORM_MAX as u64) << 16;
/// Fractional bits of the scores, logits and of the SiLU table.
pub const LOGIT_BITS: u32 = 12;
/// Fractional bits of the RoPE tables.
pub const ROPE_BITS: u32 = 14;
/// Largest row exponent.
pub const MAX_ROW_EXPONENT: u32 = 15;
/// Entries in the exponential and in the selection-weight table (`d < 2^16`).
pub const TABLE_LEN: usize = 1 << 16;

/// Rounding shift by 16: `(a + 2^15) >> 16`.
#[inline]
#[must_use]
pub const fn r16(a: i64) -> i64 {
    (a + (1 << 15)) >> 16
}

/// Rounding shift by 32: `(a + 2^31) >> 32`.
#[inline]
#[must_use]
pub const fn r32(a: i64) -> i64 {
    (a + (1 << 31)) >> 32
}

/// The largest `inv` with `inv^2 * (sum_squares + eps) <= NORM_C^2`.
///
/// `eps >= 1`, in units of the sum of squares. The result is below `2^31`.
#[must_use]
pub const fn norm_inverse(sum_squares: u128, eps: u64) -> u64 {
    let c2 = (NORM_C as u128) * (NORM_C as u128);
    let q = c2 / (sum_squares + eps as u128);
    (q as u64).isqrt()
}

/// One normalised entry, `r16(h * inv)`; by the choice of `inv` its magnitude is at most [`NORM_MAX`].
#[inline]
#[must_use]
pub const fn norm_apply(h: i64, inv: u64) -> i64 {
    r16(h * inv as i64)
}

/// Rotates one channel pair of raw accumulators; returns 16-bit values in the same order.
#[inline]
#[must_use]
pub const fn rope_pair(a: i64, b: i64, cos: i16, sin: i16) -> (i64, i64) {
    let (c, s) = (cos as i64, sin as i64);
    (r32(a * c - b * s), r32(a * s + b * c))
}

/// Score of a query against a key: `r16(M_s * dot)`, step `2^-12`.
#[inline]
#[must_use]
pub const fn score(multiplier: i64, dot: i64) -> i64 {
    r16(multiplier * dot)
}

/// Unnormalised softmax weight of an entry at distance `d >= 0` below the row maximum.
#[inline]
#[must_use]
pub fn softmax_weight(exp_table: &[u16], d: i64) -> u64 {
    usize::try_from(d).ok().and_then(|i| exp_table.get(i)).map_or(0, |&e| u64::from(e))
}

/// `floor(2^32 / Z)` of a softmax row; `Z >= 65535` because the maximum is attained.
#[inline]
#[must_use]
pub const fn softmax_inverse(z: u64) -> u64 {
    (1 << 32) / z
}

/// Attention output of one channel from `sum e_j v_j`.
#[inline]
#[must_use]
pub const fn softmax_apply(sum: i64, inv: u64) -> i64 {
    r32(sum * inv as i64)
}

/// Entry of the feed-forward row at exponent `x` from the product `P = SILU * up`, `|P| < 2^47`.
#[inline]
#[must_use]
pub const fn gated(p: i64, x: u32) -> i64 {
    r32(p << (MAX_ROW_EXPONENT - x))
}

/// The least exponent at which a row whose products lie in `[min, max]` fits 16 bits.
///
/// Returns `None` where it does not fit even at [`MAX_ROW_EXPONENT`], which import's bounds exclude.
#[must_use]
pub fn row_exponent(min: i64, max: i64) -> Option<u32> {
    (0..=MAX_ROW_EXPONENT).find(|&x| {
        let fits = |p: i64| {
            let v = ((i128::from(p) << (MAX_ROW_EXPONENT - x)) + (1 << 31)) >> 32;
            (-32768..=32767).contains(&v)
        };
        fits(min) && fits(max)
    })
}

/// Logit at temperature multiplier `tau` from the raw accumulator of the head, step `2^-12`.
#[inline]
#[must_use]
pub const fn logit(tau: u32, raw: i64) -> i64 {
    r32(tau as i64 * raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_adds_half_and_floors() {
        assert_eq!(r16(-(1 << 15)), 0, "minus one half rounds up");
        assert_eq!(r16(1 << 15), 1);
        assert_eq!(r16(-(1 << 15) - 1), -1);
        assert_eq!(r32(-(1 << 31)), 0);
        assert_eq!(r32((1 << 31) - 1), 0);
    }

    #[test]
    fn norm_inverse_is_pinned_by_its_inequalities() {
        for s in [0u128, 1, 5, 376, 1 << 20, 0xffff_ffff_ffff, 1 << 90] {
            for eps in [1u64, 377, 1 << 40] {
                let inv = u128::from(norm_inverse(s, eps));
                let c2 = u128::from(NORM_C) * u128::from(NORM_C);
                assert!(inv * inv * (s + u128::from(eps)) <= c2);
                assert!((inv + 1) * (inv + 1) > c2 / (s + u128::from(eps)));
            }
        }
    }

    #[test]
    fn a_lone_coordinate_stays_within_the_norm_bound() {
        for h in [1i64, 7, 300, 1 << 20, (1 << 40) - 1] {
            let inv = norm_inverse((h as u128) * (h as u128), 1);
            assert!(norm_apply(h, inv) <= NORM_MAX && norm_apply(-h, inv) >= -NORM_MAX);
        }
    }

    #[test]
    fn row_exponent_is_the_least_that_fits() {
        for max in [0i64, 1 << 30, (1 << 32) - 1, 1 << 33, 1 << 40, (1 << 47) - (1 << 31) - 1] {
            let x = row_exponent(-max, max).unwrap();
            assert!(gated(max, x) <= 32767 && gated(-max, x) >= -32768);
            assert!(x == 0 || ((i128::from(max) << (16 - x)) + (1 << 31)) >> 32 > 32767);
        }
        assert_eq!(row_exponent(0, 1 << 47), None);
    }
}
