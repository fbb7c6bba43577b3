//! What the lookup argument's trees are made of: the entries of all tables, and which entry each leaf is.
//!
//! An honest leaf is an entry of its table, so its denominator is looked up, not computed. A leaf that is no entry (a wrong
//! witness) gets a denominator of its own, by the definition: the argument must then fail where the verifier's would.

use monai_inference::VerifyError;
use monai_inference::leaf::Leaf;
use monai_inference::party::Fingerprint;
use monai_inference::statement::Statement;
use monai_inference::tensor::{Table, Tensor};
use monai_protocol::Fr;
use rayon::prelude::*;

use crate::model::ModelTensors;
use crate::tree::{Layer, Leaves, Run};
use crate::witness::Witness;

/// Stands for a leaf that is no entry until it has a denominator.
const NO_ENTRY: u32 = u32::MAX;

/// The columns of entry `i` of a table: the integers that `table_components` extends.
fn columns(table: Table, i: usize, content: &[i64]) -> [i64; 4] {
    let low = (i & 0xffff) as i64;
    let flag = |bit: usize| (i >> bit & 1) as i64;
    match table {
        Table::Range => [low, 0, 0, 0],
        Table::Silu => [low, content.get(i).copied().unwrap_or(0), 0, 0],
        Table::Exp | Table::Weight => {
            let far = flag(16);
            [low, (1 - far) * content.get(i & 0xffff).copied().unwrap_or(0), far, 0]
        }
        Table::Distance => {
            let (sign, visible) = (flag(16), flag(17));
            let key = if visible == 1 { (1 << 16) + sign * low } else { low + (sign << 16) };
            let far = if visible == 1 { i64::from(sign == 1 && low != 0) } else { 1 };
            [key, far, visible, 0]
        }
        Table::Compare => {
            let (above, far) = (flag(16), flag(17));
            let below = 1 - above;
            let keep = below + above * i64::from(low == 0);
            [low + (above << 16), (1 - far) * keep, far, (1 - far) * below]
        }
        Table::Power => {
            let x = i & 15;
            [x as i64, 1 << (15 - x), 1 << x, i64::from(x > 0)]
        }
    }
}

/// `beta^4 tag` and the powers of `beta`.
struct Merge {
    alpha: Fr,
    powers: [Fr; 5],
}

impl Merge {
    fn new(f: &Fingerprint) -> Self {
        let square = f.beta * f.beta;
        Self { alpha: f.alpha, powers: [Fr::from(1u64), f.beta, square, square * f.beta, square * square] }
    }

    fn denominator(&self, table: Table, columns: [i64; 4]) -> Fr {
        let mut d = self.alpha - self.powers[4] * Fr::from(table.tag()) - Fr::from(columns[0]);
        for (c, power) in columns.iter().zip(&self.powers).skip(1) {
            if *c != 0 {
                d -= *power * Fr::from(*c);
            }
        }
        d
    }
}

/// The denominators of all entries, in the order of their tree.
fn entries(s: &Statement, m: &ModelTensors, f: &Fingerprint) -> Vec<Fr> {
    let merge = Merge::new(f);
    let mut places: Vec<_> = s.leaves.tables.iter().collect();
    places.sort_by_key(|(_, p)| p.start);
    let mut out = Vec::with_capacity(s.leaves.table_len);
    for (table, place) in places {
        let content = m.slice(Tensor::Content(*table));
        out.par_extend(
            (0..place.len())
                .into_par_iter()
                .with_min_len(1 << 10)
                .map(|i| merge.denominator(*table, columns(*table, i, content))),
        );
    }
    out
}

/// The tree of table entries: their numerators are the multiplicities.
pub(crate) fn tables(s: &Statement, w: &Witness, m: &ModelTensors, f: &Fingerprint) -> Layer {
    let mut places: Vec<_> = s.leaves.tables.iter().collect();
    places.sort_by_key(|(_, p)| p.start);
    let numerators = places
        .into_iter()
        .flat_map(|(table, _)| w.slice(Tensor::Multiplicity(*table)).iter().map(|c| Fr::from(*c)))
        .collect();
    Layer { numerators, denominators: entries(s, m, f) }
}

/// The tree of looked-up values.
///
/// Values that are looked up in the range table alone are read where the witness keeps them; of all others the tree has
/// the index of their entry.
///
/// # Errors
/// [`VerifyError::Internal`] where the statement lacks a table.
pub(crate) fn leaves<'a>(
    s: &Statement,
    w: &'a Witness,
    m: &ModelTensors,
    f: &Fingerprint,
) -> Result<Leaves<'a>, VerifyError> {
    let mut table = entries(s, m, f);
    let place = |t: Table| s.leaves.tables.get(&t).ok_or(VerifyError::Internal("table"));
    let range = place(Table::Range)?.start;
    let mut order: Vec<_> = s.leaves.leaves.iter().collect();
    order.sort_by_key(|(_, place)| place.start);
    let mut runs = Vec::with_capacity(order.len());
    for (leaf, leaves) in order {
        let read = match leaf {
            Leaf::Range(t) => Some(Run::Wide(w.slice(*t))).filter(|_| all_in_range(w.slice(*t))),
            Leaf::Remainder(r) => Some(Run::Narrow(w.remainders.get(r).map_or(&[][..], Vec::as_slice))),
            _ => None,
        };
        runs.push(match read {
            Some(run) => run,
            None => {
                Run::Index(indices(s, w, m, f, *leaf, leaves.len(), place(leaf.table())?.start, &mut table))
            }
        });
    }
    Ok(Leaves::new(table, range, runs))
}

fn all_in_range(values: &[i32]) -> bool {
    values.par_chunks(1 << 14).all(|piece| piece.iter().fold(0, |bits, v| bits | v) >> 16 == 0)
}

/// The entries of a group of leaves. Those that are none get an entry of their own.
#[expect(clippy::too_many_arguments, reason = "all that tells where a group's values and entries are")]
fn indices(
    s: &Statement,
    w: &Witness,
    m: &ModelTensors,
    f: &Fingerprint,
    leaf: Leaf,
    len: usize,
    first: usize,
    table: &mut Vec<Fr>,
) -> Vec<u32> {
    let reader = Reader::new(s, w, leaf);
    let content = m.slice(Tensor::Content(leaf.table()));
    let mut index = vec![0u32; len];
    index.par_chunks_mut(1 << 12).enumerate().for_each(|(piece, slots)| {
        for (i, slot) in slots.iter_mut().enumerate() {
            let found = entry(leaf.table(), reader.columns((piece << 12) + i), content);
            *slot = found.map_or(NO_ENTRY, |e| (first + e) as u32);
        }
    });
    if index.par_iter().any(|i| *i == NO_ENTRY) {
        let merge = Merge::new(f);
        for (i, slot) in index.iter_mut().enumerate().filter(|(_, slot)| **slot == NO_ENTRY) {
            *slot = table.len() as u32;
            table.push(merge.denominator(leaf.table(), reader.columns(i)));
        }
    }
    index
}

/// The entry with these columns, if there is one.
#[inline(always)]
pub(crate) fn entry(table: Table, columns: [i64; 4], content: &[i64]) -> Option<usize> {
    let [c0, c1, c2, _] = columns;
    let within = |v: i64, bits: u32| usize::try_from(v).ok().filter(|v| v >> bits == 0);
    let candidate = match table {
        // Nothing else to compare.
        Table::Range => return within(c0, 16),
        Table::Silu => within(c0, 16)?,
        Table::Exp | Table::Weight => within(c0, 16)? + (within(c2, 1)? << 16),
        Table::Distance | Table::Compare => within(c0, 17)? + (within(c2, 1)? << 17),
        Table::Power => within(c0, 4)?,
    };
    // An entry below a visible distance of 0 repeats that of 0: no leaf may be counted there.
    let found = self::columns(table, candidate, content);
    (found[0] == c0 && found[1] == c1 && found == columns).then_some(candidate)
}

/// Reads the columns of one group of leaves.
pub(crate) struct Reader<'a> {
    leaf: Leaf,
    tensors: [&'a [i32]; 4],
    remainder: &'a [u16],
    position_bits: usize,
    segments: usize,
    output_bits: usize,
    vocab: usize,
    deltas: Vec<i64>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(s: &Statement, w: &'a Witness, leaf: Leaf) -> Self {
        Self::of_shape(&s.shape, s.rows.iter().map(|r| r.delta), w, leaf)
    }

    pub(crate) fn of_shape(
        shape: &monai_inference::shape::Shape,
        deltas: impl Iterator<Item = u16>,
        w: &'a Witness,
        leaf: Leaf,
    ) -> Self {
        use Tensor as T;
        let names: &[Tensor] = match &leaf {
            Leaf::Range(t) => std::slice::from_ref(t),
            Leaf::Remainder(_) => &[],
            Leaf::Silu => &[T::Gate, T::Silu],
            Leaf::Exp => &[T::DistanceLo, T::Weight, T::Far],
            Leaf::Distance => &[T::DistanceHi, T::Far],
            Leaf::Weight => &[T::LogitLo, T::LogitWeight, T::LogitFar],
            Leaf::LogitDistance => &[T::LogitHi, T::LogitFar],
            Leaf::Compare => &[T::LogitLo, T::Keep, T::LogitFar, T::Below],
            Leaf::Power => &[T::FfnExponent, T::FfnDown, T::FfnUp, T::FfnNonzero],
        };
        let mut tensors: [&[i32]; 4] = [&[]; 4];
        for (slot, name) in tensors.iter_mut().zip(names) {
            *slot = w.slice(*name);
        }
        let remainder = match leaf {
            Leaf::Remainder(r) => w.remainders.get(&r).map_or(&[][..], Vec::as_slice),
            _ => &[],
        };
        let mut deltas: Vec<i64> = deltas.map(i64::from).collect();
        deltas.resize(1 << shape.output_bits, 0);
        Self {
            leaf,
            tensors,
            remainder,
            position_bits: shape.position_bits,
            segments: shape.segments(),
            output_bits: shape.output_bits,
            vocab: shape.vocab,
            deltas,
        }
    }

    /// The columns of leaf `i`.
    #[inline(always)]
    pub(crate) fn columns(&self, i: usize) -> [i64; 4] {
        let get = |t: usize| i64::from(self.tensors[t][i]);
        match self.leaf {
            Leaf::Range(_) => [get(0), 0, 0, 0],
            Leaf::Remainder(_) => [i64::from(self.remainder[i]), 0, 0, 0],
            Leaf::Silu => [get(0), get(1), 0, 0],
            Leaf::Exp | Leaf::Weight => [get(0), get(1), get(2), 0],
            Leaf::Distance => {
                let (key, row) = (i & 63, (i >> 6) & ((1 << self.position_bits) - 1));
                let segment = (i >> (6 + self.position_bits)) & (self.segments - 1);
                [get(0) + (1 << 16), get(1), i64::from(segment * 64 + key <= row), 0]
            }
            Leaf::LogitDistance => {
                let id = (i & 63) + ((i >> (6 + self.output_bits)) << 6);
                [get(0) + (1 << 16), get(1), i64::from(id < self.vocab), 0]
            }
            Leaf::Compare => {
                let row = (i >> 6) & ((1 << self.output_bits) - 1);
                [get(0) - self.deltas[row] + (1 << 16), get(1), get(2), get(3)]
            }
            Leaf::Power => [get(0), get(1), get(2), get(3)],
        }
    }
}

/// The denominator of an entry by the verifier's formula: the twin of [`entries`].
#[cfg(test)]
fn entry_reference(table: Table, i: usize, content: &[i64], f: &Fingerprint) -> Fr {
    let bits: Vec<Fr> = (0..table.bits()).map(|j| Fr::from((i >> j & 1) as u64)).collect();
    let content = content.get(i & 0xffff).map_or_else(|| Fr::from(0u64), |v| Fr::from(*v));
    let [c0, c1, c2, c3] = monai_inference::relations::table_components(table, &bits, content).unwrap();
    let square = f.beta * f.beta;
    f.alpha - (c0 + f.beta * (c1 + f.beta * (c2 + f.beta * c3)) + square * square * Fr::from(table.tag()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_what_the_verifier_extends() {
        let f = Fingerprint {
            alpha: Fr::from(0x1234_5678_9abc_u64) * Fr::from(u64::MAX),
            beta: -Fr::from(77u64),
        };
        let content: Vec<i64> = (0..1 << 16).map(|i| (i * 7919) % 100_003 - 40_000).collect();
        let merge = Merge::new(&f);
        for table in Table::ALL {
            for i in (0..1usize << table.bits()).filter(|i| i % 97 < 3 || (i & 0xffff) < 3) {
                let found = merge.denominator(table, columns(table, i, &content));
                assert_eq!(found, entry_reference(table, i, &content, &f), "{table:?} {i}");
            }
        }
    }

    #[test]
    fn a_leaf_is_the_entry_with_its_columns_or_none() {
        let content: Vec<i64> = (0..1 << 16).map(|i| i * 3 + 1).collect();
        for table in Table::ALL {
            for i in (0..1usize << table.bits()).filter(|i| i % 89 < 2) {
                let own = columns(table, i, &content);
                // Repeated entries lead to the first of their kind, all others to themselves.
                let found = entry(table, own, &content).unwrap();
                assert_eq!(columns(table, found, &content), own);
                for c in 0..4 {
                    let mut other = own;
                    other[c] += 1 << 20;
                    // The range table has one column.
                    assert_eq!(entry(table, other, &content).is_some(), table == Table::Range && c > 0);
                }
            }
        }
        assert_eq!(entry(Table::Range, [-1, 0, 0, 0], &[]), None);
        assert_eq!(entry(Table::Distance, [(1 << 16) - 1, 0, 1, 0], &[]), None);
    }
}
