//! Request, intake, response, attestation, audit: what the parties signed about one answer.

use super::{Facts, check_signed, ordered, same, signed};
use crate::messages::{RequestMessage, Typed};
use crate::output::{PROGRESS_IDS, RunningHash, output_commitment};
use crate::receipt::ReceiptError;
use crate::types::{Amount, Digest, Finish};
use std::collections::{BTreeMap, BTreeSet};

impl Facts<'_> {
    pub(super) fn intake(&self, now: u64) -> Result<(), ReceiptError> {
        let intake = &self.receipt.intake;
        let m = &intake.message;
        // The signature comes first: if it holds, what differs is the request, not what was signed.
        check_signed("intake.signature", intake, self.domain(), self.anchors.sequencer)?;
        same("request (its commitment R)", m.request, self.r)?;
        same("intake.message.model", self.request.model, m.model)?;
        let message = RequestMessage {
            request: self.r,
            model: self.request.model,
            max_price: self.request.max_price,
            nonce: self.request.nonce,
            expiry: self.request.expiry,
        };
        match &self.receipt.user_signature {
            Some(s) => signed("user_signature", &message.digest(self.domain()), s, self.request.user)?,
            None if self.request.user == self.anchors.sequencer => {}
            None => {
                return Err(ReceiptError::Missing {
                    field: "user_signature",
                    why: "the request names a user key that is not the gateway's",
                });
            }
        }
        if m.received_ms / 1000 > now.saturating_add(MAX_CLOCK_SKEW_S) {
            return Err(ReceiptError::Mismatch {
                field: "intake.message.received_ms".into(),
                expected: format!("not after {now} s"),
                came: m.received_ms.to_string(),
            });
        }
        ordered("request.expiry", m.received_ms / 1000, self.request.expiry)
    }

    pub(super) fn response(&self) -> Result<(), ReceiptError> {
        let m = &self.receipt.response.message;
        check_signed("response.signature", &self.receipt.response, self.domain(), self.node)?;
        self.place("response.message", m.request, m.model, m.lane, m.slot)?;
        same("response.message.n_in", self.request.n_in(), m.n_in)?;
        let n_out = u32::try_from(self.receipt.output.len()).unwrap_or(u32::MAX);
        same("response.message.n_out", n_out, m.n_out)?;
        let o = output_commitment(self.request.blinding, m.finish, &self.receipt.output);
        same("output (its commitment O)", m.output, o)?;
        self.finish(m.finish, n_out)?;
        ordered("response.message.first_token_ms", m.received_ms, m.first_token_ms)?;
        ordered("response.message.done_ms", m.first_token_ms, m.done_ms)
    }

    fn finish(&self, finish: Finish, n_out: u32) -> Result<(), ReceiptError> {
        let max = self.request.params.max_tokens;
        let expected = match finish {
            Finish::Stop if (1..=max).contains(&n_out) => return Ok(()),
            Finish::Length if n_out == max => return Ok(()),
            // With all its ids an answer has ended by itself, and nothing was left to cancel.
            Finish::Cancelled if n_out < max => return Ok(()),
            Finish::Stop => format!("1 to {max} ids for stop"),
            Finish::Length => format!("{max} ids for length"),
            Finish::Cancelled => format!("fewer than {max} ids for cancelled"),
            Finish::Refused | Finish::Missed | Finish::Busy => {
                return Err(ReceiptError::Mismatch {
                    field: "response.message.finish".into(),
                    expected: "stop, length or cancelled".into(),
                    came: format!("{finish:?}").to_lowercase(),
                });
            }
        };
        Err(ReceiptError::Mismatch { field: "output".into(), expected, came: format!("{n_out} ids") })
    }

    pub(super) fn progress(&self) -> Result<(), ReceiptError> {
        let mut hash = RunningHash::new(self.r, self.request.blinding);
        let points: BTreeMap<u32, Digest> =
            self.receipt.output.iter().filter_map(|id| hash.push(*id)).collect();
        let mut last = 0;
        for (i, p) in self.receipt.progress.iter().enumerate() {
            let m = &p.message;
            let at = format!("progress[{i}].message");
            self.place(&at, m.request, m.model, m.lane, m.slot)?;
            let Some(expected) = points.get(&m.up_to).filter(|_| m.up_to > last) else {
                return Err(ReceiptError::Mismatch {
                    field: format!("{at}.up_to"),
                    expected: format!("an ascending multiple of {PROGRESS_IDS} within the output"),
                    came: m.up_to.to_string(),
                });
            };
            last = m.up_to;
            same(format!("{at}.running"), *expected, m.running)?;
            check_signed(&format!("progress[{i}].signature"), p, self.domain(), self.node)?;
        }
        // The node signed each block that ended after what it was given. A receipt that lacks one was cut.
        const BLOCK: u32 = PROGRESS_IDS as u32;
        let given = self.receipt.attestation.message.resumed_from;
        let signed: BTreeSet<u32> = self.receipt.progress.iter().map(|p| p.message.up_to).collect();
        let mut due = points.keys().filter(|up_to| **up_to / BLOCK > given / BLOCK);
        match due.find(|up_to| !signed.contains(up_to)) {
            None => Ok(()),
            Some(up_to) => Err(ReceiptError::Mismatch {
                field: "progress".into(),
                expected: format!("the node's running hash at {up_to}, as at each {BLOCK} ids after {given}"),
                came: "none".into(),
            }),
        }
    }

    pub(super) fn cancel(&self) -> Result<(), ReceiptError> {
        let cancelled = self.receipt.response.message.finish == Finish::Cancelled;
        match &self.receipt.cancel {
            None if cancelled => Err(ReceiptError::Missing {
                field: "cancel",
                why: "a cancelled answer needs the requester's signature",
            }),
            None => Ok(()),
            Some(c) => {
                same("response.message.finish", true, cancelled)?;
                same("cancel.message.request", self.r, c.message.request)?;
                same("cancel.message.up_to", self.receipt.response.message.n_out, c.message.up_to)?;
                check_signed("cancel.signature", c, self.domain(), self.request.user)
            }
        }
    }

    pub(super) fn attestation(&self) -> Result<(), ReceiptError> {
        let (a, r) = (&self.receipt.attestation.message, &self.receipt.response.message);
        let sequencer = self.anchors.sequencer;
        check_signed("attestation.signature", &self.receipt.attestation, self.domain(), sequencer)?;
        same("attestation.message.response", r.digest(self.domain()), a.response)?;
        same("attestation.message.epoch", self.receipt.draw.table.epoch, a.epoch)?;
        same("attestation.message.retry", self.receipt.attempts.len() as u64, u64::from(a.retry.0))?;
        let received = self.receipt.intake.message.received_ms;
        ordered("attestation.message.dispatched_ms", received, a.dispatched_ms)?;
        ordered("attestation.message.first_token_ms", a.dispatched_ms, a.first_token_ms)?;
        ordered("attestation.message.done_ms", a.first_token_ms, a.done_ms)?;
        let charge =
            charge(r.n_in, r.n_out, a.input_price, a.output_price).ok_or_else(|| ReceiptError::Mismatch {
                field: "attestation.message.charge".into(),
                expected: "a charge below 2^128".into(),
                came: a.charge.to_string(),
            })?;
        same("attestation.message.charge", charge, a.charge)?;
        if a.charge > self.request.max_price {
            return Err(ReceiptError::Mismatch {
                field: "attestation.message.charge".into(),
                expected: format!("at most {}", self.request.max_price),
                came: a.charge.to_string(),
            });
        }
        Ok(())
    }

    pub(super) fn audit(&self) -> Result<bool, ReceiptError> {
        let Some(record) = &self.receipt.audit else { return Ok(false) };
        if !self.anchors.auditors.contains(&record.auditor) {
            return Err(ReceiptError::Mismatch {
                field: "audit.auditor".into(),
                expected: "a trusted auditor".into(),
                came: record.auditor.to_string(),
            });
        }
        let m = &record.audit.message;
        same("audit.audit.message.response", self.receipt.attestation.message.response, m.response)?;
        check_signed("audit.audit.signature", &record.audit, self.domain(), record.auditor)?;
        if m.passed { Ok(true) } else { Err(ReceiptError::AuditFailed) }
    }
}

/// n_in · input price + n_out · output price; `None` beyond 128 bits.
#[must_use]
pub fn charge(n_in: u32, n_out: u32, input_price: Amount, output_price: Amount) -> Option<Amount> {
    let input = input_price.0.checked_mul(u128::from(n_in))?;
    let output = output_price.0.checked_mul(u128::from(n_out))?;
    input.checked_add(output).map(Amount)
}

/// How far in the auditor's future an intake may lie, seconds.
pub const MAX_CLOCK_SKEW_S: u64 = 300;
