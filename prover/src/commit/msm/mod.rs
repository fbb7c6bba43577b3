//! Multi-scalar products over the setup's points.

mod batch_add;
#[cfg(target_arch = "x86_64")]
mod batch_lanes;
mod buckets;
mod digits;
#[cfg(test)]
mod naive;

use halo2curves::group::Group;
use rayon::prelude::*;

pub(crate) use batch_add::{Scratch, add_into};
use buckets::Buckets;
pub(crate) use digits::Digits;
#[cfg(test)]
pub(crate) use naive::naive;

use super::field::{Point, Sum};
use crate::progress::{Cancelled, Progress, check};

/// `sum_i scalars[i] * points[i]`; `scalars` must not be longer than `points`.
///
/// Runs on the threads of the current rayon pool: windows and, where they are fewer than the threads,
/// ranges of points are the tasks. Nobody can cancel it: see [`msm_watched`].
pub(crate) fn msm<S: Digits>(points: &[Point], scalars: &[S]) -> Sum {
    msm_watched(points, scalars, &()).unwrap_or_else(|Cancelled| Sum::identity())
}

/// [`msm`] that asks, every few milliseconds, whether it is still wanted.
///
/// # Errors
/// [`Cancelled`].
pub(crate) fn msm_watched<S: Digits>(
    points: &[Point],
    scalars: &[S],
    progress: &dyn Progress,
) -> Result<Sum, Cancelled> {
    let n = scalars.len();
    let points = &points[..n];
    let bits = scalars.par_chunks(1 << 14).map(|s| s.iter().map(|x| x.bits()).max().unwrap_or(1)).max();
    let Some(bits) = bits else { return Ok(Sum::identity()) };
    let threads = rayon::current_num_threads();
    let (c, windows) = plan(n, bits, threads);
    let ranges = if windows as usize >= 2 * threads || n < 1 << 13 { 1 } else { threads };
    let length = n.div_ceil(ranges);
    let sums: Vec<Sum> = (0..windows)
        .into_par_iter()
        .map(|w| {
            let filled = points
                .par_chunks(length)
                .zip(scalars.par_chunks(length))
                .map(|(points, scalars)| {
                    let mut buckets = Buckets::new(c);
                    buckets.fill(points, scalars, w, c, progress);
                    buckets
                })
                .reduce_with(|mut a, b| {
                    a.merge(&b);
                    a
                });
            filled.map_or_else(Sum::identity, Buckets::total)
        })
        .collect();
    // Buckets that were left half filled are nobody's sum.
    check(progress)?;
    Ok(sums.into_iter().rev().fold(Sum::identity(), |mut acc, s| {
        for _ in 0..c {
            acc = acc.double();
        }
        acc + s
    }))
}

/// Window width and number of windows for `n` scalars of `bits` bits, sign included.
///
/// A window costs an addition a point and, to sum the buckets, about two a bucket; each thread takes whole windows.
fn plan(n: usize, bits: u32, threads: usize) -> (u32, u32) {
    let threads = u32::try_from(threads).unwrap_or(1).max(1);
    // Where there are few windows, threads share one.
    let turns =
        |windows: u32| if windows >= 2 * threads { windows.div_ceil(threads) * threads } else { windows };
    (2..=18)
        .map(|c| (c, bits.div_ceil(c)))
        .min_by_key(|&(c, windows)| u64::from(turns(windows)) * (n as u64 + (5 << (c - 1)) / 2 + 2048))
        .unwrap_or((2, bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::Fr;
    use halo2curves::bn256;

    /// Distinct points with repeats, opposites and the identity among them.
    fn points(n: usize) -> Vec<Point> {
        let g = bn256::G1::generator();
        let mut v: Vec<Point> = (0..n as u64).map(|i| Point::from(g * bn256::Fr::from(i * i + 3))).collect();
        if n > 40 {
            v[7] = v[6];
            v[9] = -v[8];
            v[30] = Point::IDENTITY;
            for i in 10..20 {
                v[i] = v[10];
            }
        }
        v
    }

    fn noise(i: usize) -> u64 {
        (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn agree<S: Digits>(points: &[Point], scalars: &[S], as_field: impl Fn(S) -> Fr) {
        let fields: Vec<Fr> = scalars.iter().map(|s| as_field(*s)).collect();
        assert_eq!(msm(points, scalars), naive(points, &fields));
    }

    #[test]
    fn bucket_sums_agree_with_the_naive_sum() {
        for n in [0usize, 1, 2, 3, 50, 1000, 9000] {
            let p = points(n);
            agree(&p, &(0..n).map(|i| noise(i) as i8).collect::<Vec<_>>(), Fr::from);
            agree(&p, &(0..n).map(|i| noise(i) as i16).collect::<Vec<_>>(), Fr::from);
            agree(&p, &(0..n).map(|i| noise(i) as u16).collect::<Vec<_>>(), Fr::from);
            if n <= 50 || n == 1000 {
                agree(&p, &(0..n).map(|i| noise(i) as i32).collect::<Vec<_>>(), Fr::from);
                agree(&p, &(0..n).map(|i| noise(i) as u32).collect::<Vec<_>>(), Fr::from);
                agree(&p, &(0..n).map(|i| noise(i) as i64).collect::<Vec<_>>(), Fr::from);
                let wide: Vec<Fr> = (0..n).map(|i| Fr::from(noise(i)) * Fr::from(noise(i + 7))).collect();
                let limbs: Vec<[u64; 4]> = wide.iter().map(super::super::field::scalar_limbs).collect();
                assert_eq!(msm(&p, &limbs), naive(&p, &wide));
            }
        }
    }

    #[test]
    fn extreme_scalars_agree() {
        let p = points(100);
        agree(&p, &[i8::MIN; 100], Fr::from);
        agree(&p, &[0i16; 100], Fr::from);
        agree(&p, &[u16::MAX; 100], Fr::from);
        agree(&p, &[i32::MIN; 100], Fr::from);
        agree(&p, &[i64::MIN; 100], Fr::from);
        agree(&p, &[i64::MAX; 100], Fr::from);
        let minus_one = vec![-Fr::from(1); 100];
        let limbs: Vec<[u64; 4]> = minus_one.iter().map(super::super::field::scalar_limbs).collect();
        assert_eq!(msm(&p, &limbs), naive(&p, &minus_one));
    }
}
