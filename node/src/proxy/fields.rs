//! What a client asks for, as far as the proxy has to understand it in order to sign and verify it.

use super::fault::Fault;
use serde_json::{Map, Value};

/// Fields that change the answer's meaning and that neither statement nor proxy can check.
const UNVERIFIABLE: [&str; 5] = ["logprobs", "top_logprobs", "logit_bias", "best_of", "suffix"];

/// Which endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Text,
}

impl Kind {
    /// The path below `/v1`.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Text => "/completions",
        }
    }
}

/// A client's request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    pub(super) body: Value,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) stops: Vec<String>,
    pub(super) max_tokens: Option<u32>,
    pub(super) seed: Option<u64>,
}

impl Ask {
    /// Reads a body.
    pub(super) fn read(kind: Kind, body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body)
            .map_err(|_| Fault::request("", "invalid_json", "The body is not UTF-8."))?;
        let body: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
            Fault::request("", "invalid_json", format!("The body is not a JSON object: {e}."))
        })?;
        for name in UNVERIFIABLE {
            // `logprobs: false`, `best_of: 1` and empty maps ask for nothing.
            let asks = match body.get(name) {
                None | Some(Value::Null | Value::Bool(false)) => false,
                Some(Value::Object(o)) => !o.is_empty(),
                Some(Value::Number(n)) if name == "best_of" => n.as_u64() != Some(1),
                Some(_) => true,
            };
            if asks {
                let message =
                    format!("'{name}' can't be verified, so this proxy does not pass it on. Leave it out.");
                return Err(Fault::request(name, "unsupported_parameter", message));
            }
        }
        if body.get("n").is_some_and(|n| !n.is_null() && n.as_u64() != Some(1)) {
            let message = "A signed request has one choice; send it several times for several answers.";
            return Err(Fault::request("n", "unsupported_parameter", message));
        }
        let max_tokens = match kind {
            Kind::Chat => integer(&body, "max_completion_tokens")?.or(integer(&body, "max_tokens")?),
            Kind::Text => integer(&body, "max_tokens")?,
        };
        let max_tokens = match max_tokens.map(u32::try_from) {
            None => None,
            Some(Ok(n)) if n >= 1 => Some(n),
            Some(_) => return Err(out_of_range("max_tokens", "a positive integer")),
        };
        Ok(Self {
            kind,
            stream: boolean(&body, "stream")?.unwrap_or(false),
            include_usage: body.get("stream_options").is_some_and(|o| o["include_usage"] == true),
            stops: stops(&body)?,
            max_tokens,
            seed: integer(&body, "seed")?.map(i64::cast_unsigned),
            body: Value::Object(body),
        })
    }

    /// A text field.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(out_of_range(name, "a string")),
        }
    }
}

fn out_of_range(name: &str, wanted: &str) -> Fault {
    Fault::request(name, "invalid_value", format!("Invalid value for '{name}': expected {wanted}."))
}

fn boolean(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(v) => v.as_bool().map(Some).ok_or_else(|| out_of_range(name, "a boolean")),
    }
}

fn integer(body: &Map<String, Value>, name: &str) -> Result<Option<i64>, Fault> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(v) => {
            // JavaScript clients may write 3.0.
            let whole = v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64);
            v.as_i64().or(whole).map(Some).ok_or_else(|| out_of_range(name, "an integer"))
        }
    }
}

fn stops(body: &Map<String, Value>) -> Result<Vec<String>, Fault> {
    let wrong = || out_of_range("stop", "a string or up to 4 strings");
    match body.get("stop") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![stop.clone()]),
        Some(Value::Array(list)) if list.len() <= 4 => {
            list.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Ask, String> {
        Ask::read(Kind::Chat, body.as_bytes())
            .map_err(|f| f.body["error"]["param"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_cannot_be_verified_is_refused_by_name() {
        for (name, body) in [
            ("logprobs", r#"{"logprobs": true}"#),
            ("top_logprobs", r#"{"top_logprobs": 3}"#),
            ("logit_bias", r#"{"logit_bias": {"1": 2}}"#),
            ("n", r#"{"n": 2}"#),
            ("max_tokens", r#"{"max_tokens": 0}"#),
            ("max_tokens", r#"{"max_tokens": -3}"#),
            ("stop", r#"{"stop": [1]}"#),
            ("stream", r#"{"stream": "yes"}"#),
            ("seed", r#"{"seed": 0.5}"#),
            ("", "[1]"),
        ] {
            assert_eq!(read(body).unwrap_err(), name, "{body}");
        }
        let ask = read(
            r#"{"n": 1, "logprobs": false, "logit_bias": {}, "stop": "x", "seed": 3.0, "max_tokens": 5}"#,
        );
        let ask = ask.unwrap();
        assert_eq!(
            (ask.stops.as_slice(), ask.seed, ask.max_tokens),
            (["x".to_owned()].as_slice(), Some(3), Some(5))
        );
    }
}
