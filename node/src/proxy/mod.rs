//! `monai proxy`: a local OpenAI endpoint that signs what it asks and verifies what it is answered.
//!
//! For a client it is an OpenAI endpoint like any other. Towards the sequencer it is a sovereign user:
//! it turns texts into ids itself, with the registered template, commits to them and to everything
//! else in R, signs R, and takes no answer whose receipt does not hold all of that. The end of an
//! answer is passed on only after the check; text of a stream has been shown by then, so a failed
//! check is an error event in place of the end.
//!
//! What the sequencer does with a stream's text before its end can't be undone, but it can't go
//! unnoticed either.

mod catalogue;
mod fault;
mod fields;
mod nonce;
mod relay;
mod signed;
mod spoken;
mod start;
mod state;
mod verify;

pub use start::{RunningProxy, run, start};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fault::Fault;
use fields::{Ask, Kind};
use reqwest::Method;
use state::Proxy;
use std::sync::Arc;

/// Most bytes of a request.
const MAX_REQUEST_BYTES: usize = 4 << 20;
/// Headers of the sequencer's answer that clients read.
const PASSED_HEADERS: [&str; 7] = [
    "retry-after",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
];

fn router(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/v1/receipts/{id}", get(receipt))
        .route("/v1/network", get(network))
        .route("/health", get(|| async { "ok" }))
        .fallback(|| async {
            Fault::not_found("", "not_found", "There is nothing here; the API is below /v1.")
        })
        .method_not_allowed_fallback(|| async {
            let mut fault = Fault::request("", "method_not_allowed", "This method is not allowed here.");
            fault.status = StatusCode::METHOD_NOT_ALLOWED;
            fault
        })
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(proxy)
}

type Incoming = Result<Bytes, BytesRejection>;

async fn chat(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    body: Incoming,
) -> Result<Response, Fault> {
    answer(proxy, Kind::Chat, &headers, body).await
}

async fn completions(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    body: Incoming,
) -> Result<Response, Fault> {
    answer(proxy, Kind::Text, &headers, body).await
}

async fn answer(
    proxy: Arc<Proxy>,
    kind: Kind,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Fault> {
    let body = body.map_err(|e| {
        let mut fault = Fault::request("", "request_too_large", e.body_text());
        fault.status = e.status();
        fault
    })?;
    let ask = Ask::read(kind, &body)?;
    let prepared = proxy.prepare(&ask, client_key(headers)).await?;
    let request = prepared.upstream.request(Method::POST, kind.path()).json(&prepared.signed.body);
    let upstream =
        request.send().await.map_err(|e| Fault::upstream(format!("The sequencer can't be reached: {e}")))?;
    // An error comes before any stream: it is passed on as it is.
    if !upstream.status().is_success() {
        return Ok(pass(upstream));
    }
    let limits = passed_headers(&upstream);
    let mut response = if ask.stream {
        relay::stream(proxy, ask, prepared, upstream)
    } else {
        relay::whole(&proxy, &ask, &prepared, upstream).await?
    };
    response.headers_mut().extend(limits);
    Ok(response)
}

async fn models(State(proxy): State<Arc<Proxy>>, headers: HeaderMap) -> Result<Response, Fault> {
    fetch(&proxy, &headers, "/models").await
}

async fn model(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    fetch(&proxy, &headers, &format!("/models/{}", segment(&id)?)).await
}

async fn receipt(
    State(proxy): State<Arc<Proxy>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    fetch(&proxy, &headers, &format!("/receipts/{}", segment(&id)?)).await
}

async fn network(State(proxy): State<Arc<Proxy>>, headers: HeaderMap) -> Result<Response, Fault> {
    fetch(&proxy, &headers, "/network").await
}

/// A path segment that can't leave its place.
fn segment(id: &str) -> Result<&str, Fault> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    if !id.is_empty() && id.bytes().all(plain) && id != ".." && id != "." {
        Ok(id)
    } else {
        Err(Fault::not_found("id", "not_found", "There is nothing of that name."))
    }
}

async fn fetch(proxy: &Proxy, headers: &HeaderMap, path: &str) -> Result<Response, Fault> {
    let upstream = match client_key(headers) {
        Some(key) => proxy.upstream.with_key(Some(key)),
        None => proxy.upstream.clone(),
    };
    let response = upstream.request(Method::GET, path).send().await;
    Ok(pass(response.map_err(|e| Fault::upstream(format!("The sequencer can't be reached: {e}")))?))
}

/// What clients read of a response's headers.
fn passed_headers(upstream: &reqwest::Response) -> HeaderMap {
    PASSED_HEADERS
        .iter()
        .filter_map(|name| Some((HeaderName::from_static(name), upstream.headers().get(*name)?.clone())))
        .collect()
}

/// Passes a response of the sequencer on.
fn pass(upstream: reqwest::Response) -> Response {
    let status = upstream.status();
    let mut headers = passed_headers(&upstream);
    if let Some(kind) = upstream.headers().get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    (status, headers, Body::from_stream(upstream.bytes_stream())).into_response()
}

/// The client's own API key. Many clients need one to be set; `none` and `unused` mean that it is not meant.
fn client_key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let key = value.strip_prefix("Bearer ")?.trim();
    (!key.is_empty() && !["none", "unused"].contains(&key)).then(|| key.to_owned())
}
