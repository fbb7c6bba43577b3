//! What each id stands for, as bytes.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::TextError;
use super::admit::short;
use super::json::byte_char;

/// How tokens are written in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: a character a byte.
    ByteLevel,
    /// SentencePiece's: `▁` for a space, `<0x..>` for single bytes; perhaps the first space of the text is dropped.
    Pieces { strip: bool },
}

impl Spelling {
    /// From the decoder of the tokenizer's JSON, whose parts must be the usual ones: the codec decodes by itself.
    pub(super) fn of(decoder: &Value) -> Result<Self, TextError> {
        let kind = |v: &Value| v["type"].as_str().map_or("none".to_owned(), short);
        let list = match kind(decoder).as_str() {
            "Sequence" => decoder["decoders"].as_array().map_or(&[][..], Vec::as_slice),
            _ => std::slice::from_ref(decoder),
        };
        if let [only] = list
            && kind(only) == "ByteLevel"
        {
            return Ok(Self::ByteLevel);
        }
        let pieces = [
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        match list {
            _ if list == pieces => Ok(Self::Pieces { strip: false }),
            [first @ .., last] if first == pieces && *last == strip => Ok(Self::Pieces { strip: true }),
            _ => {
                let kinds: Vec<String> = list.iter().take(8).map(kind).collect();
                Err(TextError::Tokenizer(format!("decoder {} is not supported", kinds.join(", "))))
            }
        }
    }

    /// Bytes of every token; `token` gives the spelling of an id, `added` tells whether it is an added token, `special`
    /// whether it is a control token, which stands for nothing.
    pub(super) fn table(
        self,
        vocab: u32,
        token: impl Fn(u32) -> Option<String>,
        added: impl Fn(u32) -> Option<bool>,
    ) -> Vec<Box<[u8]>> {
        let back: HashMap<char, u8> = (0..=255).map(|b| (byte_char(b), b)).collect();
        (0..vocab)
            .map(|id| match (token(id), added(id)) {
                (None, _) | (_, Some(true)) => Box::default(),
                (Some(t), Some(false)) if self != Self::ByteLevel => t.into_bytes().into(),
                (Some(t), _) => self.bytes(&t, &back),
            })
            .collect()
    }

    fn bytes(self, token: &str, back: &HashMap<char, u8>) -> Box<[u8]> {
        match self {
            // A token with characters outside the alphabet was added as plain text.
            Self::ByteLevel => token
                .chars()
                .map(|c| back.get(&c).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| token.as_bytes().to_vec())
                .into(),
            Self::Pieces { .. } => {
                let hex =
                    token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>')).filter(|t| t.len() == 2);
                match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                    Some(byte) => [byte].into(),
                    None => token.replace('▁', " ").into_bytes().into(),
                }
            }
        }
    }
}
