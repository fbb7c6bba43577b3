//! `POST /tokenize` and `/detokenize`: what a client computes itself if it does not trust us, as a convenience. It is work
//! like any other, so the ids count against the key's rate.

use std::sync::Arc;

use axum::Json;
use serde_json::{Value, json};

use super::Api;
use super::auth::KeyIndex;
use super::complete::text_error;
use super::error::ApiError;
use super::fields::{Fields, parse_object};
use super::prompt::messages;
use crate::catalogue::Served;

/// Ids that a template may write for each message, for the reservation; more is not counted.
const TEMPLATE_IDS: usize = 64;

impl Api {
    /// The model of a helper request: named, or the only one.
    fn model_or_only(&self, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
        match (name, self.catalogue.all()) {
            (None, [only]) => Ok(only.clone()),
            (name, _) => self.model(name),
        }
    }
}

pub(super) async fn tokenize(api: &Api, key: KeyIndex, body: &[u8]) -> Result<Json<Value>, ApiError> {
    let object = parse_object(body)?;
    let f = Fields::root(&object);
    let served = api.model_or_only(f.string("model")?)?;
    let max = served.arch.max_positions;
    let bytes;
    let work: Box<dyn FnOnce() -> Result<Vec<u32>, ApiError> + Send> = if f.get("messages").is_some() {
        let messages = messages(&f)?;
        bytes = messages.iter().map(|m| m.content.len() + TEMPLATE_IDS).sum();
        Box::new(move || served.codec.chat_ids(&messages).map_err(|e| text_error(&e, "messages")))
    } else {
        let text = f.string("prompt")?.ok_or_else(|| ApiError::missing("prompt"))?.to_owned();
        // As /v1/completions would: with the model's begin id, if it has one.
        let special = f.boolean("add_special_tokens")?.unwrap_or(true);
        bytes = text.len() + 1;
        Box::new(move || {
            let ids = if special { served.codec.prompt_ids(&text) } else { served.codec.text_ids(&text) };
            ids.map_err(|e| text_error(&e, "prompt"))
        })
    };
    // A text has at most an id a byte; what it did not need comes back, and all of it where the text was refused.
    let mut permit = api.limiter.work(key, bytes)?;
    permit.settle(0);
    let ids = api.tokenise_with(work).await?;
    permit.settle(ids.len() as u64);
    Ok(Json(json!({"count": ids.len(), "max_model_len": max, "tokens": ids})))
}

pub(super) async fn detokenize(api: &Api, key: KeyIndex, body: &[u8]) -> Result<Json<Value>, ApiError> {
    let object = parse_object(body)?;
    let f = Fields::root(&object);
    let served = api.model_or_only(f.string("model")?)?;
    let ids = f.ids("tokens", served.arch.vocab)?.ok_or_else(|| ApiError::missing("tokens"))?;
    let _permit = api.limiter.work(key, ids.len())?;
    let text = api.tokenise_with(move || Ok(served.codec.decode(&ids))).await?;
    Ok(Json(json!({"prompt": text})))
}
