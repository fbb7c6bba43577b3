//! Errors as OpenAI clients read them, and what makes one of a failed check.

use crate::error::Error;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use monai_sequencer::openai::FieldError;
use serde_json::{Value, json};

/// The code of an error that says: the answer is not what was asked for, or not what was signed.
pub(super) const VERIFICATION_FAILED: &str = "verification_failed";

/// An error for the client.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Fault {
    fn new(status: StatusCode, kind: &str, code: &str, param: Option<&str>, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": kind, "param": param, "code": code}});
        Self { status, body }
    }

    /// 400: the client asks for something that is wrong or that can't be verified.
    pub(super) fn request(param: &str, code: &str, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, Some(param), message.as_ref())
    }

    /// 404: no such thing.
    pub(super) fn not_found(param: &str, code: &str, message: impl AsRef<str>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", code, Some(param), message.as_ref())
    }

    /// 502: the answer failed a check.
    pub(super) fn unverified(what: impl AsRef<str>) -> Self {
        let message = format!("The answer failed verification: {}", what.as_ref());
        Self::new(StatusCode::BAD_GATEWAY, "verification_error", VERIFICATION_FAILED, None, &message)
    }

    /// 502: the sequencer can't be reached, or broke off.
    pub(super) fn upstream(what: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "server_error", "upstream_failed", None, what.as_ref())
    }

    /// An error that the sequencer sent within a stream, in its own words; its known fields and nothing else.
    pub(super) fn relayed(chunk: &Value) -> Self {
        let said = &chunk["error"];
        let word = |name: &str| said[name].as_str();
        let body = json!({"error": {
            "message": word("message").unwrap_or("The sequencer reports an error without words."),
            "type": word("type").unwrap_or("server_error"),
            "param": word("param"),
            "code": word("code"),
        }});
        Self { status: StatusCode::BAD_GATEWAY, body }
    }

    /// 500: this machine failed.
    pub(super) fn own(what: impl AsRef<str>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "proxy_failed", None, what.as_ref())
    }

    /// The message.
    pub(super) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

impl From<FieldError> for Fault {
    fn from(error: FieldError) -> Self {
        Self::request(error.param.as_deref().unwrap_or_default(), "invalid_value", error.message)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(what) => Self::unverified(what),
            Error::Missing(what) => Self::own(what),
            error @ (Error::Unreachable { .. } | Error::Refused { .. }) => Self::upstream(error.to_string()),
            error => Self::own(error.to_string()),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
