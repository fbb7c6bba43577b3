//! One streamed answer.

use super::Conversation;
use crate::error::{Error, Result};
use crate::openai::SseParser;

/// An answer that has come to its end.
#[derive(Debug, Default, Clone)]
pub(super) struct Answer {
    /// Completion id; its receipt has the same.
    pub(super) id: String,
    /// The whole text.
    pub(super) text: String,
    /// `stop` or `length`.
    pub(super) finish: String,
    /// Token counts.
    pub(super) usage: serde_json::Value,
}

impl Answer {
    /// What `--json` prints.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::json!({"id": self.id, "text": self.text, "finish_reason": self.finish, "usage": self.usage})
    }
}

/// Asks and hands each piece of text on as it comes.
///
/// # Errors
/// A refusal, a broken connection, or an error event; a stream without its end is an error too.
pub(super) async fn stream(conversation: &Conversation, mut piece: impl FnMut(&str)) -> Result<Answer> {
    let path = "/chat/completions";
    let url = conversation.endpoint.url(path);
    let broken = |what: String| Error::Unreachable { url: url.clone(), what };
    let mut response = conversation.endpoint.post(path, &conversation.body()).await?;
    let mut parser = SseParser::default();
    let mut answer = Answer::default();
    while let Some(bytes) =
        response.chunk().await.map_err(|e| broken(format!("the stream broke off: {e}")))?
    {
        for event in parser.push(&bytes).map_err(|e| broken(e.to_string()))? {
            if event == "[DONE]" {
                return Ok(answer);
            }
            let chunk: serde_json::Value =
                serde_json::from_str(&event).map_err(|e| broken(format!("an event is not JSON: {e}")))?;
            take(&chunk, &mut answer, &mut piece)?;
        }
    }
    Err(broken("the stream broke off before its end".into()))
}

fn take(chunk: &serde_json::Value, answer: &mut Answer, piece: &mut impl FnMut(&str)) -> Result<()> {
    if let Some(message) = chunk["error"]["message"].as_str() {
        // The proxy reports a failed check this way: it is not the network that failed.
        return Err(Error::Invalid(message.to_owned()));
    }
    if let Some(id) = chunk["id"].as_str() {
        id.clone_into(&mut answer.id);
    }
    let choice = &chunk["choices"][0];
    if let Some(text) = choice["delta"]["content"].as_str() {
        answer.text.push_str(text);
        piece(text);
    }
    if let Some(finish) = choice["finish_reason"].as_str() {
        finish.clone_into(&mut answer.finish);
    }
    if chunk["usage"].is_object() {
        answer.usage = chunk["usage"].clone();
    }
    Ok(())
}
