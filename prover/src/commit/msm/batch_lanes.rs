//! Batched affine additions, eight at once: the twin of the scalar passes in `batch_add.rs`, for additions without a
//! doubling, an opposite or the identity among them.

use core::arch::x86_64::*;

use halo2curves::ff::Field;

use super::batch_add::Operands;
use crate::commit::field::{Base, Point, base_from_limbs, base_limbs};
use crate::kernels::lanes::{Lanes, Prime, load_two, load_words, to_rows};

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
        // SAFETY: the places are those of points, whose first 32 bytes are the first coordinate.
        let (p, q) = unsafe { (load_words(|i| at(i).0.cast()), load_words(|i| at(i).1.cast())) };
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
        // SAFETY: the places are those of points, which are two elements.
        let ((px, py), (qx, qy)) = unsafe { (load_two(|i| at(i).0.cast()), load_two(|i| at(i).1.cast())) };
        let inv = inverse.times(scratch.prefixes[g]);
        inverse = inverse.times(scratch.denominators[g]);
        let slope = qy.minus(py).times(inv);
        let x = slope.times(slope).minus_two(px, qx).canonical();
        let y = slope.times(px.minus(x)).minus(py).canonical();
        for (i, point) in to_rows(x, y).into_iter().enumerate().take(n - 8 * g) {
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
