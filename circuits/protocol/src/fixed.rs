//! Fixed point: unsigned Q32 (one = 2^32) in `u64`, every rounding towards zero.
//!
//! One rule of rounding, everywhere, so Rust, circuits and Solidity agree; intermediate products are
//! `u128`. Where parts must sum to a whole, the last part is the whole less the others.

use alloy_primitives::U256;

/// One in Q32.
pub const ONE: u64 = 1 << 32;
/// One in the contracts' fixed point.
pub const WAD: u64 = 1_000_000_000_000_000_000;

/// ⌊a·b⌋ of two Q32 numbers (or of a number and a Q32 fraction ≤ one).
#[must_use]
pub fn mul(a: u64, b: u64) -> u64 {
    saturate((u128::from(a) * u128::from(b)) >> 32)
}

/// ⌊a/b⌋ in Q32 of two plain numbers; 0 if `b` is 0, which callers exclude.
#[must_use]
pub fn ratio(a: u64, b: u64) -> u64 {
    if b == 0 {
        return 0;
    }
    saturate((u128::from(a) << 32) / u128::from(b))
}

/// ⌊a·b/c⌋ without overflow in between; 0 if `c` is 0, which callers exclude.
#[must_use]
pub fn mul_div(a: u128, b: u128, c: u128) -> u128 {
    if c == 0 {
        return 0;
    }
    let q = U256::from(a) * U256::from(b) / U256::from(c);
    u128::try_from(q).unwrap_or(u128::MAX)
}

/// ⌈a·b/c⌉ without overflow in between; 0 if `c` is 0, which callers exclude.
#[must_use]
pub fn mul_div_up(a: u128, b: u128, c: u128) -> u128 {
    if c == 0 {
        return 0;
    }
    let q = (U256::from(a) * U256::from(b)).div_ceil(U256::from(c));
    u128::try_from(q).unwrap_or(u128::MAX)
}

/// The greatest number of 10^-18 parts, at most one, that rounds down to a Q32 number. So what is not below a bound in
/// Q32 is not below it in the contracts' fixed point, and the other way round, however the bound was rounded.
#[must_use]
pub fn wad(q: u64) -> u64 {
    let above = (u128::from(q) + 1) * u128::from(WAD);
    u64::try_from(above.div_ceil(u128::from(ONE)) - 1).unwrap_or(WAD).min(WAD)
}

/// ⌊amount · fraction⌋ for a Q32 fraction.
#[must_use]
pub fn fraction_of(amount: u128, fraction: u64) -> u128 {
    mul_div(amount, u128::from(fraction), u128::from(ONE))
}

fn saturate(x: u128) -> u64 {
    u64::try_from(x).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_met_alike_in_both_fixed_points() {
        let q32 = |w: u64| (u128::from(w) * u128::from(ONE) / u128::from(WAD)) as u64;
        assert_eq!(wad(ONE), WAD);
        for bound in [WAD / 2, WAD / 10 * 8, WAD / 3, 1, WAD] {
            let q = q32(bound);
            assert!(wad(q) >= bound && q32(wad(q)) == q, "{bound}");
            assert!(q == 0 || wad(q - 1) < bound, "{bound}");
        }
    }

    #[test]
    fn rounds_towards_zero() {
        assert_eq!(mul(ONE / 2, 3), 1);
        assert_eq!(ratio(1, 3), 0x5555_5555);
        assert_eq!(ratio(3, 3), ONE);
        assert_eq!(mul_div(u128::MAX, u128::MAX, u128::MAX), u128::MAX);
        assert_eq!(mul_div_up(10, 1, 3), 4);
        assert_eq!(mul_div_up(9, 1, 3), 3);
        assert_eq!(fraction_of(1000, ONE / 40), 24); // 1/40 in Q32 is just below 0.025
    }
}
