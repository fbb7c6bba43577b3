//! The vocabulary and the merges of a tokenizer, and its added tokens: what must hold before the library reads them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::TextError;
use super::admit::{fields, refused, short};
use super::guard::MARKER;

/// Most merges.
pub const MAX_MERGES: usize = 1 << 21;
/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1024;
/// Most special tokens, which every message is searched for.
pub const MAX_SPECIALS: usize = 2048;
/// Bytes of all special tokens together.
pub const MAX_SPECIAL_BYTES: usize = 64 << 10;

/// A BPE vocabulary that was taken.
pub(super) struct Vocabulary<'v> {
    ids: HashMap<&'v str, u32>,
    limit: usize,
}

fn bad(reason: impl Into<String>) -> TextError {
    TextError::Tokenizer(reason.into())
}

/// Checks the model: BPE without dropout or affixes, ids distinct and below `vocab`, merges of what is there.
pub(super) fn model(v: &Value, vocab: usize) -> Result<Vocabulary<'_>, TextError> {
    if let Some(kind) = v["type"].as_str().filter(|t| *t != "BPE") {
        return Err(refused(format!("model {:?}", short(kind))));
    }
    let known = [
        "type",
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
        "vocab",
        "merges",
    ];
    fields(v, "model", &known)?;
    if !v["dropout"].is_null() && v["dropout"].as_f64() != Some(0.0) {
        return Err(refused("dropout, which gives random ids,"));
    }
    for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if !v[affix].is_null() && v[affix] != "" {
            return Err(refused(affix));
        }
    }
    let ids = ids(&v["vocab"], vocab)?;
    if let Some(unknown) = v["unk_token"].as_str().filter(|t| !ids.contains_key(t)) {
        return Err(bad(format!("unk_token {:?} is not in the vocabulary", short(unknown))));
    }
    merges(&v["merges"], &ids)?;
    Ok(Vocabulary { ids, limit: vocab })
}

fn ids(v: &Value, limit: usize) -> Result<HashMap<&str, u32>, TextError> {
    let map = v.as_object().ok_or_else(|| bad("has no vocabulary"))?;
    if map.len() > limit {
        return Err(bad(format!("has {} tokens, the model {limit} ids", map.len())));
    }
    let mut taken = vec![false; limit];
    let mut ids = HashMap::with_capacity(map.len());
    for (token, id) in map {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(format!("token of {} bytes (at most {MAX_TOKEN_BYTES})", token.len())));
        }
        let slot = id.as_u64().and_then(|id| taken.get_mut(usize::try_from(id).ok()?));
        let slot =
            slot.ok_or_else(|| bad(format!("{:?} has the id {id}, the model {limit}", short(token))))?;
        // Two tokens with one id: which of them it stands for would be chance.
        if std::mem::replace(slot, true) {
            return Err(bad(format!("the id {id} is given twice")));
        }
        ids.insert(token.as_str(), id.as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(u32::MAX));
    }
    Ok(ids)
}

/// Each merge is of two tokens to a third; the library would index outside its buffer otherwise.
fn merges(v: &Value, ids: &HashMap<&str, u32>) -> Result<(), TextError> {
    let list = v.as_array().ok_or_else(|| bad("has no merges"))?;
    if list.len() > MAX_MERGES {
        return Err(refused(format!("{} merges (at most {MAX_MERGES})", list.len())));
    }
    let tuples = list.first().is_some_and(Value::is_array);
    let mut whole = String::new();
    for merge in list {
        let pair = match merge {
            Value::Array(pair) if tuples => match pair.as_slice() {
                [a, b] => a.as_str().zip(b.as_str()),
                _ => None,
            },
            Value::String(line) if !tuples => line.split_once(' ').filter(|(_, b)| !b.contains(' ')),
            _ => None,
        };
        let (a, b) = pair.ok_or_else(|| bad("has a merge that is no pair of tokens"))?;
        whole.clear();
        whole.push_str(a);
        whole.push_str(b);
        if ![a, b, whole.as_str()].iter().all(|t| ids.contains_key(t)) {
            return Err(bad(format!(
                "merges {:?} and {:?}, which are not all in the vocabulary",
                short(a),
                short(b)
            )));
        }
    }
    Ok(())
}

impl Vocabulary<'_> {
    /// Checks the added tokens; returns them with their ids.
    pub(super) fn added(&self, v: &Value) -> Result<Vec<(String, u32)>, TextError> {
        let list = match v {
            Value::Null => &[][..],
            Value::Array(list) => list,
            _ => return Err(bad("added_tokens is no list")),
        };
        if self.ids.len() + list.len() > self.limit {
            let new =
                list.iter().filter(|t| t["content"].as_str().is_some_and(|c| !self.ids.contains_key(c)));
            let top = self.ids.len() + new.count();
            if top > self.limit || list.len() > self.limit {
                return Err(bad(format!("has {top} tokens, the model {} ids", self.limit)));
            }
        }
        let mut taken: HashSet<u32> = HashSet::with_capacity(list.len());
        let mut names: HashSet<&str> = HashSet::with_capacity(list.len());
        let (mut specials, mut bytes) = (0, 0);
        let mut free: Option<HashSet<u32>> = None;
        let mut out = Vec::with_capacity(list.len());
        for t in list {
            let known = ["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"];
            fields(t, "added token", &known)?;
            let content = t["content"].as_str().filter(|c| !c.is_empty());
            let content = content.ok_or_else(|| bad("has an added token without text"))?;
            if content.len() > MAX_TOKEN_BYTES || content.contains(MARKER) {
                return Err(bad(format!(
                    "the added token {:?} is too long or holds a noncharacter",
                    short(content)
                )));
            }
            let id = t["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let id = id.filter(|&id| (id as usize) < self.limit);
            let id = id
                .ok_or_else(|| bad(format!("the added token {:?} has no id of the model", short(content))))?;
            let right = match self.ids.get(content) {
                Some(&known) => known == id,
                None => !free.get_or_insert_with(|| self.ids.values().copied().collect()).contains(&id),
            };
            if !right || !taken.insert(id) || !names.insert(content) {
                return Err(bad(format!("the added token {:?} has the id of another", short(content))));
            }
            if t["special"] == true {
                specials += 1;
                bytes += content.len();
            }
            out.push((content.to_owned(), id));
        }
        if specials > MAX_SPECIALS || bytes > MAX_SPECIAL_BYTES {
            let most = format!("at most {MAX_SPECIALS} of {MAX_SPECIAL_BYTES} bytes together");
            return Err(refused(format!("{specials} special tokens of {bytes} bytes ({most})")));
        }
        Ok(out)
    }
}
