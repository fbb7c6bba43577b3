//! Tokenizer, template and end ids of a folder.

use serde::Deserialize;
use serde_json::Value;

use super::HfError;
use super::config::{Config, Ids};
use crate::artefact::TextConfig;

/// The files of a folder that text needs; those that may be missing are options.
pub(super) struct TextFiles {
    pub(super) tokenizer: Vec<u8>,
    pub(super) tokenizer_config: Option<Vec<u8>>,
    pub(super) generation_config: Option<Vec<u8>>,
    pub(super) template: Option<Vec<u8>>,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    add_bos_token: Option<bool>,
    chat_template: Option<Templates>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Object { content: String },
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Text(t) | Self::Object { content: t } => t,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<Named>),
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    template: String,
}

#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Ids>,
}

pub(super) fn text(files: TextFiles, config: &Config) -> Result<TextConfig, HfError> {
    let utf8 = |file: &'static str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| HfError::json(file, "is not UTF-8"))
    };
    let tokenizer_json = utf8("tokenizer.json", files.tokenizer)?;
    let json: Value =
        serde_json::from_str(&tokenizer_json).map_err(|e| HfError::json("tokenizer.json", e))?;
    let settings: TokenizerConfig = parse("tokenizer_config.json", files.tokenizer_config)?;
    let generation: GenerationConfig = parse("generation_config.json", files.generation_config)?;
    let token = |t: &Option<Token>| t.as_ref().map_or(String::new(), |t| t.text().to_owned());
    let (bos_token, eos_token) = (token(&settings.bos_token), token(&settings.eos_token));
    let ids = generation.eos_token_id.as_ref().or(config.eos_token_id.as_ref());
    let mut eos_ids: Vec<u32> = ids.map(|i| i.list().to_vec()).unwrap_or_default();
    eos_ids.extend(id_of(&json, &eos_token));
    eos_ids.sort_unstable();
    eos_ids.dedup();
    if eos_ids.is_empty() {
        return Err(HfError::json("generation_config.json", "no id ends an answer"));
    }
    let adds_bos =
        first_special(&json).is_some_and(|t| t == bos_token) || settings.add_bos_token == Some(true);
    let bos_id = id_of(&json, &bos_token).filter(|_| adds_bos);
    if eos_ids.iter().chain(&bos_id).any(|&id| id >= config.vocab()) {
        return Err(HfError::json("tokenizer.json", "a begin or end id is outside the vocabulary"));
    }
    let chat_template = match (files.template, settings.chat_template) {
        (Some(t), _) => Some(utf8("chat_template.jinja", t)?),
        (None, Some(Templates::One(t))) => Some(t),
        (None, Some(Templates::Named(list))) => {
            list.into_iter().find(|n| n.name == "default").map(|n| n.template)
        }
        (None, None) => None,
    };
    Ok(TextConfig { tokenizer_json, chat_template, eos_ids, bos_id, bos_token, eos_token })
}

fn parse<T: for<'d> Deserialize<'d> + Default>(
    file: &'static str,
    bytes: Option<Vec<u8>>,
) -> Result<T, HfError> {
    bytes.map_or_else(|| Ok(T::default()), |b| serde_json::from_slice(&b).map_err(|e| HfError::json(file, e)))
}

/// The id of a token by its text.
fn id_of(tokenizer: &Value, token: &str) -> Option<u32> {
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let id = added.filter(|t| t["content"] == token).find_map(|t| t["id"].as_u64());
    id.or_else(|| tokenizer["model"]["vocab"][token].as_u64()).and_then(|id| u32::try_from(id).ok())
}

/// The special token that the tokenizer itself puts before a text.
fn first_special(tokenizer: &Value) -> Option<&str> {
    let post = &tokenizer["post_processor"];
    let all = post["processors"].as_array().map_or(std::slice::from_ref(post), Vec::as_slice);
    all.iter()
        .find(|p| p["type"] == "TemplateProcessing")
        .and_then(|p| p["single"][0]["SpecialToken"]["id"].as_str())
}
