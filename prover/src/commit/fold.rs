//! The random linear combination of many chunks of small integers, `f_i = sum_c a_c v_c[i]`.
//!
//! A coefficient is cut into twelve limbs of 22 bits. A multiply-add is then twelve products of a small
//! integer and a limb, added into 64-bit lanes without a carry, which vectorises; one reduction an output
//! brings the lanes back into the field. Since the sum is linear, the limbs are those of the coefficient's
//! Montgomery form, and so is the result.

use ark_bn254::Fr;
use ark_ff::{BigInt, PrimeField, Zero};
use rayon::prelude::*;

use super::chunk::ChunkRef;

/// Bits of a limb.
const LIMB: usize = 22;
/// Limbs of a coefficient: 264 bits hold the field's 254.
const LANES: usize = 12;
/// Outputs whose lanes are worked on together: 24 KiB, in the first-level cache.
const BLOCK: usize = 256;

type Lanes = [i64; LANES];

/// `sum_c coefficients[c] * chunks[c]`, `length` values; chunks are padded with zeros.
///
/// Lanes do not overflow: a piece of a value has at most 17 bits, so a product has at most 39, and
/// fewer than `2^23` pieces meet in an output (`MAX_CHUNKS` is `2^16`).
#[must_use]
pub fn combine(chunks: &[ChunkRef<'_>], coefficients: &[Fr], length: usize) -> Vec<Fr> {
    let mut out = vec![Fr::zero(); length];
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
        let start = block * BLOCK;
        let mut lanes = [[0i64; LANES]; BLOCK];
        let mut wide = [Fr::zero(); BLOCK];
        for (chunk, a) in chunks.iter().zip(coefficients) {
            accumulate(chunk, a, start, &mut lanes, &mut wide);
        }
        for (i, out) in out.iter_mut().enumerate() {
            *out = reduce(&lanes[i]) + wide[i];
        }
    });
    out
}

/// The reference twin: field arithmetic, value by value.
#[must_use]
pub fn combine_reference(chunks: &[ChunkRef<'_>], coefficients: &[Fr], length: usize) -> Vec<Fr> {
    (0..length).map(|i| chunks.iter().zip(coefficients).map(|(c, a)| *a * c.value(i)).sum()).collect()
}

fn window<T>(v: &[T], start: usize) -> &[T] {
    let v = v.get(start..).unwrap_or_default();
    &v[..v.len().min(BLOCK)]
}

fn accumulate(
    chunk: &ChunkRef<'_>,
    a: &Fr,
    start: usize,
    lanes: &mut [Lanes; BLOCK],
    wide: &mut [Fr; BLOCK],
) {
    let mut pieces = [0i32; BLOCK];
    let mut small = |values: &mut dyn Iterator<Item = i32>, a: &Fr| {
        let mut n = 0;
        for (p, v) in pieces.iter_mut().zip(values) {
            *p = v;
            n += 1;
        }
        multiply_add(&mut lanes[..n], &pieces[..n], &limbs(a));
    };
    let at = |shift: u32| *a * Fr::from(1u64 << shift);
    match chunk {
        ChunkRef::I8(v) => small(&mut window(v, start).iter().map(|x| i32::from(*x)), a),
        ChunkRef::I16(v) => small(&mut window(v, start).iter().map(|x| i32::from(*x)), a),
        ChunkRef::U16(v) => small(&mut window(v, start).iter().map(|x| i32::from(*x)), a),
        ChunkRef::I32(v) => {
            let v = window(v, start);
            small(&mut v.iter().map(|x| x & 0xffff), a);
            small(&mut v.iter().map(|x| x >> 16), &at(16));
        }
        ChunkRef::U32(v) => {
            let v = window(v, start);
            small(&mut v.iter().map(|x| (x & 0xffff) as i32), a);
            small(&mut v.iter().map(|x| (x >> 16) as i32), &at(16));
        }
        ChunkRef::I64(v) => {
            // Weights are kept in 64 bits and mostly need far fewer: pieces above the largest are left out.
            let v = window(v, start);
            let spread = v.iter().fold(0, |bits, x| bits | (x ^ (x >> 63)));
            let mut shift = 0;
            while spread >> shift >= 1 << 16 {
                small(&mut v.iter().map(|x| (x >> shift & 0xffff) as i32), &at(shift));
                shift += 16;
            }
            small(&mut v.iter().map(|x| (x >> shift) as i32), &at(shift));
        }
        ChunkRef::Joined(parts) => {
            // Parts begin on multiples of smaller powers of two than a block, so a block may meet several.
            let mut first = 0;
            for part in *parts {
                let end = first + part.len();
                let (from, to) = (first.max(start), end.min(start + BLOCK));
                if from < to {
                    inside(part, a, from - first, to - from, from - start, lanes, wide);
                }
                first = end;
            }
        }
        ChunkRef::Fr(v) => {
            for (w, x) in wide.iter_mut().zip(window(v, start)) {
                *w += *a * x;
            }
        }
        ChunkRef::Scaled { values, multipliers, row } => {
            let v = window(values, start);
            let mut done = 0;
            while done < v.len() {
                let index = (start + done) / row;
                let n = ((index + 1) * row - start - done).min(v.len() - done);
                for (p, x) in pieces.iter_mut().zip(&v[done..done + n]) {
                    *p = i32::from(*x);
                }
                let scaled = *a * Fr::from(multipliers[index]);
                multiply_add(&mut lanes[done..done + n], &pieces[..n], &limbs(&scaled));
                done += n;
            }
        }
    }
}

/// Adds `len` values of a part, from value `from` on, to the lanes from `at` on.
fn inside(
    part: &ChunkRef<'_>,
    a: &Fr,
    from: usize,
    len: usize,
    at: usize,
    lanes: &mut [Lanes; BLOCK],
    wide: &mut [Fr; BLOCK],
) {
    if at == 0 && len == BLOCK {
        return accumulate(part, a, from, lanes, wide);
    }
    let mut own = [[0i64; LANES]; BLOCK];
    let mut own_wide = [Fr::zero(); BLOCK];
    accumulate(part, a, from, &mut own, &mut own_wide);
    for i in 0..len {
        for (lane, more) in lanes[at + i].iter_mut().zip(own[i]) {
            *lane += more;
        }
        wide[at + i] += own_wide[i];
    }
}

/// The limbs of the Montgomery form.
fn limbs(a: &Fr) -> [i32; LANES] {
    let raw = a.0.0;
    std::array::from_fn(|j| {
        let (word, shift) = (j * LIMB / 64, j * LIMB % 64);
        let low = raw[word] >> shift;
        let high = if shift + LIMB > 64 && word < 3 { raw[word + 1] << (64 - shift) } else { 0 };
        ((low | high) & ((1 << LIMB) - 1)) as i32
    })
}

/// `lanes[i] += values[i] * limbs`.
fn multiply_add(lanes: &mut [Lanes], values: &[i32], limbs: &[i32; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has just been seen to support AVX2, the only feature that the function asks for.
        unsafe { multiply_add_avx2(lanes, values, limbs) };
        return;
    }
    multiply_add_plain(lanes, values, limbs);
}

/// The same loop, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_add_avx2(lanes: &mut [Lanes], values: &[i32], limbs: &[i32; LANES]) {
    multiply_add_plain(lanes, values, limbs);
}

#[inline(always)]
fn multiply_add_plain(lanes: &mut [Lanes], values: &[i32], limbs: &[i32; LANES]) {
    for (lanes, v) in lanes.iter_mut().zip(values) {
        for (lane, limb) in lanes.iter_mut().zip(limbs) {
            *lane += i64::from(*v) * i64::from(*limb);
        }
    }
}

/// `sum_j lanes[j] 2^(22 j)` as the Montgomery form of an element.
///
/// The integer is `high * 2^256 + low`. Taken as a Montgomery form, the first term is the element `high`
/// itself, and the second needs at most three conditional subtractions.
fn reduce(lanes: &Lanes) -> Fr {
    let mut words = [0u64; 5];
    let mut carry: i128 = 0;
    let mut filled = 0;
    let mut word = 0;
    let mut pending: u128 = 0;
    for lane in lanes {
        let sum = carry + i128::from(*lane);
        pending |= ((sum & ((1 << LIMB) - 1)) as u128) << filled;
        carry = sum >> LIMB;
        filled += LIMB;
        if filled >= 64 {
            words[word] = pending as u64;
            pending >>= 64;
            filled -= 64;
            word += 1;
        }
    }
    // 264 bits: four words are full and eight bits are pending, below the carry.
    let high = (carry << filled) + pending as i128;
    let mut low = BigInt([words[0], words[1], words[2], words[3]]);
    for multiple in [4u32, 2, 1] {
        let (scaled, fits) = modulus_times(multiple);
        if fits && low >= scaled {
            ark_ff::BigInteger::sub_with_borrow(&mut low, &scaled);
        }
    }
    let high = i64::try_from(high).map_or_else(|_| Fr::from(high), Fr::from);
    Fr::new_unchecked(low) + high
}

/// A small multiple of the modulus, and whether it fits 256 bits.
const fn modulus_times(multiple: u32) -> (BigInt<4>, bool) {
    let m = Fr::MODULUS.0;
    let mut out = [0u64; 4];
    let mut carry: u128 = 0;
    let mut i = 0;
    while i < 4 {
        let t = m[i] as u128 * multiple as u128 + carry;
        out[i] = t as u64;
        carry = t >> 64;
        i += 1;
    }
    (BigInt(out), carry == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> u64 {
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn coefficient(i: usize) -> Fr {
        // Full-width, and extreme where the index says so.
        match i % 5 {
            0 => -Fr::from(1),
            1 => Fr::from(1),
            _ => {
                let x = Fr::from(noise(i));
                x * x * x * x * x
            }
        }
    }

    #[test]
    fn split_limbs_agree_with_field_arithmetic() {
        let n = 1000;
        let i8s: Vec<i8> = (0..n).map(|i| noise(i) as i8).collect();
        let i16s: Vec<i16> = (0..n - 13).map(|i| noise(i) as i16).collect();
        let u16s: Vec<u16> = (0..n).map(|i| noise(i) as u16 | 0x8000).collect();
        let i32s: Vec<i32> = (0..n).map(|i| noise(i) as i32).chain([i32::MIN, i32::MAX]).collect();
        let u32s: Vec<u32> = (0..n).map(|i| noise(i) as u32).chain([u32::MAX]).collect();
        let i64s: Vec<i64> = (0..n).map(|i| noise(i) as i64).chain([i64::MIN, i64::MAX]).collect();
        let frs: Vec<Fr> = (0..300).map(coefficient).collect();
        let rows: Vec<i8> = (0..960).map(|i| noise(i + 5) as i8).collect();
        let multipliers: Vec<i32> = (0..15).map(|i| (noise(i) >> 33) as i32).collect();
        let weights: Vec<i64> = (0..n).map(|i| noise(i) as i64 >> (40 + i / 40)).collect();
        let parts = [
            ChunkRef::I64(&weights[..100]),
            ChunkRef::Scaled { values: &rows[..256], multipliers: &multipliers[..4], row: 64 },
            ChunkRef::I64(&weights[100..117]),
            ChunkRef::Fr(&frs[..200]),
        ];
        let chunks = [
            ChunkRef::I64(&weights),
            ChunkRef::I8(&i8s),
            ChunkRef::I16(&i16s),
            ChunkRef::U16(&u16s),
            ChunkRef::I32(&i32s),
            ChunkRef::U32(&u32s),
            ChunkRef::I64(&i64s),
            ChunkRef::Fr(&frs),
            ChunkRef::Scaled { values: &rows, multipliers: &multipliers, row: 64 },
            ChunkRef::I8(&[]),
            ChunkRef::Joined(&parts),
        ];
        let coefficients: Vec<Fr> = (0..chunks.len()).map(|i| coefficient(i + 2)).collect();
        assert_eq!(combine(&chunks, &coefficients, 1024), combine_reference(&chunks, &coefficients, 1024));
    }

    #[test]
    fn extreme_lanes_do_not_overflow() {
        let low = [i32::MIN; 40];
        let high = [u32::MAX; 40];
        let chunks: Vec<ChunkRef<'_>> =
            (0..200).map(|i| if i % 2 == 0 { ChunkRef::I32(&low) } else { ChunkRef::U32(&high) }).collect();
        for a in [-Fr::from(1), Fr::from(1), coefficient(3)] {
            let coefficients = vec![a; chunks.len()];
            assert_eq!(combine(&chunks, &coefficients, 64), combine_reference(&chunks, &coefficients, 64));
        }
    }
}
