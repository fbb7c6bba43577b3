//! The relations of the statement, one a file, each with statement, degree, shape and soundness.
//!
//! A relation consumes claims (on virtual remainders, or on virtual tensors that another relation left), runs at most a
//! few sumchecks and ends in claims on committed tensors, or on the virtual tensor of a relation further up the list in
//! [`prove_all`]. `docs/statement.md` has the whole picture.

mod attention;
mod claim;
mod embedding;
mod feed_forward;
mod head_norm;
mod linear;
mod logits;
mod lookup;
mod norm;
mod residual;
mod rope;
mod select;

pub use attention::{AttnOut, Mix, Pointer, Score, SoftRows};
pub use embedding::Embed;
pub use feed_forward::{Down, FfnRows, Gated};
pub use head_norm::HeadGain;
pub use linear::{Linear, LinearPart};
pub use logits::{Gain, Shift};
pub use lookup::{LeafClaims, table_components};
pub use norm::{NormApply, NormRows, Norms, Squares};
pub use rope::{Rope, pair_and_side, side_factors};
pub use select::{SELECT_TERMS, Select};

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use crate::error::VerifyError;
use crate::multilinear::{pow2, total};
use crate::party::{Party, SumClaim};
use crate::statement::Statement;

/// A sum over the hypercube of a polynomial in multilinear factors.
pub trait Summand {
    /// Degree of the summand in each variable.
    const DEGREE: usize;
    /// Number of factors.
    const FACTORS: usize;
    /// The summand's value from its factors' values.
    fn combine(&self, f: &[Fr]) -> Fr;
    /// Number of variables.
    fn variables(&self, s: &Statement) -> usize;
}

macro_rules! sums {
    ($($name:ident),*) => {
        /// Any of the relations' sums.
        #[derive(Clone, Debug)]
        pub enum Sum {
            $(#[doc = concat!("See [`", stringify!($name), "`].")] $name($name),)*
        }

        $(impl From<$name> for Sum {
            fn from(s: $name) -> Self {
                Self::$name(s)
            }
        })*

        impl Sum {
            /// Degree in each variable.
            #[must_use]
            pub const fn degree(&self) -> usize {
                match self { $(Self::$name(_) => <$name as Summand>::DEGREE,)* }
            }

            /// Number of variables.
            #[must_use]
            pub fn variables(&self, s: &Statement) -> usize {
                match self { $(Self::$name(x) => x.variables(s),)* }
            }

            /// The relation's name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
        }
    };
}

sums!(
    Linear, Embed, Rope, HeadGain, Gated, FfnRows, Down, NormApply, NormRows, Squares, AttnOut, Mix,
    SoftRows, Pointer, Score, Gain, Shift, Select
);

/// `2^15 W`: what the offset of a stored tensor adds under weights that sum to `W`.
pub(crate) fn offset16(weights: &[Fr]) -> Fr {
    pow2(15) * total(weights)
}

/// Requires an equation between messages.
pub(crate) fn check<E: From<VerifyError>>(name: &'static str, holds: bool) -> Result<(), E> {
    if holds { Ok(()) } else { Err(VerifyError::Check(name).into()) }
}

/// An entry of a slice whose length the shape fixes.
pub(crate) fn at<T: Copy>(slice: &[T], index: usize) -> Result<T, VerifyError> {
    slice.get(index).copied().ok_or(VerifyError::Internal("index"))
}

/// The two parts of a point whose length the shape fixes.
pub(crate) fn split(point: &[Fr], low: usize) -> Result<(&[Fr], &[Fr]), VerifyError> {
    point.split_at_checked(low).ok_or(VerifyError::Internal("point"))
}

/// Two slices, one after the other.
pub(crate) fn join(low: &[Fr], high: &[Fr]) -> Vec<Fr> {
    low.iter().chain(high).copied().collect()
}

/// `n` halves: the point at which an extension times `2^n` is the sum over `n` variables.
pub(crate) fn halves(n: usize) -> Vec<Fr> {
    let half = crate::field::half();
    vec![half; n]
}

/// `sum_i 2^(16 i) limb_i`.
pub(crate) fn limbs(parts: &[Fr]) -> Fr {
    parts.iter().rev().fold(Fr::zero(), |acc, x| acc * pow2(16) + x)
}

/// Sums runs of `run` weights: from weights of `[a, run]` units to weights of `[a]`.
pub(crate) fn sum_runs(weights: &[Fr], run: usize) -> Vec<Fr> {
    weights.chunks(run.max(1)).map(total).collect()
}

/// Repeats each weight `run` times: from weights of `[a]` units to weights of `[a, run]`.
pub(crate) fn repeat_each(weights: &[Fr], run: usize) -> Vec<Fr> {
    weights.iter().flat_map(|w| std::iter::repeat_n(*w, run)).collect()
}

pub(crate) fn one() -> Fr {
    Fr::one()
}

/// Runs every relation, in an order in which each claim on a virtual tensor exists before the relation that proves it.
///
/// # Errors
/// Whatever stops the party.
pub fn prove_all<P: Party>(p: &mut P, s: &Statement) -> Result<(), P::Error> {
    select::prove(p, s)?;
    let leaves = lookup::prove(p, s)?;
    let mut linear = linear::Claims::default();
    logits::prove(p, s, &leaves, &mut linear)?;
    feed_forward::prove(p, s, &leaves, &mut linear)?;
    attention::prove(p, s, &leaves, &mut linear)?;
    rope::prove(p, s, &leaves, &mut linear)?;
    linear::prove(p, s, linear)?;
    norm::prove(p, s, &leaves, Norms::Residual)?;
    embedding::prove(p, s, &leaves)
}
