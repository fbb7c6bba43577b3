//! `config.json` to the shape of a model.

use serde::Deserialize;

use super::HfError;
use crate::artefact::PairOrder;
use crate::gguf::plain_frequencies;
use crate::source::FloatArch;

const FILE: &str = "config.json";
/// Architectures that are read: Llama (with SmolLM and TinyLlama), Mistral, Qwen 2 and 3.
const MODEL_TYPES: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];

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
    #[serde(default)]
    mlp_bias: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    quantization_config: Option<serde_json::Value>,
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

#[derive(Debug, Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
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
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HfError> {
        serde_json::from_slice(bytes).map_err(|e| HfError::json(FILE, e))
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
        if self.mlp_bias {
            return no("a bias in the feed-forward layer".into());
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|a| *a != "silu" && *a != "swish") {
            return no(format!("activation {act:?}"));
        }
        if self.partial_rotary_factor.is_some_and(|p| p != 1.0) {
            return no("RoPE on a part of the channels".into());
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return Err(HfError::json(FILE, "rms_norm_eps is not positive"));
        }
        let (hidden, heads) = (self.hidden_size as usize, self.num_attention_heads as usize);
        let head_dim = match self.head_dim {
            Some(e) => e as usize,
            None if heads > 0 && hidden % heads == 0 => hidden / heads,
            None => return no(format!("width {hidden} over {heads} heads")),
        };
        // A sequence that is no longer than the window never notices it.
        let window =
            self.sliding_window.filter(|_| self.use_sliding_window.unwrap_or(self.model_type == "mistral"));
        let max_positions =
            window.map_or(self.max_position_embeddings, |w| w.min(self.max_position_embeddings));
        Ok(FloatArch {
            layers: self.num_hidden_layers as usize,
            hidden,
            heads,
            kv_heads: self.num_key_value_heads.map_or(heads, |n| n as usize),
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

    fn frequencies(&self, head_dim: usize) -> Result<Vec<f64>, HfError> {
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
        match r.rope_type.as_deref().unwrap_or("default") {
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
    }

    #[test]
    fn features_that_are_absent_from_the_program_are_named() {
        let named = |more: &str| config(more).unwrap_err().to_string();
        assert!(named(r#","hidden_act":"gelu""#).contains("gelu"));
        assert!(named(r#","partial_rotary_factor":0.5"#).contains("part of the channels"));
        assert!(named(r#","quantization_config":{}"#).contains("quantised"));
        assert!(named(r#","mlp_bias":true"#).contains("feed-forward"));
        assert!(named(r#","head_dim":100000"#).contains("100000"));
    }
}
