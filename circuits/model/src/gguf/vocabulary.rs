//! The tokenizer inside a GGUF file, in the JSON form of the `tokenizers` library.

use std::collections::{HashMap, HashSet};

use super::model::texts;
use super::{Array, Gguf, GgufError};
use crate::artefact::TextConfig;
use crate::text::MAX_MERGES;
use crate::text::json::{AddedToken, Bpe};

/// Control tokens that end an answer wherever a vocabulary has them, besides those that the file names.
const END_TOKENS: [&str; 7] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "</s>"];

/// Keys below `tokenizer.ggml.` that are understood or change nothing. All others are refused by name.
const KEYS: [&str; 29] = [
    "model",
    "pre",
    "tokens",
    "token_type",
    "token_type_count",
    "scores",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "separator_token_id",
    "padding_token_id",
    "cls_token_id",
    "mask_token_id",
    "prefix_token_id",
    "suffix_token_id",
    "middle_token_id",
    "fim_pre_token_id",
    "fim_suf_token_id",
    "fim_mid_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
    "add_bos_token",
    "add_eos_token",
    "add_space_prefix",
];

const BYTE_LEVEL: &str =
    r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;
const BYTE_LEVEL_PLAIN: &str =
    r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}"#;
const DECODE_BYTES: &str =
    r#"{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"#;

/// The tokens by id.
pub(super) fn tokens(g: &Gguf) -> Result<&[String], GgufError> {
    texts(g, "tokenizer.ggml.tokens")
}

/// Tokenizer, template and end ids.
pub(super) fn text(g: &Gguf) -> Result<TextConfig, GgufError> {
    let unknown = |k: &&String| k.strip_prefix("tokenizer.ggml.").is_some_and(|k| !KEYS.contains(&k));
    if let Some(key) = g.metadata.keys().find(unknown) {
        return Err(GgufError::Unsupported(format!("key {key:?}")));
    }
    if g.bool("tokenizer.ggml.add_eos_token")? == Some(true) {
        return Err(GgufError::Unsupported(
            "an end token after prompts (tokenizer.ggml.add_eos_token)".into(),
        ));
    }
    let tokens = tokens(g)?;
    let distinct: HashSet<&str> = tokens.iter().map(String::as_str).collect();
    if distinct.len() != tokens.len() {
        return Err(GgufError::Duplicate("a token".into()));
    }
    let types = types(g, tokens.len())?;
    let model = g.text("tokenizer.ggml.model")?.unwrap_or("");
    let (tokenizer_json, bos_by_default) = match model {
        "gpt2" => byte_level(g, tokens, &types)?,
        "llama" => (sentencepiece(g, tokens, &types)?, true),
        other => return Err(GgufError::Unsupported(format!("tokenizer model {other:?}"))),
    };
    let id = |key: &str| -> Result<Option<u32>, GgufError> {
        let key = format!("tokenizer.ggml.{key}_token_id");
        match g.unsigned(&key)? {
            Some(v) if v < tokens.len() as u64 => Ok(Some(v as u32)),
            Some(_) => Err(GgufError::key(&key, "is outside the vocabulary")),
            None => Ok(None),
        }
    };
    let token = |id: Option<u32>| id.map_or(String::new(), |id| tokens[id as usize].clone());
    let (bos, eos) = (id("bos")?, id("eos")?);
    let mut eos_ids: Vec<u32> = [eos, id("eot")?, id("eom")?].into_iter().flatten().collect();
    let known = (0u32..).zip(tokens).zip(&types);
    eos_ids.extend(
        known
            .filter(|((_, t), kind)| **kind == CONTROL && END_TOKENS.contains(&t.as_str()))
            .map(|((id, _), _)| id),
    );
    eos_ids.sort_unstable();
    eos_ids.dedup();
    if eos_ids.is_empty() {
        // An answer of such a model would never end by itself.
        return Err(GgufError::Missing("tokenizer.ggml.eos_token_id".into()));
    }
    let add_bos = g.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(bos_by_default);
    Ok(TextConfig {
        tokenizer_json,
        chat_template: g.text("tokenizer.chat_template")?.map(str::to_owned),
        eos_ids,
        bos_id: bos.filter(|_| add_bos),
        bos_token: token(bos),
        eos_token: token(eos),
    })
}

const NORMAL: i64 = 1;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

fn types(g: &Gguf, count: usize) -> Result<Vec<i64>, GgufError> {
    let key = "tokenizer.ggml.token_type";
    match g.array(key)? {
        None => Ok(vec![NORMAL; count]),
        Some(Array::Integers(v)) if v.len() == count => Ok(v.clone()),
        Some(_) => Err(GgufError::key(key, "is no integer a token")),
    }
}

/// Control tokens are special; user-defined tokens are matched in any text.
fn added(tokens: &[String], types: &[i64]) -> Vec<AddedToken> {
    (0u32..)
        .zip(tokens)
        .zip(types)
        .filter(|((_, t), kind)| !t.is_empty() && (**kind == CONTROL || **kind == USER_DEFINED))
        .map(|((id, t), kind)| AddedToken { id, content: t.clone(), special: *kind == CONTROL })
        .collect()
}

/// GPT-2's byte-level BPE, with the pre-tokenizer that the file names.
fn byte_level(g: &Gguf, tokens: &[String], types: &[i64]) -> Result<(String, bool), GgufError> {
    let key = "tokenizer.ggml.merges";
    let lines = texts(g, key)?;
    if lines.len() > MAX_MERGES {
        let (count, limit) = (lines.len() as u64, MAX_MERGES as u64);
        return Err(GgufError::TooMany { what: "merges", count, limit });
    }
    let vocabulary: HashSet<&str> = tokens.iter().map(String::as_str).collect();
    let mut merges = Vec::with_capacity(lines.len());
    for line in lines {
        let (a, b) =
            line.split_once(' ').ok_or_else(|| GgufError::key(key, "has a merge without a space"))?;
        let whole = format!("{a}{b}");
        if ![a, b, whole.as_str()].iter().all(|t| vocabulary.contains(t)) {
            return Err(GgufError::key(key, format!("merges {line:?}, which is not in the vocabulary")));
        }
        merges.push((a, b));
    }
    let name = g.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let pre = pre_tokenizer(name)?;
    let json = Bpe {
        tokens,
        merges,
        added: added(tokens, types),
        normalizer: pre.normalizer,
        pre_tokenizer: &pre.json,
        decoder: DECODE_BYTES,
        ignore_merges: pre.ignore_merges,
        byte_fallback: false,
        unknown: None,
    };
    Ok((json.to_json(), pre.bos))
}

struct PreTokenizer {
    normalizer: &'static str,
    json: String,
    ignore_merges: bool,
    /// Plain prompts begin with the begin token unless the file says otherwise.
    bos: bool,
}

/// The pre-tokenizers by the names that GGUF gives them. Missing, `default` and `gpt-2` are GPT-2's own.
fn pre_tokenizer(name: &str) -> Result<PreTokenizer, GgufError> {
    let split = |digits: &str| {
        let pattern = format!(
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{{L}}\\p{{N}}]?\\p{{L}}+|{digits}| ?[^\\s\\p{{L}}\\p{{N}}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
        );
        let pattern = crate::text::json::quote(&pattern);
        format!(
            r#"{{"type":"Sequence","pretokenizers":[{{"type":"Split","pattern":{{"Regex":{pattern}}},"behavior":"Isolated","invert":false}},{BYTE_LEVEL_PLAIN}]}}"#
        )
    };
    let plain = |json: String| PreTokenizer { normalizer: "null", json, ignore_merges: false, bos: false };
    Ok(match name {
        "default" | "gpt-2" | "gpt2" => plain(BYTE_LEVEL.into()),
        "smollm" => plain(format!(
            r#"{{"type":"Sequence","pretokenizers":[{{"type":"Digits","individual_digits":true}},{BYTE_LEVEL}]}}"#
        )),
        "llama-bpe" | "llama3" | "llama-v3" => {
            PreTokenizer { ignore_merges: true, bos: true, ..plain(split("\\p{N}{1,3}")) }
        }
        "qwen2" => PreTokenizer { normalizer: r#"{"type":"NFC"}"#, ..plain(split("\\p{N}")) },
        other => return Err(GgufError::Unsupported(format!("pre-tokenizer {other:?}"))),
    })
}

/// SentencePiece's BPE: the merges follow from the scores, unknown characters fall back to bytes.
fn sentencepiece(g: &Gguf, tokens: &[String], types: &[i64]) -> Result<String, GgufError> {
    let key = "tokenizer.ggml.scores";
    let scores = match g.array(key)? {
        Some(Array::Floats(v)) if v.len() == tokens.len() && v.iter().all(|s| s.is_finite()) => v,
        _ => return Err(GgufError::key(key, "is no finite score a token")),
    };
    let index: HashMap<&str, u32> = tokens
        .iter()
        .zip(0u32..)
        .zip(types)
        .filter(|((t, _), kind)| !t.is_empty() && **kind == NORMAL)
        .map(|((t, i), _)| (t.as_str(), i))
        .collect();
    // A token may be made of two others in several ways; each is a merge with the rank of the whole. Higher scores
    // merge first; equal scores in the order of the ids, so that the result does not depend on iteration.
    let mut merges: Vec<(f64, u32, u32, u32, &str, &str)> = Vec::new();
    for (whole, &id) in &index {
        // A hostile token of megabytes would give millions of splits; no real piece is that long.
        if whole.len() > 512 {
            return Err(GgufError::key("tokenizer.ggml.tokens", "has a piece of more than 512 bytes"));
        }
        for (at, _) in whole.char_indices().skip(1) {
            let (a, b) = whole.split_at(at);
            if let (Some(&x), Some(&y)) = (index.get(a), index.get(b)) {
                merges.push((scores[id as usize], id, x, y, a, b));
            }
        }
        if merges.len() > MAX_MERGES {
            let (count, limit) = (merges.len() as u64, MAX_MERGES as u64);
            return Err(GgufError::TooMany { what: "merges", count, limit });
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2, a.3).cmp(&(b.1, b.2, b.3))));
    let prefix = g.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let replace = r#"{"type":"Replace","pattern":{"String":" "},"content":"▁"}"#;
    let normalizer = match prefix {
        true => {
            format!(r#"{{"type":"Sequence","normalizers":[{{"type":"Prepend","prepend":"▁"}},{replace}]}}"#)
        }
        false => replace.into(),
    };
    let strip = if prefix { r#",{"type":"Strip","content":" ","start":1,"stop":0}"# } else { "" };
    let decoder = format!(
        r#"{{"type":"Sequence","decoders":[{{"type":"Replace","pattern":{{"String":"▁"}},"content":" "}},{{"type":"ByteFallback"}},{{"type":"Fuse"}}{strip}]}}"#
    );
    let unknown = g.unsigned("tokenizer.ggml.unknown_token_id")?.unwrap_or(0);
    let unknown = usize::try_from(unknown).ok().and_then(|i| tokens.get(i)).map(String::as_str);
    let json = Bpe {
        tokens,
        merges: merges.into_iter().map(|m| (m.4, m.5)).collect(),
        added: added(tokens, types),
        normalizer: &normalizer,
        pre_tokenizer: "null",
        decoder: &decoder,
        ignore_merges: false,
        byte_fallback: true,
        unknown,
    };
    Ok(json.to_json())
}
