//! The registered tokenizer and template, ready for use.

use std::str::FromStr;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::bytes::Spelling;
use super::guard::{MARKER, guard};
use super::template::{ChatTemplate, Message};
use super::{TextError, TextStream};
use crate::artefact::{Model, TextConfig};

/// Most bytes of text in one call.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// Text to ids and back, for one model. Shared freely between threads.
#[derive(Debug)]
pub struct TextCodec {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// Text of all control tokens.
    specials: Vec<String>,
    /// Bytes of each id; empty for control tokens and ids without text.
    bytes: Vec<Box<[u8]>>,
    spelling: Spelling,
    bos_id: Option<u32>,
}

impl TextCodec {
    /// The codec of a loaded model.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(model: &Model) -> Result<Self, TextError> {
        Self::new(&model.text, model.arch.vocab)
    }

    /// Builds tokenizer and template of a model with `vocab` ids.
    ///
    /// # Errors
    /// Where either is malformed or of a kind that is not supported.
    pub fn new(config: &TextConfig, vocab: usize) -> Result<Self, TextError> {
        let mut json: Value = serde_json::from_str(&config.tokenizer_json)
            .map_err(|e| TextError::Tokenizer(format!("is no JSON: {e}")))?;
        if json["model"]["type"].as_str().is_some_and(|t| t != "BPE") {
            return Err(TextError::Tokenizer(format!("model {} is not supported", json["model"]["type"])));
        }
        let spelling = Spelling::of(&json)?;
        prepare(&mut json);
        // The library reads no `Value` with a vocabulary in it, only text.
        let tokenizer =
            Tokenizer::from_str(&json.to_string()).map_err(|e| TextError::Tokenizer(e.to_string()))?;
        let added = tokenizer.get_added_tokens_decoder();
        let mut specials: Vec<String> = added
            .values()
            .filter(|t| t.special && !t.content.is_empty())
            .map(|t| t.content.clone())
            .collect();
        specials.sort_unstable();
        let top = tokenizer.get_vocab_size(true);
        if top > vocab {
            return Err(TextError::Tokenizer(format!("has {top} tokens, the model {vocab} ids")));
        }
        let vocab = u32::try_from(vocab).unwrap_or(u32::MAX);
        let bytes =
            spelling.table(vocab, |id| tokenizer.id_to_token(id), |id| added.get(&id).map(|t| t.special));
        let template = match &config.chat_template {
            Some(source) => Some(ChatTemplate::new(source, &config.bos_token, &config.eos_token)?),
            None => None,
        };
        Ok(Self { tokenizer, template, specials, bytes, spelling, bos_id: config.bos_id })
    }

    /// Whether the model has a chat template.
    #[must_use]
    pub fn has_chat(&self) -> bool {
        self.template.is_some()
    }

    /// The ids of a conversation: what sequencer, proxy and auditor each compute for themselves.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; too much text; a model without template.
    pub fn chat_ids(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let template = self.template.as_ref().ok_or(TextError::NoChat)?;
        let total = messages.iter().map(|m| m.content.len() + m.name.as_ref().map_or(0, String::len)).sum();
        limit(total)?;
        let guarded: Vec<Message> = messages
            .iter()
            .map(|m| Message {
                role: m.role.clone(),
                content: guard(&m.content, &self.specials),
                name: m.name.as_ref().map(|n| guard(n, &self.specials)),
            })
            .collect();
        self.encode(&template.render(&guarded)?)
    }

    /// The ids of a plain prompt: the model's begin id, if it has one, and the text. Nothing in it becomes a control
    /// token; callers who want control tokens send ids.
    ///
    /// # Errors
    /// Too much text.
    pub fn prompt_ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids: Vec<u32> = self.bos_id.into_iter().collect();
        ids.extend(self.text_ids(text)?);
        Ok(ids)
    }

    /// The ids of a text alone.
    ///
    /// # Errors
    /// Too much text.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>, TextError> {
        limit(text.len())?;
        self.encode(&guard(text, &self.specials))
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|e| TextError::Tokenizer(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids. Control tokens and ids without text give nothing; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = TextStream::new();
        let mut out = String::new();
        for &id in ids {
            out.push_str(&stream.push(self, id));
        }
        out.push_str(&stream.finish());
        out
    }

    /// Bytes of one id; empty for control tokens and for ids without text.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], |b| b)
    }

    /// How the vocabulary writes an id; `None` for ids without text.
    #[must_use]
    pub fn token_name(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The id of a token by its spelling in the vocabulary, control tokens included.
    #[must_use]
    pub fn token_id(&self, name: &str) -> Option<u32> {
        self.tokenizer.token_to_id(name)
    }

    pub(super) fn strips_first_space(&self) -> bool {
        self.spelling == Spelling::Pieces { strip: true }
    }
}

fn limit(bytes: usize) -> Result<(), TextError> {
    if bytes > MAX_TEXT_BYTES { Err(TextError::TooLong(bytes)) } else { Ok(()) }
}

/// Makes the tokenizer look for special tokens in the raw text, and drop markers after that.
fn prepare(json: &mut Value) {
    if let Some(added) = json["added_tokens"].as_array_mut() {
        for t in added.iter_mut().filter(|t| t["special"] == true) {
            t["normalized"] = Value::Bool(false);
        }
    }
    let drop = json!({"type": "Replace", "pattern": {"String": MARKER.to_string()}, "content": ""});
    let first = match json["normalizer"].take() {
        Value::Null => drop,
        other => json!({"type": "Sequence", "normalizers": [drop, other]}),
    };
    json["normalizer"] = first;
    // Limits of training have no place in serving.
    json["truncation"] = Value::Null;
    json["padding"] = Value::Null;
}
