//! What chat and text completions have in common: the fields of a request, read once and checked.

use monai_protocol::selection::MAX_STOP_IDS;
use monai_protocol::wire::MAX_LOGPROBS;
use monai_protocol::{Amount, Assurance};
use serde_json::Value;

use super::error::ApiError;
use super::extensions::{Preference, Signed};
use super::fields::Fields;
use super::sampling::Sampling;
use crate::config::Limits;

/// How the answer is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) stream: bool,
    /// A last chunk with token counts.
    pub(crate) include_usage: bool,
}

/// The common fields.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ask {
    pub(crate) max_tokens: Option<u32>,
    /// The name of the field that gave `max_tokens`, for errors.
    pub(crate) max_tokens_field: &'static str,
    pub(crate) sampling: Sampling,
    pub(crate) seed: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) stop_ids: Vec<u32>,
    pub(crate) n: u32,
    pub(crate) delivery: Delivery,
    /// Alternatives a token whose log-probabilities are wanted.
    pub(crate) logprobs: Option<u8>,
    pub(crate) assurance: Assurance,
    pub(crate) max_price: Option<Amount>,
    pub(crate) preference: Option<Preference>,
    pub(crate) signed: Option<Signed>,
}

/// Fields that would change which tokens are chosen, or what they mean, in ways that the statement can't
/// express. Silently ignoring one would make the receipt prove something that the client did not ask for.
fn refuse_impossible(f: &Fields<'_>) -> Result<(), ApiError> {
    for key in ["frequency_penalty", "presence_penalty"] {
        if f.number(key, -2.0, 2.0)?.is_some_and(|v| v != 0.0) {
            return Err(impossible(key));
        }
    }
    if f.number("repetition_penalty", 0.0, f64::MAX)?.is_some_and(|v| v != 1.0) {
        return Err(impossible("repetition_penalty"));
    }
    if f.number("best_of", 0.0, f64::MAX)?.is_some_and(|v| v != 1.0) {
        return Err(impossible("best_of"));
    }
    let filled = |v: &Value| match v {
        Value::Object(m) => !m.is_empty(),
        Value::Array(a) => !a.is_empty(),
        _ => true,
    };
    for key in ["logit_bias", "tools", "functions", "audio", "prediction", "web_search_options", "suffix"] {
        if f.get(key).is_some_and(filled) {
            return Err(impossible(key));
        }
    }
    for key in ["tool_choice", "function_call"] {
        if f.get(key).is_some_and(|v| !matches!(v.as_str(), Some("none" | "auto"))) {
            return Err(impossible(key));
        }
    }
    if let Some(v) = f.get("modalities")
        && v.as_array().is_none_or(|a| a.iter().any(|m| m != "text"))
    {
        return Err(impossible("modalities"));
    }
    if let Some(format) = f.object("response_format")?
        && format.string("type")?.is_some_and(|t| t != "text")
    {
        return Err(impossible("response_format"));
    }
    Ok(())
}

fn impossible(key: &str) -> ApiError {
    ApiError::unsupported(
        key,
        format!("'{key}' is not supported: it is not part of what a receipt proves. Leave it out."),
    )
}

impl Ask {
    /// Reads the fields. `vocab` bounds token ids.
    pub(crate) fn read(f: &Fields<'_>, limits: &Limits, vocab: usize) -> Result<Self, ApiError> {
        refuse_impossible(f)?;
        let most = i64::from(monai_protocol::leaf::MAX_COUNT);
        let newer = f.integer("max_completion_tokens", 1, most)?;
        let older = f.integer("max_tokens", 1, most)?;
        let stream = f.boolean("stream")?.unwrap_or(false);
        let include_usage = match f.object("stream_options")? {
            None => false,
            Some(_) if !stream => {
                return Err(ApiError::invalid(
                    "stream_options",
                    "'stream_options' is only allowed when 'stream' is true.",
                ));
            }
            Some(options) => options.boolean("include_usage")?.unwrap_or(false),
        };
        let stop_ids = f.ids("stop_token_ids", vocab)?.unwrap_or_default();
        if stop_ids.len() > MAX_STOP_IDS {
            return Err(ApiError::invalid(
                "stop_token_ids",
                format!("Invalid value for 'stop_token_ids': at most {MAX_STOP_IDS} ids."),
            ));
        }
        let n = f.integer("n", 1, i64::from(limits.choices))?.unwrap_or(1) as u32;
        let ask = Self {
            max_tokens: newer.or(older).map(|n| n as u32),
            max_tokens_field: if newer.is_some() { "max_completion_tokens" } else { "max_tokens" },
            sampling: sampling(f)?,
            seed: f.integer("seed", i64::MIN, i64::MAX)?.map(i64::cast_unsigned),
            stop: stop_strings(f, limits)?,
            stop_ids,
            n,
            delivery: Delivery { stream, include_usage },
            logprobs: logprobs(f)?,
            assurance: assurance(f)?,
            max_price: f.typed("max_price", "a decimal string")?,
            preference: Preference::read(f)?,
            signed: f.object("monai")?.map(|m| Signed::read(&m, vocab)).transpose()?,
        };
        if ask.signed.is_some() && n != 1 {
            return Err(ApiError::invalid(
                "n",
                "A signed request has one choice: each choice needs an R of its own.",
            ));
        }
        Ok(ask)
    }
}

/// The sampling fields.
pub(crate) fn sampling(f: &Fields<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        temperature: f.number("temperature", 0.0, 2.0)?,
        top_p: f.number("top_p", 0.0, 1.0)?,
        // Some clients write −1 for "off".
        top_k: f.integer("top_k", -1, i64::from(u32::MAX))?.and_then(|k| u32::try_from(k).ok()),
        min_p: f.number("min_p", 0.0, 1.0)?,
    })
}

fn stop_strings(f: &Fields<'_>, limits: &Limits) -> Result<Vec<String>, ApiError> {
    let list: Vec<&str> = match f.get("stop") {
        None => Vec::new(),
        Some(Value::String(s)) => vec![s],
        Some(Value::Array(items)) => items
            .iter()
            .map(|v| {
                v.as_str()
                    .ok_or_else(|| ApiError::invalid("stop", "Invalid type for 'stop': expected strings."))
            })
            .collect::<Result<_, _>>()?,
        Some(_) => {
            return Err(ApiError::invalid(
                "stop",
                "Invalid type for 'stop': expected a string or an array of strings.",
            ));
        }
    };
    let bounded =
        list.len() <= limits.stop_strings && list.iter().all(|s| s.len() <= limits.stop_string_bytes);
    if !bounded {
        return Err(ApiError::invalid(
            "stop",
            format!(
                "Invalid value for 'stop': at most {} strings of at most {} bytes.",
                limits.stop_strings, limits.stop_string_bytes
            ),
        ));
    }
    Ok(list.into_iter().filter(|s| !s.is_empty()).map(str::to_owned).collect())
}

/// Chat says `logprobs: true, top_logprobs: 3`; text completions say `logprobs: 3`.
fn logprobs(f: &Fields<'_>) -> Result<Option<u8>, ApiError> {
    let most = i64::from(MAX_LOGPROBS);
    let top = f.integer("top_logprobs", 0, most)?;
    match f.get("logprobs") {
        None | Some(Value::Bool(false)) if top.is_some() => {
            Err(ApiError::invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true."))
        }
        None | Some(Value::Bool(false)) => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(top.unwrap_or(0) as u8)),
        Some(_) => Ok(f.integer("logprobs", 0, most)?.map(|n| n as u8)),
    }
}

fn assurance(f: &Fields<'_>) -> Result<Assurance, ApiError> {
    match f.string("assurance")? {
        None | Some("sampled") => Ok(Assurance::Sampled),
        Some("signed") => Ok(Assurance::Signed),
        Some("proved") => Err(ApiError::unsupported(
            "assurance",
            "'assurance': 'proved' is not available yet; use 'signed' or 'sampled'.",
        )),
        Some(_) => Err(ApiError::invalid(
            "assurance",
            "Invalid value for 'assurance': expected 'signed' or 'sampled'.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::parse_object;

    fn read(text: &str) -> Result<Ask, ApiError> {
        let body = parse_object(text.as_bytes())?;
        Ask::read(&Fields::root(&body), &Limits::default(), 100)
    }

    #[test]
    fn impossible_fields_are_refused_by_name() {
        for (param, body) in [
            ("logit_bias", r#"{"logit_bias": {"5": 1}}"#),
            ("presence_penalty", r#"{"presence_penalty": 0.5}"#),
            ("frequency_penalty", r#"{"frequency_penalty": -1}"#),
            ("repetition_penalty", r#"{"repetition_penalty": 1.1}"#),
            ("best_of", r#"{"best_of": 3}"#),
            ("tools", r#"{"tools": [{}]}"#),
            ("tool_choice", r#"{"tool_choice": "required"}"#),
            ("response_format", r#"{"response_format": {"type": "json_object"}}"#),
            ("suffix", r#"{"suffix": "x"}"#),
            ("modalities", r#"{"modalities": ["text", "audio"]}"#),
            ("assurance", r#"{"assurance": "proved"}"#),
        ] {
            let e = read(body).unwrap_err();
            assert_eq!((e.param.as_deref(), e.code), (Some(param), Some("unsupported_parameter")), "{body}");
        }
        read(
            r#"{"logit_bias": {}, "presence_penalty": 0, "best_of": 1, "tools": [], "tool_choice": "none",
                "response_format": {"type": "text"}, "unheard_of": {"a": [1]}, "user": "u", "metadata": {"k": "v"}}"#,
        )
        .unwrap();
    }

    #[test]
    fn out_of_range_fields_are_named() {
        for (param, body) in [
            ("max_tokens", r#"{"max_tokens": 0}"#),
            ("max_tokens", r#"{"max_tokens": -5}"#),
            ("max_completion_tokens", r#"{"max_completion_tokens": "many"}"#),
            ("temperature", r#"{"temperature": 2.5}"#),
            ("top_p", r#"{"top_p": -0.1}"#),
            ("top_k", r#"{"top_k": -2}"#),
            ("n", r#"{"n": 0}"#),
            ("n", r#"{"n": 1000}"#),
            ("stop", r#"{"stop": ["a", 1]}"#),
            ("stop", r#"{"stop": ["1", "2", "3", "4", "5"]}"#),
            ("stop_token_ids[0]", r#"{"stop_token_ids": [100]}"#),
            ("stream", r#"{"stream": "yes"}"#),
            ("stream_options", r#"{"stream_options": {"include_usage": true}}"#),
            ("seed", r#"{"seed": 1.5}"#),
            ("provider.only", r#"{"provider": {"only": ["0xAB"]}}"#),
            ("monai.user", r#"{"monai": {}}"#),
        ] {
            assert_eq!(read(body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
