//! A model's tensors in the layout that its commitment has.

use monai_inference::ModelHeader;
use monai_inference::shape::{BLOCK, Matrix, Shape};
use monai_inference::tensor::{Layout, Owner, Table, Tensor, inputs, outputs};
use monai_model::artefact::{Linear, Model};
use rayon::prelude::*;

use crate::error::ProveError;

/// The public header of a model, for chunks of `2^chunk_bits` values.
///
/// # Errors
/// [`ProveError::Model`] where a score multiplier is negative.
pub fn header(model: &Model, chunk_bits: usize) -> Result<ModelHeader, ProveError> {
    let score_multipliers = model
        .layers
        .iter()
        .map(|l| u64::try_from(l.score_multiplier).map_err(|_| ProveError::Model("score multiplier")))
        .collect::<Result<_, _>>()?;
    let biased = Matrix::ALL
        .into_iter()
        .filter(|m| parts(model, *m).iter().flatten().any(|linear| !linear.bias.is_empty()))
        .collect();
    Ok(ModelHeader {
        id: model.id,
        arch: model.arch.clone(),
        score_multipliers,
        eos_ids: model.text.eos_ids.clone(),
        biased,
        chunk_bits,
    })
}

/// The matrices, layer by layer, whose rows one stacked matrix holds.
fn parts(model: &Model, matrix: Matrix) -> Vec<Vec<&Linear>> {
    if matrix == Matrix::Head {
        return vec![vec![model.head()]];
    }
    model
        .layers
        .iter()
        .map(|l| match matrix {
            Matrix::QueryKey => vec![&l.q, &l.k],
            Matrix::Value => vec![&l.v],
            Matrix::Output => vec![&l.o],
            Matrix::Gate => vec![&l.gate],
            Matrix::Up => vec![&l.up],
            Matrix::Down | Matrix::Head => vec![&l.down],
        })
        .collect()
}

/// All values of a model's commitment, one after another.
#[derive(Clone, Debug)]
pub struct ModelTensors {
    layout: Layout,
    values: Vec<i64>,
}

impl ModelTensors {
    /// Lays a model out.
    ///
    /// # Errors
    /// Where the statement does not cover the model's shape.
    pub fn new(model: &Model, header: &ModelHeader) -> Result<Self, ProveError> {
        // Model tensors do not depend on the answer's length.
        let shape = Shape::new(header, 1, 1)?;
        let layout = Layout::new(Owner::Model, &shape);
        let mut out = Self { values: vec![0; layout.len()], layout };
        out.matrix(Tensor::Embedding, &[vec![&model.embedding]], 6, 6);
        for m in Matrix::ALL {
            let (_, out_bits) = outputs(m, &shape);
            let (_, in_bits) = inputs(m, &shape);
            let parts = parts(model, m);
            out.matrix(Tensor::Weights(m), &parts, out_bits, in_bits);
            out.bias(Tensor::Bias(m), &parts);
        }
        out.fill(Tensor::Gain, model.final_gain.iter().map(|v| i64::from(*v)));
        out.fill(Tensor::Cos, model.tables.cos.iter().map(|v| i64::from(*v)));
        out.fill(Tensor::Sin, model.tables.sin.iter().map(|v| i64::from(*v)));
        out.fill(Tensor::Content(Table::Silu), model.tables.silu.iter().map(|v| i64::from(*v)));
        out.fill(Tensor::Content(Table::Exp), model.tables.exp.iter().map(|v| i64::from(*v)));
        out.fill(Tensor::Content(Table::Weight), model.tables.weight.iter().map(|v| i64::from(*v)));
        Ok(out)
    }

    /// Values of a tensor; empty where the shape has none.
    #[must_use]
    pub fn slice(&self, tensor: Tensor) -> &[i64] {
        self.layout.get(tensor).map_or(&[], |p| &self.values[p.start..p.start + p.len()])
    }

    fn slice_mut(&mut self, tensor: Tensor) -> &mut [i64] {
        self.layout.get(tensor).map_or(&mut [], |p| &mut self.values[p.start..p.start + p.len()])
    }

    fn fill(&mut self, tensor: Tensor, values: impl Iterator<Item = i64>) {
        for (slot, v) in self.slice_mut(tensor).iter_mut().zip(values) {
            *slot = v;
        }
    }

    fn bias(&mut self, tensor: Tensor, parts: &[Vec<&Linear>]) {
        let values: Vec<i64> = parts
            .iter()
            .flatten()
            .flat_map(|m| (0..m.rows).map(|n| m.bias.get(n).copied().unwrap_or(0)))
            .collect();
        self.fill(tensor, values.into_iter());
    }

    /// Blocks of `2^out_bits` outputs by `2^in_bits` inputs, each row-major: `W' = M W`.
    fn matrix(&mut self, tensor: Tensor, parts: &[Vec<&Linear>], out_bits: usize, in_bits: usize) {
        let (block_rows, block_cols) = (1usize << out_bits, 1usize << in_bits);
        let slots = self.slice_mut(tensor);
        if slots.is_empty() {
            return;
        }
        let mut at = 0usize;
        for linear in parts.iter().flatten() {
            let across = linear.cols / block_cols;
            let down = linear.rows.div_ceil(block_rows);
            let len = across * down * block_rows * block_cols;
            slots[at..at + len].par_chunks_mut(across * block_rows * block_cols).enumerate().for_each(
                |(block_row, slots)| {
                    for (block_col, slots) in slots.chunks_mut(block_rows * block_cols).enumerate() {
                        for (r, slots) in slots.chunks_mut(block_cols).enumerate() {
                            let row = block_row * block_rows + r;
                            // Rows beyond the vocabulary stay 0.
                            if row < linear.rows {
                                let m = i64::from(linear.multiplier[row]);
                                let source = &linear.row(row)[block_col * block_cols..][..block_cols];
                                for (slot, w) in slots.iter_mut().zip(source) {
                                    *slot = m * i64::from(*w);
                                }
                            }
                        }
                    }
                },
            );
            at += len;
        }
    }

    /// All values, one tensor after another.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// The chunks, in the order of the commitment; the last may be shorter.
    #[must_use]
    pub fn chunks(&self, chunk_bits: usize) -> Vec<&[i64]> {
        self.values.chunks(1 << chunk_bits).collect()
    }
}

const _: () = assert!(BLOCK == 64);
