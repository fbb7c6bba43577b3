//! What the client gets: objects made here, of parts that were checked. Nothing of the sequencer's JSON is passed on.
//!
//! An answer has one choice with one text. A sequencer that adds a second choice, a tool call, a refusal or a thought
//! would otherwise be believed together with what was verified.

use super::fault::Fault;
use super::fields::{Ask, Kind};
use super::signed::SignedRequest;
use monai_protocol::Address;
use monai_protocol::messages::Intake;
use monai_protocol::receipt::Signed;
use serde_json::{Value, json};

/// The parts that all objects of one answer share.
#[derive(Debug, Clone)]
pub(super) struct Spoken {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    include_usage: bool,
}

/// Token counts of a verified receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: usize,
    pub(super) output: usize,
}

impl Counts {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
        })
    }
}

impl Spoken {
    /// For the answer that the sequencer calls `id`, to what was asked and signed.
    pub(super) fn new(ask: &Ask, signed: &SignedRequest, id: String) -> Self {
        let name = ask.body["model"].as_str().unwrap_or_default();
        Self {
            kind: ask.kind,
            id,
            created: crate::clock::unix_ms() / 1000,
            model: name.to_owned(),
            fingerprint: signed.request.model.to_string().chars().take(2 + 16).collect(),
            include_usage: ask.include_usage,
        }
    }

    fn head(&self, chat: &str) -> Value {
        json!({
            "id": self.id,
            "object": if self.kind == Kind::Chat { chat } else { "text_completion" },
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        })
    }

    /// A whole answer.
    pub(super) fn whole(
        &self,
        text: &str,
        finish: &str,
        counts: Counts,
        intake: &Signed<Intake>,
        node: Address,
    ) -> Value {
        let mut choice = match self.kind {
            Kind::Chat => json!({"message": {"role": "assistant", "content": text, "refusal": null}}),
            Kind::Text => json!({"text": text}),
        };
        choice["index"] = json!(0);
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = finish.into();
        choice["monai"] = json!({"intake": intake, "answer": {"node": node}});
        let mut v = self.head("chat.completion");
        v["choices"] = json!([choice]);
        v["usage"] = counts.json();
        v
    }

    fn chunk(&self, mut choice: Value, finish: Option<&str>) -> Value {
        choice["index"] = json!(0);
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = finish.into();
        let mut v = self.head("chat.completion.chunk");
        v["choices"] = json!([choice]);
        if self.include_usage {
            v["usage"] = Value::Null;
        }
        v
    }

    /// The first chunk: the role, and the slot that was promised to the request.
    pub(super) fn first(&self, intake: &Signed<Intake>) -> Value {
        let mut v = self.chunk(
            match self.kind {
                Kind::Chat => json!({"delta": {"role": "assistant", "content": "", "refusal": null}}),
                Kind::Text => json!({"text": ""}),
            },
            None,
        );
        v["choices"][0]["monai"] = json!({"intake": intake});
        v
    }

    /// A chunk with text.
    pub(super) fn delta(&self, text: &str) -> Value {
        self.chunk(self.text(text), None)
    }

    /// The last chunk: the end, and text that had been held back for a stop string.
    pub(super) fn last(&self, text: &str, finish: &str, node: Address) -> Value {
        let empty = self.kind == Kind::Chat && text.is_empty();
        let mut v = self.chunk(if empty { json!({"delta": {}}) } else { self.text(text) }, Some(finish));
        v["choices"][0]["monai"] = json!({"answer": {"node": node}});
        v
    }

    /// The chunk after all others, for clients that asked for it.
    pub(super) fn usage(&self, counts: Counts) -> Value {
        let mut v = self.head("chat.completion.chunk");
        v["choices"] = json!([]);
        v["usage"] = counts.json();
        v
    }

    fn text(&self, text: &str) -> Value {
        match self.kind {
            Kind::Chat => json!({"delta": {"content": text}}),
            Kind::Text => json!({"text": text}),
        }
    }
}

/// The only choice of the sequencer's answer or chunk.
pub(super) fn only_choice(v: &Value) -> Result<&Value, Fault> {
    match v["choices"].as_array().map(Vec::as_slice) {
        Some([choice]) if choice["index"].as_u64() == Some(0) => Ok(choice),
        Some([_]) => Err(Fault::unverified("the answer's choice is not the first one")),
        _ => Err(Fault::unverified("the answer does not have exactly one choice")),
    }
}

/// The text of a choice: a string, or nothing where null may stand for it.
pub(super) fn text_of<'a>(kind: Kind, message: &str, choice: &'a Value) -> Result<&'a str, Fault> {
    let text = match kind {
        Kind::Chat => &choice[message]["content"],
        Kind::Text => &choice["text"],
    };
    match text {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        _ => Err(Fault::unverified("the answer's text is no string")),
    }
}
