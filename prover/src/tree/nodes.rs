//! Layers of a tree, stored or computed from the layer below.

use ark_ff::{One, Zero};
use monai_protocol::Fr;
use rayon::prelude::*;

/// Stored nodes of one layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) numerators: Vec<Fr>,
    pub(crate) denominators: Vec<Fr>,
}

/// Leaves that are read alike.
#[derive(Debug)]
pub(crate) enum Run<'a> {
    /// Values of the range table, which they index.
    Wide(&'a [i32]),
    /// The same in 16 bits.
    Narrow(&'a [u16]),
    /// Indices of entries.
    Index(Vec<u32>),
}

impl Run<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Wide(v) => v.len(),
            Self::Narrow(v) => v.len(),
            Self::Index(v) => v.len(),
        }
    }
}

/// Log of the leaves that are all of one run: no unit of a tensor is smaller.
const BLOCK_BITS: usize = 6;

/// Leaves with numerator 1, each of which is an entry of a table. Their number is even.
#[derive(Debug)]
pub(crate) struct Leaves<'a> {
    /// Denominators of all entries.
    table: Vec<Fr>,
    /// First entry of the range table.
    range: usize,
    /// First leaf of each run, and the run.
    runs: Vec<(usize, Run<'a>)>,
    /// The run of each block of leaves.
    block_runs: Vec<u8>,
    len: usize,
}

impl<'a> Leaves<'a> {
    /// From runs one after another, all but the last of whole blocks, at most 256 of them. Values of [`Run::Wide`] have
    /// 16 bits.
    pub(crate) fn new(table: Vec<Fr>, range: usize, runs: Vec<Run<'a>>) -> Self {
        let mut out = Self { table, range, runs: Vec::new(), block_runs: Vec::new(), len: 0 };
        for run in runs.into_iter().filter(|r| r.len() > 0) {
            debug_assert!(out.len.is_multiple_of(1 << BLOCK_BITS) && out.runs.len() < 256);
            let blocks = (out.len + run.len()).div_ceil(1 << BLOCK_BITS);
            out.block_runs.resize(blocks, out.runs.len() as u8);
            let start = out.len;
            out.len += run.len();
            out.runs.push((start, run));
        }
        out
    }

    /// Number of leaves.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Which entry leaf `i` is.
    #[inline(always)]
    pub(super) fn entry(&self, i: usize) -> usize {
        let (start, run) = &self.runs[self.block_runs[i >> BLOCK_BITS] as usize];
        let at = i - start;
        match run {
            Run::Wide(v) => self.range + v[at] as usize,
            Run::Narrow(v) => self.range + usize::from(v[at]),
            Run::Index(v) => v[at] as usize,
        }
    }

    #[inline(always)]
    fn denominator(&self, i: usize) -> Fr {
        self.table[self.entry(i)]
    }

    /// `x` added to all entries.
    pub(super) fn shifted(&self, x: Fr) -> Vec<Fr> {
        self.table.par_iter().with_min_len(1 << 10).map(|q| x + q).collect()
    }

    /// All of them, stored: for trees of few leaves.
    pub(super) fn layer(&self) -> Layer {
        let denominators: Vec<Fr> = (0..self.len).map(|i| self.denominator(i)).collect();
        Layer { numerators: vec![Fr::one(); self.len], denominators }
    }
}

/// Nodes of a layer, stored or not.
pub(super) trait Nodes: Sync {
    /// Their number.
    fn count(&self) -> usize;

    /// Numerators, then denominators, of nodes `2 i` and `2 i + 1`, where the first is a real one.
    fn pair(&self, i: usize) -> [Fr; 4];

    /// Number of pairs.
    fn pairs(&self) -> usize {
        self.count().div_ceil(2)
    }

    /// The layer above, stored.
    fn parents(&self) -> Layer {
        let (numerators, denominators) =
            (0..self.pairs()).into_par_iter().with_min_len(1 << 9).map(|i| sum(&self.pair(i))).unzip();
        Layer { numerators, denominators }
    }
}

/// The sum of two fractions.
#[inline(always)]
fn sum([p0, p1, q0, q1]: &[Fr; 4]) -> (Fr, Fr) {
    (*p0 * q1 + *p1 * q0, *q0 * q1)
}

impl Nodes for Layer {
    fn count(&self) -> usize {
        self.denominators.len()
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        let (p, q) = (&self.numerators, &self.denominators);
        let p1 = p.get(2 * i + 1).copied().unwrap_or_else(Fr::zero);
        let q1 = q.get(2 * i + 1).copied().unwrap_or_else(Fr::one);
        [p[2 * i], p1, q[2 * i], q1]
    }
}

/// The nodes with these values at `i`, and what follows the last one.
#[inline(always)]
fn pair_of(i: usize, count: usize, node: impl Fn(usize) -> (Fr, Fr)) -> [Fr; 4] {
    let (p0, q0) = node(2 * i);
    let (p1, q1) = if 2 * i + 1 < count { node(2 * i + 1) } else { (Fr::zero(), Fr::one()) };
    [p0, p1, q0, q1]
}

/// The sums of adjacent leaves.
pub(super) struct Sums<'a>(pub(super) &'a Leaves<'a>);

impl Nodes for Sums<'_> {
    fn count(&self) -> usize {
        self.0.len / 2
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        pair_of(i, self.count(), |i| {
            let (a, b) = (self.0.denominator(2 * i), self.0.denominator(2 * i + 1));
            (a + b, a * b)
        })
    }
}

/// The sums of adjacent nodes of a layer, computed when they are read.
pub(super) struct Above<'a, N>(pub(super) &'a N);

impl<N: Nodes> Nodes for Above<'_, N> {
    fn count(&self) -> usize {
        self.0.pairs()
    }

    #[inline(always)]
    fn pair(&self, i: usize) -> [Fr; 4] {
        pair_of(i, self.count(), |i| sum(&self.0.pair(i)))
    }
}
