//! Tiles for 64-bit ARM: the pairs of a panel are split into even and odd inner indices while loading.

use std::arch::aarch64::{
    int16x4x2_t, int16x8_t, int32x4_t, vdupq_n_s32, vget_high_s16, vget_low_s16, vld2_s8, vld2_s16,
    vmlal_n_s16, vmovl_s8, vst1q_s32,
};

use super::{LANES, Sums};

macro_rules! by_cols {
    ($cols:expr, $f:ident($($arg:expr),*)) => {
        match $cols {
            1 => $f::<1>($($arg),*),
            2 => $f::<2>($($arg),*),
            3 => $f::<3>($($arg),*),
            4 => $f::<4>($($arg),*),
            5 => $f::<5>($($arg),*),
            _ => $f::<6>($($arg),*),
        }
    };
}

/// # Safety
/// NEON; `panel` has `pairs * 2 * LANES` values, `x` `2 * pairs` at each of `cols <= TILE` strides.
#[target_feature(enable = "neon")]
pub(super) unsafe fn tile_i8(
    panel: *const i8,
    x: *const i16,
    stride: usize,
    cols: usize,
    pairs: usize,
    out: &mut Sums,
) {
    // SAFETY: `half < 2`, so that 16 bytes at `half * 16` are inside the pair.
    let load = |p: usize, half: usize| unsafe {
        let w = vld2_s8(panel.add(p * 2 * LANES + half * LANES));
        (vmovl_s8(w.0), vmovl_s8(w.1))
    };
    // SAFETY: the caller's promise is passed on.
    unsafe { by_cols!(cols, tile(load, x, stride, pairs, out)) }
}

/// # Safety
/// As [`tile_i8`], for 16-bit panels.
#[target_feature(enable = "neon")]
pub(super) unsafe fn tile_i16(
    panel: *const i16,
    x: *const i16,
    stride: usize,
    cols: usize,
    pairs: usize,
    out: &mut Sums,
) {
    // SAFETY: `half < 2`, so that 16 values at `half * 16` are inside the pair.
    let load = |p: usize, half: usize| unsafe {
        let w = panel.add(p * 2 * LANES + half * LANES);
        let (a, b): (int16x4x2_t, int16x4x2_t) = (vld2_s16(w), vld2_s16(w.add(8)));
        (std::arch::aarch64::vcombine_s16(a.0, b.0), std::arch::aarch64::vcombine_s16(a.1, b.1))
    };
    // SAFETY: the caller's promise is passed on.
    unsafe { by_cols!(cols, tile(load, x, stride, pairs, out)) }
}

/// # Safety
/// NEON; `x` has `2 * pairs` values at each of `C` strides; `load` is defined for a pair below `pairs` and a half below 2.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const C: usize>(
    load: impl Fn(usize, usize) -> (int16x8_t, int16x8_t),
    x: *const i16,
    stride: usize,
    pairs: usize,
    out: &mut Sums,
) {
    let mut sums: [[int32x4_t; 4]; C] = [[vdupq_n_s32(0); 4]; C];
    for p in 0..pairs {
        for half in 0..2 {
            let (even, odd) = load(p, half);
            for c in 0..C {
                // SAFETY: `c < C` and `p < pairs`.
                let (x0, x1) = unsafe { (*x.add(c * stride + 2 * p), *x.add(c * stride + 2 * p + 1)) };
                let s = &mut sums[c];
                s[2 * half] = vmlal_n_s16(s[2 * half], vget_low_s16(even), x0);
                s[2 * half] = vmlal_n_s16(s[2 * half], vget_low_s16(odd), x1);
                s[2 * half + 1] = vmlal_n_s16(s[2 * half + 1], vget_high_s16(even), x0);
                s[2 * half + 1] = vmlal_n_s16(s[2 * half + 1], vget_high_s16(odd), x1);
            }
        }
    }
    for c in 0..C {
        for (i, s) in sums[c].iter().enumerate() {
            // SAFETY: a row of `Sums` holds four vectors of four.
            unsafe { vst1q_s32(out[c].as_mut_ptr().add(4 * i), *s) };
        }
    }
}
