//! `POST /prove` and what belongs to it.
//!
//! | request | answer |
//! |---|---|
//! | `POST /prove` with a receipt | 202 and the job's state; 200 if it was there already |
//! | `GET /prove` | all jobs, oldest first |
//! | `GET /prove/ID` | one job: `queued`, `running` with stage and percent, `done`, `failed` with the reason, `cancelled` |
//! | `GET /prove/ID/proof` | the proof file, or 409 while there is none |
//! | `DELETE /prove/ID` | cancels a job that has not ended |

use super::store::{Entry, JobId, Refusal, State, Store};
use super::worker::Watch;
use crate::home::Home;
use crate::models::ModelStore;
use crate::prove::statement;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use monai_protocol::receipt::{MAX_RECEIPT_BYTES, Receipt};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// What is told to wait where the queue is full, seconds.
const RETRY_AFTER: &str = "60";

#[derive(Clone)]
struct Desk {
    store: Arc<Store>,
    watch: Arc<Watch>,
    models: ModelStore,
    token: Arc<str>,
}

/// The routes.
pub(super) fn router(store: Arc<Store>, watch: Arc<Watch>, token: String, home: &Home) -> Router {
    let desk = Desk { store, watch, models: ModelStore::new(home.models()), token: token.into() };
    Router::new()
        .route("/prove", post(submit).get(list))
        .route("/prove/{id}", get(status).delete(cancel))
        .route("/prove/{id}/proof", get(proof))
        .layer(DefaultBodyLimit::max(MAX_RECEIPT_BYTES))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), authorised))
        .with_state(desk)
}

/// An error in the shape of the OpenAI API, as everywhere here.
struct Fault(StatusCode, &'static str, String);

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code}});
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(RETRY_AFTER));
        }
        response
    }
}

fn own(error: &crate::error::Error) -> Fault {
    tracing::error!(%error, "queue of proofs");
    Fault(StatusCode::INTERNAL_SERVER_ERROR, "queue_failed", error.to_string())
}

async fn authorised(
    Shared(desk): Shared<Desk>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("Bearer "))
        .unwrap_or_default();
    // Digests are compared, so that the time tells nothing of the token.
    if Sha256::digest(given) == Sha256::digest(desk.token.as_bytes()) {
        return next.run(request).await;
    }
    Fault(StatusCode::UNAUTHORIZED, "invalid_token", "the token is that of MONAI_HOME/prove/token".into())
        .into_response()
}

async fn submit(Shared(desk): Shared<Desk>, body: Bytes) -> Result<Response, Fault> {
    let bad = |code, message| Fault(StatusCode::BAD_REQUEST, code, message);
    let receipt = Receipt::from_json(&body).map_err(|e| bad("invalid_receipt", e.to_string()))?;
    statement(&receipt).map_err(|e| bad("invalid_receipt", e.to_string()))?;
    if let Err(error) = desk.models.get(&receipt.request.model) {
        return Err(Fault(StatusCode::NOT_FOUND, "model_not_found", error.to_string()));
    }
    let id = JobId::of(&receipt);
    // Writing waits for the disk.
    let (store, job) = (desk.store.clone(), id.clone());
    let before = store.get(&id).map(|e| e.state);
    let accepted = tokio::task::spawn_blocking(move || store.accept(&job, &body)).await;
    match accepted {
        Ok(Ok(_)) => {}
        Ok(Err(Refusal::Full)) => {
            return Err(Fault(StatusCode::TOO_MANY_REQUESTS, "queue_full", Refusal::Full.to_string()));
        }
        Ok(Err(Refusal::Disk(error))) => return Err(own(&error)),
        Err(error) => return Err(own(&crate::error::Error::Local(error.to_string()))),
    }
    desk.watch.wake();
    let known = matches!(before, Some(State::Queued | State::Done));
    let status = if known { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(found(&desk, &id)?)).into_response())
}

async fn list(Shared(desk): Shared<Desk>) -> Json<Value> {
    let all: Vec<_> = desk.store.list().iter().map(|(id, entry)| describe(&desk, id, entry)).collect();
    Json(json!({"data": all}))
}

async fn status(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    Ok(Json(found(&desk, &parse(&id)?)?))
}

async fn proof(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Response, Fault> {
    let id = parse(&id)?;
    found(&desk, &id)?;
    match desk.store.proof(&id).map_err(|e| own(&e))? {
        Some(bytes) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()),
        None => {
            Err(Fault(StatusCode::CONFLICT, "no_proof", "the job has no proof; ask for its state".into()))
        }
    }
}

async fn cancel(Shared(desk): Shared<Desk>, Path(id): Path<String>) -> Result<Json<Value>, Fault> {
    let id = parse(&id)?;
    found(&desk, &id)?;
    let (store, job) = (desk.store.clone(), id.clone());
    match tokio::task::spawn_blocking(move || store.end(&job, State::Cancelled, b"")).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(own(&error)),
        Err(error) => return Err(own(&crate::error::Error::Local(error.to_string()))),
    }
    desk.watch.abandon(&id);
    Ok(Json(found(&desk, &id)?))
}

fn parse(id: &str) -> Result<JobId, Fault> {
    JobId::parse(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> Fault {
    Fault(StatusCode::NOT_FOUND, "job_not_found", format!("no job {id:?}"))
}

fn found(desk: &Desk, id: &JobId) -> Result<Value, Fault> {
    let entry = desk.store.get(id).ok_or_else(|| unknown(id.as_str()))?;
    Ok(describe(desk, id, &entry))
}

fn describe(desk: &Desk, id: &JobId, entry: &Entry) -> Value {
    let running = desk.watch.running().filter(|r| r.id == *id);
    match (&entry.state, running) {
        (State::Queued, Some(r)) => {
            json!({"id": id.as_str(), "state": "running", "stage": r.steps.stage(), "percent": r.steps.percent()})
        }
        (State::Queued, None) => json!({"id": id.as_str(), "state": "queued"}),
        (State::Done, _) => json!({"id": id.as_str(), "state": "done", "percent": 100}),
        (State::Failed(reason), _) => json!({"id": id.as_str(), "state": "failed", "error": reason}),
        (State::Cancelled, _) => json!({"id": id.as_str(), "state": "cancelled"}),
    }
}
