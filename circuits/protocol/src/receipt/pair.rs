//! What two receipts prove that one can't: a slot doubled or re-assigned.

use super::{Receipt, ReceiptError};
use crate::messages::Typed;

/// Checks that two receipts, each valid by itself, do not show an equivocation.
///
/// # Errors
/// [`ReceiptError::Equivocation`] if one slot holds two requests or two responses, or if one request
/// fills two slots.
pub fn check_pair(a: &Receipt, b: &Receipt) -> Result<(), ReceiptError> {
    let (x, y) = (&a.intake.message, &b.intake.message);
    let same_domain = a.request.domain == b.request.domain;
    if !same_domain || a == b {
        return Ok(());
    }
    let found = |what| Err(ReceiptError::Equivocation { model: x.model, lane: x.lane, slot: x.slot, what });
    let same_slot = (x.model, x.lane, x.slot) == (y.model, y.lane, y.slot);
    if same_slot && x.request != y.request {
        return found("two requests in one slot");
    }
    if !same_slot && x.request == y.request {
        return found("one request in two slots");
    }
    if same_slot {
        let domain = &a.request.domain;
        if a.response.message.digest(domain) != b.response.message.digest(domain) {
            return found("two responses in one slot");
        }
        if a.attestation.message.digest(domain) != b.attestation.message.digest(domain) {
            return found("two attestations in one slot");
        }
    }
    Ok(())
}
