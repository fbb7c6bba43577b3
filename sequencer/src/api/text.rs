//! From ids to what a client sees: text, without end ids and what follows a stop string, and log-probabilities.

use std::collections::BTreeSet;
use std::sync::Arc;

use monai_model::text::TextStream;
use monai_protocol::Finish;
use monai_protocol::wire::TokenLogprobs;
use serde_json::{Value, json};

use super::stops::StopFilter;
use crate::catalogue::Served;

/// The text of one choice as it comes.
#[derive(Clone, Debug)]
pub(crate) struct TextPipe {
    served: Arc<Served>,
    ends: BTreeSet<u32>,
    stops: Vec<String>,
    stream: TextStream,
    filter: StopFilter,
}

impl TextPipe {
    /// `stop_ids` are the request's own; the model's end ids show no text either.
    pub(crate) fn new(served: Arc<Served>, stop_ids: &[u32], stops: Vec<String>) -> Self {
        let ends = served.eos_ids().iter().chain(stop_ids).copied().collect();
        let filter = StopFilter::new(stops.clone());
        Self { served, ends, stops, stream: TextStream::new(), filter }
    }

    /// Back to the beginning.
    pub(crate) fn reset(&mut self) {
        self.stream = TextStream::new();
        self.filter = StopFilter::new(self.stops.clone());
    }

    /// The text that becomes certain with this id.
    pub(crate) fn push(&mut self, id: u32) -> String {
        if self.ends.contains(&id) {
            return String::new();
        }
        let text = self.stream.push(&self.served.codec, id);
        self.filter.push(&text)
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.stream).finish();
        let mut text = self.filter.push(&rest);
        text.push_str(&self.filter.finish());
        text
    }

    /// True once a stop string has appeared: nothing more is going to be shown.
    pub(crate) fn stopped(&self) -> bool {
        self.filter.stopped()
    }

    /// Why the answer ended, in the client's words. An answer that was cut short for any other reason than its
    /// own end counts as too short, so that clients don't take it for complete.
    pub(crate) fn finish_reason(&self, finish: Finish) -> &'static str {
        match finish {
            _ if self.stopped() => "stop",
            Finish::Stop => "stop",
            _ => "length",
        }
    }
}

fn token_text(served: &Served, id: u32) -> String {
    let bytes = served.codec.token_bytes(id);
    if bytes.is_empty() {
        return served.codec.token_name(id).unwrap_or_default();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn nats(micro: i64) -> f64 {
    // OpenAI's own stand-in for "impossible", which JSON can hold.
    (micro as f64 / 1e6).max(-9999.0)
}

/// An entry of a chat choice's `logprobs.content`.
pub(crate) fn chat_logprob(served: &Served, id: u32, l: &TokenLogprobs) -> Value {
    let one = |id: u32, p: i64| json!({"token": token_text(served, id), "logprob": nats(p), "bytes": served.codec.token_bytes(id)});
    let mut entry = one(id, l.chosen);
    entry["top_logprobs"] = l.top.iter().map(|(id, p)| one(*id, *p)).collect();
    entry
}

/// The `logprobs` of a text choice, built token by token.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f64>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<usize>,
}

impl TextLogprobs {
    pub(crate) fn push(&mut self, served: &Served, id: u32, l: &TokenLogprobs, offset: usize) {
        self.tokens.push(token_text(served, id));
        self.token_logprobs.push(nats(l.chosen));
        let top: serde_json::Map<String, Value> =
            l.top.iter().map(|(id, p)| (token_text(served, *id), nats(*p).into())).collect();
        self.top_logprobs.push(Value::Object(top));
        self.text_offset.push(offset);
    }

    pub(crate) fn take(&mut self) -> Value {
        let l = std::mem::take(self);
        json!({
            "tokens": l.tokens,
            "token_logprobs": l.token_logprobs,
            "top_logprobs": l.top_logprobs,
            "text_offset": l.text_offset,
        })
    }
}
