//! Multilinear polynomials over the hypercube: equality, order, and ranges of their values.
//!
//! Everywhere in this crate, coordinate `j` of a point goes with **bit `j`** of an index, least significant first.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

/// `2^n`.
#[must_use]
pub fn pow2(n: u32) -> Fr {
    let mut x = Fr::one();
    for _ in 0..n {
        x += x;
    }
    x
}

/// `n 2^bits`, or the largest number where that overflows.
#[must_use]
pub const fn shl(n: usize, bits: usize) -> usize {
    let (mut n, mut done) = (n, 0usize);
    while done < bits && n > 0 && n < usize::MAX {
        n = n.saturating_mul(2);
        done = done.saturating_add(1);
    }
    n
}

/// `n / 2^bits`, rounded down.
#[must_use]
pub const fn shr(n: usize, bits: usize) -> usize {
    let (mut n, mut done) = (n, 0usize);
    while done < bits && n > 0 {
        n >>= 1;
        done = done.saturating_add(1);
    }
    n
}

/// The least `n` with `2^n >= count`.
#[must_use]
pub const fn log2_ceil(count: usize) -> usize {
    let mut n = 0usize;
    while n < 63 && shl(1, n) < count {
        n = n.saturating_add(1);
    }
    n
}

/// `eq(point, start + i)` for `i < n`, in `O(n + point.len())`. Indices beyond the hypercube wrap to nothing: the caller
/// keeps `start + n` within `2^point.len()`.
#[must_use]
pub fn eq_range(point: &[Fr], start: usize, n: usize) -> Vec<Fr> {
    let Some(span) = n.checked_sub(1) else { return Vec::new() };
    let last = start.saturating_add(span);
    let mut first = 0usize;
    let mut level = vec![Fr::one()];
    for (k, x) in point.iter().enumerate().rev() {
        let (low, high) = (shr(start, k), shr(last, k));
        let mut next = Vec::with_capacity(high.saturating_sub(low).saturating_add(1));
        for i in low..=high {
            let parent = level.get((i >> 1).saturating_sub(first)).copied().unwrap_or_else(Fr::zero);
            let odd = parent * x;
            next.push(if i & 1 == 1 { odd } else { parent - odd });
        }
        first = low;
        level = next;
    }
    level
}

/// All `2^point.len()` values of the equality polynomial.
#[must_use]
pub fn eq_table(point: &[Fr]) -> Vec<Fr> {
    let mut table = Vec::with_capacity(shl(1, point.len().min(40)));
    table.push(Fr::one());
    for x in point.iter().rev() {
        let mut next = Vec::with_capacity(table.len().saturating_mul(2));
        for t in &table {
            let odd = *t * x;
            next.push(*t - odd);
            next.push(odd);
        }
        table = next;
    }
    table
}

/// `eq(a, b)`; coordinates beyond the shorter point are ignored, callers pass equal lengths.
#[must_use]
pub fn eq_points(a: &[Fr], b: &[Fr]) -> Fr {
    a.iter().zip(b).fold(Fr::one(), |acc, (x, y)| {
        let xy = *x * y;
        acc * (Fr::one() - x - y + xy + xy)
    })
}

/// `eq(point, index)`.
#[must_use]
pub fn eq_index(point: &[Fr], index: usize) -> Fr {
    let mut bits = index;
    let mut product = Fr::one();
    for x in point {
        product *= if bits & 1 == 1 { *x } else { Fr::one() - x };
        bits >>= 1;
    }
    product
}

/// The multilinear extension of `[i < bound]` at `point`.
#[must_use]
pub fn less_than(point: &[Fr], bound: usize) -> Fr {
    if bound.checked_shr(u32::try_from(point.len()).unwrap_or(u32::MAX)).unwrap_or(0) > 0 {
        return Fr::one();
    }
    // From the lowest bit up: i < bound holds if the upper bits are below, or equal and the rest below.
    let mut below = Fr::zero();
    for (j, x) in point.iter().enumerate() {
        below = if bit(bound, j) { Fr::one() - x + *x * below } else { (Fr::one() - x) * below };
    }
    below
}

/// `sum_j 2^j point_j`: the extension of the index itself.
#[must_use]
pub fn index_at(point: &[Fr]) -> Fr {
    point.iter().rev().fold(Fr::zero(), |acc, x| acc + acc + x)
}

/// `prod_j (1 - point_j)`: the extension of `[i = 0]`.
#[must_use]
pub fn is_zero_at(point: &[Fr]) -> Fr {
    point.iter().fold(Fr::one(), |acc, x| acc * (Fr::one() - x))
}

/// The sum of weights: what a tensor of ones gives under a query with those weights.
#[must_use]
pub fn total(weights: &[Fr]) -> Fr {
    weights.iter().fold(Fr::zero(), |acc, w| acc + w)
}

const fn bit(index: usize, j: usize) -> bool {
    shr(index, j) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(n: u64) -> Vec<Fr> {
        (0..n).map(|i| Fr::from(i * i + 17 * i + 3)).collect()
    }

    #[test]
    fn ranges_are_parts_of_the_table() {
        let p = point(6);
        let table = eq_table(&p);
        for (start, n) in [(0, 64), (5, 1), (13, 29), (63, 1), (7, 0)] {
            assert_eq!(eq_range(&p, start, n), table[start..start + n]);
        }
        for (i, t) in table.iter().enumerate() {
            assert_eq!(eq_index(&p, i), *t);
        }
    }

    #[test]
    fn extensions_agree_with_sums_over_the_table() {
        let p = point(5);
        let table = eq_table(&p);
        for bound in 0..=33 {
            assert_eq!(less_than(&p, bound), total(&table[..bound.min(32)]), "{bound}");
        }
        let index: Fr = table.iter().enumerate().map(|(i, t)| Fr::from(i as u64) * t).sum();
        assert_eq!(index_at(&p), index);
        assert_eq!(is_zero_at(&p), table[0]);
        let q: Vec<Fr> = p.iter().map(|x| *x + Fr::one()).collect();
        let inner: Fr = table.iter().zip(eq_table(&q)).map(|(a, b)| *a * b).sum();
        assert_eq!(eq_points(&p, &q), inner);
    }

    #[test]
    fn logarithms_round_up() {
        assert_eq!([1, 2, 3, 4, 5, 64, 65].map(log2_ceil), [0, 1, 2, 2, 3, 6, 7]);
        assert_eq!(pow2(16), Fr::from(65536u64));
        for (n, bits) in [(0, 5), (1, 0), (3, 7), (77, 57), (1, 63)] {
            assert_eq!((shl(n, bits), shr(n, bits)), (n << bits, n >> bits), "{n} {bits}");
        }
        assert_eq!((shl(1, 64), shl(77, 58), shr(77, 64), shr(77, 1000)), (usize::MAX, usize::MAX, 0, 0));
    }
}
