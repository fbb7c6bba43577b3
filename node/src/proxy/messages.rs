//! Chat messages, read as the sequencer reads them, so that both compute the same ids.

use super::fault::Fault;
use monai_model::text::Message;
use serde_json::Value;

/// Reads `messages`. Parts of text are joined without anything between them; `developer` is `system`.
pub(super) fn read(value: Option<&Value>) -> Result<Vec<Message>, Fault> {
    let list = match value {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(Value::Array(_)) => return Err(wrong("messages", "a message at least")),
        Some(Value::Null) | None => {
            let message = "Missing required parameter: 'messages'.";
            return Err(Fault::request("messages", "missing_required_parameter", message));
        }
        Some(_) => return Err(wrong("messages", "an array of messages")),
    };
    list.iter().enumerate().map(|(i, m)| message(m, &format!("messages[{i}]"))).collect()
}

fn message(value: &Value, path: &str) -> Result<Message, Fault> {
    let role = match value["role"].as_str() {
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant")) => role,
        _ => return Err(wrong(&format!("{path}.role"), "'system', 'user' or 'assistant'")),
    };
    let path = format!("{path}.content");
    let content = match &value["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(|part| match (part["type"].as_str(), part["text"].as_str()) {
                (Some("text"), Some(text)) => Ok(text),
                _ => Err(wrong(&path, "parts of text")),
            })
            .collect::<Result<String, _>>()?,
        Value::Null if role == "assistant" => String::new(),
        _ => return Err(wrong(&path, "a string or an array of parts")),
    };
    Ok(Message::new(role, content))
}

fn wrong(path: &str, wanted: &str) -> Fault {
    Fault::request(path, "invalid_value", format!("Invalid value for '{path}': expected {wanted}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_joined_and_developers_are_system() {
        let messages = read(Some(&json!([
            {"role": "developer", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]},
            {"role": "assistant", "content": null},
        ])))
        .unwrap();
        let pairs: Vec<_> = messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
        assert_eq!(pairs, [("system", "a"), ("user", "bc"), ("assistant", "")]);
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (path, value) in [
            ("messages", json!(null)),
            ("messages", json!([])),
            ("messages[0].role", json!([{"role": "robot", "content": "x"}])),
            ("messages[0].content", json!([{"role": "user", "content": 5}])),
            ("messages[0].content", json!([{"role": "user", "content": [{"type": "image_url"}]}])),
        ] {
            assert_eq!(read(Some(&value)).unwrap_err().body["error"]["param"], path);
        }
    }
}
