//! Small real models for the tests of all crates: seeded random weights, imported by the same quantiser as any other
//! model, with a byte-level tokenizer and a ChatML template. Not hidden behind `cfg(test)`, so that other crates can use
//! it; nothing that serves does.

use crate::artefact::{Model, PairOrder, TextConfig};
use crate::error::ModelError;
use crate::quantise::{ImportOptions, import};
use crate::source::{FloatArch, FloatModel, Part};
use crate::text::json::{AddedToken, Bpe, byte_char};

/// Shape of a tiny model. The defaults make the smallest common case: a tied head, grouped queries, no biases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TinyOptions {
    /// Seed of all weights.
    pub seed: u64,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual, a multiple of 64.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Channels a head: 32 or a multiple of 64.
    pub head_dim: usize,
    /// Width of the feed-forward layer, a multiple of 64.
    pub ffn: usize,
    /// Number of ids, at least [`TINY_TOKENS`]; ids beyond the tokenizer have no text.
    pub vocab: usize,
    /// Most positions.
    pub max_positions: usize,
    /// Channel pairs of RoPE.
    pub pair_order: PairOrder,
    /// Biases on q, k and v.
    pub qkv_bias: bool,
    /// Norms on the heads of q and k.
    pub qk_norm: bool,
    /// The head is the embedding.
    pub tied_head: bool,
}

impl Default for TinyOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            layers: 2,
            hidden: 128,
            heads: 4,
            kv_heads: 2,
            head_dim: 32,
            ffn: 192,
            vocab: 320,
            max_positions: 256,
            pair_order: PairOrder::Interleaved,
            qkv_bias: false,
            qk_norm: false,
            tied_head: true,
        }
    }
}

/// Ids that the tiny tokenizer has: three special tokens, all bytes, and six merges.
pub const TINY_TOKENS: usize = 3 + 256 + 6;

/// Id of `<|im_start|>` in tiny models.
pub const TINY_IM_START: u32 = 1;
/// Id of `<|im_end|>`, which ends answers of tiny models.
pub const TINY_IM_END: u32 = 2;

/// A tiny model with its identity set.
///
/// # Errors
/// Where the options have a shape that no model may have.
pub fn tiny(options: &TinyOptions) -> Result<Model, ModelError> {
    let mut model = import(&TinySource::new(options)?, &ImportOptions::default(), &())?;
    crate::file::identify(&mut model)?;
    Ok(model)
}

/// The floating-point side of a tiny model.
#[derive(Clone, Debug)]
pub struct TinySource {
    options: TinyOptions,
    arch: FloatArch,
}

impl TinySource {
    /// Describes the model; its weights are made when they are asked for.
    ///
    /// # Errors
    /// Where the vocabulary is too small for the tokenizer.
    pub fn new(o: &TinyOptions) -> Result<Self, ModelError> {
        if o.vocab < TINY_TOKENS {
            return Err(ModelError::Unsupported(format!("tiny models have at least {TINY_TOKENS} ids")));
        }
        let half = o.head_dim / 2;
        let frequency = |i: usize| libm::pow(10_000.0, -(i as f64) / half.max(1) as f64);
        let arch = FloatArch {
            layers: o.layers,
            hidden: o.hidden,
            heads: o.heads,
            kv_heads: o.kv_heads,
            head_dim: o.head_dim,
            ffn: o.ffn,
            vocab: o.vocab,
            max_positions: o.max_positions,
            pair_order: o.pair_order,
            tied_head: o.tied_head,
            qk_norm: o.qk_norm,
            qkv_bias: o.qkv_bias,
            o_bias: false,
            norm_eps: 1e-5,
            rope_frequencies: (0..half).map(frequency).collect(),
        };
        Ok(Self { options: o.clone(), arch })
    }
}

/// SplitMix64: small, portable and good enough for weights.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal with variance 1: the sum of four uniform values.
    fn normal(&mut self) -> f32 {
        let sum: f64 = (0..4).map(|_| (self.next() >> 11) as f64 / (1u64 << 53) as f64 - 0.5).sum();
        (sum * 1.732_050_807_568_877_2) as f32
    }
}

impl FloatModel for TinySource {
    fn arch(&self) -> &FloatArch {
        &self.arch
    }

    fn values(&self, part: Part) -> Result<Vec<f32>, ModelError> {
        let (rows, cols) = part.shape(&self.arch);
        let mut seed = Random(self.options.seed);
        for byte in part.to_string().bytes() {
            seed.0 ^= u64::from(byte);
            seed.next();
        }
        // Gains near 1, biases small, embeddings of unit size, other matrices so that they keep the scale of their
        // input; heads are a little sharper, so that answers are not uniform noise.
        let (mean, scale) = match part {
            Part::Embedding => (0.0, 0.5),
            Part::Head => (0.0, 1.5 / (cols as f32).sqrt()),
            Part::FinalNorm | Part::AttnNorm(_) | Part::FfnNorm(_) | Part::QNorm(_) | Part::KNorm(_) => {
                (1.0, 0.2)
            }
            Part::QBias(_) | Part::KBias(_) | Part::VBias(_) | Part::OBias(_) => (0.0, 0.3),
            _ => (0.0, 1.5 / (cols as f32).sqrt()),
        };
        Ok((0..rows * cols).map(|_| mean + scale * seed.normal()).collect())
    }

    fn text(&self) -> Result<TextConfig, ModelError> {
        Ok(tiny_text())
    }

    fn name(&self) -> String {
        format!("tiny-{}", self.options.seed)
    }
}

/// Tokenizer and ChatML template of the tiny models.
#[must_use]
pub fn tiny_text() -> TextConfig {
    let special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
    let merges = [("Ġ", "t"), ("h", "e"), ("i", "n"), ("Ġ", "a"), ("e", "r"), ("Ġt", "he")];
    let tokens: Vec<String> = special
        .iter()
        .map(|&s| s.to_owned())
        .chain((0..=255).map(|b| byte_char(b).to_string()))
        .chain(merges.iter().map(|(a, b)| format!("{a}{b}")))
        .collect();
    let added =
        (0u32..).zip(special).map(|(id, s)| AddedToken { id, content: s.into(), special: true }).collect();
    let tokenizer = Bpe {
        tokens: &tokens,
        merges: merges.to_vec(),
        added,
        normalizer: "null",
        pre_tokenizer: r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#,
        decoder: r#"{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"#,
        ignore_merges: false,
        byte_fallback: false,
        unknown: None,
    };
    TextConfig {
        tokenizer_json: tokenizer.to_json(),
        chat_template: Some(
            "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + \
             '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
                .into(),
        ),
        eos_ids: vec![TINY_IM_END],
        bos_id: None,
        bos_token: "<|endoftext|>".into(),
        eos_token: "<|im_end|>".into(),
    }
}

#[cfg(test)]
mod tests;
