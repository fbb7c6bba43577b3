//! `GET /v1/receipts/{completion id}?choice=k`.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use monai_protocol::receipt::{RECEIPT_VERSION, Receipt};
use serde::Deserialize;

use super::Api;
use super::auth::KeyIndex;
use super::error::ApiError;
use crate::ledger::view::draw_record;
use crate::records::{EpochRecord, Evidence, InclusionRecord, Plaintext, StoredReceipt};
use crate::secret::ApiKeyHash;
use crate::store::{Cf, Store, StoreError, keys};

/// Longest completion id that is looked up.
const MAX_ID_BYTES: usize = 128;

/// The query part.
#[derive(Debug, Deserialize)]
pub(crate) struct ReceiptQuery {
    /// Which choice of an answer with several; the first if absent.
    #[serde(default)]
    choice: Option<String>,
}

pub(super) fn get(api: &Api, key: KeyIndex, id: &str, query: &ReceiptQuery) -> Result<Response, ApiError> {
    let choice = match query.choice.as_deref() {
        None => 0,
        Some(text) => text
            .parse::<u32>()
            .map_err(|_| ApiError::invalid("choice", "Invalid value for 'choice': expected a number."))?,
    };
    // The same answer for a foreign id as for none: ids say nothing to those who don't own them.
    let absent = || ApiError::not_found("There is no such receipt for this key.");
    if id.len() > MAX_ID_BYTES {
        return Err(absent());
    }
    let store = &api.router.store;
    let failed = |error: StoreError| {
        tracing::error!(%error, "a receipt could not be read");
        ApiError::internal()
    };
    let stored: StoredReceipt =
        store.get_json(Cf::Receipts, &keys::receipt(id, choice)).map_err(failed)?.ok_or_else(absent)?;
    let owner: ApiKeyHash = match &stored {
        StoredReceipt::Kept(p) => p.owner,
        StoredReceipt::Erased { owner } => *owner,
    };
    if !api.keys.get(key).hash.matches(&owner) {
        return Err(absent());
    }
    let StoredReceipt::Kept(plaintext) = stored else {
        return Err(ApiError::gone("The plaintext of this receipt was deleted at the end of its retention."));
    };
    let receipt = assemble(store, *plaintext).map_err(failed)?;
    let text = receipt.to_json().map_err(|error| {
        tracing::error!(%error, "a receipt could not be written");
        ApiError::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Puts a receipt together from what is stored apart: plaintext, evidence, draw and inclusion.
pub(crate) fn assemble(store: &Store, p: Plaintext) -> Result<Receipt, StoreError> {
    let missing =
        |what: &'static str| StoreError::Decode(what, "a record that belongs to a receipt is absent".into());
    let key = keys::slot(&p.request.model, p.lane, p.slot);
    let evidence: Evidence =
        store.get_json(Cf::Evidence, &key)?.ok_or_else(|| missing(Cf::Evidence.name()))?;
    let answer = evidence.answer.ok_or_else(|| missing(Cf::Evidence.name()))?;
    let epoch: EpochRecord = store
        .get_json(Cf::Epochs, &keys::epoch(evidence.epoch, &p.request.model))?
        .ok_or_else(|| missing(Cf::Epochs.name()))?;
    let included: Option<InclusionRecord> = store.get_json(Cf::Inclusions, &key)?;
    let (inclusion, link) = match included {
        Some(record) => (Some(record.inclusion), record.link),
        None => (None, None),
    };
    let draw = draw_record(&epoch, p.lane, link).ok_or_else(|| missing(Cf::Epochs.name()))?;
    Ok(Receipt {
        version: RECEIPT_VERSION,
        request: p.request,
        user_signature: p.user_signature,
        intake: evidence.intake,
        attempts: evidence.attempts,
        output: p.output,
        response: answer.response,
        progress: answer.progress,
        cancel: answer.cancel,
        attestation: answer.attestation,
        draw,
        inclusion,
        audit: None,
    })
}
