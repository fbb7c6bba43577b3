//! How often each table entry is looked up.

use monai_inference::leaf::Leaf;
use monai_inference::shape::Shape;
use monai_inference::tensor::{Table, Tensor};
use monai_model::artefact::Model;
use rayon::prelude::*;

use super::store::Witness;
use crate::error::ProveError;
use crate::leaves::Reader;

/// The entry of its table that each leaf value of a group looks up; `None` where it is in none.
///
/// It goes by the key alone: whether the other columns are the entry's is what the lookup proves.
pub(crate) fn entry<'a>(
    w: &'a Witness,
    shape: &Shape,
    leaf: Leaf,
) -> impl Fn(usize) -> Option<usize> + Sync + use<'a> {
    let reader = Reader::of_shape(shape, w.rows.iter().map(|r| r.delta), w, leaf);
    move |i| {
        let [key, _, flag, _] = reader.columns(i);
        let within = |v: i64, bits: u32| usize::try_from(v).ok().filter(|v| v >> bits == 0);
        match leaf.table() {
            Table::Range | Table::Silu => within(key, 16),
            Table::Exp | Table::Weight => Some(within(key, 16)? + (within(flag, 1)? << 16)),
            Table::Distance | Table::Compare => Some(within(key, 17)? + (within(flag, 1)? << 17)),
            Table::Power => within(key, 4),
        }
    }
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
            let entry = entry(w, shape, leaf);
            let len = w.slice(leaf.shaped_as()).len();
            let some = (0..len.div_ceil(PIECE))
                .into_par_iter()
                .map(|piece| {
                    let mut counts = vec![0i32; 1 << table.bits()];
                    for i in piece * PIECE..len.min((piece + 1) * PIECE) {
                        let slot = entry(i).and_then(|e| counts.get_mut(e));
                        *slot.ok_or(ProveError::Model("a value is in no table"))? += 1;
                    }
                    Ok::<_, ProveError>(counts)
                })
                .try_reduce(|| vec![0i32; 1 << table.bits()], |a, b| added(a, &b))?;
            counts = added(counts, &some)?;
        }
        w.slice_mut(Tensor::Multiplicity(table)).copy_from_slice(&counts);
    }
    Ok(())
}

/// Leaves that one task counts: many more than a table has entries.
const PIECE: usize = 1 << 21;

fn added(mut a: Vec<i32>, b: &[i32]) -> Result<Vec<i32>, ProveError> {
    for (a, b) in a.iter_mut().zip(b) {
        let sum = i64::from(*a) + i64::from(*b);
        *a = i32::try_from(sum).map_err(|_| ProveError::Range { what: "a multiplicity", got: sum.into() })?;
    }
    Ok(a)
}
