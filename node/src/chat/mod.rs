//! `monai chat`: one question, or a conversation.

mod answer;
mod interactive;

use crate::cli::ChatOptions;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{Home, write_atomic};
use crate::openai::Endpoint;
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Where the devnet's endpoint is, which the commands that ask use by default.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8645/v1";
/// The devnet's API key. It guards nothing but a loopback port of one's own machine.
pub const DEFAULT_API_KEY: &str = "devnet";
/// Most bytes of a question read from standard input.
const MAX_STDIN_BYTES: u64 = 4 << 20;

/// What a conversation is held with, and how.
struct Conversation {
    endpoint: Endpoint,
    model: String,
    options: ChatOptions,
    messages: Vec<serde_json::Value>,
}

impl Conversation {
    fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({
            "model": self.model,
            "messages": self.messages,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let o = &self.options;
        let optional = [
            ("temperature", o.temperature.map(serde_json::Value::from)),
            ("top_p", o.top_p.map(serde_json::Value::from)),
            ("seed", o.seed.map(serde_json::Value::from)),
            ("max_tokens", o.max_tokens.map(serde_json::Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        body
    }

    fn push(&mut self, role: &str, text: &str) {
        self.messages.push(serde_json::json!({"role": role, "content": text}));
    }

    fn start_again(&mut self) {
        self.messages.clear();
        if let Some(system) = self.options.system.clone() {
            self.push("system", &system);
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What the endpoint or the terminal says.
pub async fn run(options: ChatOptions, home: &Home) -> Result<()> {
    for (name, value) in [("temperature", options.temperature), ("top-p", options.top_p)] {
        // JSON has no word for such numbers: the endpoint would take them for absent.
        if let Some(value) = value.filter(|v| !v.is_finite()) {
            return Err(Error::Usage(format!("--{name} {value}: must be a number")));
        }
    }
    let url = options.url.clone().unwrap_or_else(|| DEFAULT_URL.into());
    let key = options.api_key.clone().unwrap_or_else(|| DEFAULT_API_KEY.into());
    let endpoint = Endpoint::new(&url, Some(key))?;
    let model = match &options.model {
        Some(model) => model.clone(),
        None => endpoint.first_model().await?,
    };
    let text = options.text.join(" ");
    let mut conversation = Conversation { endpoint, model, options, messages: Vec::new() };
    conversation.start_again();
    if text.is_empty() {
        return interactive::run(conversation, home).await;
    }
    let text = if text == "-" { read_stdin()? } else { text };
    if text.trim().is_empty() {
        return Err(Error::Usage("the question is empty".into()));
    }
    once(conversation, &text).await
}

async fn once(mut conversation: Conversation, text: &str) -> Result<()> {
    conversation.push("user", text);
    let json = conversation.options.json;
    let mut out = std::io::stdout();
    let answer = answer::stream(&conversation, |piece| {
        if !json {
            // A closed pipe ends the program at its next write; the answer itself is not at fault.
            let _ = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
        }
    })
    .await?;
    if json {
        println!("{}", answer.json());
    } else {
        println!();
    }
    if let Some(path) = &conversation.options.receipt {
        let receipt = conversation.endpoint.get(&format!("/receipts/{}", answer.id)).await?;
        write_atomic(path, receipt.to_string().as_bytes(), false)?;
    }
    Ok(())
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    let path = Path::new("standard input");
    let read = std::io::stdin().take(MAX_STDIN_BYTES + 1).read_to_string(&mut text).at(path)?;
    if read as u64 > MAX_STDIN_BYTES {
        return Err(Error::Usage(format!("standard input exceeds {MAX_STDIN_BYTES} bytes")));
    }
    Ok(text.trim_end_matches('\n').to_owned())
}
