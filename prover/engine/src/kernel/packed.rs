//! A matrix ready to multiply, in panel order or on a device, and the step from sums to raw accumulators.

use candle_core::Device;
use monai_model::artefact::Linear;

use super::{Isa, LANES, Sums, TILE};
use crate::arena::{Arena, Region};
use crate::candle::DeviceMatrix;
use crate::error::EngineError;

/// Raw accumulators of a tile, `[activation row][panel row]`.
pub(crate) type Raw = [[i64; LANES]; TILE];

/// Inner dimension of one 32-bit chunk where the whole sum may not fit i32: `256 * 2^7 * 2^15 = 2^30`.
const CHUNK: usize = 256;

/// Where the weights of a program go.
pub(crate) enum Place<'a> {
    /// Into panels for the kernels.
    Host(&'a mut Arena),
    /// To a candle device.
    Device(&'a Device),
}

/// Where the weights of a matrix are.
#[derive(Debug)]
enum Weights {
    /// In panel order, for the kernels.
    Panels(Region),
    /// On a candle device.
    Device(DeviceMatrix),
}

/// A [`Linear`] made ready to multiply.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Output channels, without padding.
    pub(crate) rows: usize,
    /// Input channels.
    pub(crate) cols: usize,
    /// Panels of [`LANES`] rows.
    pub(crate) panels: usize,
    weights: Weights,
    multiplier: Vec<i32>,
    bias: Vec<i64>,
    acc32: bool,
}

/// A matrix applied to some rows: the sums of a device, or the promise that the kernels will make them.
pub(crate) struct Product<'a> {
    matrix: &'a Packed,
    x: &'a [i16],
    /// `[rows of x, padded output channels]`, where a device has made them.
    sums: Option<Vec<i64>>,
}

impl Packed {
    /// Copies the weights of a matrix into panel order, or to a device.
    ///
    /// # Errors
    /// If the tensor's lengths disagree with its shape, the inner dimension is not a multiple of 4, or the device fails.
    pub(crate) fn new(m: &Linear, place: &mut Place<'_>) -> Result<Self, EngineError> {
        if m.cols == 0 || !m.cols.is_multiple_of(4) {
            return Err(EngineError::Shape("the input channels of a matrix are not a multiple of 4"));
        }
        if m.weight.len() != m.rows * m.cols
            || m.multiplier.len() != m.rows
            || !(m.bias.is_empty() || m.bias.len() == m.rows)
        {
            return Err(EngineError::Shape(
                "a matrix has not as many weights, multipliers or biases as its shape says",
            ));
        }
        let panels = m.rows.div_ceil(LANES);
        let weights = match place {
            Place::Device(device) => Weights::Device(DeviceMatrix::new(m, panels * LANES, device)?),
            Place::Host(arena) => {
                let mut region = arena.take(Self::bytes(m));
                pack(m, region.bytes_mut());
                Weights::Panels(region)
            }
        };
        let mut multiplier = m.multiplier.clone();
        multiplier.resize(panels * LANES, 0);
        let mut bias = m.bias.clone();
        bias.resize(panels * LANES, 0);
        Ok(Self { rows: m.rows, cols: m.cols, panels, weights, multiplier, bias, acc32: m.acc32 })
    }

    /// Bytes of a matrix in panel order.
    pub(crate) fn bytes(m: &Linear) -> usize {
        m.rows.next_multiple_of(LANES) * m.cols
    }

    /// Applies the matrix to the first `rows` rows of `x` (`[rows, cols]`).
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn apply<'a>(&'a self, x: &'a [i16], rows: usize) -> Result<Product<'a>, EngineError> {
        let x = &x[..rows * self.cols];
        let sums = match &self.weights {
            Weights::Panels(_) => None,
            Weights::Device(_) if rows == 0 => None,
            Weights::Device(device) => Some(device.sums(x, rows)?),
        };
        Ok(Product { matrix: self, x, sums })
    }

    /// Sums of one panel with `cols` rows of `x`.
    ///
    /// With `acc32`, import has proved that every sum fits i32, so one wrapping tile is exact. Otherwise tiles of
    /// [`CHUNK`] inner indices, which fit for any int8 weights, are added in i64.
    #[inline]
    fn tile(&self, isa: Isa, weights: &[i8], panel: usize, x: &[i16], cols: usize, out: &mut Raw) {
        let len = LANES * self.cols;
        let weights = &weights[panel * len..(panel + 1) * len];
        let mut sums: Sums = [[0; LANES]; TILE];
        if self.acc32 {
            isa.tile_i8(weights, x, self.cols, cols, &mut sums);
            scale_32(isa, &self.scale(panel), &sums, &mut out[..cols]);
            return;
        }
        out[..cols].fill([0; LANES]);
        for (i, chunk) in weights.chunks(LANES * CHUNK).enumerate() {
            isa.tile_i8(chunk, &x[i * CHUNK..], self.cols, cols, &mut sums);
            for (out, sums) in out[..cols].iter_mut().flatten().zip(sums.iter().flatten()) {
                *out += i64::from(*sums);
            }
        }
        self.scale(panel).apply(&mut out[..cols]);
    }

    #[inline]
    fn scale(&self, panel: usize) -> Scale<'_> {
        Scale { multiplier: lanes(&self.multiplier, panel), bias: lanes(&self.bias, panel) }
    }
}

impl Product<'_> {
    /// Raw accumulators `A = M sum W x + B` of one panel for `cols` rows from `row` on.
    #[inline]
    pub(crate) fn raw(&self, isa: Isa, panel: usize, row: usize, cols: usize, out: &mut Raw) {
        let m = self.matrix;
        if let Weights::Panels(weights) = &m.weights {
            m.tile(isa, weights, panel, &self.x[row * m.cols..], cols, out);
        } else if let Some(sums) = &self.sums {
            let width = m.panels * LANES;
            for (c, out) in out.iter_mut().enumerate().take(cols) {
                out.copy_from_slice(&sums[(row + c) * width + panel * LANES..][..LANES]);
            }
            m.scale(panel).apply(&mut out[..cols]);
        }
    }
}

/// Writes the weights of a matrix in panel order; the padding is zero already.
fn pack(m: &Linear, panels: &mut [i8]) {
    let weight: &[i8] = &m.weight;
    for (panel, rows) in panels.chunks_exact_mut(LANES * m.cols).zip(weight.chunks(LANES * m.cols)) {
        for (lane, row) in rows.chunks_exact(m.cols).enumerate() {
            for (pair, w) in panel.chunks_exact_mut(2 * LANES).zip(row.chunks_exact(2)) {
                pair[2 * lane..2 * lane + 2].copy_from_slice(w);
            }
        }
    }
}

/// Multipliers and biases of a panel.
struct Scale<'a> {
    multiplier: &'a [i32; LANES],
    bias: &'a [i64; LANES],
}

impl Scale<'_> {
    /// `A = M sum + B` for 64-bit sums, in place.
    fn apply(&self, rows: &mut [[i64; LANES]]) {
        for row in rows {
            for ((a, &m), &b) in row.iter_mut().zip(self.multiplier).zip(self.bias) {
                *a = i64::from(m) * *a + b;
            }
        }
    }
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
