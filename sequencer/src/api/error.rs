//! Errors as OpenAI clients read them: `{"error": {"message", "type", "param", "code"}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An answer that is not a success. Messages are for people and never quote secrets or prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) param: Option<String>,
    pub(crate) message: String,
    /// Seconds after which trying again makes sense.
    pub(crate) retry_after: Option<u32>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after: None }
    }

    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn with_retry(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds.max(1));
        self
    }

    /// 400: a value is malformed or out of range.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some("invalid_value"), message).with_param(param)
    }

    /// 400: a field that the statement can't express yet.
    pub(crate) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some("unsupported_parameter"), message).with_param(param)
    }

    /// 400: a field is absent.
    pub(crate) fn missing(param: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            Some("missing_required_parameter"),
            format!("Missing required parameter: '{param}'."),
        )
        .with_param(param)
    }

    /// 400: the body is not a JSON object in UTF-8.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some("invalid_json"), message)
    }

    /// 400: prompt and output don't fit the model.
    pub(crate) fn context_length(max: usize, prompt: usize, output: Option<u32>, param: &str) -> Self {
        let asked = match output {
            Some(n) => format!(
                "However, you requested {} tokens ({prompt} in the prompt, {n} in the completion).",
                prompt.saturating_add(n as usize)
            ),
            None => format!("However, your prompt resulted in {prompt} tokens."),
        };
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            Some("context_length_exceeded"),
            format!("This model's maximum context length is {max} tokens. {asked} Please shorten the input."),
        )
        .with_param(param)
    }

    /// 400: a text that no prompt of the model is as long as.
    pub(crate) fn context_bytes(most: usize, bytes: usize, param: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            INVALID,
            Some("context_length_exceeded"),
            format!(
                "This model's maximum context length is reached by {most} bytes of text at the most. However, your \
                 prompt has {bytes} bytes. Please shorten the input."
            ),
        )
        .with_param(param)
    }

    /// 400: a signed request does not hold together.
    pub(crate) fn signed_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some(code), message).with_param("monai")
    }

    /// 401.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, INVALID, Some("invalid_api_key"), message)
    }

    /// 404 for a model.
    pub(crate) fn model_not_found(name: &str) -> Self {
        // A client may send megabytes as a name; the message needs to be readable, not complete.
        let shown: String = name.chars().take(100).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            INVALID,
            Some("model_not_found"),
            format!("The model '{shown}' does not exist."),
        )
        .with_param("model")
    }

    /// 404 for anything else.
    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("not_found"), message)
    }

    /// 410: it was there, and its retention has ended.
    pub(crate) fn gone(message: &str) -> Self {
        Self::new(StatusCode::GONE, INVALID, Some("expired"), message)
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            INVALID,
            Some("method_not_allowed"),
            "This method is not allowed here.",
        )
    }

    /// 408.
    pub(crate) fn body_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            INVALID,
            Some("body_timeout"),
            "The body did not arrive in time.",
        )
    }

    /// 409: a nonce was used before.
    pub(crate) fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, INVALID, Some(code), message).with_param("monai")
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            INVALID,
            Some("request_too_large"),
            format!("The body exceeds {limit} bytes."),
        )
    }

    /// 429 for a bucket: `kind` is `requests` or `tokens`, as OpenAI's.
    pub(crate) fn rate_limited(kind: &'static str, message: impl Into<String>, seconds: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, Some("rate_limit_exceeded"), message)
            .with_retry(seconds)
    }

    /// 503: nobody can answer now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, Some(code), message).with_retry(1)
    }

    /// 502: drawn nodes failed.
    pub(crate) fn nodes_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, SERVER, Some("nodes_failed"), message).with_retry(1)
    }

    /// 500. The cause goes to the log, not to the client.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER, Some("internal_error"), "Internal error.")
    }

    /// The JSON body; also what a stream carries when it breaks off.
    pub(crate) fn body(&self) -> serde_json::Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
