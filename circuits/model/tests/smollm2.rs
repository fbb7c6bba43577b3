//! The real model: SmolLM2-135M-Instruct from its GGUF. Long, and it needs the file, so it runs on request:
//!
//! `make test-long`
//!
//! The file is looked for in `${MONAI_CACHE:-~/.cache/monai}`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;

use monai_model::artefact::Model;
use monai_model::bounds;
use monai_model::file::{identify, load, write};
use monai_model::quantise::{ImportOptions, import};
use monai_model::reference::Reference;
use monai_model::select::select;
use monai_model::source::open;
use monai_model::text::{Message, TextCodec};
use monai_protocol::SelectionParams;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The identity of the artefact: import makes it on every machine.
const IDENTITY: &str = "bee11b7b30c724fc31bc7e0accb230a2757aadccc0edaa6c32687b04ea2f2125";

/// SHA-256 of the raw logits (little-endian i64) after the question, by `data/independent.py`.
const LOGITS: &str = "860d815d0006a1e1ee85532590fa9f82051d3a426c62c3c798a768b8f29539b9";

fn gguf() -> PathBuf {
    let cache = std::env::var_os("MONAI_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| std::env::home_dir().unwrap().join(".cache").join("monai"));
    cache.join("SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn model() -> Model {
    import(open(&gguf()).unwrap().as_ref(), &ImportOptions::default(), &()).unwrap()
}

#[derive(Deserialize)]
struct Vectors {
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    chat: Vec<u32>,
}

fn question() -> [Message; 1] {
    [Message::new("user", "Name the capital of France.")]
}

#[test]
#[ignore = "real model; make test-long"]
fn its_identity_is_pinned_and_survives_the_file() {
    let mut model = model();
    assert_eq!(hex::encode(identify(&mut model).unwrap().0), IDENTITY);
    let file = tempfile::NamedTempFile::new().unwrap();
    let id = write(&model, file.path()).unwrap();
    let loaded = load(file.path(), Some(&id)).unwrap();
    assert_eq!(bounds::check(&loaded), bounds::check(&model));
    assert!(loaded.layers.iter().all(|l| l.q.acc32 && l.down.acc32), "every sum fits 32 bits");
}

#[test]
#[ignore = "real model; make test-long"]
fn its_ids_are_those_of_the_tokenizers_package() {
    let source = open(&gguf()).unwrap();
    let codec = TextCodec::new(&source.text().unwrap(), source.arch().vocab).unwrap();
    let vectors: Vectors = serde_json::from_str(include_str!("data/smollm2.json")).unwrap();
    for (text, ids) in vectors.texts.iter().zip(&vectors.ids) {
        assert_eq!(&codec.prompt_ids(text).unwrap(), ids, "{text:?}");
        assert_eq!(&codec.decode(ids), text);
    }
    assert_eq!(codec.chat_ids(&question()).unwrap(), vectors.chat);
}

#[test]
#[ignore = "real model, slow reference; make test-long"]
fn the_capital_of_france_is_paris() {
    let model = model();
    let codec = TextCodec::of(&model).unwrap();
    let mut ids = codec.chat_ids(&question()).unwrap();
    let prompt = ids.len();
    let params = SelectionParams {
        tau: u32::try_from(model.arch.tau_one >> 32).unwrap(),
        top_k: 1,
        top_p: 1 << 16,
        delta_min_p: 65_535,
        max_tokens: 16,
        stop_ids: Vec::new(),
        seed: 0,
    };
    let mut reference = Reference::new(&model);
    let mut residual = ids.iter().fold(Vec::new(), |_, &id| reference.advance(id));
    let bytes: Vec<u8> = reference.logits(&residual).iter().flat_map(|a| a.to_le_bytes()).collect();
    assert_eq!(hex::encode(Sha256::digest(bytes)), LOGITS, "another implementation of the rules");
    while ids.len() < prompt + 16 {
        let next = select(&reference.logits(&residual), &params, &model.tables.weight, 0).unwrap();
        ids.push(next);
        if model.text.eos_ids.contains(&next) {
            break;
        }
        residual = reference.advance(next);
    }
    let answer = codec.decode(&ids[prompt..]);
    assert!(answer.contains("Paris"), "{answer:?}");
}
