//! Attention (rule 5) on the same tiles as the matrices.
//!
//! # Exactness
//! A query is split into a signed high and an unsigned low byte, `q = 256 a + b`. Then `|sum b k| <= 255 * 2^15 * E`,
//! which fits i32 for `E <= 256`, and the tiles are exact; so are those of `a`. The weights `e` are split likewise into
//! two unsigned bytes; a block has 64 positions, so `sum b v <= 255 * 2^15 * 64`. Blocks are added in i64. The three
//! query heads a key head of SmolLM2 make six activation rows: just a full tile.
//!
//! Positions of the last panel after the row's own are computed and ignored; their weight is zero. Whatever is in them
//! are 16-bit values, so nothing can go wrong.

use monai_model::semantics as s;

use super::Row;
use crate::elementwise::twins;
use crate::kernel::{LANES, Sums, TILE};
use crate::kv::{BLOCK, Table};
use crate::pool::{MAX_ITEMS, Pool, Shards};
use crate::program::{MAX_HEAD_DIM, Program};
use crate::trace::LayerSink;

/// Memory of one thread. Lengths grow with the longest sequence so far.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Bytes of the queries `[2 heads, head_dim]`, high before low.
    query: Vec<i16>,
    /// Scores `[heads, stride]`.
    scores: Vec<i64>,
    /// Bytes of the weights `[2 heads, stride]`, high before low.
    weights: Vec<i16>,
    /// `inv` a head.
    inverse: Vec<u64>,
}

/// Attention of all rows: queries `q` to outputs `o`, both `[rows, heads * head_dim]`.
#[allow(clippy::too_many_arguments)]
pub(super) fn attend(
    program: &Program,
    pool: &mut Pool,
    layer: usize,
    rows: &[Row],
    tables: &[Table],
    q: &[i16],
    o: &Shards<i16>,
    scratch: &Shards<Scratch>,
    sink: Option<&LayerSink<'_>>,
) {
    let a = &program.model.arch;
    let group = a.heads / a.kv_heads;
    // A group of query heads shares the loads of its keys, so groups stay whole as long as there are enough for all
    // threads; those that are left over are cut into single heads.
    let groups = rows.len() * a.kv_heads;
    let left = if groups < 8 * pool.threads() { groups % pool.threads() } else { 0 };
    let whole = groups - left;
    let items = whole + left * group;
    let batch = items.div_ceil(items.div_ceil(MAX_ITEMS));
    for start in (0..items).step_by(batch) {
        pool.run(batch.min(items - start), &|thread, item| {
            let item = start + item;
            let (at, offset, each) = match item.checked_sub(whole) {
                None => (item, 0, group),
                Some(cut) => (whole + cut / group, cut % group, 1),
            };
            // The last rows are the longest: they go first, so that the section does not end on one of them.
            let row = rows.len() - 1 - at / a.kv_heads;
            let kv_head = at % a.kv_heads;
            let first = kv_head * group + offset;
            // SAFETY: a thread runs one item at a time.
            let scratch = unsafe { &mut scratch.part(thread, 1)[0] };
            let at = (row * a.heads + first) * a.head_dim;
            // SAFETY: these heads of this row are this item's alone.
            let out = unsafe { o.part(at, each * a.head_dim) };
            let query = &q[at..at + each * a.head_dim];
            let Row { position, sequence, .. } = rows[row];
            let heads = Heads { program, table: &tables[sequence], layer, position, kv_head };
            heads.attend(query, out, scratch);
            if let Some(sink) = sink {
                for h in 0..each {
                    sink.scores(position, first + h, scratch.row(h, position), scratch.inverse[h]);
                }
            }
        });
    }
}

impl Scratch {
    fn stride(position: usize) -> usize {
        (position + 1).next_multiple_of(BLOCK)
    }

    /// Scores of a head after [`Heads::attend`].
    fn row(&self, head: usize, position: usize) -> &[i64] {
        &self.scores[head * Self::stride(position)..][..=position]
    }
}

/// Some query heads of one row with their common key head.
struct Heads<'a> {
    program: &'a Program,
    table: &'a Table,
    layer: usize,
    position: usize,
    kv_head: usize,
}

impl Heads<'_> {
    fn attend(&self, query: &[i16], out: &mut [i16], scratch: &mut Scratch) {
        let width = self.program.kv.head_dim;
        let heads = query.len() / width;
        let stride = Scratch::stride(self.position);
        let fit = |len: usize, have: usize| len.max(have);
        scratch.query.resize(fit(2 * heads * width, scratch.query.len()), 0);
        scratch.scores.resize(fit(heads * stride, scratch.scores.len()), 0);
        scratch.weights.resize(fit(2 * heads * stride, scratch.weights.len()), 0);
        scratch.inverse.resize(fit(heads, scratch.inverse.len()), 0);
        for (q, bytes) in query.chunks_exact(width).zip(scratch.query.chunks_exact_mut(2 * width)) {
            let (high, low) = bytes.split_at_mut(width);
            for ((&q, high), low) in q.iter().zip(high).zip(low) {
                (*high, *low) = (q >> 8, q & 255);
            }
        }
        self.scores(heads, stride, scratch);
        for h in 0..heads {
            let scores = &scratch.scores[h * stride..][..=self.position];
            let (high, low) = scratch.weights[2 * h * stride..][..2 * stride].split_at_mut(stride);
            let z = weights(self.program.isa, scores, &self.program.exp, high, low);
            scratch.inverse[h] = s::softmax_inverse(z);
        }
        self.values(heads, stride, scratch, out);
    }

    /// Fills `scratch.scores`.
    fn scores(&self, heads: usize, stride: usize, scratch: &mut Scratch) {
        let isa = self.program.isa;
        let width = self.program.kv.head_dim;
        let multiplier = self.program.model.layers[self.layer].score_multiplier;
        let mut sums: Sums = [[0; LANES]; TILE];
        for block in 0..=self.position / BLOCK {
            // SAFETY: keys are written in another section.
            let keys = unsafe { self.table.keys(self.layer, self.kv_head, block) };
            let last = (self.position - block * BLOCK).min(BLOCK - 1);
            // What comes after this block: the next one, or the values.
            let next = if block < self.position / BLOCK {
                // SAFETY: as above.
                unsafe { self.table.keys(self.layer, self.kv_head, block + 1) }
            } else {
                // SAFETY: as above.
                unsafe { self.table.values(self.layer, self.kv_head, 0) }
            };
            isa.fetch(next);
            for (panel, keys) in keys.chunks_exact(LANES * width).take(last / LANES + 1).enumerate() {
                let at = block * BLOCK + panel * LANES;
                for first in (0..2 * heads).step_by(TILE) {
                    let cols = TILE.min(2 * heads - first);
                    isa.tile_i16(keys, &scratch.query[first * width..], width, cols, &mut sums);
                    for (c, pair) in sums[..cols].chunks_exact(2).enumerate() {
                        let out = &mut scratch.scores[(first / 2 + c) * stride + at..][..LANES];
                        score_lanes(isa, multiplier, &pair[0], &pair[1], out);
                    }
                }
            }
        }
    }

    /// Sums the values into `out`.
    fn values(&self, heads: usize, stride: usize, scratch: &Scratch, out: &mut [i16]) {
        let isa = self.program.isa;
        let width = self.program.kv.head_dim;
        let mut sums: Sums = [[0; LANES]; TILE];
        for first in (0..2 * heads).step_by(TILE) {
            let cols = TILE.min(2 * heads - first);
            let mut total = [[[0i64; LANES]; TILE / 2]; MAX_HEAD_DIM / LANES];
            let total = &mut total[..width / LANES];
            for block in 0..=self.position / BLOCK {
                let pairs = (self.position - block * BLOCK).min(BLOCK - 1) / 2 + 1;
                // SAFETY: values are written in another section.
                let values = unsafe { self.table.values(self.layer, self.kv_head, block) };
                if block < self.position / BLOCK {
                    // SAFETY: as above.
                    isa.fetch(unsafe { self.table.values(self.layer, self.kv_head, block + 1) });
                }
                let weights = &scratch.weights[first * stride + block * BLOCK..];
                for (values, total) in values.chunks_exact(LANES * BLOCK).zip(total.iter_mut()) {
                    isa.tile_i16(&values[..pairs * 2 * LANES], weights, stride, cols, &mut sums);
                    add_bytes(isa, &sums[..cols], total);
                }
            }
            for (panel, total) in total.iter().enumerate() {
                for (c, total) in total.iter().enumerate().take(cols / 2) {
                    let head = first / 2 + c;
                    let inverse = scratch.inverse[head];
                    let out = &mut out[head * width + panel * LANES..][..LANES];
                    for (o, &sum) in out.iter_mut().zip(total) {
                        *o = s::softmax_apply(sum, inverse) as i16;
                    }
                }
            }
        }
    }
}

twins! {
    /// `s = r16(M_s (256 high + low))` of one panel.
    fn score_lanes(multiplier: i64, high: &[i32; LANES], low: &[i32; LANES], out: &mut [i64]) {
        if let Ok(m) = i32::try_from(multiplier) {
            // Products of 32-bit factors, which vectorise.
            for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
                let product = ((i64::from(m) * i64::from(high)) << 8) + i64::from(m) * i64::from(low);
                *out = s::r16(product);
            }
        } else {
            for ((out, &high), &low) in out.iter_mut().zip(high).zip(low) {
                *out = s::score(multiplier, (i64::from(high) << 8) + i64::from(low));
            }
        }
    }
}

twins! {
    /// The bytes of `e_j` of one row and their sum `Z`. `exp` has an entry more than the table, which is 0.
    fn weights(scores: &[i64], exp: &[u16], high: &mut [i16], low: &mut [i16]) -> u64 {
        let max = scores.iter().fold(i64::MIN, |max, &s| max.max(s));
        let mut z = 0;
        for ((&s, high), low) in scores.iter().zip(high.iter_mut()).zip(low.iter_mut()) {
            let e = exp[(max - s).min(s::TABLE_LEN as i64) as usize];
            z += u64::from(e);
            (*high, *low) = ((e >> 8) as i16, (e & 255) as i16);
        }
        // The last pair of positions may have one that is not part of the row.
        if let (Some(high), Some(low)) = (high.get_mut(scores.len()), low.get_mut(scores.len())) {
            (*high, *low) = (0, 0);
        }
        z
    }
}

twins! {
    /// `total += 256 high + low`.
    fn add_bytes(sums: &[[i32; LANES]], total: &mut [[i64; LANES]; TILE / 2]) {
        for (pair, total) in sums.chunks_exact(2).zip(total) {
            for l in 0..LANES {
                total[l] += (i64::from(pair[0][l]) << 8) + i64::from(pair[1][l]);
            }
        }
    }
}
