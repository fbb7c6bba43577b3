//! The registered tokenizer and template, ready for use.

use std::str::FromStr;

use tokenizers::Tokenizer;

use super::admit::{Admitted, admit, short};
use super::bytes::Spelling;
use super::guard::guard;
use super::template::{ChatTemplate, Message};
use super::{TextError, TextStream};
use crate::artefact::{Model, TextConfig};

/// Most bytes of text in one call, whatever the model. Half of the steps back that the engine of the tokenizer's regular
/// expressions takes before it gives up with a panic: see `admit.rs`.
pub const MAX_TEXT_BYTES: usize = 4 << 20;

/// Text to ids and back, for one model. Shared freely between threads.
#[derive(Debug)]
pub struct TextCodec {
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    /// Text of all control tokens.
    specials: Vec<String>,
    /// Bytes of each id; empty for control tokens and ids without text.
    bytes: Vec<Box<[u8]>>,
    /// Length of the longest of them.
    longest: usize,
    /// See [`Self::most_bytes`].
    most_bytes: usize,
    spelling: Spelling,
    bos_id: Option<u32>,
}

impl TextCodec {
    /// The codec of a loaded model. Its texts are limited by the model's positions, too: see [`Self::most_bytes`].
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(model: &Model) -> Result<Self, TextError> {
        let mut codec = Self::new(&model.text, model.arch.vocab)?;
        codec.most_bytes = codec.most_bytes.min(codec.longest.saturating_mul(model.arch.max_positions));
        Ok(codec)
    }

    /// Builds tokenizer and template of a model with `vocab` ids.
    ///
    /// # Errors
    /// Where either is malformed or of a kind that is not supported.
    pub fn new(config: &TextConfig, vocab: usize) -> Result<Self, TextError> {
        super::end_ids(config)?;
        let Admitted { spelling, json, added: declared } = admit(&config.tokenizer_json, vocab)?;
        // The library reads no `Value` with a vocabulary in it, only text.
        let tokenizer =
            Tokenizer::from_str(&json.to_string()).map_err(|e| TextError::Tokenizer(e.to_string()))?;
        drop(json);
        // The library numbers added tokens by itself: a file that numbers them otherwise means other ids than it gives.
        for (content, id) in &declared {
            if tokenizer.token_to_id(content) != Some(*id) {
                let shown = short(content);
                return Err(TextError::Tokenizer(format!(
                    "the added token {shown:?} can't have the id {id}"
                )));
            }
        }
        let added = tokenizer.get_added_tokens_decoder();
        let mut specials: Vec<String> =
            added.values().filter(|t| t.special).map(|t| t.content.clone()).collect();
        specials.sort_unstable();
        let vocab = u32::try_from(vocab).unwrap_or(u32::MAX);
        let bytes =
            spelling.table(vocab, |id| tokenizer.id_to_token(id), |id| added.get(&id).map(|t| t.special));
        let longest = bytes.iter().map(|b| b.len()).max().unwrap_or(0).max(1);
        let template = match &config.chat_template {
            Some(source) => Some(ChatTemplate::new(source, &config.bos_token, &config.eos_token)?),
            None => None,
        };
        let most_bytes = MAX_TEXT_BYTES;
        Ok(Self {
            tokenizer,
            template,
            specials,
            bytes,
            longest,
            most_bytes,
            spelling,
            bos_id: config.bos_id,
        })
    }

    /// Most bytes of text in one call: [`MAX_TEXT_BYTES`], and no more than the model's positions times its longest
    /// token. A longer text has more ids than the model has positions, or is no text of its vocabulary, and is refused
    /// before it is tokenised.
    #[must_use]
    pub fn most_bytes(&self) -> usize {
        self.most_bytes
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
        let total: usize =
            messages.iter().map(|m| m.content.len() + m.name.as_ref().map_or(0, String::len)).sum();
        self.limit(total)?;
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
        self.limit(text.len())?;
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

    fn limit(&self, bytes: usize) -> Result<(), TextError> {
        if bytes > self.most_bytes {
            Err(TextError::TooLong { bytes, most: self.most_bytes })
        } else {
            Ok(())
        }
    }

    pub(super) fn strips_first_space(&self) -> bool {
        self.spelling == Spelling::Pieces { strip: true }
    }
}
