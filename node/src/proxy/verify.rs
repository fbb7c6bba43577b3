//! Is this the answer to what was asked? Every claim of the sequencer against what the user signed.

use super::signed::SignedRequest;
use crate::anchors::Anchors;
use crate::clock::unix_ms;
use crate::error::{Error, Result};
use monai_model::text::TextCodec;
use monai_protocol::receipt::{Receipt, Report};
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
    codec: &TextCodec,
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
    let report =
        receipt.check(&anchors.trust, unix_ms() / 1000).map_err(|e| Error::Invalid(format!("receipt: {e}")))?;
    let text = codec.decode(&receipt.output);
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
