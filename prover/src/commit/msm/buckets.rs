//! The bucket method for one window: every point goes to the bucket of its digit's magnitude.
//!
//! Points are taken in blocks that fit the second-level cache. Within a block they are sorted by bucket
//! and added pairwise, level by level, with [`super::batch_add`]; what is left, one point a bucket, is
//! added to the buckets. So every addition is affine and shares its inversion, however few buckets
//! there are.

use halo2curves::group::Group;

use super::batch_add::{Scratch, add_into, add_within, prefetch};
use super::digits::Digits;
use crate::commit::field::{Point, Sum};
use crate::progress::Progress;

/// Points in a block: 256 KiB of coordinates.
const BLOCK: usize = 4096;

/// Buckets of one window, and the working memory to fill them.
pub(crate) struct Buckets {
    buckets: Vec<Point>,
    sorted: Vec<Point>,
    items: Vec<u64>,
    spare: Vec<u64>,
    live: Vec<(u32, u32)>,
    pairs: Vec<(u32, u32)>,
    scratch: Scratch,
}

impl Buckets {
    /// Empty buckets for digits of `c` bits: magnitudes `1..=2^(c-1)`.
    pub(crate) fn new(c: u32) -> Self {
        Self {
            buckets: vec![Point::IDENTITY; 1 << (c - 1)],
            sorted: Vec::with_capacity(BLOCK),
            items: Vec::with_capacity(BLOCK),
            spare: Vec::with_capacity(BLOCK),
            live: Vec::with_capacity(BLOCK),
            pairs: Vec::with_capacity(BLOCK),
            scratch: Scratch::default(),
        }
    }

    /// Adds `digit(scalar) * point` for each pair, window `w` of `c` bits. Returns early once cancelled.
    pub(crate) fn fill<S: Digits>(
        &mut self,
        points: &[Point],
        scalars: &[S],
        w: u32,
        c: u32,
        progress: &dyn Progress,
    ) {
        for (points, scalars) in points.chunks(BLOCK).zip(scalars.chunks(BLOCK)) {
            if progress.cancelled() {
                return;
            }
            self.items.clear();
            for (i, s) in scalars.iter().enumerate() {
                let digit = s.digit(w, c);
                // They will be read in the order of their buckets; here the order is that of memory.
                prefetch(points, i);
                if digit != 0 {
                    let bucket = u64::from(digit.unsigned_abs() - 1);
                    self.items.push(bucket << 32 | (i as u64) << 1 | u64::from(digit < 0));
                }
            }
            self.block(points, c - 1);
        }
    }

    fn block(&mut self, points: &[Point], bucket_bits: u32) {
        for pass in 0..bucket_bits.div_ceil(8) {
            radix_pass(&mut self.items, &mut self.spare, 32 + 8 * pass);
        }
        self.sorted.clear();
        self.live.clear();
        for (at, item) in self.items.iter().enumerate() {
            let mut p = points[(*item as u32 >> 1) as usize];
            if item & 1 == 1 {
                p.y = -p.y;
            }
            self.sorted.push(p);
            self.live.push(((item >> 32) as u32, at as u32));
        }
        // Halve every bucket's run until no two neighbours share a bucket.
        loop {
            self.pairs.clear();
            let mut kept = 0;
            let mut i = 0;
            while i < self.live.len() {
                let (bucket, at) = self.live[i];
                self.live[kept] = (bucket, at);
                kept += 1;
                i += 1;
                if i < self.live.len() && self.live[i].0 == bucket {
                    self.pairs.push((at, self.live[i].1));
                    i += 1;
                }
            }
            self.live.truncate(kept);
            if self.pairs.is_empty() {
                break;
            }
            add_within(&mut self.sorted, &self.pairs, &mut self.scratch);
        }
        add_into(&mut self.buckets, &self.sorted, &self.live, &mut self.scratch);
    }

    /// Adds another window's worth of buckets, bucket by bucket.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.pairs.clear();
        self.pairs.extend((0..self.buckets.len() as u32).map(|i| (i, i)));
        add_into(&mut self.buckets, &other.buckets, &self.pairs, &mut self.scratch);
    }

    /// `sum_j (j + 1) * bucket_j`.
    ///
    /// With `j = hi * width + lo` this is `width * sum hi R_hi + sum (lo + 1) C_lo` over row sums `R` and
    /// column sums `C`, which are batched affine additions; only `2 sqrt` of them remain to be summed with
    /// running sums.
    pub(crate) fn total(mut self) -> Sum {
        let n = self.buckets.len();
        let width = 1usize << (n.trailing_zeros() / 2);
        let height = n / width;
        let mut columns = self.buckets.clone();
        // Columns: halve the number of rows. Rows: halve the width.
        let mut rows_left = height;
        while rows_left > 1 {
            rows_left /= 2;
            self.pairs.clear();
            self.pairs.extend((0..(rows_left * width) as u32).map(|i| (i, i + (rows_left * width) as u32)));
            add_within(&mut columns, &self.pairs, &mut self.scratch);
        }
        let mut left = width;
        while left > 1 {
            left /= 2;
            self.pairs.clear();
            for row in 0..height {
                let start = row * width;
                self.pairs.extend((start..start + left).map(|i| (i as u32, (i + left) as u32)));
            }
            add_within(&mut self.buckets, &self.pairs, &mut self.scratch);
        }
        let weighted_columns = running_sum(columns[..width].iter().copied());
        // Row 0 has the weight 0.
        let mut total = running_sum((1..height).map(|row| self.buckets[row * width]));
        for _ in 0..width.trailing_zeros() {
            total = total.double();
        }
        total + weighted_columns
    }
}

/// `sum_i (i + 1) p_i`.
fn running_sum(points: impl DoubleEndedIterator<Item = Point>) -> Sum {
    let mut running = Sum::identity();
    let mut total = Sum::identity();
    for p in points.rev() {
        if !p.is_identity() {
            running += p.affine();
        }
        total += running;
    }
    total
}

/// One stable counting pass over eight bits of the keys.
fn radix_pass(items: &mut Vec<u64>, spare: &mut Vec<u64>, shift: u32) {
    let mut counts = [0u32; 256];
    for item in items.iter() {
        counts[(item >> shift) as usize & 255] += 1;
    }
    let mut at = 0;
    for c in &mut counts {
        at += std::mem::replace(c, at);
    }
    spare.clear();
    spare.resize(items.len(), 0);
    for item in items.iter() {
        let slot = &mut counts[(item >> shift) as usize & 255];
        spare[*slot as usize] = *item;
        *slot += 1;
    }
    std::mem::swap(items, spare);
}
