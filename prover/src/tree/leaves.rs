//! Leaves with unit numerators.

use ark_ff::One;
use monai_protocol::Fr;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::nodes::Eight;
use super::nodes::Layer;
#[cfg(target_arch = "x86_64")]
use crate::kernels::lanes::load_words;

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
    pub(super) fn denominator(&self, i: usize) -> Fr {
        self.table[self.entry(i)]
    }

    /// Eight leaves in a table with an element for each entry.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn eight(&self, table: &[Fr], at: impl Fn(usize) -> usize) -> Eight {
        // SAFETY: the places are those of elements.
        Eight::from_words(unsafe { load_words(|k| (&raw const table[self.entry(at(k))]).cast()) })
    }

    /// The denominators of eight leaves.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn denominators(&self, at: impl Fn(usize) -> usize) -> Eight {
        self.eight(&self.table, at)
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
