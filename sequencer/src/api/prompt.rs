//! Prompts of both endpoints: chat messages, and texts or token ids.

use monai_model::text::Message;
use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, token_ids};

/// A prompt of the completions endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextPrompt {
    /// To be tokenised.
    Text(String),
    /// As they are.
    Ids(Vec<u32>),
}

/// Reads `messages`.
pub(crate) fn messages(f: &Fields<'_>) -> Result<Vec<Message>, ApiError> {
    let items = f.array("messages")?.ok_or_else(|| ApiError::missing("messages"))?;
    if items.is_empty() {
        return Err(ApiError::invalid(
            "messages",
            "Invalid 'messages': an empty array has nothing to answer.",
        ));
    }
    items.iter().enumerate().map(|(i, v)| message(v, &format!("messages[{i}]"))).collect()
}

fn message(value: &Value, path: &str) -> Result<Message, ApiError> {
    let f = Fields::of(value, path)?;
    let role = match f.string("role")? {
        None => return Err(ApiError::missing(&f.name("role"))),
        // The name that newer clients give to the system role.
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant")) => role,
        Some(_) => {
            return Err(ApiError::invalid(
                f.name("role"),
                format!("Invalid value for '{}': expected 'system', 'user' or 'assistant'.", f.name("role")),
            ));
        }
    };
    if f.get("tool_calls").is_some_and(|t| t.as_array().is_none_or(|a| !a.is_empty())) {
        return Err(ApiError::unsupported(&f.name("tool_calls"), "Tool calls are not supported."));
    }
    let path = f.name("content");
    let content = match f.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => join(parts, &path)?,
        // An assistant's message may be empty, as clients keep those of failed turns.
        None if role == "assistant" => String::new(),
        None => return Err(ApiError::missing(&path)),
        Some(_) => {
            return Err(ApiError::invalid(
                &path,
                format!("Invalid type for '{path}': expected a string or an array of parts."),
            ));
        }
    };
    let mut message = Message::new(role, content);
    message.name = f.string("name")?.map(str::to_owned);
    Ok(message)
}

fn join(parts: &[Value], path: &str) -> Result<String, ApiError> {
    let mut text = String::new();
    for (i, part) in parts.iter().enumerate() {
        let f = Fields::of(part, &format!("{path}[{i}]"))?;
        match f.string("type")? {
            Some("text") => {}
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                return Err(ApiError::unsupported(
                    &f.name("type"),
                    format!("Parts of type '{shown}' are not supported: this model reads text only."),
                ));
            }
            None => return Err(ApiError::missing(&f.name("type"))),
        }
        text.push_str(f.string("text")?.ok_or_else(|| ApiError::missing(&f.name("text")))?);
    }
    Ok(text)
}

/// Reads `prompt`: a string, an array of strings, an array of ids, or an array of arrays of ids.
pub(crate) fn prompts(f: &Fields<'_>, vocab: usize, most: usize) -> Result<Vec<TextPrompt>, ApiError> {
    let wrong = || {
        ApiError::invalid(
            "prompt",
            "Invalid type for 'prompt': expected a string, an array of strings, an array of token ids, or an \
             array of arrays of token ids.",
        )
    };
    let value = f.get("prompt").ok_or_else(|| ApiError::missing("prompt"))?;
    let Value::Array(items) = value else {
        return value.as_str().map(|s| vec![TextPrompt::Text(s.into())]).ok_or_else(wrong);
    };
    let list: Vec<TextPrompt> = match items.first() {
        None => return Err(ApiError::invalid("prompt", "Invalid value for 'prompt': the array is empty.")),
        Some(Value::Number(_)) => vec![TextPrompt::Ids(token_ids(items, "prompt", vocab)?)],
        Some(_) => items
            .iter()
            .enumerate()
            .map(|(i, v)| match v {
                Value::String(s) => Ok(TextPrompt::Text(s.clone())),
                Value::Array(ids) => Ok(TextPrompt::Ids(token_ids(ids, &format!("prompt[{i}]"), vocab)?)),
                _ => Err(wrong()),
            })
            .collect::<Result<_, _>>()?,
    };
    if list.len() > most {
        return Err(ApiError::invalid(
            "prompt",
            format!("Invalid value for 'prompt': at most {most} prompts."),
        ));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::parse_object;

    #[test]
    fn messages_of_both_forms() {
        let body = parse_object(
            br#"{"messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": null}]}"#,
        )
        .unwrap();
        let m = messages(&Fields::root(&body)).unwrap();
        assert_eq!(m[0].role, "system");
        assert_eq!(m[1].content, "ab");
        assert_eq!(m[2].content, "");
    }

    #[test]
    fn bad_messages_are_named() {
        for (param, body) in [
            ("messages", r#"{}"#),
            ("messages", r#"{"messages": "hi"}"#),
            ("messages", r#"{"messages": []}"#),
            ("messages[0]", r#"{"messages": ["hi"]}"#),
            ("messages[0].role", r#"{"messages": [{"content": "a"}]}"#),
            ("messages[0].role", r#"{"messages": [{"role": "king", "content": "a"}]}"#),
            ("messages[0].content", r#"{"messages": [{"role": "user", "content": 3}]}"#),
            ("messages[0].content", r#"{"messages": [{"role": "user"}]}"#),
            (
                "messages[0].content[0].type",
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}"#,
            ),
        ] {
            let body = parse_object(body.as_bytes()).unwrap();
            assert_eq!(messages(&Fields::root(&body)).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn prompts_of_four_forms() {
        let read = |text: &str| {
            let body = parse_object(text.as_bytes()).unwrap();
            prompts(&Fields::root(&body), 100, 2)
        };
        assert_eq!(read(r#"{"prompt": "x"}"#).unwrap(), vec![TextPrompt::Text("x".into())]);
        assert_eq!(read(r#"{"prompt": [1, 2]}"#).unwrap(), vec![TextPrompt::Ids(vec![1, 2])]);
        assert_eq!(read(r#"{"prompt": ["x", "y"]}"#).unwrap().len(), 2);
        assert_eq!(read(r#"{"prompt": [[1], [2]]}"#).unwrap()[1], TextPrompt::Ids(vec![2]));
        for bad in [
            r#"{"prompt": [1, "x"]}"#,
            r#"{"prompt": [100]}"#,
            r#"{"prompt": []}"#,
            r#"{"prompt": {}}"#,
            r#"{"prompt": ["a", "b", "c"]}"#,
            r#"{}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
