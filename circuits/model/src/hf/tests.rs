//! Folders made from tiny models, and folders that nobody should trust.

use std::collections::HashMap;
use std::path::Path;

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::*;
use crate::artefact::PairOrder;
use crate::error::ModelError;
use crate::quantise::{ImportOptions, import};
use crate::reference::Reference;
use crate::source::{FloatModel, Part};
use crate::testing::{TinyOptions, TinySource, tiny_text};

/// Names of a tiny model's tensors, spelled out independently of the reader.
fn named(source: &TinySource) -> Vec<(String, Part)> {
    let mut out = vec![
        ("model.embed_tokens.weight".to_owned(), Part::Embedding),
        ("model.norm.weight".into(), Part::FinalNorm),
    ];
    let a = source.arch();
    if !a.tied_head {
        out.push(("lm_head.weight".into(), Part::Head));
    }
    for l in 0..a.layers {
        let mut add = |n: &str, p: Part| out.push((format!("model.layers.{l}.{n}"), p));
        add("input_layernorm.weight", Part::AttnNorm(l));
        add("post_attention_layernorm.weight", Part::FfnNorm(l));
        for (n, p) in [("q", Part::Q(l)), ("k", Part::K(l)), ("v", Part::V(l)), ("o", Part::O(l))] {
            add(&format!("self_attn.{n}_proj.weight"), p);
        }
        for (n, p) in [("gate", Part::Gate(l)), ("up", Part::Up(l)), ("down", Part::Down(l))] {
            add(&format!("mlp.{n}_proj.weight"), p);
        }
        if a.qkv_bias {
            for (n, p) in [("q", Part::QBias(l)), ("k", Part::KBias(l)), ("v", Part::VBias(l))] {
                add(&format!("self_attn.{n}_proj.bias"), p);
            }
        }
        if a.qk_norm {
            add("self_attn.q_norm.weight", Part::QNorm(l));
            add("self_attn.k_norm.weight", Part::KNorm(l));
        }
    }
    out
}

fn config(source: &TinySource, model_type: &str) -> String {
    let a = source.arch();
    format!(
        r#"{{"model_type":"{model_type}","hidden_size":{},"intermediate_size":{},"num_hidden_layers":{},"num_attention_heads":{},"num_key_value_heads":{},"head_dim":{},"vocab_size":{},"max_position_embeddings":{},"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":{},"hidden_act":"silu","eos_token_id":2}}"#,
        a.hidden, a.ffn, a.layers, a.heads, a.kv_heads, a.head_dim, a.vocab, a.max_positions, a.tied_head
    )
}

type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn stored(source: &TinySource, part: Part, dtype: Dtype) -> Stored {
    let (rows, cols) = part.shape(source.arch());
    let shape = if cols == 1 { vec![rows] } else { vec![rows, cols] };
    let values = source.values(part).unwrap();
    let bytes = match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
    };
    (dtype, shape, bytes)
}

fn safetensors(tensors: &HashMap<String, Stored>) -> Vec<u8> {
    let views = tensors.iter().map(|(n, (d, s, b))| (n, TensorView::new(*d, s.clone(), b).unwrap()));
    serialize(views, None).unwrap()
}

/// Writes a folder with `shards` weight files.
fn folder(dir: &Path, source: &TinySource, model_type: &str, dtype: Dtype, shards: usize) {
    std::fs::write(dir.join("config.json"), config(source, model_type)).unwrap();
    let text = tiny_text();
    std::fs::write(dir.join("tokenizer.json"), &text.tokenizer_json).unwrap();
    let template = serde_json::to_string(&text.chat_template).unwrap();
    let settings = format!(
        r#"{{"bos_token":{{"content":"<|endoftext|>"}},"eos_token":"<|im_end|>","chat_template":{template}}}"#
    );
    std::fs::write(dir.join("tokenizer_config.json"), settings).unwrap();
    std::fs::write(dir.join("generation_config.json"), r#"{"eos_token_id":[2,0]}"#).unwrap();
    let mut files: Vec<HashMap<String, Stored>> = vec![HashMap::new(); shards];
    let mut map = Vec::new();
    for (i, (name, part)) in named(source).into_iter().enumerate() {
        map.push(format!(r#""{name}":"part-{}.safetensors""#, i % shards));
        files[i % shards].insert(name, stored(source, part, dtype));
    }
    if shards == 1 {
        std::fs::write(dir.join("model.safetensors"), safetensors(&files[0])).unwrap();
        return;
    }
    let index = format!(r#"{{"metadata":{{}},"weight_map":{{{}}}}}"#, map.join(","));
    std::fs::write(dir.join("model.safetensors.index.json"), index).unwrap();
    for (i, f) in files.iter().enumerate() {
        std::fs::write(dir.join(format!("part-{i}.safetensors")), safetensors(f)).unwrap();
    }
}

fn half_order() -> TinyOptions {
    TinyOptions { pair_order: PairOrder::Half, ..TinyOptions::default() }
}

#[test]
fn folders_give_the_model_that_they_hold() {
    let cases = [
        ("llama", half_order(), 1),
        ("mistral", TinyOptions { tied_head: false, ..half_order() }, 3),
        ("qwen2", TinyOptions { qkv_bias: true, ..half_order() }, 2),
        ("qwen3", TinyOptions { qk_norm: true, head_dim: 64, ..half_order() }, 1),
    ];
    for (model_type, options, shards) in cases {
        let source = TinySource::new(&options).unwrap();
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), &source, model_type, Dtype::F32, shards);
        let opened = HfModel::open(dir.path()).unwrap();
        assert_eq!(opened.arch(), source.arch(), "{model_type}");
        let read = import(&opened, &ImportOptions::default(), &()).unwrap();
        let direct = import(&source, &ImportOptions::default(), &()).unwrap();
        assert_eq!(read.text.eos_ids, [0, 2]);
        assert_eq!((&read.arch, &read.text.tokenizer_json), (&direct.arch, &direct.text.tokenizer_json));
        let (mut a, mut b) = (Reference::new(&read), Reference::new(&direct));
        for id in [9, 8, 264] {
            let (x, y) = (a.advance(id), b.advance(id));
            assert_eq!(a.logits(&x), b.logits(&y), "{model_type}");
        }
    }
}

/// The order of the channel pairs is a matter of storage: rows of q and k permuted within each head and read in the
/// other order give the same logits, all bits.
#[test]
fn both_pair_orders_are_the_same_model() {
    struct Permuted(TinySource, crate::source::FloatArch);
    impl FloatModel for Permuted {
        fn arch(&self) -> &crate::source::FloatArch {
            &self.1
        }
        fn values(&self, part: Part) -> Result<Vec<f32>, ModelError> {
            let v = self.0.values(part)?;
            let (e, cols) = (self.1.head_dim, part.shape(&self.1).1);
            if !matches!(part, Part::Q(_) | Part::K(_)) {
                return Ok(v);
            }
            let row = |r: usize| {
                let (head, i) = (r / e, r % e);
                let from = head * e + i / 2 + (i % 2) * (e / 2);
                &v[from * cols..(from + 1) * cols]
            };
            Ok((0..v.len() / cols).flat_map(row).copied().collect())
        }
        fn text(&self) -> Result<crate::artefact::TextConfig, ModelError> {
            self.0.text()
        }
        fn name(&self) -> String {
            self.0.name()
        }
    }
    let half = TinySource::new(&half_order()).unwrap();
    let mut arch = half.arch().clone();
    arch.pair_order = PairOrder::Interleaved;
    let interleaved = import(&Permuted(half.clone(), arch), &ImportOptions::default(), &()).unwrap();
    let half = import(&half, &ImportOptions::default(), &()).unwrap();
    let (mut a, mut b) = (Reference::new(&interleaved), Reference::new(&half));
    for id in [9, 8, 264, 9, 9] {
        let (x, y) = (a.advance(id), b.advance(id));
        assert_eq!(a.logits(&x), b.logits(&y));
    }
}

#[test]
fn half_precision_types_are_read() {
    let source = TinySource::new(&half_order()).unwrap();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), &source, "llama", dtype, 1);
        let read = HfModel::open(dir.path()).unwrap().values(Part::Up(1)).unwrap();
        for (r, v) in read.iter().zip(source.values(Part::Up(1)).unwrap()) {
            assert!((r - v).abs() <= v.abs() / 128.0 + 1e-6, "{r} for {v}");
        }
    }
}

/// A good folder with one file replaced.
fn with(file: &str, content: &[u8]) -> String {
    let source = TinySource::new(&half_order()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), &source, "llama", Dtype::F32, 1);
    std::fs::write(dir.path().join(file), content).unwrap();
    let outcome = HfModel::open(dir.path()).and_then(|m| import(&m, &ImportOptions::default(), &()));
    outcome.map(|_| ()).map_err(|e| e.to_string()).err().unwrap_or_default()
}

#[test]
fn bad_folders_get_typed_errors() {
    assert!(with("config.json", b"{}").contains("config.json"));
    assert!(with("tokenizer.json", b"[]").contains("tokenizer"));
    assert!(with("model.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff").contains("model.safetensors"));
    assert!(
        with("model.safetensors.index.json", br#"{"weight_map":{"a":"../../etc/passwd"}}"#)
            .contains("names the file")
    );
    assert!(with("model.safetensors.index.json", br#"{"weight_map":{}}"#).contains("0 files"));
    assert!(with("generation_config.json", br#"{"eos_token_id":99999}"#).contains("outside the vocabulary"));
    assert!(with("chat_template.jinja", b"{% if").contains("template"));
    let source = TinySource::new(&half_order()).unwrap();
    let wrong = config(&source, "llama").replace("\"intermediate_size\":192", "\"intermediate_size\":256");
    assert!(with("config.json", wrong.as_bytes()).contains("shape"));
    let huge =
        config(&source, "llama").replace("\"num_hidden_layers\":2", "\"num_hidden_layers\":4000000000");
    assert!(with("config.json", huge.as_bytes()).contains("layers is 4000000000"));
    let gemma = config(&source, "gemma");
    assert!(with("config.json", gemma.as_bytes()).contains("gemma"));
    // An extra tensor may change what the model computes.
    let mut tensors: HashMap<String, Stored> =
        named(&source).into_iter().map(|(n, p)| (n, stored(&source, p, Dtype::F32))).collect();
    tensors.insert("model.layers.0.mlp.experts".into(), (Dtype::F32, vec![1], vec![0; 4]));
    assert!(with("model.safetensors", &safetensors(&tensors)).contains("experts"));
    tensors.remove("model.layers.0.mlp.experts");
    let norm = tensors.get_mut("model.norm.weight").unwrap();
    norm.2[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(with("model.safetensors", &safetensors(&tensors)).contains("not finite"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn mutations_of_the_weights_header_never_panic(changes in prop::collection::vec((0usize..2500, any::<u8>()), 1..5)) {
        let source = TinySource::new(&TinyOptions { layers: 1, hidden: 64, ffn: 64, ..half_order() }).unwrap();
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), &source, "llama", Dtype::F16, 1);
        let path = dir.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, value) in changes {
            bytes[at] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(m) = HfModel::open(dir.path()) {
            for part in m.arch().parts() {
                let _ = m.checked(part);
            }
        }
    }
}
