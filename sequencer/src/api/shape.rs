//! The JSON of both endpoints: whole answers and chunks.

use std::sync::Arc;

use monai_protocol::messages::Intake;
use monai_protocol::receipt::Signed;
use monai_protocol::wire::TokenLogprobs;
use serde_json::{Value, json};

use super::text::{TextLogprobs, chat_logprob};
use crate::catalogue::Served;
use crate::router::Answer;

/// Which endpoint is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Text,
}

/// What all parts of an answer share.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) endpoint: Endpoint,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) served: Arc<Served>,
    pub(crate) include_usage: bool,
}

/// Counts for `usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

impl Usage {
    pub(crate) fn json(self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
        })
    }
}

/// Log-probabilities on their way to a client.
#[derive(Clone, Debug)]
pub(crate) enum Logprobs {
    Chat(Vec<Value>),
    Text(TextLogprobs),
}

impl Logprobs {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Chat => Self::Chat(Vec::new()),
            Endpoint::Text => Self::Text(TextLogprobs::default()),
        }
    }

    pub(crate) fn push(&mut self, served: &Served, id: u32, l: &TokenLogprobs, offset: usize) {
        match self {
            Self::Chat(entries) => entries.push(chat_logprob(served, id, l)),
            Self::Text(entries) => entries.push(served, id, l, offset),
        }
    }

    /// What has gathered since the last call.
    pub(crate) fn take(&mut self) -> Value {
        match self {
            Self::Chat(entries) => json!({"content": std::mem::take(entries), "refusal": null}),
            Self::Text(entries) => entries.take(),
        }
    }
}

/// Who answered in the end.
pub(crate) fn answer_json(answer: &Answer) -> Value {
    json!({"node": answer.node, "failovers": answer.failovers})
}

/// What a client needs to verify that its request was taken in as it was sent: the signed intake, and the ids
/// that its text became.
pub(crate) fn intake_json(intake: &Signed<Intake>, prompt_ids: Option<&[u32]>) -> Value {
    let mut value = json!({"intake": intake});
    if let Some(ids) = prompt_ids {
        value["prompt_ids"] = json!(ids);
    }
    value
}

impl Frame {
    fn head(&self, object: &str) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.served.name,
            "system_fingerprint": fingerprint(&self.served),
        })
    }

    /// A whole answer.
    pub(crate) fn whole(&self, choices: Vec<Value>, usage: Usage) -> Value {
        let mut v = self.head(match self.endpoint {
            Endpoint::Chat => "chat.completion",
            Endpoint::Text => "text_completion",
        });
        v["choices"] = choices.into();
        v["usage"] = usage.json();
        v
    }

    /// A choice of a whole answer.
    pub(crate) fn choice(
        &self,
        index: u32,
        text: &str,
        finish: &str,
        logprobs: Option<Value>,
        monai: Value,
    ) -> Value {
        let mut v = match self.endpoint {
            Endpoint::Chat => json!({
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": null},
            }),
            Endpoint::Text => json!({"index": index, "text": text}),
        };
        v["logprobs"] = logprobs.unwrap_or(Value::Null);
        v["finish_reason"] = finish.into();
        v["monai"] = monai;
        v
    }

    /// A chunk with one choice.
    fn chunk(&self, choice: Value) -> Value {
        let mut v = self.head(match self.endpoint {
            Endpoint::Chat => "chat.completion.chunk",
            Endpoint::Text => "text_completion",
        });
        v["choices"] = json!([choice]);
        if self.include_usage {
            v["usage"] = Value::Null;
        }
        v
    }

    /// The first chunk of a choice: role and intake.
    pub(crate) fn first(&self, index: u32, text: &str, monai: Value) -> Value {
        let mut v = self.chunk(match self.endpoint {
            Endpoint::Chat => json!({
                "index": index,
                "delta": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null,
                "finish_reason": null,
            }),
            Endpoint::Text => json!({"index": index, "text": text, "logprobs": null, "finish_reason": null}),
        });
        v["choices"][0]["monai"] = monai;
        v
    }

    /// A chunk with text.
    pub(crate) fn delta(&self, index: u32, text: &str, logprobs: Option<Value>) -> Value {
        let logprobs = logprobs.unwrap_or(Value::Null);
        self.chunk(match self.endpoint {
            Endpoint::Chat => json!({
                "index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": null,
            }),
            Endpoint::Text => json!({
                "index": index, "text": text, "logprobs": logprobs, "finish_reason": null,
            }),
        })
    }

    /// The last chunk of a choice.
    pub(crate) fn last(&self, index: u32, finish: &str, monai: Value) -> Value {
        let mut v = self.chunk(match self.endpoint {
            Endpoint::Chat => {
                json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish})
            }
            Endpoint::Text => {
                json!({"index": index, "text": "", "logprobs": null, "finish_reason": finish})
            }
        });
        v["choices"][0]["monai"] = json!({"answer": monai});
        v
    }

    /// The chunk after all others, for clients that asked for it.
    pub(crate) fn usage(&self, usage: Usage) -> Value {
        let mut v = self.chunk(Value::Null);
        v["choices"] = json!([]);
        v["usage"] = usage.json();
        v
    }
}

/// Which weights answered: the beginning of the model's identity.
fn fingerprint(served: &Served) -> String {
    served.id.to_string().chars().take(2 + 16).collect()
}
