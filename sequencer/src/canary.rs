//! Canaries: requests that the sequencer sends through its own API, with an ordinary key, to measure nodes.
//!
//! Nodes can't tell them from others: they are slots of the lot lane with varying prompts and parameters.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::auth::KeyIndex;
use crate::api::shape::Endpoint;
use crate::catalogue::Served;
use crate::config::Canary;

const SUBJECTS: [&str; 12] = [
    "rivers",
    "bread",
    "the moon",
    "a bicycle",
    "rain",
    "old maps",
    "bees",
    "glass",
    "chess",
    "winter",
    "salt",
    "bridges",
];
const ASKS: [&str; 6] = [
    "Tell me something about {}.",
    "Write a short poem about {}.",
    "Why do people care about {}?",
    "List three facts about {}.",
    "Explain {} to a child.",
    "What would the world be without {}?",
];

fn body(served: &Served, max_tokens: u32) -> Value {
    let mut rng = rand::rng();
    let subject = SUBJECTS[rng.random_range(0..SUBJECTS.len())];
    let mut text = ASKS[rng.random_range(0..ASKS.len())].replace("{}", subject);
    if rng.random_bool(0.5) {
        text.push_str(&format!(" ({})", rng.random_range(1..10_000)));
    }
    let mut body = json!({
        "model": served.name,
        "max_tokens": rng.random_range(1..=max_tokens.max(1)),
        "temperature": f64::from(rng.random_range(0..=12u32)) / 10.0,
    });
    if served.codec.has_chat() {
        body["messages"] = json!([{"role": "user", "content": text}]);
    } else {
        body["prompt"] = text.into();
    }
    body
}

/// Sends canaries for one model, at random times with the configured mean.
pub(crate) async fn run(api: Arc<Api>, key: KeyIndex, served: Arc<Served>, config: Canary) {
    let endpoint = if served.codec.has_chat() { Endpoint::Chat } else { Endpoint::Text };
    loop {
        // Between half and one and a half of the mean: a fixed beat could be recognised.
        let wait =
            rand::rng().random_range(config.interval_ms / 2..=config.interval_ms + config.interval_ms / 2);
        tokio::time::sleep(Duration::from_millis(wait.max(1))).await;
        let body = body(&served, config.max_tokens).to_string();
        let outcome = match api.complete(key, endpoint, body.as_bytes()).await {
            Ok(_) => "answered",
            Err(e) if e.status.is_server_error() => "failed",
            Err(_) => "refused",
        };
        api.metrics.canaries.with_label_values(&[served.name.as_str(), outcome]).inc();
    }
}
