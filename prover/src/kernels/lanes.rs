//! Eight elements of a prime field at once, by the processor's 52-bit multiply-add (AVX-512 IFMA).
//!
//! An element is kept as elsewhere in memory, four limbs of 64 bits in Montgomery form with `R = 2^256`; in registers it
//! is five limbs of 52 bits, one vector a limb, one element a lane. The last step of a reduction takes 48 bits, so that all
//! five take 256 and the form stays the same. Everything here has a twin: the scalar code that callers fall back to.

use core::arch::x86_64::*;
use std::marker::PhantomData;

use ark_ff::{BigInt, PrimeField};
use monai_protocol::Fr;

/// A prime below `2^254`.
pub(crate) trait Prime: Copy + Send + Sync {
    /// Its limbs.
    const LIMBS: [u64; 4];
}

/// The scalar field.
#[derive(Clone, Copy)]
pub(crate) struct Scalars;

impl Prime for Scalars {
    const LIMBS: [u64; 4] = Fr::MODULUS.0;
}

/// An element is its four limbs and nothing else, so a pointer to it is one to them.
const _: () = assert!(size_of::<Fr>() == 32);

/// Bits of a limb, and its mask.
const BITS: u32 = 52;
const MASK: u64 = (1 << BITS) - 1;
/// Bits that the last step of a reduction takes.
const LAST_MASK: u64 = (1 << 48) - 1;

/// Limbs of 52 bits of `LIMBS << shift`.
pub(super) const fn split(limbs: [u64; 4], shift: u32) -> [u64; 5] {
    let mut wide = [0u64; 5];
    let mut i = 0;
    while i < 4 {
        wide[i] |= limbs[i] << shift;
        if shift > 0 {
            wide[i + 1] |= limbs[i] >> (64 - shift);
        }
        i += 1;
    }
    [
        wide[0] & MASK,
        (wide[0] >> 52 | wide[1] << 12) & MASK,
        (wide[1] >> 40 | wide[2] << 24) & MASK,
        (wide[2] >> 28 | wide[3] << 36) & MASK,
        (wide[3] >> 16 | wide[4] << 48) & MASK,
    ]
}

/// `-1 / p` modulo `2^52`.
const fn negative_inverse(p: u64) -> u64 {
    let mut x = 1u64;
    let mut i = 0;
    while i < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(x)));
        i += 1;
    }
    x.wrapping_neg() & MASK
}

/// True where [`Lanes`] may be used.
pub(crate) fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512ifma")
}

/// Eight elements. What each function asks of its arguments, and gives, is a bound in multiples of the prime.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<P>([__m512i; 5], PhantomData<P>);

/// Eight unreduced sums of products, ten limbs each.
#[derive(Clone, Copy)]
pub(crate) struct Products<P>([__m512i; 10], PhantomData<P>);

impl<P: Prime> Lanes<P> {
    const P1: [u64; 5] = split(P::LIMBS, 0);
    const P2: [u64; 5] = split(P::LIMBS, 1);
    const INVERSE: u64 = negative_inverse(P::LIMBS[0]);

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn constant(limbs: [u64; 5]) -> [__m512i; 5] {
        [
            _mm512_set1_epi64(limbs[0] as i64),
            _mm512_set1_epi64(limbs[1] as i64),
            _mm512_set1_epi64(limbs[2] as i64),
            _mm512_set1_epi64(limbs[3] as i64),
            _mm512_set1_epi64(limbs[4] as i64),
        ]
    }

    /// The same element in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn splat(limbs: [u64; 4]) -> Self {
        Self(Self::constant(split(limbs, 0)), PhantomData)
    }

    /// From four vectors of 64-bit limbs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn from_words(l: [__m512i; 4]) -> Self {
        let mask = _mm512_set1_epi64(MASK as i64);
        let both = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
        Self(
            [
                _mm512_and_si512(l[0], mask),
                both(_mm512_srli_epi64::<52>(l[0]), _mm512_slli_epi64::<12>(l[1])),
                both(_mm512_srli_epi64::<40>(l[1]), _mm512_slli_epi64::<24>(l[2])),
                both(_mm512_srli_epi64::<28>(l[2]), _mm512_slli_epi64::<36>(l[3])),
                _mm512_srli_epi64::<16>(l[3]),
            ],
            PhantomData,
        )
    }

    /// To four vectors of 64-bit limbs; below `2^256`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn to_words(self) -> [__m512i; 4] {
        let r = self.0;
        [
            _mm512_or_si512(r[0], _mm512_slli_epi64::<52>(r[1])),
            _mm512_or_si512(_mm512_srli_epi64::<12>(r[1]), _mm512_slli_epi64::<40>(r[2])),
            _mm512_or_si512(_mm512_srli_epi64::<24>(r[2]), _mm512_slli_epi64::<28>(r[3])),
            _mm512_or_si512(_mm512_srli_epi64::<36>(r[3]), _mm512_slli_epi64::<16>(r[4])),
        ]
    }

    /// Limbs that may be negative or too long, as limbs of 52 bits. The whole is not negative.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn carried(mut r: [__m512i; 5]) -> Self {
        let mask = _mm512_set1_epi64(MASK as i64);
        for i in 0..4 {
            r[i + 1] = _mm512_add_epi64(r[i + 1], _mm512_srai_epi64::<52>(r[i]));
            r[i] = _mm512_and_si512(r[i], mask);
        }
        Self(r, PhantomData)
    }

    /// The sum, of the sum of both bounds.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut r = self.0;
        for i in 0..5 {
            r[i] = _mm512_add_epi64(r[i], other.0[i]);
        }
        Self::carried(r)
    }

    /// `self - other + 2 p`: `other` is at most 2; the result is 2 more than `self`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn minus(self, other: Self) -> Self {
        let p2 = Self::constant(Self::P2);
        let mut r = self.0;
        for i in 0..5 {
            r[i] = _mm512_sub_epi64(_mm512_add_epi64(r[i], p2[i]), other.0[i]);
        }
        Self::carried(r)
    }

    /// `self - a - b + 2 p`: `a` and `b` are at most 1; the result is 2 more than `self`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn minus_two(self, a: Self, b: Self) -> Self {
        let p2 = Self::constant(Self::P2);
        let mut r = self.0;
        for i in 0..5 {
            r[i] = _mm512_sub_epi64(_mm512_add_epi64(r[i], p2[i]), _mm512_add_epi64(a.0[i], b.0[i]));
        }
        Self::carried(r)
    }

    /// `self - multiple`, where that is not negative.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn less(self, multiple: [u64; 5]) -> Self {
        let multiple = Self::constant(multiple);
        let mut r = self.0;
        for (r, m) in r.iter_mut().zip(multiple) {
            *r = _mm512_sub_epi64(*r, m);
        }
        let r = Self::carried(r).0;
        let negative = _mm512_cmplt_epi64_mask(r[4], _mm512_setzero_si512());
        let mut out = r;
        for i in 0..5 {
            out[i] = _mm512_mask_mov_epi64(r[i], negative, self.0[i]);
        }
        Self(out, PhantomData)
    }

    /// The canonical form of what is below `4 p`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn canonical(self) -> Self {
        self.less(Self::P2).less(Self::P1)
    }

    /// The product: with bounds `a` and `b`, below `1 + 0.19 a b`. So 2 and 2 give 2, and 4 and 2 give 3.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn times(self, other: Self) -> Self {
        let mut t = Products::zero();
        t.add(self, other);
        t.reduce()
    }
}

impl<P: Prime> Products<P> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn zero() -> Self {
        Self([_mm512_setzero_si512(); 10], PhantomData)
    }

    /// Adds `a b`. After at most 300 products, [`Self::carry`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn add(&mut self, a: Lanes<P>, b: Lanes<P>) {
        let t = &mut self.0;
        for i in 0..5 {
            for j in 0..5 {
                t[i + j] = _mm512_madd52lo_epu64(t[i + j], a.0[j], b.0[i]);
                t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], a.0[j], b.0[i]);
            }
        }
    }

    /// Sums whose upper limbs are zero.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn from_low(limbs: [__m512i; 6]) -> Self {
        let mut t = Self::zero();
        t.0[..6].copy_from_slice(&limbs);
        t
    }

    /// Brings all limbs but the last to 52 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn carry(&mut self) {
        let mask = _mm512_set1_epi64(MASK as i64);
        for i in 0..9 {
            self.0[i + 1] = _mm512_add_epi64(self.0[i + 1], _mm512_srli_epi64::<52>(self.0[i]));
            self.0[i] = _mm512_and_si512(self.0[i], mask);
        }
    }

    /// `self / R`: below `1 + 0.19 s` for a sum of products of bounds whose sum is `s`, at most 60.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn reduce(mut self) -> Lanes<P> {
        let p = Lanes::<P>::constant(Lanes::<P>::P1);
        let inverse = _mm512_set1_epi64(Lanes::<P>::INVERSE as i64);
        let zero = _mm512_setzero_si512();
        let t = &mut self.0;
        for i in 0..4 {
            let m = _mm512_madd52lo_epu64(zero, t[i], inverse);
            for j in 0..5 {
                t[i + j] = _mm512_madd52lo_epu64(t[i + j], m, p[j]);
                t[i + j + 1] = _mm512_madd52hi_epu64(t[i + j + 1], m, p[j]);
            }
            t[i + 1] = _mm512_add_epi64(t[i + 1], _mm512_srli_epi64::<52>(t[i]));
        }
        let last = _mm512_set1_epi64(LAST_MASK as i64);
        let m = _mm512_and_si512(_mm512_madd52lo_epu64(zero, t[4], inverse), last);
        for j in 0..5 {
            t[4 + j] = _mm512_madd52lo_epu64(t[4 + j], m, p[j]);
            t[5 + j] = _mm512_madd52hi_epu64(t[5 + j], m, p[j]);
        }
        let mut r = [zero; 5];
        for i in 0..5 {
            let low = _mm512_slli_epi64::<4>(_mm512_and_si512(t[5 + i], last));
            r[i] = _mm512_add_epi64(_mm512_srli_epi64::<48>(t[4 + i]), low);
        }
        Lanes::carried(r)
    }

    /// The sum over all lanes, as an integer of nine limbs of 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(crate) fn total(mut self) -> [u64; 9] {
        self.carry();
        let mut out = [0u64; 9];
        let mut carry = 0u128;
        let (mut word, mut filled) = (0usize, 0u32);
        let mut pending = 0u128;
        for limb in self.0 {
            let mut lanes = [0u64; 8];
            // SAFETY: the target holds 64 bytes; the store asks for no alignment.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), limb) };
            let sum = carry + lanes.iter().map(|x| u128::from(*x)).sum::<u128>();
            pending |= (sum & u128::from(MASK)) << filled;
            carry = sum >> BITS;
            filled += BITS;
            if filled >= 64 {
                out[word] = pending as u64;
                pending >>= 64;
                filled -= 64;
                word += 1;
            }
        }
        // 520 bits: eight words are full and eight bits are pending, below the carry.
        out[8] = (pending | carry << filled) as u64;
        out
    }
}

/// Two neighbouring elements from each of eight places.
///
/// # Safety
/// Each place is that of two elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) unsafe fn load_two<P: Prime>(at: impl Fn(usize) -> *const u8) -> (Lanes<P>, Lanes<P>) {
    // SAFETY: the places hold 64 bytes; the load asks for no alignment.
    let rows = std::array::from_fn(|i| unsafe { _mm512_loadu_si512(at(i).cast()) });
    let [x0, x1, x2, x3, y0, y1, y2, y3] = transpose(rows);
    (Lanes::from_words([x0, x1, x2, x3]), Lanes::from_words([y0, y1, y2, y3]))
}

/// The words of one element from each of eight places.
///
/// # Safety
/// Each place is that of an element.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) unsafe fn load_words(at: impl Fn(usize) -> *const u8) -> [__m512i; 4] {
    let two = |i: usize, j: usize| {
        // SAFETY: the places hold 32 bytes; the loads ask for no alignment.
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

/// Eight pairs of canonical elements as they lie in memory, 64 bytes each.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn to_rows<P: Prime>(x: Lanes<P>, y: Lanes<P>) -> [__m512i; 8] {
    let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (x.to_words(), y.to_words());
    transpose([x0, x1, x2, x3, y0, y1, y2, y3])
}

/// Canonical elements, one by one.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn store(x: Lanes<Scalars>) -> [Fr; 8] {
    let words = x.to_words().map(|w| {
        let mut out = [0u64; 8];
        // SAFETY: the target holds 64 bytes; the store asks for no alignment.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), w) };
        out
    });
    std::array::from_fn(|k| Fr::new_unchecked(BigInt(std::array::from_fn(|i| words[i][k]))))
}

/// The transpose of eight vectors of eight words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn transpose(z: [__m512i; 8]) -> [__m512i; 8] {
    let low = |i: usize| _mm512_unpacklo_epi64(z[i], z[i + 1]);
    let high = |i: usize| _mm512_unpackhi_epi64(z[i], z[i + 1]);
    let (l, h) = ([low(0), low(2), low(4), low(6)], [high(0), high(2), high(4), high(6)]);
    let quarter = |t: [__m512i; 4]| {
        let even = (_mm512_shuffle_i64x2::<0x88>(t[0], t[1]), _mm512_shuffle_i64x2::<0x88>(t[2], t[3]));
        let odd = (_mm512_shuffle_i64x2::<0xdd>(t[0], t[1]), _mm512_shuffle_i64x2::<0xdd>(t[2], t[3]));
        [
            _mm512_shuffle_i64x2::<0x88>(even.0, even.1),
            _mm512_shuffle_i64x2::<0x88>(odd.0, odd.1),
            _mm512_shuffle_i64x2::<0xdd>(even.0, even.1),
            _mm512_shuffle_i64x2::<0xdd>(odd.0, odd.1),
        ]
    };
    let (l, h) = (quarter(l), quarter(h));
    [l[0], h[0], l[1], h[1], l[2], h[2], l[3], h[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::WideSum;
    use ark_ff::{Field, One, Zero};

    type L = Lanes<Scalars>;

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn load(x: &[Fr]) -> L {
        let limb = |i: usize| {
            let v: [i64; 8] = std::array::from_fn(|k| x[k].0.0[i] as i64);
            _mm512_setr_epi64(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7])
        };
        L::from_words([limb(0), limb(1), limb(2), limb(3)])
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduced(x: L) -> Vec<Fr> {
        store(x.canonical()).to_vec()
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn agree() {
        let mut x = -Fr::one();
        let mut all = vec![Fr::zero(), Fr::one(), -Fr::one(), Fr::one() + Fr::one()];
        while all.len() < 400 {
            x = x.square() + Fr::from(all.len() as u64);
            all.push(x);
        }
        let (mut sums, mut wide) = (Products::<Scalars>::zero(), WideSum::default());
        for (a, b) in all.chunks_exact(8).zip(all[3..].chunks_exact(8)) {
            let (la, lb) = (load(a), load(b));
            let each = |f: &dyn Fn(Fr, Fr) -> Fr| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
            assert_eq!(reduced(la.times(lb)), each(&|a, b| a * b));
            assert_eq!(reduced(la.plus(lb)), each(&|a, b| a + b));
            assert_eq!(reduced(la.minus(lb)), each(&|a, b| a - b));
            assert_eq!(reduced(la.minus_two(lb, la)), each(&|_, b| -b));
            // Large arguments: 4 by 2.
            let (x, y) = (la.minus(lb).plus(la), lb.plus(lb));
            assert_eq!(reduced(x.times(y)), each(&|a, b| (a + a - b) * (b + b)));
            sums.add(la, lb);
            a.iter().zip(b).for_each(|(a, b)| wide.add(a, b));
        }
        for _ in 0..3 {
            sums.carry();
        }
        assert_eq!(WideSum::from_limbs(sums.total()).finish(), wide.finish());
        // The largest values: sums of 300 products.
        let top = load(&[-Fr::one(); 8]);
        let mut sums = Products::<Scalars>::zero();
        (0..300).for_each(|_| sums.add(top, top));
        assert_eq!(WideSum::from_limbs(sums.total()).finish(), Fr::from(2400u64));
        let rows: [[u64; 8]; 8] = std::array::from_fn(|i| std::array::from_fn(|j| (8 * i + j) as u64));
        // SAFETY: each row holds 64 bytes; the loads and stores ask for no alignment.
        let turned = transpose(rows.map(|r| unsafe { _mm512_loadu_si512(r.as_ptr().cast()) })).map(|v| {
            let mut out = [0u64; 8];
            // SAFETY: as above.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) };
            out
        });
        for (i, row) in rows.iter().enumerate() {
            assert!(row.iter().enumerate().all(|(j, x)| turned[j][i] == *x));
        }
    }

    #[test]
    fn eight_at_once_are_what_each_is_alone() {
        if available() {
            // SAFETY: the processor has the features.
            unsafe { agree() };
        }
    }
}
