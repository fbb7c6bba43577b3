//! Batched affine additions, eight at once: the twin of the scalar passes in `batch_add.rs`, for additions without a
//! doubling, an opposite or the identity among them.

use core::arch::x86_64::*;

use halo2curves::ff::Field;

use super::batch_add::Operands;
use crate::commit::field::{Base, Point, base_from_limbs, base_limbs};
use crate::kernels::lanes::{Lanes, Prime, transpose};

/// The curve's base field.
#[derive(Clone, Copy)]
struct BaseField;

impl Prime for BaseField {
    const LIMBS: [u64; 4] = <ark_bn254::Fq as ark_ff::PrimeField>::MODULUS.0;
}

type Eight = Lanes<BaseField>;

/// A point is its eight limbs and nothing else, so a pointer to it is one to them.
const _: () = assert!(size_of::<Point>() == 64 && size_of::<Base>() == 32);

/// Working memory.
#[derive(Default)]
pub(super) struct LaneScratch {
    denominators: Vec<Eight>,
    prefixes: Vec<Eight>,
}

/// Eight groups ahead of the current one are fetched.
const AHEAD: usize = 16;

/// Adds all pairs, or, where one of them is no plain addition, does nothing and returns false.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn run<O: Operands>(o: &mut O, n: usize, scratch: &mut LaneScratch) -> bool {
    let Some(last) = n.checked_sub(1) else { return true };
    let groups = n.div_ceil(8);
    scratch.denominators.clear();
    scratch.prefixes.clear();
    let one = Eight::splat(base_limbs(&Base::one()));
    let zero = _mm512_setzero_si512();
    let mut product = one;
    let mut special = 0u8;
    for g in 0..groups {
        for i in 0..8 {
            o.announce(8 * g + AHEAD + i);
        }
        // Lanes beyond the end repeat the last pair and are not stored.
        let at = |i: usize| o.places((8 * g + i).min(last));
        let (p, q) = (load_x(|i| at(i).0), load_x(|i| at(i).1));
        let mut same = 0xffu8;
        for i in 0..4 {
            same &= _mm512_cmpeq_epi64_mask(p[i], q[i]);
        }
        let none = |x: &[__m512i; 4]| {
            let any = _mm512_or_si512(_mm512_or_si512(x[0], x[1]), _mm512_or_si512(x[2], x[3]));
            _mm512_cmpeq_epi64_mask(any, zero)
        };
        special |= same | none(&p) | none(&q);
        let d = Eight::from_words(q).minus(Eight::from_words(p));
        scratch.denominators.push(d);
        scratch.prefixes.push(product);
        product = product.times(d);
    }
    if special != 0 {
        return false;
    }
    let mut inverse = invert(product);
    for g in (0..groups).rev() {
        let at = |i: usize| o.places((8 * g + i).min(last));
        let (px, py) = load(|i| at(i).0);
        let (qx, qy) = load(|i| at(i).1);
        let inv = inverse.times(scratch.prefixes[g]);
        inverse = inverse.times(scratch.denominators[g]);
        let slope = qy.minus(py).times(inv);
        let x = slope.times(slope).minus_two(px, qx).canonical();
        let y = slope.times(px.minus(x)).minus(py).canonical();
        let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (x.to_words(), y.to_words());
        let points = transpose([x0, x1, x2, x3, y0, y1, y2, y3]);
        for (i, point) in points.into_iter().enumerate().take(n - 8 * g) {
            // SAFETY: `target` is a place of one point, 64 bytes that nobody else refers to.
            unsafe { _mm512_storeu_si512(o.target(8 * g + i).cast(), point) };
        }
    }
    true
}

/// The inverses of eight elements that are not zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn invert(product: Eight) -> Eight {
    let mut words = [[0u64; 8]; 4];
    for (words, limb) in words.iter_mut().zip(product.canonical().to_words()) {
        // SAFETY: the target holds 64 bytes; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), limb) };
    }
    let each: [Base; 8] = std::array::from_fn(|k| base_from_limbs(std::array::from_fn(|i| words[i][k])));
    let mut prefixes = [Base::one(); 8];
    for k in 1..8 {
        prefixes[k] = prefixes[k - 1] * each[k - 1];
    }
    let mut inverse = Option::<Base>::from((prefixes[7] * each[7]).invert()).unwrap_or(Base::one());
    for k in (0..8).rev() {
        let own = base_limbs(&(inverse * prefixes[k]));
        inverse *= each[k];
        for i in 0..4 {
            words[i][k] = own[i];
        }
    }
    // SAFETY: each row holds 64 bytes; the load asks for no alignment.
    Eight::from_words(words.map(|w| unsafe { _mm512_loadu_si512(w.as_ptr().cast()) }))
}

/// Coordinates of eight points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(at: impl Fn(usize) -> *const Point) -> (Eight, Eight) {
    // SAFETY: `at` gives places of points, 64 bytes each.
    let rows = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(at(i).cast()) });
    let [x0, x1, x2, x3, y0, y1, y2, y3] = transpose(rows);
    (Eight::from_words([x0, x1, x2, x3]), Eight::from_words([y0, y1, y2, y3]))
}

/// The limbs of the first coordinates of eight points.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_x(at: impl Fn(usize) -> *const Point) -> [__m512i; 4] {
    let two = |i: usize, j: usize| {
        // SAFETY: `at` gives places of points, whose first 32 bytes are the first coordinate.
        let (low, high) = unsafe { (_mm256_loadu_si256(at(i).cast()), _mm256_loadu_si256(at(j).cast())) };
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
    };
    let z = [two(0, 2), two(1, 3), two(4, 6), two(5, 7)];
    let (l, h) = (_mm512_unpacklo_epi64(z[0], z[1]), _mm512_unpackhi_epi64(z[0], z[1]));
    let (m, k) = (_mm512_unpacklo_epi64(z[2], z[3]), _mm512_unpackhi_epi64(z[2], z[3]));
    [
        _mm512_shuffle_i64x2::<0x88>(l, m),
        _mm512_shuffle_i64x2::<0x88>(h, k),
        _mm512_shuffle_i64x2::<0xdd>(l, m),
        _mm512_shuffle_i64x2::<0xdd>(h, k),
    ]
}
