//! Folds of small integers, eight sums at once: the twins of the scalar loops in `fold.rs`.

use core::arch::x86_64::*;

use monai_protocol::Fr;

use super::lanes::{Lanes, Products, Scalars, split, store};
use super::values::Values;

/// Eight sums of small integers, below `2^52`, times elements: limbs of 52 bits that have not been carried.
#[derive(Clone, Copy)]
struct Sums([__m512i; 6]);

/// Terms after which limbs are carried: each adds less than `2^53` to a limb.
const TERMS: usize = 1 << 10;

impl Sums {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn zero() -> Self {
        Self([_mm512_setzero_si512(); 6])
    }

    /// Adds `v x`, the same `x` in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn add(&mut self, v: __m512i, x: &[__m512i; 5]) {
        for j in 0..5 {
            self.0[j] = _mm512_madd52lo_epu64(self.0[j], v, x[j]);
            self.0[j + 1] = _mm512_madd52hi_epu64(self.0[j + 1], v, x[j]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn carry(&mut self) {
        let mask = _mm512_set1_epi64((1 << 52) - 1);
        for j in 0..5 {
            self.0[j + 1] = _mm512_add_epi64(self.0[j + 1], _mm512_srli_epi64::<52>(self.0[j]));
            self.0[j] = _mm512_and_si512(self.0[j], mask);
        }
    }

    /// The sums, canonical. `square` is `R^2`, which undoes the division by `R` of both reductions.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn finish(mut self, square: Lanes<Scalars>) -> [Fr; 8] {
        self.carry();
        store(Products::from_low(self.0).reduce().times(square).canonical())
    }
}

/// `R^2` modulo the prime: the Montgomery form of `R`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square() -> Lanes<Scalars> {
    let half = Fr::from(1u128 << 64);
    let quarter = half * half;
    Lanes::splat((quarter * quarter).0.0)
}

/// Eight integers, none negative.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn vector(values: [i64; 8], bias: __m512i) -> __m512i {
    // SAFETY: the array holds 64 bytes; the load asks for no alignment.
    _mm512_add_epi64(unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }, bias)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn splat(x: &Fr) -> [__m512i; 5] {
    let [a, b, c, d, e] = split(x.0.0, 0);
    [
        _mm512_set1_epi64(a as i64),
        _mm512_set1_epi64(b as i64),
        _mm512_set1_epi64(c as i64),
        _mm512_set1_epi64(d as i64),
        _mm512_set1_epi64(e as i64),
    ]
}

/// `sum_i (unit[i] + bias) x[i]` for eight units of `x.len()` values, one after another.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn eight_units<V: Values>(values: V, x: &[Fr], bias: i64) -> [Fr; 8] {
    let bias = _mm512_set1_epi64(bias);
    let n = x.len();
    let mut sums = Sums::zero();
    for (first, x) in x.chunks(TERMS).enumerate() {
        for (i, x) in x.iter().enumerate() {
            let at = first * TERMS + i;
            let v = std::array::from_fn(|k| values.at(k * n + at));
            sums.add(vector(v, bias), &splat(x));
        }
        sums.carry();
    }
    sums.finish(square())
}

/// `sum_r (row(r)[i] + bias) x[r]` for every `i < width`, a multiple of 8.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn columns<V: Values>(row: impl Fn(usize) -> V, x: &[Fr], width: usize, bias: i64) -> Vec<Fr> {
    let bias = _mm512_set1_epi64(bias);
    let mut sums = vec![Sums::zero(); width / 8];
    for (first, x) in x.chunks(TERMS).enumerate() {
        for (r, x) in x.iter().enumerate() {
            let (row, x) = (row(first * TERMS + r), splat(x));
            for (i, sums) in sums.iter_mut().enumerate() {
                sums.add(vector(row.eight(8 * i), bias), &x);
            }
        }
        sums.iter_mut().for_each(|s| s.carry());
    }
    let square = square();
    sums.into_iter().flat_map(|s| s.finish(square)).collect()
}
