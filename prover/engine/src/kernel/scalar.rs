//! The portable twin of all tiles.

use super::{LANES, Sums};

/// Sums of a panel with `cols` rows of `x`; the caller has checked the lengths.
pub(super) fn tile<W: Copy + Into<i32>>(panel: &[W], x: &[i16], stride: usize, cols: usize, out: &mut Sums) {
    for (c, sums) in out.iter_mut().enumerate().take(cols) {
        *sums = [0; LANES];
        for (pair, x) in panel.chunks_exact(2 * LANES).zip(x[c * stride..].chunks_exact(2)) {
            for (sum, w) in sums.iter_mut().zip(pair.chunks_exact(2)) {
                let (w0, w1): (i32, i32) = (w[0].into(), w[1].into());
                let first = w0.wrapping_mul(i32::from(x[0]));
                *sum = sum.wrapping_add(first).wrapping_add(w1.wrapping_mul(i32::from(x[1])));
            }
        }
    }
}
