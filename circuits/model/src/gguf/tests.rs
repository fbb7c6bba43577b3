//! Vectors of other programs, and files that nobody should trust.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::error::ModelError;
use crate::quantise::{ImportOptions, import};
use crate::source::FloatModel;
use crate::text::TextCodec;

const SMOLLM: &[u8] = include_bytes!("../../tests/data/vocab-smollm.gguf");
const VOCABULARIES: [(&str, &[u8]); 4] = [
    ("smollm", SMOLLM),
    ("gpt-2", include_bytes!("../../tests/data/vocab-gpt-2.gguf")),
    ("llama-bpe", include_bytes!("../../tests/data/vocab-llama-bpe.gguf")),
    ("qwen2", include_bytes!("../../tests/data/vocab-qwen2.gguf")),
];

#[derive(Deserialize)]
struct Blocks {
    bytes: String,
    bits: Vec<u32>,
}

#[test]
fn dequantised_blocks_have_the_bits_of_the_gguf_package() {
    let all: BTreeMap<String, Blocks> =
        serde_json::from_str(include_str!("../../tests/data/dequant.json")).unwrap();
    let ids = [
        ("F32", 0),
        ("F16", 1),
        ("BF16", 30),
        ("Q4_0", 2),
        ("Q4_1", 3),
        ("Q5_0", 6),
        ("Q5_1", 7),
        ("Q8_0", 8),
    ];
    let ids: BTreeMap<&str, u32> =
        ids.into_iter().chain([("Q4_K", 12), ("Q5_K", 13), ("Q6_K", 14)]).collect();
    assert_eq!(all.len(), ids.len());
    for (name, b) in all {
        let kind = TensorType::from_id(ids[name.as_str()]).unwrap();
        let got: Vec<u32> =
            dequantise(kind, &hex::decode(b.bytes).unwrap()).into_iter().map(f32::to_bits).collect();
        assert_eq!(got, b.bits, "{name}");
    }
}

#[derive(Deserialize)]
struct Tokens {
    texts: Vec<String>,
    ids: BTreeMap<String, Vec<Vec<u32>>>,
}

#[test]
fn ids_are_those_of_the_tokenizers_package() {
    let tokens: Tokens = serde_json::from_str(include_str!("../../tests/data/tokens.json")).unwrap();
    for (name, file) in VOCABULARIES {
        let config = vocabulary::text(&Gguf::parse(file).unwrap()).unwrap();
        let codec = TextCodec::new(&config, 640).unwrap();
        assert_eq!(config.eos_ids, [0, 2], "the end id of the file, and <|endoftext|>");
        for (text, want) in tokens.texts.iter().zip(&tokens.ids[name]) {
            assert_eq!(&codec.prompt_ids(text).unwrap(), want, "{name}: {text:?}");
            // NFC is part of qwen2's tokenizer: its text comes back composed.
            let back = if name == "qwen2" { text.replace("e\u{301}", "é") } else { text.clone() };
            assert_eq!(codec.decode(want), back, "{name}");
        }
    }
}

/// Writes bytes to a file and opens it as a model.
fn open(bytes: &[u8]) -> Result<GgufModel, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    GgufModel::open(file.path())
}

#[test]
fn a_file_of_mixed_types_is_imported() {
    let model = import(&open(SMOLLM).unwrap(), &ImportOptions::default(), &()).unwrap();
    assert_eq!((model.arch.hidden, model.arch.vocab, model.arch.max_positions), (64, 640, 128));
    assert_eq!(model.name, "vectors");
    let too_long = ImportOptions { max_positions: Some(129), name: None };
    assert!(matches!(import(&open(SMOLLM).unwrap(), &too_long, &()), Err(ModelError::Unsupported(_))));
}

/// Replaces the only occurrence of `from` by as many bytes.
fn patched(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = SMOLLM.to_vec();
    let at = SMOLLM.windows(from.len()).position(|w| w == from).unwrap();
    out[at..at + to.len()].copy_from_slice(to);
    out
}

#[test]
fn hostile_headers_get_typed_errors() {
    let parse = |b: &[u8]| Gguf::parse(b).unwrap_err();
    assert_eq!(parse(b""), GgufError::Magic);
    assert_eq!(parse(b"GGUF"), GgufError::Truncated("the version"));
    assert_eq!(parse(b"GGUF\x00\x00\x00\x03"), GgufError::Version(0x0300_0000), "big-endian files");
    let mut counts = SMOLLM.to_vec();
    counts[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(parse(&counts), GgufError::TooMany { what: "tensors", .. }));
    let mut counts = SMOLLM.to_vec();
    counts[16..24].copy_from_slice(&65_536u64.to_le_bytes());
    assert!(matches!(
        parse(&counts),
        GgufError::Truncated(_)
            | GgufError::Duplicate(_)
            | GgufError::TooMany { .. }
            | GgufError::ValueType(_)
            | GgufError::Utf8(_)
    ));
    // A string and an array that claim to be longer than any file.
    let long =
        |bytes: &[u8]| [&b"GGUF\x03\0\0\0"[..], &0u64.to_le_bytes(), &1u64.to_le_bytes(), bytes].concat();
    let key = [&1u64.to_le_bytes()[..], b"k"].concat();
    let text = [&key[..], &8u32.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
    assert_eq!(parse(&long(&text)), GgufError::Truncated("a metadata value"));
    let array = [&key[..], &9u32.to_le_bytes(), &8u32.to_le_bytes(), &(1u64 << 61).to_le_bytes()].concat();
    assert_eq!(parse(&long(&array)), GgufError::Truncated("an array"));
    let nested = [&key[..], &9u32.to_le_bytes(), &9u32.to_le_bytes(), &1u64.to_le_bytes()].concat();
    assert_eq!(parse(&long(&nested)), GgufError::ValueType(9));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let refused = |bytes: &[u8], word: &str| {
        let error = open(bytes)
            .and_then(|m| import(&m, &ImportOptions::default(), &()))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(&patched(b"llama.rope.freq_base", b"llama.rope.freq_bose"), "freq_bose");
    refused(&patched(b"blk.0.ffn_down.weight", b"blk.0.ffn_dawn.weight"), "ffn_dawn");
    refused(
        &patched(b"\x05\x00\x00\x00\x00\x00\x00\x00llama", b"\x05\x00\x00\x00\x00\x00\x00\x00mamba"),
        "mamba",
    );
    refused(&patched(b"smollm", b"smolln"), "smolln");
    refused(&patched(b"tokenizer.ggml.add_bos_token", b"tokenizer.ggml.adx_bos_token"), "adx_bos_token");
    refused(&patched(b"blk.0.attn_k.weight", b"blk.0.attn_v.weight"), "twice");
}

#[test]
fn a_vocabulary_without_an_end_is_refused() {
    // The key of the end id becomes that of another, and the tokens that end answers by their names are renamed.
    let mut bytes = patched(b"tokenizer.ggml.eos_token_id", b"tokenizer.ggml.cls_token_id");
    for (from, to) in [(&b"<|endoftext|>"[..], &b"<|endoftexz|>"[..]), (b"<|im_end|>", b"<|im_enz|>")] {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let error = import(&open(&bytes).unwrap(), &ImportOptions::default(), &()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "GGUF: key \"tokenizer.ggml.eos_token_id\" is missing");
}

#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [dir.path(), &fifo, std::path::Path::new("/dev/zero")] {
        let said = [
            GgufModel::open(path).map(|_| ()).unwrap_err(),
            crate::file::load(path, None).map(|_| ()).unwrap_err(),
            crate::file::peek(path).map(|_| ()).unwrap_err(),
        ];
        assert!(said.iter().all(|e| matches!(e, ModelError::NotAFile(_))), "{said:?}");
    }
    std::fs::rename(&fifo, dir.path().join("config.json")).unwrap();
    let folder = crate::hf::HfModel::open(dir.path()).map(|_| ()).unwrap_err();
    assert!(matches!(folder, ModelError::NotAFile(_)), "{folder}");
}

#[test]
fn every_truncation_is_an_error() {
    for len in (0..SMOLLM.len()).step_by(97) {
        assert!(Gguf::parse(&SMOLLM[..len]).is_err(), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Any change of the header, metadata or tensor table ends in a model or an error, never in a panic.
    #[test]
    fn mutations_never_panic(changes in prop::collection::vec((0usize..16_000, any::<u8>()), 1..6)) {
        let mut bytes = SMOLLM.to_vec();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Ok(gguf) = Gguf::parse(&bytes) {
            let _ = vocabulary::text(&gguf).map(|t| TextCodec::new(&t, 640).is_ok());
        }
        if let Ok(model) = open(&bytes) {
            for part in model.arch().parts() {
                let _ = model.checked(part);
            }
        }
    }
}
