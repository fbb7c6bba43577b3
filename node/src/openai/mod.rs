//! A small client of the OpenAI API, for `chat`, `network`, `devnet` and the proxy's upstream.

mod sse;

pub use sse::{SseError, SseParser};

use crate::error::{Error, Result};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use std::time::Duration;

/// How long to wait for a connection. Answers themselves may take as long as they take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a body that is read whole (a receipt with its ids stays far below).
pub const MAX_BODY_BYTES: usize = 32 << 20;

/// An endpoint, `…/v1`, with the key to use there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    base: String,
    key: Option<String>,
    http: reqwest::Client,
}

impl Endpoint {
    /// The endpoint at `base`, which ends in `/v1`.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no HTTP URL.
    pub fn new(base: &str, key: Option<String>) -> Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            return Err(Error::Usage(format!("{base:?} is no http:// or https:// URL")));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            // Loopback endpoints must not be asked for through a corporate proxy.
            .no_proxy()
            .build()
            .map_err(|e| Error::Local(format!("HTTP client: {e}")))?;
        Ok(Self { base, key, http })
    }

    /// The same endpoint with another key.
    #[must_use]
    pub fn with_key(&self, key: Option<String>) -> Self {
        Self { key, ..self.clone() }
    }

    /// The URL of a path below `/v1`, such as `/models`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A request with the key, for callers that add headers of their own.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// GET, JSON.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn get(&self, path: &str) -> Result<serde_json::Value> {
        let response = self.send(self.request(Method::GET, path), path).await?;
        self.json(response, path).await
    }

    /// GET, as bytes: for documents that are parsed strictly.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        let response = self.send(self.request(Method::GET, path), path).await?;
        self.bytes(response, path).await
    }

    /// POST of JSON; the response is returned with its body unread, for streams.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<Response> {
        self.send(self.request(Method::POST, path).json(body), path).await
    }

    /// POST of JSON, answered with JSON.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn post_json(&self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        let response = self.post(path, body).await?;
        self.json(response, path).await
    }

    /// POST of a JSON document as it is, answered with JSON: for documents whose bytes must not change.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub(crate) async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<serde_json::Value> {
        let request = self.request(Method::POST, path).header("content-type", "application/json").body(body);
        let response = self.send(request, path).await?;
        self.json(response, path).await
    }

    /// The first model that the endpoint lists.
    ///
    /// # Errors
    /// As [`Endpoint::get`]; [`Error::Missing`] if it serves none.
    pub async fn first_model(&self) -> Result<String> {
        let models = self.get("/models").await?;
        models["data"][0]["id"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Missing(format!("{} lists no model", self.base)))
    }

    /// Sends a request of [`Self::request`].
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub(crate) async fn send(&self, request: RequestBuilder, path: &str) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(path, &e))?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(self.refused(status, response, path).await) }
    }

    async fn json(&self, response: Response, path: &str) -> Result<serde_json::Value> {
        let bytes = self.bytes(response, path).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::Unreachable { url: self.url(path), what: format!("not JSON: {e}") })
    }

    async fn bytes(&self, response: Response, path: &str) -> Result<Vec<u8>> {
        read_limited(response, MAX_BODY_BYTES)
            .await
            .map_err(|what| Error::Unreachable { url: self.url(path), what })
    }

    fn unreachable(&self, path: &str, error: &reqwest::Error) -> Error {
        let mut what = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            what = inner.to_string();
            source = inner.source();
        }
        Error::Unreachable { url: self.url(path), what }
    }

    async fn refused(&self, status: StatusCode, response: Response, path: &str) -> Error {
        let body = read_limited(response, 64 << 10).await.unwrap_or_default();
        let message = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|v| v["error"]["message"].as_str().map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&body).chars().take(200).collect());
        Error::Refused { url: self.url(path), status: status.as_u16(), message }
    }
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// A text that says what happened.
pub async fn read_limited(mut response: Response, limit: usize) -> std::result::Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| format!("the body broke off: {e}"))? {
        if body.len() + chunk.len() > limit {
            return Err(format!("the body exceeds {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
