//! Earlier attempts at the slot: who was drawn, and why there was no answer.

use super::{Facts, check_signed, ordered, same};
use crate::messages::Refusal;
use crate::receipt::{Attempt, ReceiptError, Signed};
use crate::types::Address;

impl Facts<'_> {
    pub(super) fn attempts(&self) -> Result<(), ReceiptError> {
        let mut streamed = 0;
        for (i, attempt) in self.receipt.attempts.iter().enumerate() {
            let at = format!("attempts[{i}]");
            let node = attempt.node();
            if self.receipt.draw.table.index_of(&node).is_none() {
                return Err(ReceiptError::Mismatch {
                    field: format!("{at}.node"),
                    expected: "a node of draw.table".into(),
                    came: node.to_string(),
                });
            }
            match attempt {
                Attempt::Missed(miss) => {
                    let m = &miss.message;
                    self.place(&format!("{at}.message"), m.request, m.model, m.lane, m.slot)?;
                    same(format!("{at}.message.retry"), i as u64, u64::from(m.retry.0))?;
                    ordered(&format!("{at}.message.at_ms"), m.dispatched_ms, m.at_ms)?;
                    ordered(&format!("{at}.message.streamed"), streamed, u64::from(m.streamed))?;
                    streamed = u64::from(m.streamed);
                    check_signed(&format!("{at}.signature"), miss, self.domain(), self.anchors.sequencer)?;
                }
                Attempt::Refused(r) => self.refusal(&at, i, &r.refusal, node)?,
                Attempt::Busy(b) => {
                    self.refusal(&at, i, &b.refusal, node)?;
                    let (refusal, credit) = (&b.refusal.message, &b.credit.message);
                    same(format!("{at}.credit.message.model"), self.request.model, credit.model)?;
                    ordered(&format!("{at}.refusal.message.at_ms"), credit.issued_ms, refusal.at_ms)?;
                    if !refusal.shows_exhausted(credit.credits) {
                        return Err(ReceiptError::Mismatch {
                            field: format!("{at}.refusal.message.active"),
                            expected: format!("busy with {} distinct requests, ascending", credit.credits),
                            came: format!("{:?} with {}", refusal.reason, refusal.active.len()),
                        });
                    }
                    check_signed(&format!("{at}.credit.signature"), &b.credit, self.domain(), node)?;
                }
            }
        }
        same(
            "attestation.message.resumed_from",
            streamed,
            u64::from(self.receipt.attestation.message.resumed_from),
        )?;
        ordered("response.message.n_out", streamed, u64::from(self.receipt.response.message.n_out))
    }

    fn refusal(
        &self,
        at: &str,
        i: usize,
        refusal: &Signed<Refusal>,
        node: Address,
    ) -> Result<(), ReceiptError> {
        let m = &refusal.message;
        self.place(&format!("{at}.refusal.message"), m.request, m.model, m.lane, m.slot)?;
        same(format!("{at}.refusal.message.retry"), i as u64, u64::from(m.retry.0))?;
        check_signed(&format!("{at}.refusal.signature"), refusal, self.domain(), node)
    }
}

impl Attempt {
    /// The node that was drawn.
    #[must_use]
    pub fn node(&self) -> Address {
        match self {
            Self::Missed(m) => m.message.node,
            Self::Refused(r) => r.node,
            Self::Busy(b) => b.node,
        }
    }
}
