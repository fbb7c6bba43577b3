//! The public tables, computed with software arithmetic so that every machine makes the same integers.
//!
//! Only correctly rounded IEEE operations and the portable `libm` crate are used: no platform library, no fused
//! multiply-add.

use crate::semantics::{LOGIT_BITS, ROPE_BITS, TABLE_LEN};

/// `EXP[d] = round(65535 exp(-d / 2^12))`.
#[must_use]
pub fn exp_table() -> Vec<u16> {
    decay(65535.0).map(|v| v as u16).collect()
}

/// `WEIGHT[d] = round((2^31 - 1) exp(-d / 2^12))`.
#[must_use]
pub fn weight_table() -> Vec<u32> {
    decay(2_147_483_647.0).map(|v| v as u32).collect()
}

fn decay(top: f64) -> impl Iterator<Item = f64> {
    let step = f64::from(1u32 << LOGIT_BITS);
    (0..TABLE_LEN as u32).map(move |d| libm::floor(top * libm::exp(-(f64::from(d)) / step) + 0.5))
}

/// `SILU[g + 2^15] = round(2^12 silu(g * step))` for `g` in [-2^15, 2^15), where `step` is the real value of one unit.
#[must_use]
pub fn silu_table(step: f64) -> Vec<i32> {
    let scale = f64::from(1u32 << LOGIT_BITS);
    (-(1i32 << 15)..1 << 15)
        .map(|g| {
            let x = f64::from(g) * step;
            libm::floor(scale * x / (1.0 + libm::exp(-x)) + 0.5) as i32
        })
        .collect()
}

/// Cosine and sine tables `[positions, frequencies.len()]` with 14 fractional bits, for angles `position * frequency`.
#[must_use]
pub fn rope_tables(frequencies: &[f64], positions: usize) -> (Vec<i16>, Vec<i16>) {
    let one = f64::from(1u32 << ROPE_BITS);
    let mut cos = Vec::with_capacity(positions * frequencies.len());
    let mut sin = Vec::with_capacity(positions * frequencies.len());
    for p in 0..positions {
        for f in frequencies {
            let angle = p as f64 * f;
            cos.push(libm::floor(one * libm::cos(angle) + 0.5) as i16);
            sin.push(libm::floor(one * libm::sin(angle) + 0.5) as i16);
        }
    }
    (cos, sin)
}
