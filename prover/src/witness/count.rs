//! How often each table entry is looked up.

use monai_inference::leaf::Leaf;
use monai_inference::shape::Shape;
use monai_inference::tensor::{Table, Tensor};
use monai_model::artefact::Model;

use super::store::Witness;
use crate::error::ProveError;

/// The entry of its table that leaf value `i` of a group looks up; `None` where it is in none.
pub(crate) fn entry(w: &Witness, shape: &Shape, leaf: Leaf, i: usize) -> Option<usize> {
    let get = |t: Tensor| w.slice(t).get(i).copied();
    let index = |v: i64| usize::try_from(v).ok();
    match leaf {
        Leaf::Range(t) => index(get(t)?.into()),
        Leaf::Remainder(r) => w.remainders.get(&r)?.get(i).map(|v| usize::from(*v)),
        Leaf::Silu => index(get(Tensor::Gate)?.into()),
        Leaf::Exp => Some(index(get(Tensor::DistanceLo)?.into())? + (index(get(Tensor::Far)?.into())? << 16)),
        Leaf::Weight => {
            Some(index(get(Tensor::LogitLo)?.into())? + (index(get(Tensor::LogitFar)?.into())? << 16))
        }
        Leaf::Distance => {
            let (key, row) = (i & 63, (i >> 6) & (shape.positions() - 1));
            let segment = (i >> (6 + shape.position_bits)) & (shape.segments() - 1);
            distance(get(Tensor::DistanceHi)?, segment * 64 + key <= row)
        }
        Leaf::LogitDistance => {
            let id = (i & 63) + ((i >> (6 + shape.output_bits)) << 6);
            distance(get(Tensor::LogitHi)?, id < shape.vocab)
        }
        Leaf::Compare => {
            let row = (i >> 6) & ((1 << shape.output_bits) - 1);
            let delta = w.rows.get(row).map_or(0, |r| i64::from(r.delta));
            let far = index(get(Tensor::LogitFar)?.into())?;
            Some(index(i64::from(get(Tensor::LogitLo)?) - delta + (1 << 16))? + (far << 17))
        }
        Leaf::Power => index(get(Tensor::FfnExponent)?.into()),
    }
}

fn distance(hi: i32, visible: bool) -> Option<usize> {
    let key = usize::try_from(i64::from(hi) + (1 << 16)).ok()?;
    Some(key + (usize::from(visible) << 17))
}

impl Witness {
    /// Counts all lookups again, for tests that change values.
    ///
    /// # Errors
    /// Where a value is in no table.
    pub fn recount(&mut self, model: &Model, shape: &Shape) -> Result<(), ProveError> {
        multiplicities(model, shape, self)
    }
}

/// Fills the multiplicities of all tables. A lookup that no table has is an error of the witness.
pub(super) fn multiplicities(model: &Model, shape: &Shape, w: &mut Witness) -> Result<(), ProveError> {
    debug_assert!(model.tables.exp.len() == 1 << 16);
    for table in Table::ALL {
        let mut counts = vec![0i32; 1 << table.bits()];
        for leaf in Leaf::all().into_iter().filter(|l| l.table() == table) {
            for i in 0..w.slice(leaf.shaped_as()).len() {
                let slot = entry(w, shape, leaf, i).and_then(|e| counts.get_mut(e));
                *slot.ok_or(ProveError::Model("a value is in no table"))? += 1;
            }
        }
        w.slice_mut(Tensor::Multiplicity(table)).copy_from_slice(&counts);
    }
    Ok(())
}
