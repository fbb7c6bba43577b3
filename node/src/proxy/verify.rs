//! Is this the answer to what was asked? Every claim of the sequencer against what the user signed.

use super::catalogue::Known;
use super::signed::SignedRequest;
use crate::anchors::Anchors;
use crate::clock::unix_ms;
use crate::error::{Error, Result};
use monai_protocol::Address;
use monai_protocol::messages::{Intake, Typed as _};
use monai_protocol::receipt::{Receipt, Report, Signed};
use monai_protocol::types::Finish;
use serde_json::Value;

/// What the client was told, or is about to be.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    /// The whole text of the answer, before stop strings are trimmed here.
    pub(super) text: String,
    /// `finish_reason`.
    pub(super) finish: String,
    /// Token counts; null where none came.
    pub(super) usage: Value,
    /// The slot that was promised when the request came in.
    pub(super) intake: Option<Signed<Intake>>,
}

/// Checks the receipt by itself, then against the request that was signed here, then against what
/// the client was told.
///
/// # Errors
/// [`Error::Invalid`] names what is wrong.
pub(super) fn verify(
    receipt: &Receipt,
    signed: &SignedRequest,
    told: &Told,
    known: &Known,
    anchors: &Anchors,
) -> Result<Report> {
    let wrong = |what: String| Err(Error::Invalid(what));
    // The order matters for the words of an error: a foreign request with valid signatures is a swap.
    if receipt.request != signed.request {
        return wrong("the receipt is for another request than the one that was signed".into());
    }
    if receipt.user_signature.as_ref() != Some(&signed.signature) {
        return wrong("user_signature: the receipt does not hold the signature that was made here".into());
    }
    let report = receipt
        .check(&anchors.trust, unix_ms() / 1000)
        .map_err(|e| Error::Invalid(format!("receipt: {e}")))?;
    match &told.intake {
        Some(intake) if *intake == receipt.intake => {}
        Some(_) => return wrong("the request was promised another slot than the receipt's".into()),
        None => return wrong("no intake was signed when the request came in".into()),
    }
    let text = known.codec.decode(shown(receipt, &known.model.text.eos_ids));
    if text != told.text {
        let at = text.bytes().zip(told.text.bytes()).take_while(|(a, b)| a == b).count();
        return wrong(format!("the text that was sent differs from the receipt's output ids at byte {at}"));
    }
    let finish = match report.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        // This proxy has not signed any order to cancel.
        _ => return wrong("the answer was cut off, which nobody here has signed".into()),
    };
    if told.finish != finish {
        return wrong(format!("finish_reason: expected {finish}, came {}", told.finish));
    }
    for (name, expected) in
        [("prompt_tokens", receipt.request.prompt.len()), ("completion_tokens", receipt.output.len())]
    {
        let came = &told.usage[name];
        if !told.usage.is_null() && came.as_u64() != Some(expected as u64) {
            return wrong(format!("usage.{name}: expected {expected}, came {came}"));
        }
    }
    Ok(report)
}

/// The ids that have text: the one that ends an answer has none, even where it could be written.
fn shown<'a>(receipt: &'a Receipt, ends: &[u32]) -> &'a [u32] {
    match receipt.output.split_last() {
        Some((last, rest)) if ends.contains(last) || receipt.request.params.stop_ids.contains(last) => rest,
        _ => &receipt.output,
    }
}

/// Checks the intake that comes with the first sign of an answer: the sequencer has promised a slot
/// to exactly the request that was signed here.
///
/// # Errors
/// [`Error::Invalid`] names what is wrong.
pub(super) fn intake(monai: &Value, signed: &SignedRequest, sequencer: Address) -> Result<Signed<Intake>> {
    let wrong = |what: String| Error::Invalid(format!("intake: {what}"));
    let intake: Signed<Intake> = serde_json::from_value(monai["intake"].clone())
        .map_err(|e| wrong(format!("missing or malformed: {e}")))?;
    let (came, expected) = (intake.message.request, signed.request.commitment());
    if came != expected {
        return Err(wrong(format!("expected request {expected}, came {came}")));
    }
    if intake.message.lane.by_preference() != signed.request.by_preference {
        return Err(wrong(format!(
            "lane {} is not of the kind that the request asked for",
            intake.message.lane
        )));
    }
    if intake.message.model != signed.request.model {
        return Err(wrong(format!("it is for the model {}", intake.message.model)));
    }
    intake
        .message
        .verify(&signed.request.domain, &intake.signature, sequencer)
        .map_err(|e| wrong(e.to_string()))?;
    Ok(intake)
}
