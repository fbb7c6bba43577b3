//! What each relation starts from: the lookup's claim on its remainder, and the equation that the remainder stands for.

use monai_protocol::field::Fr;

use super::lookup::LeafClaims;
use super::{offset16, split};
use crate::error::VerifyError;
use crate::leaf::Remainder;
use crate::multilinear::{pow2, total};
use crate::party::{Party, Query};
use crate::tensor::Tensor;

/// A claim on a remainder, `sum_u weights_u r_u(column, row) = value`.
///
/// The remainder is what is left of an exact integer: `r = exact + 2^15 - 2^16 y` or `r = exact + 2^31 - 2^32 y - 2^16 hi`.
/// So the claim, with claims on the committed `y` and `hi` at the same place, is one on `exact`, which the relation proves.
#[derive(Debug)]
pub(super) struct RemainderClaim<'a> {
    /// Coordinates inside a unit.
    pub(super) low: &'a [Fr],
    /// Their lower part: channel, key or id.
    pub(super) column: &'a [Fr],
    /// Their upper part: position or output.
    pub(super) row: &'a [Fr],
    /// Weights of the units.
    pub(super) weights: &'a [Fr],
    /// Their sum: what a tensor of ones gives under this claim.
    pub(super) ones: Fr,
    value: Fr,
}

impl LeafClaims {
    /// The claim on a remainder whose units have `2^columns` columns.
    pub(super) fn take(
        &self,
        remainder: Remainder,
        columns: usize,
    ) -> Result<RemainderClaim<'_>, VerifyError> {
        let claim = self.get(remainder)?;
        let (column, row) = split(&claim.low, columns)?;
        Ok(RemainderClaim {
            low: &claim.low,
            column,
            row,
            weights: &claim.weights,
            ones: total(&claim.weights),
            value: claim.value,
        })
    }
}

impl RemainderClaim<'_> {
    /// A committed tensor of the remainder's shape, under the same weights at the same place.
    pub(super) fn open<P: Party>(&self, p: &mut P, tensor: Tensor) -> Result<Fr, P::Error> {
        self.open_at(p, tensor, self.weights.to_vec())
    }

    /// The same for a tensor that stores `y + 2^15`: the value of `y`.
    pub(super) fn open_signed<P: Party>(&self, p: &mut P, tensor: Tensor) -> Result<Fr, P::Error> {
        Ok(self.open(p, tensor)? - offset16(self.weights))
    }

    /// The same for a tensor of more units, under its own weights.
    pub(super) fn open_at<P: Party>(
        &self,
        p: &mut P,
        tensor: Tensor,
        weights: Vec<Fr>,
    ) -> Result<Fr, P::Error> {
        p.open(Query::new(tensor, self.low.to_vec(), weights))
    }

    /// `exact` of `r = exact + 2^15 - 2^16 y`.
    pub(super) fn exact16(&self, y: Fr) -> Fr {
        self.value - pow2(15) * self.ones + pow2(16) * y
    }

    /// `exact` of `r = exact + 2^31 - 2^32 y - 2^16 hi`.
    pub(super) fn exact32(&self, y: Fr, hi: Fr) -> Fr {
        self.value + pow2(16) * hi + pow2(32) * y - pow2(31) * self.ones
    }
}
