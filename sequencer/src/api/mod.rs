//! The HTTP API. `README.md` of this crate is its reference.

pub(crate) mod ask;
pub(crate) mod auth;
pub(crate) mod complete;
pub(crate) mod error;
pub(crate) mod extensions;
pub(crate) mod fields;
mod info;
pub(crate) mod limits;
mod network;
pub(crate) mod prompt;
pub(crate) mod published;
mod receipts;
mod request;
pub(crate) mod sampling;
pub(crate) mod shape;
pub(crate) mod stops;
mod stream;
mod text;
mod tokens;
mod whole;

use std::sync::Arc;

use axum::Router as AxumRouter;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{MatchedPath, Path, Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use auth::{ApiKeys, KeyIndex};
use error::ApiError;
use limits::Limiter;
use published::Published;
use shape::Endpoint;

use crate::catalogue::Catalogue;
use crate::config::{Limits, Timeouts, ms};
use crate::metrics::Metrics;
use crate::router::Router;

/// What handlers share.
pub(crate) struct Api {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) keys: Arc<ApiKeys>,
    pub(crate) limiter: Limiter,
    pub(crate) router: Arc<Router>,
    /// Posts to L1, if it does.
    pub(crate) poster: Option<Arc<crate::l1::Poster>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) started_s: u64,
    /// Prompts being tokenised at once: as many as there are cores.
    pub(crate) tokenising: Arc<Semaphore>,
    /// `/v1/network` as last computed.
    pub(crate) network: Published,
    /// `/v1/anchors` as last computed.
    pub(crate) anchors: Published,
}

type Shared = State<Arc<Api>>;

/// All routes.
pub(crate) fn routes(api: Arc<Api>) -> AxumRouter {
    AxumRouter::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .route("/v1/receipts/{id}", get(receipt))
        .route("/v1/network", get(network))
        .route("/v1/anchors", get(anchors))
        .route("/v1/node", get(node))
        .route("/v1/tokenize", post(tokenize))
        .route("/v1/detokenize", post(detokenize))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(|| async { ApiError::not_found("There is nothing here.") })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(axum::middleware::from_fn_with_state(api.clone(), count))
        .with_state(api)
}

/// Counts every answer by its route's pattern, never by the path itself, which clients choose.
async fn count(State(api): Shared, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    api.metrics.http.with_label_values(&[route.as_str(), response.status().as_str()]).inc();
    response
}

impl Api {
    /// Authenticates, counts the request, and adds the rate-limit headers to whatever comes of it.
    async fn with_key<T: IntoResponse>(
        &self,
        headers: &HeaderMap,
        work: impl AsyncFnOnce(KeyIndex) -> Result<T, ApiError>,
    ) -> Response {
        let key = match self.keys.authenticate(headers) {
            Ok(key) => key,
            Err(e) => return e.into_response(),
        };
        let result = match self.limiter.request(key) {
            Ok(()) => work(key).await,
            Err(e) => Err(e),
        };
        let mut response = result.into_response();
        self.limiter.snapshot(key).write(response.headers_mut());
        response
    }

    /// Runs a tokenizer in a thread of its own: megabytes of text must not hold up other requests. The place belongs to
    /// the work and not to the request, so clients that leave in the middle don't make room for more of it.
    async fn tokenise_with<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.tokenising.clone().acquire_owned().await.map_err(|_| ApiError::internal())?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|_| ApiError::internal())?
    }

    /// Reads a body within the limits of size and time.
    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, ApiError> {
        let limit = self.limits.body_bytes;
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        // Such a client waits for leave to send, and does not get it.
        if headers.contains_key(header::EXPECT) && announced.is_some_and(|n| n > limit as u64) {
            return Err(ApiError::too_large(limit));
        }
        match tokio::time::timeout(ms(self.timeouts.client_read_ms), collect(body, limit)).await {
            Err(_) => Err(ApiError::body_timeout()),
            Ok(read) => read,
        }
    }
}

/// Most bytes of a body that are read, of which those beyond the limit are forgotten at once: a client that is still
/// sending while its connection is closed would not see the answer.
const MAX_READ_BYTES: usize = 64 << 20;

async fn collect(body: Body, limit: usize) -> Result<axum::body::Bytes, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut total = 0usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::malformed("The body ended early."))?;
        total = total.saturating_add(chunk.len());
        if total > MAX_READ_BYTES {
            break;
        }
        if total <= limit {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = Vec::new();
        }
    }
    if total > limit { Err(ApiError::too_large(limit)) } else { Ok(bytes.into()) }
}

async fn chat(State(api): Shared, headers: HeaderMap, body: Body) -> Response {
    answer(api, headers, body, Endpoint::Chat).await
}

async fn completions(State(api): Shared, headers: HeaderMap, body: Body) -> Response {
    answer(api, headers, body, Endpoint::Text).await
}

async fn answer(api: Arc<Api>, headers: HeaderMap, body: Body, endpoint: Endpoint) -> Response {
    api.with_key(&headers, async |key| {
        let body = api.body(&headers, body).await?;
        api.complete(key, endpoint, &body).await
    })
    .await
}

async fn models(State(api): Shared, headers: HeaderMap) -> Response {
    api.with_key(&headers, async |_| Ok(info::models(&api))).await
}

async fn model(State(api): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    api.with_key(&headers, async |_| info::model(&api, &id)).await
}

async fn receipt(
    State(api): Shared,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<receipts::ReceiptQuery>,
) -> Response {
    api.with_key(&headers, async |key| receipts::get(&api, key, &id, &query)).await
}

async fn tokenize(State(api): Shared, headers: HeaderMap, body: Body) -> Response {
    api.with_key(&headers, async |key| {
        let body = api.body(&headers, body).await?;
        tokens::tokenize(&api, key, &body).await
    })
    .await
}

async fn detokenize(State(api): Shared, headers: HeaderMap, body: Body) -> Response {
    api.with_key(&headers, async |key| {
        let body = api.body(&headers, body).await?;
        tokens::detokenize(&api, key, &body).await
    })
    .await
}

async fn network(State(api): Shared) -> Response {
    let shared = api.clone();
    api.network.get(move || network::get(&shared)).await
}

async fn anchors(State(api): Shared) -> Response {
    let shared = api.clone();
    api.anchors.get(move || network::get_anchors(&shared)).await
}

async fn health(State(api): Shared) -> Response {
    info::health(&api)
}

async fn metrics(State(api): Shared) -> Response {
    info::metrics(&api)
}

async fn node(
    State(api): Shared,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    match upgrade {
        Ok(upgrade) => crate::hub::serve(api.router.hub.clone(), upgrade),
        Err(rejection) => {
            let mut e = ApiError::malformed("This is the nodes' WebSocket endpoint.");
            e.status = rejection.status();
            e.into_response()
        }
    }
}
