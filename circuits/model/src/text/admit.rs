//! Which tokenizers are taken: those whose every part is deterministic and bounded.
//!
//! A tokenizer's file comes from a stranger, and the library that runs it does what it says: drop merges at random, grow
//! a text without end, run a regular expression for ever, index outside a buffer. So nothing is given to the library but
//! parts on this list, all of which models of the Llama family use; everything else is refused by name. The work of
//! what is on it grows with the text's length, or with its length times a logarithm.

use serde_json::{Map, Value, json};

use super::TextError;
use super::bpe;
use super::bytes::Spelling;
use super::guard::MARKER;

/// Longest tokenizer, in bytes of JSON.
pub const MAX_TOKENIZER_BYTES: usize = 64 << 20;
/// Most parts of a sequence of normalizers, pre-tokenizers or post-processors.
const MAX_PARTS: usize = 8;
/// Longest string of a rule, in bytes.
const MAX_RULE_BYTES: usize = 64;
/// How many times longer the replacing rules of a normalizer may make a text, all together. A space to `▁` is 3.
const MAX_GROWTH: usize = 8;

/// The regular expressions by which the Llama family splits text. Others are refused: the engine that runs them tracks
/// back, and gives up with a panic. These track back at most twice over a text.
pub(super) const PATTERNS: [&str; 9] = [
    // GPT-2.
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    // Llama 3.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Qwen 2 and 3.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Mistral's Tekken.
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // DeepSeek's Llamas and others: one kind of character at a time.
    r"\p{N}{1,3}",
    r"\p{N}",
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
];

/// A tokenizer that was taken.
#[derive(Debug)]
pub(super) struct Admitted {
    /// How its vocabulary writes tokens.
    pub(super) spelling: Spelling,
    /// What the library is given: special tokens are looked for in the raw text, markers dropped after that, and what
    /// the codec does itself (begin ids, decoding) or what belongs to training (truncation, padding) is gone.
    pub(super) json: Value,
    /// Ids of the added tokens by their text.
    pub(super) added: Vec<(String, u32)>,
}

/// Checks the JSON of a tokenizer for a model with `vocab` ids.
pub(super) fn admit(text: &str, vocab: usize) -> Result<Admitted, TextError> {
    if text.len() > MAX_TOKENIZER_BYTES {
        return Err(refused(format!("{} bytes (at most {MAX_TOKENIZER_BYTES})", text.len())));
    }
    let mut json: Value =
        serde_json::from_str(text).map_err(|e| TextError::Tokenizer(format!("is no JSON: {e}")))?;
    let known = ["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer"];
    fields(&json, "tokenizer", &[&known[..], &["post_processor", "decoder", "model"]].concat())?;
    if !json["version"].is_null() && json["version"] != "1.0" {
        return Err(refused(format!("version {}", short(&json["version"].to_string()))));
    }
    let mut added = bpe::model(&json["model"], vocab)?.added(&json["added_tokens"])?;
    added.sort_unstable();
    let spelling = Spelling::of(&json["decoder"])?;
    normalizers(&json["normalizer"])?;
    pre_tokenizers(&json["pre_tokenizer"])?;
    post_processors(&json["post_processor"])?;
    prepare(&mut json);
    Ok(Admitted { spelling, json, added })
}

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
    for gone in ["truncation", "padding", "post_processor", "decoder"] {
        json[gone] = Value::Null;
    }
    // Old files leave the type to the reader, who would guess.
    json["model"]["type"] = "BPE".into();
    json["model"]["dropout"] = Value::Null;
}

/// An error that names what is not taken.
pub(super) fn refused(what: impl std::fmt::Display) -> TextError {
    TextError::Tokenizer(format!("{what} is not supported"))
}

/// The members of an object, none of which has another name than those.
pub(super) fn fields<'v>(
    v: &'v Value,
    what: &str,
    known: &[&str],
) -> Result<&'v Map<String, Value>, TextError> {
    let map = v.as_object().ok_or_else(|| TextError::Tokenizer(format!("{what} is no object")))?;
    match map.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => Err(refused(format!("{what} with {:?}", short(key)))),
        None => Ok(map),
    }
}

/// A string's beginning, for messages.
pub(super) fn short(s: &str) -> String {
    s.chars().take(64).collect()
}

/// `null`, one part, or a sequence of parts, which has no sequences in it.
fn parts<'v>(v: &'v Value, what: &str, members: &str) -> Result<Vec<(&'v str, &'v Value)>, TextError> {
    let list = match (v, v["type"].as_str()) {
        (Value::Null, _) => &[][..],
        (_, Some("Sequence")) => {
            fields(v, what, &["type", members])?;
            v[members].as_array().ok_or_else(|| refused(format!("{what} without its parts")))?
        }
        _ => std::slice::from_ref(v),
    };
    if list.len() > MAX_PARTS {
        return Err(refused(format!("{what} of {} parts (at most {MAX_PARTS})", list.len())));
    }
    let kind = |v: &'v Value| v["type"].as_str().ok_or_else(|| refused(format!("{what} without a type")));
    list.iter().map(|v| Ok((kind(v)?, v))).collect()
}

/// A short string of a rule.
fn literal<'v>(v: &'v Value, what: &str) -> Result<&'v str, TextError> {
    match v.as_str() {
        Some(s) if s.len() <= MAX_RULE_BYTES => Ok(s),
        Some(s) => Err(refused(format!("{what} of {} bytes", s.len()))),
        None => Err(refused(format!("{what} that is no string"))),
    }
}

fn normalizers(v: &Value) -> Result<(), TextError> {
    let mut growth = 1;
    for (kind, v) in parts(v, "normalizer", "normalizers")? {
        match kind {
            "NFC" => drop(fields(v, kind, &["type"])?),
            "Prepend" => {
                fields(v, kind, &["type", "prepend"])?;
                literal(&v["prepend"], "normalizer Prepend")?;
            }
            "Replace" => {
                fields(v, kind, &["type", "pattern", "content"])?;
                fields(&v["pattern"], "normalizer Replace", &["String"])?;
                let pattern = literal(&v["pattern"]["String"], "pattern of Replace")?;
                let content = literal(&v["content"], "content of Replace")?;
                if pattern.is_empty() {
                    return Err(refused("normalizer Replace of nothing"));
                }
                growth *= content.len().div_ceil(pattern.len()).max(1);
            }
            other => return Err(refused(format!("normalizer {:?}", short(other)))),
        }
        if growth > MAX_GROWTH {
            return Err(refused(format!("normalizer that makes a text {growth} times longer")));
        }
    }
    Ok(())
}

fn pre_tokenizers(v: &Value) -> Result<(), TextError> {
    // Each of the two writes more bytes than it reads, so neither may read what it wrote.
    let (mut byte_level, mut metaspace) = (0, 0);
    for (kind, v) in parts(v, "pre-tokenizer", "pretokenizers")? {
        match kind {
            "ByteLevel" => {
                byte_level += 1;
                fields(v, kind, &["type", "add_prefix_space", "trim_offsets", "use_regex"])?;
            }
            "Digits" => drop(fields(v, kind, &["type", "individual_digits"])?),
            "Metaspace" => {
                metaspace += 1;
                let known = ["type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"];
                fields(v, kind, &known)?;
                if v["replacement"] != "▁" {
                    return Err(refused("pre-tokenizer Metaspace with another replacement than \"▁\""));
                }
            }
            "Split" => {
                fields(v, kind, &["type", "pattern", "behavior", "invert"])?;
                fields(&v["pattern"], "pre-tokenizer Split", &["String", "Regex"])?;
                match v["pattern"]["Regex"].as_str() {
                    Some(regex) if v["pattern"]["String"].is_null() => {
                        if !PATTERNS.contains(&regex) {
                            return Err(refused(format!(
                                "pre-tokenizer Split by the pattern {:?}",
                                short(regex)
                            )));
                        }
                    }
                    _ => {
                        if literal(&v["pattern"]["String"], "pattern of Split")?.is_empty() {
                            return Err(refused("pre-tokenizer Split by nothing"));
                        }
                    }
                }
            }
            other => return Err(refused(format!("pre-tokenizer {:?}", short(other)))),
        }
        if byte_level > 1 || metaspace > 1 {
            return Err(refused(format!("pre-tokenizer with {kind} twice")));
        }
    }
    Ok(())
}

/// Post-processors only put a begin token before a text: the codec does that, or refuses.
fn post_processors(v: &Value) -> Result<(), TextError> {
    for (kind, v) in parts(v, "post-processor", "processors")? {
        match kind {
            "ByteLevel" => {}
            "TemplateProcessing" => {
                let single = v["single"].as_array().map_or(&[][..], Vec::as_slice);
                let text = |v: &Value| v["Sequence"]["id"] == "A";
                let begins = |v: &Value| v["SpecialToken"]["id"].is_string();
                let known =
                    matches!(single, [t] if text(t)) || matches!(single, [b, t] if begins(b) && text(t));
                if !known {
                    return Err(refused("post-processor that does more than put a token before a text"));
                }
            }
            other => return Err(refused(format!("post-processor {:?}", short(other)))),
        }
    }
    Ok(())
}
