//! Checking a receipt: every value against what binds it.

mod anchors;
mod answer;
mod attempts;
mod place;
mod reexecute;

pub use anchors::{Pending, Report, TrustAnchors};
pub use answer::{MAX_CLOCK_SKEW_S, charge};
pub use reexecute::Reexecute;

use super::{RECEIPT_VERSION, Receipt, ReceiptError, Signed};
use crate::keys::Signature;
use crate::leaf::{LEAF_VERSION, Leaf, Meta};
use crate::messages::Typed;
use crate::request::Request;
use crate::types::{Address, Domain, Keccak, Lane, ModelId, RequestCommitment, Slot};
use std::collections::BTreeSet;
use std::fmt::Display;

impl Receipt {
    /// Checks every binding of the receipt at `now` (unix seconds).
    ///
    /// Cheap checks come first; hashes and signatures follow in the order of an answer's life.
    ///
    /// # Errors
    /// The first thing that is wrong. What merely is not fixed yet is reported as pending.
    pub fn check(&self, anchors: &TrustAnchors, now: u64) -> Result<Report, ReceiptError> {
        same("version", RECEIPT_VERSION, self.version)?;
        let request = &self.request;
        same("request.domain.chain_id", anchors.domain.chain_id, request.domain.chain_id)?;
        same("request.domain.rollup", anchors.domain.rollup, request.domain.rollup)?;
        request.validate()?;
        if !anchors.models.contains(&request.model) {
            return Err(ReceiptError::Mismatch {
                field: "request.model".into(),
                expected: "a registered model".into(),
                came: request.model.to_string(),
            });
        }
        let node = self.attestation.message.node;
        self.leaf()?;
        let facts = Facts { receipt: self, anchors, request, r: request.commitment(), node };
        facts.intake(now)?;
        facts.response()?;
        facts.progress()?;
        facts.cancel()?;
        facts.attestation()?;
        facts.attempts()?;
        let mut pending = BTreeSet::new();
        facts.draw_context(&mut pending)?;
        let draw_verified = facts.draw(&mut pending)?;
        facts.inclusion(&mut pending)?;
        let audited = facts.audit()?;
        let a = &self.attestation.message;
        if a.epoch >= anchors.final_before {
            pending.insert(Pending::EpochNotFinal);
        }
        Ok(Report {
            request: facts.r,
            output: self.response.message.output,
            response: a.response,
            model: request.model,
            node,
            epoch: a.epoch,
            finish: self.response.message.finish,
            charge: a.charge,
            speed_sample_ms: self.speed_sample(anchors.clock_agreement_ms),
            draw_verified,
            audited,
            pending,
        })
    }

    /// The dispatch-to-done time, if it counts as a speed sample: both sides' durations agree within
    /// `agreement` milliseconds and no ids were taken over from an earlier attempt.
    #[must_use]
    pub fn speed_sample(&self, agreement: u64) -> Option<u64> {
        let (a, r) = (&self.attestation.message, &self.response.message);
        let ours = a.done_ms.checked_sub(a.dispatched_ms)?;
        let theirs = r.done_ms.checked_sub(r.received_ms)?;
        (a.resumed_from == 0 && ours > 0 && ours.abs_diff(theirs) <= agreement).then_some(ours)
    }

    /// The leaf that a batch must hold for this answer.
    ///
    /// # Errors
    /// [`ReceiptError::Mismatch`] if the node is not in the table.
    pub fn leaf(&self) -> Result<Leaf, ReceiptError> {
        let node = self.attestation.message.node;
        let index = self.draw.table.index_of(&node).ok_or_else(|| ReceiptError::Mismatch {
            field: "attestation.message.node".into(),
            expected: "a node of draw.table".into(),
            came: node.to_string(),
        })?;
        let r = &self.response.message;
        Ok(Leaf {
            request: r.request,
            output: r.output,
            meta: Meta {
                slot: r.slot,
                lane: r.lane,
                node: index,
                n_in: r.n_in,
                n_out: r.n_out,
                finish: r.finish,
                retry: self.attestation.message.retry,
                version: LEAF_VERSION,
            },
        })
    }
}

/// Facts that several checks share.
struct Facts<'a> {
    receipt: &'a Receipt,
    anchors: &'a TrustAnchors,
    request: &'a Request,
    r: RequestCommitment,
    node: Address,
}

impl Facts<'_> {
    fn domain(&self) -> &Domain {
        &self.anchors.domain
    }

    /// Checks the four fields that place a message at this request's slot.
    fn place(
        &self,
        field: &str,
        request: RequestCommitment,
        model: ModelId,
        lane: Lane,
        slot: Slot,
    ) -> Result<(), ReceiptError> {
        let intake = &self.receipt.intake.message;
        same(format!("{field}.request"), self.r, request)?;
        same(format!("{field}.model"), self.request.model, model)?;
        same(format!("{field}.lane"), intake.lane, lane)?;
        same(format!("{field}.slot"), intake.slot, slot)
    }
}

fn same<T: PartialEq + Display>(field: impl Into<String>, expected: T, came: T) -> Result<(), ReceiptError> {
    if expected == came {
        return Ok(());
    }
    Err(ReceiptError::Mismatch {
        field: field.into(),
        expected: expected.to_string(),
        came: came.to_string(),
    })
}

fn ordered(field: &str, first: u64, second: u64) -> Result<(), ReceiptError> {
    if first <= second {
        return Ok(());
    }
    Err(ReceiptError::Mismatch {
        field: field.into(),
        expected: format!("at least {first}"),
        came: second.to_string(),
    })
}

fn signed(field: &str, digest: &Keccak, signature: &Signature, signer: Address) -> Result<(), ReceiptError> {
    signature
        .verify(digest, signer)
        .map_err(|source| ReceiptError::Signature { field: field.to_owned(), source })
}

fn check_signed<M: Typed>(
    field: &str,
    signed_message: &Signed<M>,
    domain: &Domain,
    signer: Address,
) -> Result<(), ReceiptError> {
    signed(field, &signed_message.message.digest(domain), &signed_message.signature, signer)
}
