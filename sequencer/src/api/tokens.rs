//! `POST /tokenize` and `/detokenize`: what a client computes itself if it does not trust us, as a convenience.

use std::sync::Arc;

use axum::Json;
use serde_json::{Value, json};

use super::Api;
use super::complete::text_error;
use super::error::ApiError;
use super::fields::{Fields, parse_object};
use super::prompt::messages;
use crate::catalogue::Served;

impl Api {
    /// The model of a helper request: named, or the only one.
    fn model_or_only(&self, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
        match (name, self.catalogue.all()) {
            (None, [only]) => Ok(only.clone()),
            (name, _) => self.model(name),
        }
    }
}

pub(super) async fn tokenize(api: &Api, body: &[u8]) -> Result<Json<Value>, ApiError> {
    let object = parse_object(body)?;
    let f = Fields::root(&object);
    let served = api.model_or_only(f.string("model")?)?;
    let max = served.arch.max_positions;
    let work: Box<dyn FnOnce() -> Result<Vec<u32>, ApiError> + Send> = if f.get("messages").is_some() {
        let messages = messages(&f)?;
        Box::new(move || served.codec.chat_ids(&messages).map_err(|e| text_error(&e, "messages")))
    } else {
        let text = f.string("prompt")?.ok_or_else(|| ApiError::missing("prompt"))?.to_owned();
        // As /v1/completions would: with the model's begin id, if it has one.
        let special = f.boolean("add_special_tokens")?.unwrap_or(true);
        Box::new(move || {
            let ids = if special { served.codec.prompt_ids(&text) } else { served.codec.text_ids(&text) };
            ids.map_err(|e| text_error(&e, "prompt"))
        })
    };
    let ids = api.tokenise_with(work).await?;
    Ok(Json(json!({"count": ids.len(), "max_model_len": max, "tokens": ids})))
}

pub(super) async fn detokenize(api: &Api, body: &[u8]) -> Result<Json<Value>, ApiError> {
    let object = parse_object(body)?;
    let f = Fields::root(&object);
    let served = api.model_or_only(f.string("model")?)?;
    let ids = f.ids("tokens", served.arch.vocab)?.ok_or_else(|| ApiError::missing("tokens"))?;
    let text = api.tokenise_with(move || Ok(served.codec.decode(&ids))).await?;
    Ok(Json(json!({"prompt": text})))
}
