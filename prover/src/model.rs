//! A model's tensors in the layout that its commitment has.

use std::sync::Arc;

use monai_inference::ModelHeader;
use monai_inference::shape::{BLOCK, Matrix, Shape};
use monai_inference::tensor::{Layout, Owner, Table, Tensor, inputs, outputs};
use monai_model::artefact::{HeadNorm, Linear, Model};
use rayon::prelude::*;

use crate::commit::ChunkRef;
use crate::error::ProveError;
use crate::kernels::Scaled;

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
        head_norm_eps: head_norms(model)?.iter().map(|n| n.eps).collect(),
        eos_ids: model.text.eos_ids.clone(),
        biased,
        chunk_bits,
    })
}

/// The norms of query and key heads, two a layer; none where the model has none.
fn head_norms(model: &Model) -> Result<Vec<&HeadNorm>, ProveError> {
    if !model.arch.qk_norm {
        return Ok(Vec::new());
    }
    let norms = model.layers.iter().flat_map(|l| [&l.q_norm, &l.k_norm]);
    norms.map(|n| n.as_ref().ok_or(ProveError::Model("a norm of heads"))).collect()
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

/// All values of a model's commitment, one tensor after another. Matrices stay int8 with a multiplier a row, an eighth
/// of the memory of what they stand for. Clones share them.
#[derive(Clone, Debug)]
pub struct ModelTensors {
    layout: Layout,
    /// In the order of their places.
    pieces: Arc<Vec<Piece>>,
}

/// One tensor.
#[derive(Debug)]
struct Piece {
    tensor: Tensor,
    start: usize,
    values: Owned,
}

#[derive(Debug)]
enum Owned {
    Wide(Vec<i64>),
    Scaled { weights: Vec<i8>, multipliers: Vec<i32>, row_bits: u32 },
}

/// The values of one tensor, as they are kept.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// 64-bit integers.
    Wide(&'a [i64]),
    /// A matrix.
    Scaled(Scaled<'a>),
}

/// Runs an expression on either form of stored values.
macro_rules! stored {
    ($stored:expr, $values:ident => $what:expr) => {
        match $stored {
            $crate::model::Stored::Wide($values) => $what,
            $crate::model::Stored::Scaled($values) => $what,
        }
    };
}
pub(crate) use stored;

impl ModelTensors {
    /// Lays a model out.
    ///
    /// # Errors
    /// Where the statement does not cover the model's shape.
    pub fn new(model: &Model, header: &ModelHeader) -> Result<Self, ProveError> {
        // Model tensors do not depend on the answer's length.
        let shape = Shape::new(header, 1, 1)?;
        let layout = Layout::new(Owner::Model, &shape);
        let mut pieces = Vec::new();
        for (tensor, place) in layout.iter() {
            let table = |t: Table| -> Vec<i64> {
                let tables = &model.tables;
                match t {
                    Table::Silu => tables.silu.iter().map(|v| i64::from(*v)).collect(),
                    Table::Exp => tables.exp.iter().map(|v| i64::from(*v)).collect(),
                    _ => tables.weight.iter().map(|v| i64::from(*v)).collect(),
                }
            };
            let small = |v: &[i16]| v.iter().map(|v| i64::from(*v)).collect();
            let values = match tensor {
                Tensor::Embedding => matrix(&[vec![&model.embedding]], place.len(), 6, 6),
                Tensor::Weights(m) => {
                    let ((_, out_bits), (_, in_bits)) = (outputs(m, &shape), inputs(m, &shape));
                    matrix(&parts(model, m), place.len(), out_bits, in_bits)
                }
                Tensor::Bias(m) => Owned::Wide(biases(&parts(model, m))),
                Tensor::Gain => Owned::Wide(model.final_gain.iter().map(|v| i64::from(*v)).collect()),
                Tensor::HeadGain => {
                    let gains = head_norms(model)?.into_iter().flat_map(|n| &n.gain);
                    Owned::Wide(gains.map(|v| i64::from(*v)).collect())
                }
                Tensor::Cos => Owned::Wide(small(&model.tables.cos)),
                Tensor::Sin => Owned::Wide(small(&model.tables.sin)),
                Tensor::Content(t) => Owned::Wide(table(t)),
                _ => return Err(ProveError::Model("a tensor that no model has")),
            };
            let values = match values {
                Owned::Wide(mut v) => {
                    v.resize(place.len(), 0);
                    Owned::Wide(v)
                }
                other => other,
            };
            pieces.push(Piece { tensor, start: place.start, values });
        }
        pieces.retain(|p| p.values.len() > 0);
        pieces.sort_by_key(|p| p.start);
        Ok(Self { layout, pieces: Arc::new(pieces) })
    }

    /// Values of a tensor; none where the shape has none.
    #[must_use]
    pub fn get(&self, tensor: Tensor) -> Stored<'_> {
        self.pieces.iter().find(|p| p.tensor == tensor).map_or(Stored::Wide(&[]), |p| p.values.view())
    }

    /// Values of a tensor that is no matrix; none for others.
    #[must_use]
    pub fn slice(&self, tensor: Tensor) -> &[i64] {
        match self.get(tensor) {
            Stored::Wide(v) => v,
            Stored::Scaled(_) => &[],
        }
    }

    /// All tensors with the index of their first value, in the order of the commitment, without gaps.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (usize, Stored<'_>)> {
        self.pieces.iter().map(|p| (p.start, p.values.view()))
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// True if there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layout.is_empty()
    }

    /// Bytes that the tensors take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let each = |p: &Piece| match &p.values {
            Owned::Wide(v) => size_of_val(v.as_slice()),
            Owned::Scaled { weights, multipliers, .. } => weights.len() + size_of_val(multipliers.as_slice()),
        };
        self.pieces.iter().map(each).sum()
    }

    /// The chunks, in the order of the commitment, each as the parts of tensors that it consists of; the last may be
    /// shorter. [`ChunkRef::Joined`] makes one of each.
    #[must_use]
    pub fn chunks(&self, chunk_bits: usize) -> Vec<Vec<ChunkRef<'_>>> {
        let size = 1usize << chunk_bits;
        let mut chunks: Vec<Vec<ChunkRef<'_>>> = (0..self.len().div_ceil(size)).map(|_| Vec::new()).collect();
        for piece in self.pieces.iter() {
            let len = piece.values.len();
            let mut done = 0;
            while done < len {
                let at = piece.start + done;
                let now = (size - at % size).min(len - done);
                chunks[at / size].push(piece.values.chunk(done, now));
                done += now;
            }
        }
        chunks
    }
}

impl Owned {
    fn len(&self) -> usize {
        match self {
            Self::Wide(v) => v.len(),
            Self::Scaled { weights, .. } => weights.len(),
        }
    }

    fn view(&self) -> Stored<'_> {
        match self {
            Self::Wide(v) => Stored::Wide(v),
            Self::Scaled { weights, multipliers, row_bits } => {
                Stored::Scaled(Scaled::new(weights, multipliers, *row_bits))
            }
        }
    }

    /// `len` values from `start`. A chunk is longer than a row, and both are powers of two, so rows are not cut.
    fn chunk(&self, start: usize, len: usize) -> ChunkRef<'_> {
        match self {
            Self::Wide(v) => ChunkRef::I64(&v[start..start + len]),
            Self::Scaled { weights, multipliers, row_bits } => ChunkRef::Scaled {
                values: &weights[start..start + len],
                multipliers: &multipliers[start >> row_bits..(start + len) >> row_bits],
                row: 1 << row_bits,
            },
        }
    }
}

fn biases(parts: &[Vec<&Linear>]) -> Vec<i64> {
    parts.iter().flatten().flat_map(|m| (0..m.rows).map(|n| m.bias.get(n).copied().unwrap_or(0))).collect()
}

/// Blocks of `2^out_bits` outputs by `2^in_bits` inputs, each row-major: `W' = M W`.
fn matrix(parts: &[Vec<&Linear>], len: usize, out_bits: usize, in_bits: usize) -> Owned {
    let (block_rows, block_cols) = (1usize << out_bits, 1usize << in_bits);
    let mut weights = vec![0i8; len];
    let mut multipliers = vec![0i32; len >> in_bits];
    let mut at = 0usize;
    for linear in parts.iter().flatten() {
        let across = linear.cols / block_cols;
        let down = linear.rows.div_ceil(block_rows);
        let n = across * down * block_rows * block_cols;
        let rows = across * block_rows;
        let slots = weights[at..at + n].par_chunks_mut(rows * block_cols);
        let scales = multipliers[at >> in_bits..(at + n) >> in_bits].par_chunks_mut(rows);
        slots.zip(scales).enumerate().for_each(|(block_row, (slots, scales))| {
            let lines = slots.chunks_mut(block_cols).zip(scales).enumerate();
            for (line, (slots, scale)) in lines {
                let (block_col, row) = (line / block_rows, block_row * block_rows + line % block_rows);
                // Rows beyond the vocabulary stay 0.
                if row < linear.rows {
                    *scale = linear.multiplier[row];
                    slots.copy_from_slice(&linear.row(row)[block_col * block_cols..][..block_cols]);
                }
            }
        });
        at += n;
    }
    Owned::Scaled { weights, multipliers, row_bits: in_bits as u32 }
}

/// Log of a chunk's values that suits a model: 64 chunks or more, none above `2^21` or below `2^16` values. Every prover and
/// verifier of a model must use the same; its commitment says which.
///
/// # Errors
/// Where the statement does not cover the model's shape.
pub fn chunk_bits(model: &Model) -> Result<usize, ProveError> {
    let len = Layout::new(Owner::Model, &Shape::new(&header(model, 21)?, 1, 1)?).len();
    Ok((len.max(1).ilog2() as usize).saturating_sub(5).clamp(16, 21))
}

const _: () = assert!(BLOCK == 64);
