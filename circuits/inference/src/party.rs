//! The two parties of the protocol, behind one trait.
//!
//! The flow of every relation (`relations/`) is written once, over [`Party`]: which challenges are drawn, which values the
//! prover sends, which equations between them must hold. The verifier (`verifier.rs`) reads and absorbs the values; the
//! prover, in another crate, computes, absorbs and writes them. Nothing here can see a witness.

use monai_protocol::field::Fr;

use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::relations::Sum;
use crate::tensor::Tensor;
use crate::transcript::Label;

/// A linear functional of a tensor: `sum_u weights[u] T_{start+u}(low)`, over units of `2^low.len()` values.
///
/// The units may be parts of the tensor's own units (fewer coordinates, more units), never larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The tensor.
    pub tensor: Tensor,
    /// Coordinates inside a unit, lowest bit first.
    pub low: Vec<Fr>,
    /// First unit with a weight.
    pub start: usize,
    /// Weights of the units from `start`.
    pub weights: Vec<Fr>,
}

impl Query {
    /// A query whose weights begin at the tensor's first unit.
    #[must_use]
    pub const fn new(tensor: Tensor, low: Vec<Fr>, weights: Vec<Fr>) -> Self {
        Self { tensor, low, start: 0, weights }
    }

    /// A query whose weights begin at a later unit.
    #[must_use]
    pub const fn at(tensor: Tensor, low: Vec<Fr>, start: usize, weights: Vec<Fr>) -> Self {
        Self { tensor, low, start, weights }
    }
}

/// A query and the value that the prover claims for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which answer of the proof it is about; of claims on the model, which answer's relations make it.
    pub answer: usize,
    /// What is claimed.
    pub query: Query,
    /// The value.
    pub value: Fr,
}

/// Which of the two fraction trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Looked-up values; numerators are 1 where there is a leaf, else 0.
    Leaves,
    /// Table entries; numerators are multiplicities.
    Tables,
}

/// The challenges of the fingerprint `alpha - (c0 + beta c1 + beta^2 c2 + beta^3 c3 + beta^4 tag)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Where the fractions are evaluated.
    pub alpha: Fr,
    /// What merges the entries of a tuple.
    pub beta: Fr,
}

/// What a fraction tree leaves to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeClaim {
    /// Numerator of the whole sum.
    pub root_numerator: Fr,
    /// Denominator of the whole sum.
    pub root_denominator: Fr,
    /// A point of the leaves.
    pub point: Vec<Fr>,
    /// The numerators' extension there.
    pub numerator: Fr,
    /// The denominators' extension there.
    pub denominator: Fr,
}

/// What a sumcheck leaves to be checked: the summand's value at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumClaim {
    /// One coordinate a round, lowest variable first.
    pub point: Vec<Fr>,
    /// The value that the summand must have there.
    pub value: Fr,
}

/// A party of the protocol.
pub trait Party {
    /// What stops it.
    type Error: From<VerifyError>;

    /// Draws a challenge.
    fn challenge(&mut self, label: Label) -> Fr;

    /// Sends or receives the value of a query, and adds the claim to those that the opening proves.
    ///
    /// # Errors
    /// Where the proof has no more messages.
    fn open(&mut self, query: Query) -> Result<Fr, Self::Error>;

    /// Sends or receives the value of a virtual remainder. The caller proves it.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn remainder(&mut self, remainder: Remainder, low: &[Fr], weights: &[Fr]) -> Result<Fr, Self::Error>;

    /// Runs the sumcheck `sum over the hypercube of the summand = claim`.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn sum(&mut self, sum: &Sum, claim: Fr) -> Result<SumClaim, Self::Error>;

    /// Sends or receives the value of a virtual factor of the last sum at its point. The caller proves it.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn factor(&mut self, index: usize) -> Result<Fr, Self::Error>;

    /// Runs a fraction tree over `2^variables` leaves.
    ///
    /// # Errors
    /// As [`Self::open`], and [`VerifyError::Check`] where a layer does not follow from the next.
    fn tree(
        &mut self,
        tree: Tree,
        fingerprint: &Fingerprint,
        variables: usize,
    ) -> Result<TreeClaim, Self::Error>;
}
