//! Storage of a witness in the statement's layout.

use std::collections::BTreeMap;

use monai_inference::leaf::Remainder;
use monai_inference::shape::Shape;
use monai_inference::statement::SelectionRow;
use monai_inference::tensor::{Layout, Owner, Tensor};
use monai_protocol::Fr;

use crate::error::ProveError;

/// Accumulators and other wide values that are not committed, each in the block layout of a committed tensor.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// What RoPE turns, as [`Tensor::QueryKey`].
    pub query_key: Vec<i64>,
    /// As [`Tensor::Gate`].
    pub up: Vec<i64>,
    /// As [`Tensor::DownHi`].
    pub down: Vec<i64>,
    /// Residual at each norm site, as [`Tensor::NormY`].
    pub residual: Vec<i64>,
    /// Sums of squares, `[site, position]`.
    pub squares: Vec<Fr>,
    /// The same of normalised heads, `[layer, query and key heads, position]`; empty where they have no norm.
    pub head_squares: Vec<Fr>,
    /// What a dishonest prover adds to the values mixed by attention, by `[layer, head, position]`. Empty but in tests.
    pub mixed: BTreeMap<usize, Fr>,
}

/// A whole witness. Public so that tests can break one value at a time.
#[derive(Clone, Debug)]
pub struct Witness {
    layout: Layout,
    /// All committed values, one tensor after another.
    pub values: Vec<i32>,
    /// Virtual remainders, each in the layout of the tensor that it is shaped as.
    pub remainders: BTreeMap<Remainder, Vec<u16>>,
    /// What is neither committed nor looked up.
    pub raw: Raw,
    /// The integers that the proof shows.
    pub rows: Vec<SelectionRow>,
}

impl Witness {
    /// Zeros.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let layout = Layout::new(Owner::Witness, shape);
        let len = |t: Tensor| layout.get(t).map_or(0, |p| p.len());
        let remainders = Remainder::ALL.map(|r| (r, vec![0u16; len(r.shaped_as())])).into_iter().collect();
        let raw = Raw {
            query_key: vec![0; len(Tensor::QueryKey)],
            up: vec![0; len(Tensor::Gate)],
            down: vec![0; len(Tensor::DownHi)],
            residual: vec![0; len(Tensor::NormY)],
            squares: vec![Fr::from(0u64); shape.sites() << shape.position_bits],
            head_squares: vec![Fr::from(0u64); len(Tensor::HeadRows) / 12],
            mixed: BTreeMap::new(),
        };
        Self { values: vec![0; layout.len()], layout, remainders, raw, rows: Vec::new() }
    }

    /// Values of a tensor; empty where the shape has none.
    #[must_use]
    pub fn slice(&self, tensor: Tensor) -> &[i32] {
        self.layout.get(tensor).map_or(&[], |p| &self.values[p.start..p.start + p.len()])
    }

    /// The same, to be written.
    pub fn slice_mut(&mut self, tensor: Tensor) -> &mut [i32] {
        self.layout.get(tensor).map_or(&mut [], |p| &mut self.values[p.start..p.start + p.len()])
    }

    /// Writes value `index` of a tensor.
    pub(super) fn put(&mut self, tensor: Tensor, index: usize, value: i64) {
        self.slice_mut(tensor)[index] = value as i32;
    }

    /// Writes a signed 16-bit value in its offset form.
    pub(super) fn put16(&mut self, tensor: Tensor, index: usize, value: i64) -> Result<(), ProveError> {
        if !(-32768..=32767).contains(&value) {
            return Err(ProveError::Range { what: "a 16-bit value", got: value.into() });
        }
        self.put(tensor, index, value + 32768);
        Ok(())
    }

    /// Writes a signed 32-bit value as two limbs of `value + 2^31`.
    pub(super) fn put32(
        &mut self,
        lo: Tensor,
        hi: Tensor,
        index: usize,
        value: i64,
    ) -> Result<(), ProveError> {
        let Ok(stored) = u32::try_from(value + (1 << 31)) else {
            return Err(ProveError::Range { what: "a 32-bit value", got: value.into() });
        };
        self.put(lo, index, i64::from(stored & 0xffff));
        self.put(hi, index, i64::from(stored >> 16));
        Ok(())
    }

    /// Writes a non-negative integer as limbs of 16 bits, limb `l` at `index + l stride`.
    pub(super) fn put_limbs(
        &mut self,
        tensor: Tensor,
        (index, stride): (usize, usize),
        limbs: usize,
        value: u128,
    ) -> Result<(), ProveError> {
        if limbs < 8 && value >> (16 * limbs) != 0 {
            return Err(ProveError::Range { what: "a value in limbs", got: value as i128 });
        }
        for l in 0..limbs {
            self.put(tensor, index + l * stride, ((value >> (16 * l)) & 0xffff) as i64);
        }
        Ok(())
    }

    /// Writes the low half of `argument - result 2^32` (or `2^16`) as a virtual remainder and returns the upper half.
    pub(super) fn remainder(
        &mut self,
        remainder: Remainder,
        index: usize,
        rest: i128,
        bits: u32,
    ) -> Result<i64, ProveError> {
        if !(0..1i128 << bits).contains(&rest) {
            return Err(ProveError::Range { what: "a remainder", got: rest });
        }
        if let Some(r) = self.remainders.get_mut(&remainder) {
            r[index] = (rest & 0xffff) as u16;
        }
        Ok((rest >> 16) as i64)
    }
}
