//! Tiles for AVX2: two accumulators of eight channels for each activation row.

use std::arch::x86_64::{
    __m128i, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi32, _mm256_cvtepi8_epi16,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::{AHEAD, LANES, Sums};

/// Chooses the instance for the number of activation rows, with one way to load for few of them and one for more.
macro_rules! by_cols {
    ($cols:expr, $few:expr, $more:expr, $($arg:expr),*) => {
        match $cols {
            1 => tile::<1>($few, $($arg),*),
            2 => tile::<2>($few, $($arg),*),
            3 => tile::<3>($more, $($arg),*),
            4 => tile::<4>($more, $($arg),*),
            5 => tile::<5>($more, $($arg),*),
            _ => tile::<6>($more, $($arg),*),
        }
    };
}
pub(super) use by_cols;

/// # Safety
/// AVX2; `panel` has `pairs * 2 * LANES` values, `x` `2 * pairs` at each of `cols <= TILE` strides.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn tile_i8(
    panel: *const i8,
    x: *const i16,
    stride: usize,
    cols: usize,
    pairs: usize,
    out: &mut Sums,
) {
    // SAFETY: a panel's 32 bytes a pair are read in two halves of 16.
    let load = |p: usize| unsafe {
        let w = panel.add(p * 2 * LANES);
        (
            _mm256_cvtepi8_epi16(_mm_loadu_si128(w.cast::<__m128i>())),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(w.add(LANES).cast::<__m128i>())),
        )
    };
    let load_ahead = |p: usize| {
        if p.is_multiple_of(2) {
            // Fetching never faults, so the address may lie beyond the panel: there the next one begins.
            _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(p * 2 * LANES + AHEAD));
        }
        load(p)
    };
    // SAFETY: the caller's promise is passed on.
    unsafe { by_cols!(cols, load_ahead, load, x, stride, pairs, out) }
}

/// # Safety
/// As [`tile_i8`], for 16-bit panels.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn tile_i16(
    panel: *const i16,
    x: *const i16,
    stride: usize,
    cols: usize,
    pairs: usize,
    out: &mut Sums,
) {
    // SAFETY: a panel's 32 values a pair are read in two halves of 16.
    let load = |p: usize| unsafe {
        let w = panel.add(p * 2 * LANES);
        // Keys and values are read once a token too.
        _mm_prefetch::<_MM_HINT_T0>(w.cast::<i8>().wrapping_add(AHEAD));
        (_mm256_loadu_si256(w.cast::<__m256i>()), _mm256_loadu_si256(w.add(LANES).cast::<__m256i>()))
    };
    // SAFETY: the caller's promise is passed on.
    unsafe { by_cols!(cols, load, load, x, stride, pairs, out) }
}

/// # Safety
/// AVX2; `x` has `2 * pairs` values at each of `C` strides; `load` is defined below `pairs`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const C: usize>(
    load: impl Fn(usize) -> (__m256i, __m256i),
    x: *const i16,
    stride: usize,
    pairs: usize,
    out: &mut Sums,
) {
    let mut low = [_mm256_setzero_si256(); C];
    let mut high = [_mm256_setzero_si256(); C];
    for p in 0..pairs {
        let (w0, w1) = load(p);
        for c in 0..C {
            // SAFETY: `c < C` and `p < pairs`.
            let pair = unsafe { x.add(c * stride + 2 * p).cast::<i32>().read_unaligned() };
            let v = _mm256_set1_epi32(pair);
            low[c] = _mm256_add_epi32(low[c], _mm256_madd_epi16(w0, v));
            high[c] = _mm256_add_epi32(high[c], _mm256_madd_epi16(w1, v));
        }
    }
    for c in 0..C {
        // SAFETY: a row of `Sums` holds two vectors.
        unsafe {
            let row = out[c].as_mut_ptr();
            _mm256_storeu_si256(row.cast::<__m256i>(), low[c]);
            _mm256_storeu_si256(row.add(8).cast::<__m256i>(), high[c]);
        }
    }
}
