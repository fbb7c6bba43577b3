//! A matrix in panel order, with the step from sums to raw accumulators.

use bytemuck::{Pod, Zeroable};
use monai_model::artefact::Linear;

use super::{Isa, LANES, Sums, TILE};
use crate::error::EngineError;

/// Raw accumulators of a tile, `[activation row][panel row]`.
pub(crate) type Raw = [[i64; LANES]; TILE];

/// Inner dimension of one 32-bit chunk where the whole sum may not fit i32: `256 * 2^7 * 2^15 = 2^30`.
const CHUNK: usize = 256;

/// 64 weights on a cache line of their own.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([i8; 64]);

/// A [`Linear`] in panel order.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Output channels, without padding.
    pub(crate) rows: usize,
    /// Input channels.
    pub(crate) cols: usize,
    /// Panels of [`LANES`] rows.
    pub(crate) panels: usize,
    data: Vec<Line>,
    multiplier: Vec<i32>,
    bias: Vec<i64>,
    acc32: bool,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Packed {
    /// Copies the weights of a matrix into panel order.
    ///
    /// # Errors
    /// If the tensor's lengths disagree with its shape or the inner dimension is not a multiple of 4.
    pub(crate) fn new(m: &Linear) -> Result<Self, EngineError> {
        if m.cols == 0 || m.cols % 4 != 0 {
            return Err(EngineError::Shape("the input channels of a matrix are not a multiple of 4"));
        }
        if m.weight.len() != m.rows * m.cols
            || m.multiplier.len() != m.rows
            || !(m.bias.is_empty() || m.bias.len() == m.rows)
        {
            return Err(EngineError::Shape("a matrix has not as many weights, multipliers or biases as its shape says"));
        }
        let panels = m.rows.div_ceil(LANES);
        let mut data = vec![Line::zeroed(); panels * LANES * m.cols / 64];
        let bytes: &mut [i8] = bytemuck::cast_slice_mut(&mut data);
        let weight: &[i8] = &m.weight;
        for (panel, rows) in bytes.chunks_exact_mut(LANES * m.cols).zip(weight.chunks(LANES * m.cols)) {
            for (lane, row) in rows.chunks_exact(m.cols).enumerate() {
                for (pair, w) in panel.chunks_exact_mut(2 * LANES).zip(row.chunks_exact(2)) {
                    pair[2 * lane..2 * lane + 2].copy_from_slice(w);
                }
            }
        }
        let mut multiplier = m.multiplier.clone();
        multiplier.resize(panels * LANES, 0);
        let mut bias = m.bias.clone();
        bias.resize(panels * LANES, 0);
        Ok(Self { rows: m.rows, cols: m.cols, panels, data, multiplier, bias, acc32: m.acc32 })
    }

    /// Raw accumulators `A = M sum W x + B` of one panel for `cols` rows of `x`, `stride` apart.
    ///
    /// With `acc32`, import has proved that every sum fits i32, so one wrapping tile is exact. Otherwise tiles of
    /// [`CHUNK`] inner indices, which fit for any int8 weights, are added in i64.
    #[inline]
    pub(crate) fn raw(&self, isa: Isa, panel: usize, x: &[i16], stride: usize, cols: usize, out: &mut Raw) {
        let len = LANES * self.cols;
        let weights = &bytemuck::cast_slice::<Line, i8>(&self.data)[panel * len..(panel + 1) * len];
        let scale = Scale {
            multiplier: lanes(&self.multiplier, panel),
            bias: lanes(&self.bias, panel),
        };
        let mut sums: Sums = [[0; LANES]; TILE];
        if self.acc32 {
            isa.tile_i8(weights, x, stride, cols, &mut sums);
            scale_32(isa, &scale, &sums, &mut out[..cols]);
            return;
        }
        out[..cols].fill([0; LANES]);
        for (i, chunk) in weights.chunks(LANES * CHUNK).enumerate() {
            isa.tile_i8(chunk, &x[i * CHUNK..], stride, cols, &mut sums);
            for (out, sums) in out[..cols].iter_mut().flatten().zip(sums.iter().flatten()) {
                *out += i64::from(*sums);
            }
        }
        for row in &mut out[..cols] {
            for ((a, &m), &b) in row.iter_mut().zip(scale.multiplier).zip(scale.bias) {
                *a = i64::from(m) * *a + b;
            }
        }
    }
}

/// Multipliers and biases of a panel.
struct Scale<'a> {
    multiplier: &'a [i32; LANES],
    bias: &'a [i64; LANES],
}

/// The entries of one panel.
#[inline]
fn lanes<T>(all: &[T], panel: usize) -> &[T; LANES] {
    match all[panel * LANES..].first_chunk() {
        Some(lanes) => lanes,
        None => unreachable!("vectors of a packed matrix are padded to whole panels"),
    }
}

crate::elementwise::twins! {
    /// `A = M sum + B` for 32-bit sums.
    fn scale_32(scale: &Scale<'_>, sums: &Sums, out: &mut [[i64; LANES]]) {
        for (out, sums) in out.iter_mut().zip(sums) {
            for l in 0..LANES {
                out[l] = i64::from(scale.multiplier[l]) * i64::from(sums[l]) + scale.bias[l];
            }
        }
    }
}
