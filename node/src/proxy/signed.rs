//! From what a client asks to a request that its owner signs.

use super::catalogue::Known;
use super::fault::Fault;
use super::fields::{Ask, Kind};
use crate::clock::unix_ms;
use crate::error::Error;
use monai_model::text::TextError;
use monai_protocol::messages::RequestMessage;
use monai_protocol::types::{Amount, Assurance, Blinding, Domain};
use monai_protocol::{Request, SecretKey, Signature, Typed};
use monai_sequencer::openai::{self, TextPrompt};
use rand::Rng as _;
use serde_json::{Value, json};

/// How long a signed request may wait for its slot, seconds.
const EXPIRY_SECONDS: u64 = 120;
/// Longest answer where the client says nothing, in tokens.
const DEFAULT_MAX_TOKENS: u32 = 1024;

/// A request with its signature, and the body that carries it to the sequencer.
#[derive(Debug, Clone)]
pub(super) struct SignedRequest {
    pub(super) request: Request,
    pub(super) signature: Signature,
    pub(super) body: Value,
    /// Text that stands before the answer's in a completion with `echo`.
    pub(super) echo: String,
}

/// Prices that the sequencer lists, for the most that an answer may cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prices {
    pub(super) input: u128,
    pub(super) output: u128,
}

impl Prices {
    /// Refuses prices above the user's own ceiling: the sequencer lists them, so they are not for it alone to set.
    pub(super) fn within(self, ceiling: Option<u128>) -> Result<(), Fault> {
        let Some(ceiling) = ceiling else { return Ok(()) };
        for (kind, price) in [("input", self.input), ("output", self.output)] {
            if price > ceiling {
                let message = format!(
                    "The sequencer lists {price} for an {kind} token; this proxy signs for at most {ceiling} \
                     (--max-token-price)."
                );
                return Err(Fault::request("model", "price_above_ceiling", message));
            }
        }
        Ok(())
    }
}

/// Makes and signs the request.
pub(super) fn sign(
    ask: &Ask,
    known: &Known,
    domain: Domain,
    key: &SecretKey,
    nonce: u64,
    prices: Prices,
) -> Result<SignedRequest, Fault> {
    let (prompt, echo) = prompt(ask, known)?;
    let arch = &known.model.arch;
    let room = arch.max_positions.saturating_sub(prompt.len());
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let asked = ask.max_tokens.unwrap_or_else(|| DEFAULT_MAX_TOKENS.min(room));
    if room == 0 || asked > room {
        let message = format!(
            "This model's maximum context length is {} tokens. However, you requested {} tokens ({} in the prompt, \
             {asked} in the completion). Please shorten the input.",
            arch.max_positions,
            prompt.len() + asked as usize,
            prompt.len()
        );
        let param = if ask.kind == Kind::Chat { "messages" } else { "prompt" };
        return Err(Fault::request(param, "context_length_exceeded", message));
    }
    let sampling = openai::sampling(&ask.body)?;
    let params = sampling.to_params(
        arch.tau_one,
        arch.tau_max,
        asked,
        ask.seed.unwrap_or(0),
        stop_ids(ask, arch.vocab)?,
    );
    let n_in = prompt.len() as u128;
    let max_price =
        n_in.saturating_mul(prices.input).saturating_add(u128::from(asked).saturating_mul(prices.output));
    let mut request = Request {
        domain,
        model: known.model.id,
        params,
        prompt,
        user: key.address(),
        nonce,
        blinding: Blinding(rand::rng().random()),
        expiry: unix_ms() / 1000 + EXPIRY_SECONDS,
        max_price: Amount(max_price),
        assurance: assurance(ask)?,
        by_preference: openai::by_preference(&ask.body)?,
    };
    if ask.seed.is_none() {
        request.params.seed = request.default_seed();
    }
    request.validate().map_err(|e| Fault::request("", "invalid_value", e.to_string()))?;
    let message = RequestMessage {
        request: request.commitment(),
        model: request.model,
        max_price: request.max_price,
        nonce: request.nonce,
        expiry: request.expiry,
    };
    let signature =
        message.sign(&request.domain, key).map_err(|e| Fault::from(Error::Local(e.to_string())))?;
    let body = body(ask, &request, &signature);
    Ok(SignedRequest { request, signature, body, echo })
}

/// What goes to the sequencer: the request as it was signed, and nothing that could contradict it.
fn body(ask: &Ask, request: &Request, signature: &Signature) -> Value {
    let mut body = json!({
        "model": request.model,
        "max_tokens": request.params.max_tokens,
        "stream": ask.stream,
        "assurance": request.assurance,
        "monai": {
            "user": request.user,
            "nonce": request.nonce.to_string(),
            "blinding": request.blinding,
            "expiry": request.expiry.to_string(),
            "max_price": request.max_price,
            "params": request.params,
            "prompt_ids": request.prompt,
            "signature": signature,
        },
    });
    if ask.stream {
        // Always wanted here: the counts are checked too.
        body["stream_options"] = json!({"include_usage": true});
    }
    let source = if ask.kind == Kind::Chat { "messages" } else { "prompt" };
    for name in [source, "provider", "metadata", "user"] {
        if let Some(value) = ask.body.get(name) {
            body[name] = value.clone();
        }
    }
    body
}

/// The prompt as ids, and its text if the client wants it echoed. The functions are the sequencer's
/// own, so that the same body becomes the same ids on both sides.
fn prompt(ask: &Ask, known: &Known) -> Result<(Vec<u32>, String), Fault> {
    let wrong = |param, e: TextError| {
        let code = match e {
            TextError::TooLong { .. } => "context_length_exceeded",
            _ => "invalid_value",
        };
        Fault::request(param, code, e.to_string())
    };
    if ask.kind == Kind::Chat {
        let messages = openai::chat_messages(&ask.body)?;
        return Ok((known.codec.chat_ids(&messages).map_err(|e| wrong("messages", e))?, String::new()));
    }
    let prompt = openai::text_prompts(&ask.body, known.model.arch.vocab, 1)?.pop();
    let (ids, text) = match prompt {
        Some(TextPrompt::Text(text)) => {
            (known.codec.prompt_ids(&text).map_err(|e| wrong("prompt", e))?, text)
        }
        Some(TextPrompt::Ids(ids)) => {
            let text = known.codec.decode(&ids);
            (ids, text)
        }
        None => (Vec::new(), String::new()),
    };
    if ids.is_empty() {
        return Err(out_of_range("prompt", "a prompt that is not empty"));
    }
    let echo = ask.body.get("echo").is_some_and(|v| v == true);
    Ok((ids, if echo { text } else { String::new() }))
}

fn stop_ids(ask: &Ask, vocab: usize) -> Result<Vec<u32>, Fault> {
    match ask.body.get("stop_token_ids") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|v| id(v, vocab).ok_or_else(|| out_of_range("stop_token_ids", "token ids of this model")))
            .collect(),
        Some(_) => Err(out_of_range("stop_token_ids", "an array of token ids")),
    }
}

fn id(value: &Value, vocab: usize) -> Option<u32> {
    value.as_u64().filter(|&id| id < vocab as u64).and_then(|id| u32::try_from(id).ok())
}

fn assurance(ask: &Ask) -> Result<Assurance, Fault> {
    match ask.text("assurance")? {
        None | Some("sampled") => Ok(Assurance::Sampled),
        Some("signed") => Ok(Assurance::Signed),
        Some(_) => Err(out_of_range("assurance", "'signed' or 'sampled'")),
    }
}

fn out_of_range(name: &str, wanted: &str) -> Fault {
    Fault::request(name, "invalid_value", format!("Invalid value for '{name}': expected {wanted}."))
}
