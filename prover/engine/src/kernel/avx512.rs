//! Tiles for AVX-512: one accumulator of sixteen channels for each activation row.

use std::arch::x86_64::{
    __m256i, __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm512_add_epi32, _mm512_cvtepi8_epi16,
    _mm512_dpwssd_epi32, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::avx2::by_cols;
use super::{AHEAD, LANES, Sums};

/// The tiles of one instruction set, given how it multiplies and adds.
macro_rules! tiles {
    ($features:literal, $multiply_add:expr) => {
        /// # Safety
        /// The instruction set; `panel` has `pairs * 2 * LANES` values, `x` `2 * pairs` at each of `cols <= TILE`
        /// strides.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn tile_i8(
            panel: *const i8,
            x: *const i16,
            stride: usize,
            cols: usize,
            pairs: usize,
            out: &mut Sums,
        ) {
            // SAFETY: a panel has 32 bytes a pair.
            let load = |p: usize| unsafe {
                _mm512_cvtepi8_epi16(_mm256_loadu_si256(panel.add(p * 2 * LANES).cast::<__m256i>()))
            };
            let load_ahead = |p: usize| {
                if p.is_multiple_of(2) {
                    // As for AVX2: fetching never faults.
                    _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(p * 2 * LANES + AHEAD));
                }
                load(p)
            };
            // SAFETY: the caller's promise is passed on.
            unsafe { by_cols!(cols, load_ahead, load, x, stride, pairs, out) }
        }

        /// # Safety
        /// As [`tile_i8`], for 16-bit panels.
        #[target_feature(enable = $features)]
        pub(crate) unsafe fn tile_i16(
            panel: *const i16,
            x: *const i16,
            stride: usize,
            cols: usize,
            pairs: usize,
            out: &mut Sums,
        ) {
            // SAFETY: a panel has 32 values a pair.
            let load = |p: usize| unsafe {
                let w = panel.add(p * 2 * LANES);
                _mm_prefetch::<_MM_HINT_T0>(w.cast::<i8>().wrapping_add(AHEAD));
                _mm512_loadu_si512(w.cast::<__m512i>())
            };
            // SAFETY: the caller's promise is passed on.
            unsafe { by_cols!(cols, load, load, x, stride, pairs, out) }
        }

        /// # Safety
        /// The instruction set; `x` has `2 * pairs` values at each of `C` strides; `load` is defined below `pairs`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn tile<const C: usize>(
            load: impl Fn(usize) -> __m512i,
            x: *const i16,
            stride: usize,
            pairs: usize,
            out: &mut Sums,
        ) {
            let mut sums = [_mm512_setzero_si512(); C];
            for p in 0..pairs {
                let w = load(p);
                for c in 0..C {
                    // SAFETY: `c < C` and `p < pairs`.
                    let pair = unsafe { x.add(c * stride + 2 * p).cast::<i32>().read_unaligned() };
                    sums[c] = $multiply_add(sums[c], w, _mm512_set1_epi32(pair));
                }
            }
            for c in 0..C {
                // SAFETY: a row of `Sums` holds one vector.
                unsafe { _mm512_storeu_si512(out[c].as_mut_ptr().cast::<__m512i>(), sums[c]) };
            }
        }
    };
}

tiles!("avx512f,avx512bw", |sum, w, v| _mm512_add_epi32(sum, _mm512_madd_epi16(w, v)));

/// With the fused multiply-add of 16-bit pairs (the form that wraps, not the one that saturates).
pub(super) mod vnni {
    use super::{
        __m256i, __m512i, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm512_cvtepi8_epi16,
        _mm512_dpwssd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512, AHEAD, LANES, Sums, by_cols,
    };

    tiles!("avx512f,avx512bw,avx512vnni", |sum, w, v| _mm512_dpwssd_epi32(sum, w, v));
}
