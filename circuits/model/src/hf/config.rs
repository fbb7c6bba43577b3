//! `config.json` to the shape of a model.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::HfError;
use crate::artefact::PairOrder;
use crate::gguf::plain_frequencies;
use crate::source::FloatArch;

const FILE: &str = "config.json";
/// Architectures that are read: Llama (with SmolLM and TinyLlama), Mistral, Qwen 2 and 3.
const MODEL_TYPES: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];

/// Keys that say nothing about what the model computes: names, training, caches, ids that other files have, too.
const IRRELEVANT: [&str; 40] = [
    "_name_or_path",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "bos_token_id",
    "decoder_start_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "max_window_layers",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "rope_scaling",
    "rope_parameters",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
];

/// Keys that [`Config`] reads.
const READ: [&str; 18] = [
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
    "rope_theta",
    "partial_rotary_factor",
    "sliding_window",
    "use_sliding_window",
    "layer_types",
    "quantization_config",
];

/// Keys that must be false, with what the program does not have.
const OFF: [(&str, &str); 4] = [
    ("mlp_bias", "a bias in the feed-forward layer"),
    ("rope_interleaved", "RoPE on neighbouring channels"),
    ("is_encoder_decoder", "an encoder"),
    ("add_cross_attention", "cross-attention"),
];

#[derive(Debug, Deserialize)]
pub(super) struct Config {
    model_type: String,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: u32,
    max_position_embeddings: u32,
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    quantization_config: Option<Value>,
    attention_bias: Option<bool>,
    layer_types: Option<Vec<String>>,
    /// Whether the file has a key `sliding_window`, be it null.
    #[serde(skip)]
    names_window: bool,
    pub(super) eos_token_id: Option<Ids>,
}

/// One id or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    pub(super) fn list(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rope {
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    r#type: Option<String>,
    partial_rotary_factor: Option<f64>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// What the weight files tell about the architecture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub(super) qkv_bias: bool,
    pub(super) o_bias: bool,
    pub(super) qk_norm: bool,
}

impl Config {
    /// Reads the file. A key that is not known may change what the model computes, so it is refused by name, unless it
    /// is null.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HfError> {
        let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| HfError::json(FILE, e))?;
        for (key, value) in map.iter().filter(|(_, v)| !v.is_null()) {
            let key = key.as_str();
            if let Some((_, what)) = OFF.iter().find(|(k, _)| *k == key) {
                if *value != Value::Bool(false) {
                    return Err(HfError::Unsupported(format!("{what} ({key})")));
                }
            } else if key != "attention_bias" && !READ.contains(&key) && !IRRELEVANT.contains(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(HfError::Unsupported(format!("key {shown:?} of {FILE}")));
            }
        }
        let names_window = map.contains_key("sliding_window");
        let config: Self = serde_json::from_value(Value::Object(map)).map_err(|e| HfError::json(FILE, e))?;
        Ok(Self { names_window, ..config })
    }

    /// Vocabulary, for the checks of ids.
    pub(super) fn vocab(&self) -> u32 {
        self.vocab_size
    }

    /// The shape, after refusing by name what the integer program does not have.
    pub(super) fn arch(&self, present: Present) -> Result<FloatArch, HfError> {
        let no = |what: String| Err(HfError::Unsupported(what));
        if !MODEL_TYPES.contains(&self.model_type.as_str()) {
            return no(format!("model type {:?}", self.model_type));
        }
        if self.quantization_config.is_some() {
            return no("a quantised checkpoint".into());
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|a| *a != "silu" && *a != "swish") {
            return no(format!("activation {act:?}"));
        }
        self.same_parts(present)?;
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let part = self.partial_rotary_factor.or(rope.and_then(|r| r.partial_rotary_factor));
        if part.is_some_and(|p| p != 1.0) {
            return no("RoPE on a part of the channels".into());
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return Err(HfError::json(FILE, "rms_norm_eps is not positive"));
        }
        let (hidden, heads) = (self.hidden_size as usize, self.num_attention_heads as usize);
        let head_dim = match self.head_dim {
            Some(e) => e as usize,
            // The reader of such folders has a number of its own for what is not there.
            None if self.model_type == "qwen3" => return Err(HfError::json(FILE, "head_dim is missing")),
            None if heads > 0 && hidden % heads == 0 => hidden / heads,
            None => return no(format!("width {hidden} over {heads} heads")),
        };
        let kv_heads = match self.num_key_value_heads {
            Some(n) => n as usize,
            None if self.model_type == "llama" => heads,
            None => return Err(HfError::json(FILE, "num_key_value_heads is missing")),
        };
        let window = self.window()?;
        let max_positions =
            window.map_or(self.max_position_embeddings, |w| w.min(self.max_position_embeddings));
        Ok(FloatArch {
            layers: self.num_hidden_layers as usize,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn: self.intermediate_size as usize,
            vocab: self.vocab_size as usize,
            max_positions: max_positions as usize,
            pair_order: PairOrder::Half,
            tied_head: self.tie_word_embeddings,
            qk_norm: present.qk_norm,
            qkv_bias: present.qkv_bias,
            o_bias: present.o_bias,
            norm_eps: self.rms_norm_eps,
            rope_frequencies: self.frequencies(head_dim)?,
        })
    }

    /// Biases and norms are those that the model type has, whatever tensors the files hold: others would not be read.
    fn same_parts(&self, present: Present) -> Result<(), HfError> {
        let announced = self.attention_bias.unwrap_or(false);
        let (qkv_bias, o_bias) = match self.model_type.as_str() {
            "qwen2" => (true, false),
            "mistral" => (false, false),
            _ => (announced, announced),
        };
        let qk_norm = self.model_type == "qwen3";
        let kind = &self.model_type;
        for (what, has, there) in [
            ("biases of q, k and v", qkv_bias, present.qkv_bias),
            ("biases of o", o_bias, present.o_bias),
            ("norms of q and k", qk_norm, present.qk_norm),
        ] {
            if has != there {
                let (with, without) = if has { ("with", "without") } else { ("without", "with") };
                return Err(HfError::Unsupported(format!("{kind:?} {with} {what} in files {without} them")));
            }
        }
        Ok(())
    }

    /// The sliding window, where one is used. A sequence that is no longer than the window never notices it.
    fn window(&self) -> Result<Option<u32>, HfError> {
        let types = self.layer_types.as_deref().unwrap_or(&[]);
        if let Some(other) = types.iter().find(|t| *t != "full_attention" && *t != "sliding_attention") {
            let shown: String = other.chars().take(64).collect();
            return Err(HfError::Unsupported(format!("layer type {shown:?}")));
        }
        let slides = types.iter().any(|t| t == "sliding_attention");
        let used = slides || self.use_sliding_window.unwrap_or(self.model_type == "mistral");
        match self.sliding_window {
            Some(0) => Err(HfError::Unsupported("a sliding window of nothing".into())),
            window if used && window.is_some() => Ok(window),
            // What the reader of such folders takes where the key is absent.
            None if used && !self.names_window => Ok(Some(4096)),
            None if slides => Err(HfError::json(FILE, "sliding_window is missing")),
            _ => Ok(None),
        }
    }

    fn frequencies(&self, head_dim: usize) -> Result<Vec<f64>, HfError> {
        if self.rope_parameters.is_some()
            && self.rope_scaling.is_some()
            && self.rope_parameters != self.rope_scaling
        {
            return Err(HfError::Unsupported("rope_scaling beside other rope_parameters".into()));
        }
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta = self.rope_theta.or(rope.and_then(|r| r.rope_theta)).unwrap_or(10_000.0);
        let positive = |name: &str, v: Option<f64>| match v {
            Some(v) if v.is_finite() && v > 0.0 => Ok(v),
            _ => Err(HfError::json(FILE, format!("{name} of RoPE is missing or not positive"))),
        };
        // A hostile head width must not become an allocation; the shape is checked in full by the import.
        if head_dim > 512 {
            return Err(HfError::Unsupported(format!("head width {head_dim}")));
        }
        let plain = plain_frequencies(positive("rope_theta", Some(theta))?, head_dim);
        let Some(r) = rope else { return Ok(plain) };
        let kind = r.rope_type.as_deref().or(r.r#type.as_deref()).unwrap_or("default");
        if r.r#type.as_deref().is_some_and(|t| t != kind) {
            return Err(HfError::Unsupported(format!("RoPE scaling {kind:?} of another type")));
        }
        match kind {
            "default" => Ok(plain),
            "linear" => {
                let factor = positive("factor", r.factor)?;
                Ok(plain.into_iter().map(|f| f / factor).collect())
            }
            "llama3" => {
                let factor = positive("factor", r.factor)?;
                let low = positive("low_freq_factor", r.low_freq_factor)?;
                let high = positive("high_freq_factor", r.high_freq_factor)?;
                let length =
                    positive("original_max_position_embeddings", r.original_max_position_embeddings)?;
                if high <= low {
                    return Err(HfError::json(FILE, "high_freq_factor is not above low_freq_factor"));
                }
                Ok(plain.into_iter().map(|f| llama3(f, factor, low, high, length)).collect())
            }
            other => Err(HfError::Unsupported(format!("RoPE scaling {other:?}"))),
        }
    }
}

/// Llama 3's scaling: short waves stay, long ones are stretched by `factor`, those between are blended.
fn llama3(f: f64, factor: f64, low: f64, high: f64, length: f64) -> f64 {
    let waves = length * f / (2.0 * std::f64::consts::PI);
    if waves > high {
        f
    } else if waves < low {
        f / factor
    } else {
        let smooth = (waves - low) / (high - low);
        (1.0 - smooth) * (f / factor) + smooth * f
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Result<FloatArch, HfError> {
        let json = format!(
            r#"{{"model_type":"llama","hidden_size":128,"intermediate_size":256,"num_hidden_layers":2,"num_attention_heads":2,"vocab_size":300,"max_position_embeddings":4096,"rms_norm_eps":1e-5,"rope_theta":500000.0{more}}}"#
        );
        Config::parse(json.as_bytes())?.arch(Present { qkv_bias: false, o_bias: false, qk_norm: false })
    }

    #[test]
    fn rope_scalings_are_applied_or_refused_by_name() {
        let plain = config("").unwrap().rope_frequencies;
        assert_eq!((plain.len(), plain[0]), (32, 1.0));
        let linear = config(r#","rope_scaling":{"type":"linear","factor":4.0}"#).unwrap().rope_frequencies;
        assert!(plain.iter().zip(&linear).all(|(p, l)| p / 4.0 == *l));
        let scaled = config(r#","rope_scaling":{"rope_type":"llama3","factor":32.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}"#)
            .unwrap()
            .rope_frequencies;
        // Values of the published definition, computed independently: the first wave stays, the last is 32 times longer,
        // and pair 17 lies between.
        assert_eq!((scaled[0], scaled[31]), (plain[0], plain[31] / 32.0));
        let wave = 2.0 * std::f64::consts::PI / plain[16];
        let smooth = (8192.0 / wave - 1.0) / 3.0;
        assert!((0.0..1.0).contains(&smooth), "pair 16 is blended");
        assert!((scaled[16] / ((1.0 - smooth) * plain[16] / 32.0 + smooth * plain[16]) - 1.0).abs() < 1e-12);
        let yarn = config(r#","rope_scaling":{"rope_type":"yarn","factor":4.0}"#).unwrap_err();
        assert_eq!(yarn, HfError::Unsupported("RoPE scaling \"yarn\"".into()));
    }

    #[test]
    fn a_sliding_window_caps_the_positions() {
        assert_eq!(
            config(r#","sliding_window":1024,"use_sliding_window":true"#).unwrap().max_positions,
            1024
        );
        assert_eq!(
            config(r#","sliding_window":1024,"use_sliding_window":false"#).unwrap().max_positions,
            4096
        );
        assert_eq!(config(r#","sliding_window":null"#).unwrap().max_positions, 4096);
        let layers = r#","layer_types":["full_attention","sliding_attention"]"#;
        assert_eq!(config(&format!(r#"{layers},"sliding_window":512"#)).unwrap().max_positions, 512);
        assert!(config(&format!(r#"{layers},"sliding_window":null"#)).is_err());
    }

    #[test]
    fn features_that_are_absent_from_the_program_are_named() {
        let named = |more: &str| config(more).unwrap_err().to_string();
        assert!(named(r#","hidden_act":"gelu""#).contains("gelu"));
        assert!(named(r#","partial_rotary_factor":0.5"#).contains("part of the channels"));
        assert!(named(r#","quantization_config":{}"#).contains("quantised"));
        assert!(named(r#","mlp_bias":true"#).contains("feed-forward"));
        assert!(named(r#","head_dim":100000"#).contains("100000"));
        for key in [
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "attention_multiplier",
            "residual_multiplier",
            "embedding_multiplier",
            "logits_scaling",
            "logit_scale",
            "query_pre_attn_scalar",
            "clip_qkv",
            "num_local_experts",
            "auto_map",
        ] {
            assert!(named(&format!(r#","{key}":30.0"#)).contains(key));
            assert!(config(&format!(r#","{key}":null"#)).is_ok(), "{key}: null is absence");
        }
        assert!(named(r#","rope_interleaved":true"#).contains("rope_interleaved"));
        assert!(named(r#","attention_bias":true"#).contains("biases of q, k and v"));
        assert!(named(r#","layer_types":["chunked_attention"]"#).contains("chunked_attention"));
        assert!(named(r#","rope_scaling":{"type":"default","mrope_section":[1]}"#).contains("mrope_section"));
        assert!(
            named(r#","rope_parameters":{"partial_rotary_factor":0.5}"#).contains("part of the channels")
        );
        let two = r#","rope_scaling":{"type":"linear","factor":2.0},"rope_parameters":{"rope_theta":1.0}"#;
        assert!(named(two).contains("rope_parameters"));
        assert!(named(r#","rope_scaling":{"type":"linear","rope_type":"default"}"#).contains("another type"));
    }

    #[test]
    fn a_folder_as_its_authors_publish_it_is_read() {
        let smollm = r#","architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"initializer_range":0.041666666666666664,"is_llama_config":true,"hidden_act":"silu","mlp_bias":false,"pad_token_id":2,"pretraining_tp":1,"rope_interleaved":false,"rope_scaling":null,"torch_dtype":"bfloat16","transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16"}},"transformers_version":"4.42.3","use_cache":true"#;
        assert!(config(smollm).is_ok());
    }
}
