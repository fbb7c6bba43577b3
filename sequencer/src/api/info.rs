//! Models, health and metrics.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::Api;
use super::error::ApiError;
use crate::catalogue::Served;

fn entry(api: &Api, m: &Served) -> Value {
    json!({
        "id": m.name,
        "object": "model",
        "created": api.started_s,
        "owned_by": "monai",
        "model_id": m.id,
        "kind": if m.codec.has_chat() { "chat" } else { "base" },
        "max_positions": m.arch.max_positions,
        "max_model_len": m.arch.max_positions,
        "vocab": m.arch.vocab,
        "eos_ids": m.eos_ids(),
        "tau_one": m.arch.tau_one.to_string(),
        "tau_max": m.arch.tau_max,
        "tokenizer_sha256": m.tokenizer_digest,
        "template_sha256": m.template_digest,
        "price": {
            "input": m.price_input,
            "output": m.price_output,
            "unit": "10^-18 tokens of settlement per id",
        },
    })
}

pub(super) fn models(api: &Api) -> Json<Value> {
    let data: Vec<Value> = api.catalogue.all().iter().map(|m| entry(api, m)).collect();
    Json(json!({"object": "list", "data": data}))
}

pub(super) fn model(api: &Api, id: &str) -> Result<Json<Value>, ApiError> {
    let m = api.catalogue.find(id).ok_or_else(|| ApiError::model_not_found(id))?;
    Ok(Json(entry(api, m)))
}

pub(super) fn health(api: &Api) -> Response {
    let failed = api.router.store.failed();
    let mut body = json!({
        "status": if failed { "failed" } else { "ok" },
        "batching": if api.router.ledger.stuck() { "stuck" } else { "ok" },
        "nodes": api.router.hub.sessions().len(),
        "in_flight": api.limiter.in_flight(&api.limits),
        "unbatched_slots": api.router.ledger.waiting(),
    });
    if let Some(l1) = api.router.ledger.l1_status() {
        body["l1"] = json!(l1);
        if let Some(poster) = &api.poster {
            body["l1"]["posting"] = json!(poster.status());
        }
    }
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(body)).into_response()
}

pub(super) fn metrics(api: &Api) -> Response {
    match api.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics");
            ApiError::internal().into_response()
        }
    }
}
