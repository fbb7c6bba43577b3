//! Committed tensors: what each holds and where its values lie.
//!
//! A tensor is a list of *units* of `2^low` values. Within a unit the column (channel, key, id) is the low part of the
//! index, the row (position, output) the high part. Tensors of one owner lie one after another, larger units first, so
//! that every unit is aligned to its size; beyond the last, all values are zero.

use std::collections::BTreeMap;

use crate::multilinear::{log2_ceil, shl};
use crate::shape::{BLOCK_BITS, Matrix, Shape};

/// Every committed tensor. *Offset* means that `y + 2^15` is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tensor {
    /// `[site, hidden block]`, positions by 64: RMSNorm outputs, offset.
    NormY,
    /// `[layer, query and key heads]`, positions by `E`: after RoPE, offset.
    QueryKey,
    /// Same shape: upper half of RoPE's remainder.
    QueryKeyHi,
    /// Same shape, where heads have a norm: its input `t`, offset.
    HeadT,
    /// Same shape, where heads have a norm: its output `y`, offset.
    HeadY,
    /// `[layer, kv head]`, positions by `E`: values, offset.
    Value,
    /// `[layer, head]`, positions by `E`: attention output, offset.
    AttnOut,
    /// Same shape: upper half of its remainder.
    AttnOutHi,
    /// `[sub-layer, hidden block]`, positions by 64: low 16 bits of `output + 2^31`.
    SubLo,
    /// Same shape: high 16 bits.
    SubHi,
    /// `[layer, hidden block]`, positions by 64: upper half of the remainder of the feed-forward output.
    DownHi,
    /// `[layer, ffn block]`, positions by 64: gate, offset.
    Gate,
    /// Same shape: `SILU[gate + 2^15]`.
    Silu,
    /// Same shape: rows `t`, offset.
    Gated,
    /// Same shape: upper half of their remainder.
    GatedHi,
    /// Same shape: one-hot pointer at an entry that overflows at the next lower exponent.
    GatedPointer,
    /// `[hidden block]`, positions by 64: low 16 bits of `x0 + 2^31`.
    X0Lo,
    /// Same shape: high 16 bits.
    X0Hi,
    /// Same shape: normalised residual times gain, offset.
    FinalZ,
    /// `[layer, head, key segment]`, positions by 64 keys: low 16 bits of `m - s`.
    DistanceLo,
    /// Same shape: the rest, signed.
    DistanceHi,
    /// Same shape: 1 where the entry is masked or farther than the table reaches.
    Far,
    /// Same shape: softmax weights.
    Weight,
    /// Same shape: one-hot pointer at a maximum.
    MaxPointer,
    /// `[vocabulary block]`, outputs by 64 ids: low 16 bits of `max L - L`.
    LogitLo,
    /// Same shape: the rest, signed.
    LogitHi,
    /// Same shape: upper half of the remainder.
    LogitRemHi,
    /// Same shape: 1 where the id is padding or farther than the table reaches.
    LogitFar,
    /// Same shape: selection weights.
    LogitWeight,
    /// Same shape: 1 where `d <= delta`.
    Keep,
    /// Same shape: 1 where `d < delta`.
    Below,
    /// `[limb, site]`, positions: `inv` (2 limbs), lower slack (4), upper slack (6).
    NormRows,
    /// `[limb, layer, query and key heads]`, positions, where heads have a norm: as [`Self::NormRows`].
    HeadRows,
    /// `[limb, layer, head]`, positions: `m + 2^31` (2), `inv` (2), remainder (2), its slack (2).
    SoftRows,
    /// `[limb, layer]`, positions: slack of the overflow (3).
    FfnSlack,
    /// `[layer]`, positions: row exponent `x`.
    FfnExponent,
    /// Same shape: `2^(15-x)`.
    FfnDown,
    /// Same shape: `2^x`.
    FfnUp,
    /// Same shape: 1 where `x > 0`.
    FfnNonzero,
    /// Same shape: 1 where the overflow is below.
    FfnSign,
    /// One unit a table: how often each entry is looked up.
    Multiplicity(Table),

    /// `W'` as `[layer, output block, input block]` (head and embedding without layer), outputs by inputs.
    Weights(Matrix),
    /// `[vocabulary block, hidden block]`, ids by 64: the embedding; also the head where tied.
    Embedding,
    /// `[layer, output block]`, outputs: `B`.
    Bias(Matrix),
    /// `[hidden block]`, channels: integer gain of the last norm.
    Gain,
    /// `[layer, 2]`, channels of a head, where heads have a norm: integer gain of queries, then of keys.
    HeadGain,
    /// `[position segment]`, 64 positions by `E/2`.
    Cos,
    /// Same shape.
    Sin,
    /// Entries of `EXP`, `SILU` or `WEIGHT`.
    Content(Table),
}

/// Lookup tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// 16-bit values.
    Range,
    /// `(gate + 2^15, SILU)`.
    Silu,
    /// `(d, EXP or 0, far)`.
    Exp,
    /// `(d1 + 2^16, far, visible)`.
    Distance,
    /// `(d, WEIGHT or 0, far)`.
    Weight,
    /// `(d - delta + 2^16, keep, far, below)`.
    Compare,
    /// `(x, 2^(15-x), 2^x, x > 0)`.
    Power,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 7] =
        [Self::Range, Self::Silu, Self::Exp, Self::Distance, Self::Weight, Self::Compare, Self::Power];

    /// Log of the number of entries.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Range | Self::Silu => 16,
            Self::Exp | Self::Weight => 17,
            Self::Distance | Self::Compare => 18,
            // 16 entries, four times over: no unit is smaller than 32 values.
            Self::Power => 6,
        }
    }

    /// The tag inside the fingerprint.
    #[must_use]
    pub const fn tag(self) -> u64 {
        match self {
            Self::Range => 0,
            Self::Silu => 1,
            Self::Exp => 2,
            Self::Distance => 3,
            Self::Weight => 4,
            Self::Compare => 5,
            Self::Power => 6,
        }
    }
}

/// Whose commitment a tensor is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Committed in the proof.
    Witness,
    /// Committed at registration.
    Model,
}

impl Tensor {
    /// Whose commitment it is in.
    #[must_use]
    pub const fn owner(self) -> Owner {
        match self {
            Self::Weights(_)
            | Self::Embedding
            | Self::Bias(_)
            | Self::Gain
            | Self::HeadGain
            | Self::Cos
            | Self::Sin
            | Self::Content(_) => Owner::Model,
            _ => Owner::Witness,
        }
    }

    /// The tensor that holds a matrix: the embedding for a tied head.
    #[must_use]
    pub const fn of_matrix(matrix: Matrix, shape: &Shape) -> Self {
        match matrix {
            Matrix::Head if shape.tied_head => Self::Embedding,
            other => Self::Weights(other),
        }
    }

    /// Units and log of the values in one.
    #[must_use]
    pub fn size(self, s: &Shape) -> (usize, usize) {
        let wide = s.position_bits.saturating_add(BLOCK_BITS);
        let head = s.position_bits.saturating_add(s.head_bits);
        let product = |factors: &[usize]| factors.iter().fold(1usize, |a, b| a.saturating_mul(*b));
        match self {
            Self::NormY => (product(&[s.sites(), s.hidden]), wide),
            Self::QueryKey | Self::QueryKeyHi => (s.all_query_keys(), head),
            Self::HeadT | Self::HeadY | Self::HeadRows | Self::HeadGain if !s.has_head_norms() => (0, 0),
            Self::HeadT | Self::HeadY => (s.all_query_keys(), head),
            Self::HeadRows => (product(&[12, s.all_query_keys()]), s.position_bits),
            Self::HeadGain => (product(&[s.layers, 2]), s.head_bits),
            Self::Value => (product(&[s.layers, s.kv_heads]), head),
            Self::AttnOut | Self::AttnOutHi => (s.all_heads(), head),
            Self::SubLo | Self::SubHi => (product(&[s.layers, 2, s.hidden]), wide),
            Self::DownHi => (product(&[s.layers, s.hidden]), wide),
            Self::Gate | Self::Silu | Self::Gated | Self::GatedHi | Self::GatedPointer => {
                (product(&[s.layers, s.ffn]), wide)
            }
            Self::X0Lo | Self::X0Hi | Self::FinalZ => (s.hidden, wide),
            Self::DistanceLo | Self::DistanceHi | Self::Far | Self::Weight | Self::MaxPointer => {
                (product(&[s.all_heads(), s.segments()]), wide)
            }
            Self::LogitLo
            | Self::LogitHi
            | Self::LogitRemHi
            | Self::LogitFar
            | Self::LogitWeight
            | Self::Keep
            | Self::Below => (s.vocab_blocks, s.output_bits.saturating_add(BLOCK_BITS)),
            Self::NormRows => (product(&[12, s.sites()]), s.position_bits),
            Self::SoftRows => (product(&[8, s.all_heads()]), s.position_bits),
            Self::FfnSlack => (product(&[3, s.layers]), s.position_bits),
            Self::FfnExponent | Self::FfnDown | Self::FfnUp | Self::FfnNonzero | Self::FfnSign => {
                (s.layers, s.position_bits)
            }
            Self::Multiplicity(t) => (1, t.bits()),
            Self::Weights(m) if m == Matrix::Head && s.tied_head => (0, 0),
            Self::Weights(m) => {
                let (out, out_bits) = outputs(m, s);
                let (inputs, in_bits) = inputs(m, s);
                let copies = if m == Matrix::Head { 1 } else { s.layers };
                (product(&[copies, out, inputs]), out_bits.saturating_add(in_bits))
            }
            Self::Embedding => (product(&[s.vocab_blocks, s.hidden]), BLOCK_BITS.saturating_mul(2)),
            Self::Bias(m) if s.biased.contains(&m) => {
                let (out, out_bits) = outputs(m, s);
                (product(&[if m == Matrix::Head { 1 } else { s.layers }, out]), out_bits)
            }
            Self::Bias(_) => (0, 0),
            Self::Gain => (s.hidden, BLOCK_BITS),
            Self::Cos | Self::Sin => {
                (s.table_segments, BLOCK_BITS.saturating_add(s.head_bits.saturating_sub(1)))
            }
            Self::Content(Table::Silu | Table::Exp | Table::Weight) => (1, 16),
            Self::Content(_) => (0, 0),
        }
    }

    /// All tensors of an owner, in the order in which equal sizes lie.
    #[must_use]
    pub fn all(owner: Owner) -> Vec<Self> {
        match owner {
            Owner::Witness => {
                let mut all = vec![
                    Self::NormY,
                    Self::QueryKey,
                    Self::QueryKeyHi,
                    Self::HeadT,
                    Self::HeadY,
                    Self::Value,
                    Self::AttnOut,
                    Self::AttnOutHi,
                    Self::SubLo,
                    Self::SubHi,
                    Self::DownHi,
                    Self::Gate,
                    Self::Silu,
                    Self::Gated,
                    Self::GatedHi,
                    Self::GatedPointer,
                    Self::X0Lo,
                    Self::X0Hi,
                    Self::FinalZ,
                    Self::DistanceLo,
                    Self::DistanceHi,
                    Self::Far,
                    Self::Weight,
                    Self::MaxPointer,
                    Self::LogitLo,
                    Self::LogitHi,
                    Self::LogitRemHi,
                    Self::LogitFar,
                    Self::LogitWeight,
                    Self::Keep,
                    Self::Below,
                    Self::NormRows,
                    Self::HeadRows,
                    Self::SoftRows,
                    Self::FfnSlack,
                    Self::FfnExponent,
                    Self::FfnDown,
                    Self::FfnUp,
                    Self::FfnNonzero,
                    Self::FfnSign,
                ];
                all.extend(Table::ALL.map(Self::Multiplicity));
                all
            }
            Owner::Model => {
                let mut all = vec![Self::Embedding];
                all.extend(Matrix::ALL.map(Self::Weights));
                all.extend(Matrix::ALL.map(Self::Bias));
                all.extend([Self::Gain, Self::HeadGain, Self::Cos, Self::Sin]);
                all.extend([Table::Silu, Table::Exp, Table::Weight].map(Self::Content));
                all
            }
        }
    }
}

/// Output blocks of a matrix in one layer, and log of the channels in one.
#[must_use]
pub const fn outputs(m: Matrix, s: &Shape) -> (usize, usize) {
    match m {
        Matrix::QueryKey => (s.query_keys(), s.head_bits),
        Matrix::Value => (s.kv_heads, s.head_bits),
        Matrix::Output | Matrix::Down => (s.hidden, BLOCK_BITS),
        Matrix::Gate | Matrix::Up => (s.ffn, BLOCK_BITS),
        Matrix::Head => (s.vocab_blocks, BLOCK_BITS),
    }
}

/// Input blocks of a matrix in one layer, and log of the channels in one.
#[must_use]
pub const fn inputs(m: Matrix, s: &Shape) -> (usize, usize) {
    match m {
        Matrix::QueryKey | Matrix::Value | Matrix::Gate | Matrix::Up | Matrix::Head => (s.hidden, BLOCK_BITS),
        Matrix::Output => (s.heads, s.head_bits),
        Matrix::Down => (s.ffn, BLOCK_BITS),
    }
}

/// Where a list of units lies: index of its first value, number of units, log of the values in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the first value, a multiple of `2^low`.
    pub start: usize,
    /// Number of units.
    pub units: usize,
    /// Log of a unit's values.
    pub low: usize,
}

impl Place {
    /// Number of values.
    #[must_use]
    pub const fn len(&self) -> usize {
        shl(self.units, self.low)
    }

    /// True if it has no unit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.units == 0
    }
}

/// Lays lists of units one after another, larger units first, in the given order where equal. Returns the total length.
pub fn place<K: Ord + Copy>(items: &[(K, usize, usize)]) -> (BTreeMap<K, Place>, usize) {
    let mut order: Vec<_> = items.iter().filter(|(_, units, _)| *units > 0).collect();
    order.sort_by_key(|(_, _, low)| std::cmp::Reverse(*low));
    let mut at = 0usize;
    let mut places = BTreeMap::new();
    for (key, units, low) in order {
        let place = Place { start: at, units: *units, low: *low };
        at = at.saturating_add(place.len());
        places.insert(*key, place);
    }
    (places, at)
}

/// The places of all tensors of one owner, and its number of chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    places: BTreeMap<Tensor, Place>,
    len: usize,
    chunk_bits: usize,
}

impl Layout {
    /// The layout of an owner's tensors.
    #[must_use]
    pub fn new(owner: Owner, shape: &Shape) -> Self {
        let sizes: Vec<_> = Tensor::all(owner)
            .into_iter()
            .map(|t| {
                let (units, low) = t.size(shape);
                (t, units, low)
            })
            .collect();
        let (places, len) = place(&sizes);
        Self { places, len, chunk_bits: shape.chunk_bits }
    }

    /// Where a tensor lies; `None` where the shape has none.
    #[must_use]
    pub fn get(&self, tensor: Tensor) -> Option<Place> {
        self.places.get(&tensor).copied()
    }

    /// All tensors that the shape has.
    pub fn iter(&self) -> impl Iterator<Item = (Tensor, Place)> + '_ {
        self.places.iter().map(|(t, p)| (*t, *p))
    }

    /// Number of values.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there is no value.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of chunks of `2^chunk_bits` values.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.len.div_ceil(shl(1, self.chunk_bits))
    }
}

/// Number of variables that index `len` values.
#[must_use]
pub const fn variables(len: usize) -> usize {
    log2_ceil(len)
}
