//! Lookup leaves: which values are looked up in which table, and where each lies in the tree.

use std::collections::BTreeMap;

use crate::shape::{BLOCK_BITS, Shape};
use crate::tensor::{Place, Table, Tensor, place};

/// Low remainders that are never committed: their value follows from the relation that they belong to, so the lookup's
/// claim on a remainder *is* the claim on that relation's accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remainder {
    /// `h inv + 2^15 - 2^16 y`, in the shape of [`Tensor::NormY`].
    Norm,
    /// `rope(A) + 2^31 - 2^32 y - 2^16 hi`, [`Tensor::QueryKey`].
    QueryKey,
    /// `A + 2^15 - 2^16 t` of normalised query and key heads, [`Tensor::HeadT`].
    HeadT,
    /// `t inv + 2^15 - 2^16 y`, [`Tensor::HeadY`].
    HeadNorm,
    /// `A + 2^15 - 2^16 y`, [`Tensor::Value`].
    Value,
    /// `inv sum(e v) + 2^31 - 2^32 y - 2^16 hi`, [`Tensor::AttnOut`].
    AttnOut,
    /// `A + 2^15 - 2^16 y` of the attention's sub-layer output, in the shape of [`Tensor::DownHi`].
    Output,
    /// `A 2^x + 2^31 - 2^32 y - 2^16 hi` of the feed-forward output, [`Tensor::DownHi`].
    Down,
    /// `A + 2^15 - 2^16 y`, [`Tensor::Gate`].
    Gate,
    /// `SILU u 2^(15-x) + 2^31 - 2^32 y - 2^16 hi`, [`Tensor::Gated`].
    Gated,
    /// `A + 2^15 - 2^16 y`, [`Tensor::X0Lo`].
    X0,
    /// `gain y + 2^15 - 2^16 z`, [`Tensor::FinalZ`].
    Final,
    /// `M_s q k + 2^15 - 2^16 (m - d)`, [`Tensor::DistanceLo`].
    Score,
    /// `tau A + 2^31 - 2^32 (max - d) - 2^16 hi`, [`Tensor::LogitLo`].
    Logit,
}

impl Remainder {
    /// All remainders.
    pub const ALL: [Self; 14] = [
        Self::Norm,
        Self::QueryKey,
        Self::HeadT,
        Self::HeadNorm,
        Self::Value,
        Self::AttnOut,
        Self::Output,
        Self::Down,
        Self::Gate,
        Self::Gated,
        Self::X0,
        Self::Final,
        Self::Score,
        Self::Logit,
    ];

    /// The committed tensor of the same shape.
    #[must_use]
    pub const fn shaped_as(self) -> Tensor {
        match self {
            Self::Norm => Tensor::NormY,
            Self::QueryKey => Tensor::QueryKey,
            Self::HeadT => Tensor::HeadT,
            Self::HeadNorm => Tensor::HeadY,
            Self::Value => Tensor::Value,
            Self::AttnOut => Tensor::AttnOut,
            Self::Output | Self::Down => Tensor::DownHi,
            Self::Gate => Tensor::Gate,
            Self::Gated => Tensor::Gated,
            Self::X0 => Tensor::X0Lo,
            Self::Final => Tensor::FinalZ,
            Self::Score => Tensor::DistanceLo,
            Self::Logit => Tensor::LogitLo,
        }
    }
}

/// A group of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leaf {
    /// A committed tensor whose values have 16 bits.
    Range(Tensor),
    /// A virtual remainder, 16 bits.
    Remainder(Remainder),
    /// `(Gate, Silu)`.
    Silu,
    /// `(DistanceLo, Weight, Far)`.
    Exp,
    /// `(DistanceHi + 2^16, Far, causal mask)`.
    Distance,
    /// `(LogitLo, LogitWeight, LogitFar)`.
    Weight,
    /// `(LogitHi + 2^16, LogitFar, id is in the vocabulary)`.
    LogitDistance,
    /// `(LogitLo - delta + 2^16, Keep, LogitFar, Below)`.
    Compare,
    /// `(FfnExponent, FfnDown, FfnUp, FfnNonzero)`.
    Power,
}

/// Committed tensors of 16-bit values that no tuple lookup bounds.
pub const RANGED: [Tensor; 22] = [
    Tensor::NormY,
    Tensor::QueryKey,
    Tensor::QueryKeyHi,
    Tensor::HeadT,
    Tensor::HeadY,
    Tensor::Value,
    Tensor::AttnOut,
    Tensor::AttnOutHi,
    Tensor::SubLo,
    Tensor::SubHi,
    Tensor::DownHi,
    Tensor::Gated,
    Tensor::GatedHi,
    Tensor::GatedPointer,
    Tensor::X0Lo,
    Tensor::X0Hi,
    Tensor::FinalZ,
    Tensor::MaxPointer,
    Tensor::LogitRemHi,
    Tensor::NormRows,
    Tensor::HeadRows,
    Tensor::SoftRows,
];

impl Leaf {
    /// Every group, in the order in which equal sizes lie.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all: Vec<Self> = RANGED.into_iter().map(Self::Range).collect();
        all.push(Self::Range(Tensor::FfnSlack));
        all.extend(Remainder::ALL.map(Self::Remainder));
        all.extend([
            Self::Silu,
            Self::Exp,
            Self::Distance,
            Self::Weight,
            Self::LogitDistance,
            Self::Compare,
            Self::Power,
        ]);
        all
    }

    /// The committed tensor of the same shape.
    #[must_use]
    pub const fn shaped_as(self) -> Tensor {
        match self {
            Self::Range(t) => t,
            Self::Remainder(r) => r.shaped_as(),
            Self::Silu => Tensor::Gate,
            Self::Exp | Self::Distance => Tensor::DistanceLo,
            Self::Weight | Self::LogitDistance | Self::Compare => Tensor::LogitLo,
            Self::Power => Tensor::FfnExponent,
        }
    }

    /// The table it is looked up in.
    #[must_use]
    pub const fn table(self) -> Table {
        match self {
            Self::Range(_) | Self::Remainder(_) => Table::Range,
            Self::Silu => Table::Silu,
            Self::Exp => Table::Exp,
            Self::Distance | Self::LogitDistance => Table::Distance,
            Self::Weight => Table::Weight,
            Self::Compare => Table::Compare,
            Self::Power => Table::Power,
        }
    }
}

/// The places of all leaves, and of all table entries, in their trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafLayout {
    /// Looked-up values.
    pub leaves: BTreeMap<Leaf, Place>,
    /// Their number.
    pub leaf_len: usize,
    /// Table entries.
    pub tables: BTreeMap<Table, Place>,
    /// Their number.
    pub table_len: usize,
}

impl LeafLayout {
    /// The layout for a shape.
    #[must_use]
    pub fn new(shape: &Shape) -> Self {
        let sizes: Vec<_> = Leaf::all()
            .into_iter()
            .map(|leaf| {
                let (units, low) = leaf.shaped_as().size(shape);
                (leaf, units, low)
            })
            .collect();
        let (leaves, leaf_len) = place(&sizes);
        let tables: Vec<_> = Table::ALL.into_iter().map(|t| (t, 1, t.bits())).collect();
        let (tables, table_len) = place(&tables);
        debug_assert!(BLOCK_BITS == Table::Power.bits());
        Self { leaves, leaf_len, tables, table_len }
    }
}
