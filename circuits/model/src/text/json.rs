//! Writes tokenizers in the JSON form of the `tokenizers` library.
//!
//! The text is put together by hand, vocabulary in the order of the ids, because it is hashed into the model's
//! identity: it must not depend on how a map type happens to iterate.

use std::fmt::Write;

/// A token that is matched in the text before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    /// Control tokens are special: skipped by decoding, and never matched in what a user wrote.
    pub(crate) special: bool,
}

/// A BPE tokenizer.
pub(crate) struct Bpe<'a> {
    /// Token text by id.
    pub(crate) tokens: &'a [String],
    pub(crate) merges: Vec<(&'a str, &'a str)>,
    pub(crate) added: Vec<AddedToken>,
    /// JSON of the normalizer, pre-tokenizer and decoder.
    pub(crate) normalizer: &'a str,
    pub(crate) pre_tokenizer: &'a str,
    pub(crate) decoder: &'a str,
    /// Words that are in the vocabulary are taken whole.
    pub(crate) ignore_merges: bool,
    /// Unknown text falls back to `<0x..>` tokens.
    pub(crate) byte_fallback: bool,
    pub(crate) unknown: Option<&'a str>,
}

/// A JSON string literal.
pub(crate) fn quote(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}

impl Bpe<'_> {
    /// The whole JSON document.
    pub(crate) fn to_json(&self) -> String {
        let mut s = String::with_capacity(self.tokens.len() * 40);
        s.push_str(r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#);
        for (i, t) in self.added.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(
                s,
                r#"{comma}{{"id":{},"content":{},"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":{}}}"#,
                t.id,
                quote(&t.content),
                t.special
            );
        }
        let _ = write!(
            s,
            r#"],"normalizer":{},"pre_tokenizer":{},"post_processor":null,"decoder":{},"model":{{"type":"BPE","dropout":null,"unk_token":{},"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":{},"byte_fallback":{},"ignore_merges":{},"vocab":{{"#,
            self.normalizer,
            self.pre_tokenizer,
            self.decoder,
            self.unknown.map_or("null".into(), quote),
            self.unknown.is_some(),
            self.byte_fallback,
            self.ignore_merges
        );
        for (id, t) in self.tokens.iter().enumerate() {
            let comma = if id == 0 { "" } else { "," };
            let _ = write!(s, "{comma}{}:{id}", quote(t));
        }
        s.push_str(r#"},"merges":["#);
        for (i, (a, b)) in self.merges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let _ = write!(s, "{comma}[{},{}]", quote(a), quote(b));
        }
        s.push_str("]}}");
        s
    }
}

/// The character by which byte-level BPE writes a byte.
pub(crate) fn byte_char(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        // The others follow from 256 in the order of their values.
        0..=0x20 => char::from_u32(256 + u32::from(byte)).unwrap_or(' '),
        0x7f..=0xa0 => char::from_u32(256 + 33 + u32::from(byte) - 0x7f).unwrap_or(' '),
        0xad => '\u{143}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_characters_are_distinct_and_the_usual_ones() {
        let all: std::collections::HashSet<char> = (0..=255).map(byte_char).collect();
        assert_eq!(all.len(), 256);
        assert_eq!([byte_char(b' '), byte_char(b'\n'), byte_char(0xa0)], ['Ġ', 'Ċ', 'ł']);
    }
}
