//! How much memory a proof needs, known before it is begun.
//!
//! An upper bound of what the stages hold at the same time, from the sizes of their arrays; `bench-proof` compares it with
//! what was measured. What a model's artefact maps from its file is counted as well.
//!
//! What lives when, largest last: model, setup and witness from beginning to end; the logits of all outputs while they are
//! traced; dense factors, one sum at a time; folded units in the reduction; the combined polynomial and its quotients in
//! the opening; the fraction tree of the leaves, which decides the peak at all lengths.

use monai_inference::ModelHeader;
use monai_inference::ShapeError;
use monai_inference::leaf::{Leaf, LeafLayout, Remainder};
use monai_inference::shape::{Matrix, Shape};
use monai_inference::tensor::{Layout, Owner, Tensor};

use crate::tree;

/// Bytes of a field element.
const ELEMENT: u64 = 32;
/// Bytes of a point of the setup.
const POINT: u64 = 64;
/// Program, stacks, bucket tables and the allocator's slack.
const BASE: u64 = 400 << 20;

/// Peak memory of a proof, by what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Model, in the file's and in the commitment's layout.
    pub model: u64,
    /// Setup.
    pub setup: u64,
    /// Committed values, remainders and accumulators.
    pub witness: u64,
    /// The most that one stage adds to these.
    pub stage: u64,
}

impl MemoryEstimate {
    /// For an answer of this shape.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let wide = |n: usize| n as u64;
        let model = Layout::new(Owner::Model, shape);
        let witness = Layout::new(Owner::Witness, shape);
        let len = |t: Tensor| witness.get(t).map_or(0, |p| p.len() as u64);
        let remainders: u64 = Remainder::ALL.iter().map(|r| len(r.shaped_as())).sum();
        let raw = len(Tensor::QueryKey) + len(Tensor::Gate) + len(Tensor::DownHi) + len(Tensor::NormY);
        let leaves = LeafLayout::new(shape);
        // Leaves that are no plain 16-bit values have an index each.
        let read = |leaf: &Leaf| matches!(leaf, Leaf::Range(_) | Leaf::Remainder(_));
        let indices: u64 =
            leaves.leaves.iter().filter(|(l, _)| !read(l)).map(|(_, place)| 4 * wide(place.len())).sum();
        let chunk = 1u64 << shape.chunk_bits;
        // Logits of all outputs, while they are traced.
        let logits = 8 * ((wide(shape.vocab_blocks) * 64) << shape.output_bits);
        let tree = indices + tree::peak_bytes(leaves.leaf_len);
        // Dense factors of the widest sums: gate times up, the maximum's pointer, the selection.
        let factors = |n: u64, t: Tensor| n * ELEMENT * len(t);
        let sums = factors(6, Tensor::Gate).max(factors(3, Tensor::Weight)).max(factors(6, Tensor::LogitLo));
        // Folded units of all values, and their weights.
        let reduction = 2 * ELEMENT * (wide(model.len()) + wide(witness.len())) / 32;
        // The combined polynomial, its quotients, and their integers.
        let opening = 6 * ELEMENT * chunk;
        let matrices = Matrix::ALL.len() as u64;
        Self {
            model: 2 * wide(model.len()) + wide(model.len()) / 8 + matrices * 4096,
            setup: POINT * chunk,
            witness: 4 * wide(witness.len()) + 2 * remainders + 8 * raw,
            stage: tree.max(sums).max(reduction).max(opening).max(logits),
        }
    }

    /// For one proof of several answers: their witnesses are in memory together, their stages one after another, but for
    /// reduction and opening, which grow with the values.
    #[must_use]
    pub fn of_all(shapes: &[Shape]) -> Self {
        let mut all = Self { model: 0, setup: 0, witness: 0, stage: 0 };
        let mut values = 0;
        for shape in shapes {
            let one = Self::new(shape);
            values += Layout::new(Owner::Witness, shape).len() as u64;
            all = Self {
                model: one.model,
                setup: one.setup,
                witness: all.witness + one.witness,
                stage: all.stage.max(one.stage),
            };
        }
        let model = shapes.first().map_or(0, |shape| Layout::new(Owner::Model, shape).len() as u64);
        all.stage = all.stage.max(2 * ELEMENT * (model + values) / 32);
        all
    }

    /// All of it, in bytes.
    #[must_use]
    pub const fn total(&self) -> u64 {
        BASE + self.model + self.setup + self.witness + self.stage
    }
}

/// The most positions, prompt and answer together, that a proof can have in `bytes` of memory; `None` where not even the
/// shortest fits. Half of them are counted as output.
///
/// # Errors
/// Where the statement does not cover the model's shape.
pub fn most_positions(header: &ModelHeader, bytes: u64) -> Result<Option<usize>, ShapeError> {
    let fits = |ids: usize| -> Result<bool, ShapeError> {
        let shape = Shape::new(header, ids - ids / 2, ids / 2)?;
        Ok(MemoryEstimate::new(&shape).total() <= bytes)
    };
    let most = header.arch.max_positions.min(monai_inference::shape::MAX_POSITIONS as usize);
    let (mut low, mut high) = (1usize, most + 1);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle)? { low = middle } else { high = middle }
    }
    Ok((low > 1).then_some(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_model::testing::{TinyOptions, tiny};

    #[test]
    fn longer_answers_need_more_and_the_longest_that_fits_is_found() {
        let model = tiny(&TinyOptions { max_positions: 2048, ..TinyOptions::default() }).unwrap();
        let header = crate::header(&model, 16).unwrap();
        let needs = |ids: usize| MemoryEstimate::new(&Shape::new(&header, ids / 2, ids / 2).unwrap()).total();
        assert!(needs(64) < needs(256) && needs(256) < needs(1024));
        assert_eq!(most_positions(&header, 1).unwrap(), None);
        assert_eq!(most_positions(&header, u64::MAX).unwrap(), Some(2048));
        let most = most_positions(&header, needs(256)).unwrap().unwrap();
        // Positions are padded to a power of two, so 257 ids, the last of which is no input, need no more than 256.
        assert!((256..=258).contains(&most), "{most}");
        assert!(needs(most + 2) > needs(256));
    }
}
