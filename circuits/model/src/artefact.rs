//! The artefact in memory: architecture, integer weights, tables, tokenizer and template of one model.
//!
//! The file format is in [`crate::file`]; the meaning of each part is in `SEMANTICS.md`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use monai_protocol::ModelId;

/// Which channels of a head RoPE turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairOrder {
    /// Channels `2i` and `2i + 1` (GGUF's order for the Llama family).
    Interleaved,
    /// Channels `i` and `i + head_dim / 2` (Hugging Face's order).
    Half,
}

impl PairOrder {
    /// The two channels of pair `i` in a head of `head_dim` channels.
    #[inline]
    #[must_use]
    pub const fn channels(self, i: usize, head_dim: usize) -> (usize, usize) {
        match self {
            Self::Interleaved => (2 * i, 2 * i + 1),
            Self::Half => (i, i + head_dim / 2),
        }
    }
}

/// Shape and integer constants of a model. All that is not a tensor, and part of the model's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arch {
    /// Number of transformer layers.
    pub layers: usize,
    /// Width of the residual, `D`.
    pub hidden: usize,
    /// Query heads, `H`.
    pub heads: usize,
    /// Key and value heads, `G`; divides `heads`.
    pub kv_heads: usize,
    /// Channels a head, `E`.
    pub head_dim: usize,
    /// Width of the feed-forward layer, `F`.
    pub ffn: usize,
    /// Number of token ids, `V`.
    pub vocab: usize,
    /// Most positions of a sequence, prompt and output together.
    pub max_positions: usize,
    /// Channel pairs of RoPE.
    pub pair_order: PairOrder,
    /// The head is the embedding.
    pub tied_head: bool,
    /// Queries and keys are normalised head by head.
    pub qk_norm: bool,
    /// Step of the residual is `2^-residual_bits`.
    pub residual_bits: u32,
    /// `eps` of the residual norms in units of the sum of squares, at least 1.
    pub norm_eps: u64,
    /// Temperature 1 as a multiplier, times `2^32`: `tau(T) = round(tau_one / (T 2^32))`.
    pub tau_one: u64,
    /// Largest temperature multiplier at which no logit leaves 31 bits.
    pub tau_max: u32,
}

/// Read-only bytes of a tensor: owned, or a part of a mapped file that stays mapped.
#[derive(Clone)]
pub struct Int8s(Repr);

#[derive(Clone)]
enum Repr {
    Owned(Arc<Vec<i8>>),
    Mapped { map: Arc<memmap2::Mmap>, start: usize, len: usize },
}

impl Int8s {
    /// A tensor that is held in memory.
    #[must_use]
    pub fn owned(v: Vec<i8>) -> Self {
        Self(Repr::Owned(Arc::new(v)))
    }

    /// `len` bytes of a mapped file from `start`; `None` where they are not all inside it.
    #[must_use]
    pub fn mapped(map: Arc<memmap2::Mmap>, start: usize, len: usize) -> Option<Self> {
        (start.checked_add(len)? <= map.len()).then_some(Self(Repr::Mapped { map, start, len }))
    }
}

impl std::ops::Deref for Int8s {
    type Target = [i8];
    fn deref(&self) -> &[i8] {
        match &self.0 {
            Repr::Owned(v) => v,
            Repr::Mapped { map, start, len } => bytemuck::cast_slice(&map[*start..*start + *len]),
        }
    }
}

impl std::fmt::Debug for Int8s {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8s({} values)", self.len())
    }
}

/// A matrix `rows x cols` of int8 weights, row-major, with an integer multiplier a row.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub cols: usize,
    /// Weights in `[-127, 127]`, row-major.
    pub weight: Int8s,
    /// `M_n >= 1`, one a row.
    pub multiplier: Vec<i32>,
    /// `B_n`, one a row, in units of the raw accumulator; empty where there is none.
    pub bias: Vec<i64>,
    /// Import has proved that every `sum W x` of every row fits i32.
    pub acc32: bool,
}

impl Linear {
    /// Weights of one row.
    #[must_use]
    pub fn row(&self, n: usize) -> &[i8] {
        &self.weight[n * self.cols..(n + 1) * self.cols]
    }

    /// `A_n = M_n acc + B_n`.
    #[inline]
    #[must_use]
    pub fn raw(&self, n: usize, acc: i64) -> i64 {
        i64::from(self.multiplier[n]) * acc + self.bias.get(n).copied().unwrap_or(0)
    }
}

/// The norm of query or key heads, for models that have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadNorm {
    /// `eps` in units of the head's sum of squares, at least 1.
    pub eps: u64,
    /// Integer gain, one a channel of the head.
    pub gain: Vec<i32>,
}

/// One transformer layer. The gains of its two norms are folded into the matrices that follow them.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[heads * head_dim, hidden]`
    pub q: Linear,
    /// `[kv_heads * head_dim, hidden]`
    pub k: Linear,
    /// `[kv_heads * head_dim, hidden]`
    pub v: Linear,
    /// `[hidden, heads * head_dim]`
    pub o: Linear,
    /// `[ffn, hidden]`
    pub gate: Linear,
    /// `[ffn, hidden]`
    pub up: Linear,
    /// `[hidden, ffn]`
    pub down: Linear,
    /// Present where `Arch::qk_norm`.
    pub q_norm: Option<HeadNorm>,
    /// Present where `Arch::qk_norm`.
    pub k_norm: Option<HeadNorm>,
    /// `M_s` of the scores, at least 1.
    pub score_multiplier: i64,
}

/// Public tables, integers only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// `EXP[d]`, 2^16 entries.
    pub exp: Vec<u16>,
    /// `SILU[g + 2^15]`, 2^16 entries of 24 bits.
    pub silu: Vec<i32>,
    /// `WEIGHT[d]`, 2^16 entries of 31 bits.
    pub weight: Vec<u32>,
    /// Cosines, `[max_positions, head_dim / 2]`, 14 fractional bits.
    pub cos: Vec<i16>,
    /// Sines, same shape.
    pub sin: Vec<i16>,
}

/// What turns text into ids and back; part of the model's digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The tokenizer in the JSON form of the `tokenizers` library.
    pub tokenizer_json: String,
    /// Chat template (Jinja); `None` for base models, which have no chat.
    pub chat_template: Option<String>,
    /// Ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// Id put before plain prompts; `None` where the model has none.
    pub bos_id: Option<u32>,
    /// Text of the begin and end tokens, which templates may name.
    pub bos_token: String,
    /// See `bos_token`.
    pub eos_token: String,
}

/// A whole model: what an engine loads, what the reference runs, what a commitment binds.
#[derive(Clone, Debug)]
pub struct Model {
    /// Digest of the artefact file: the model's identity.
    pub id: ModelId,
    /// Name given at import, for people; not part of any proof.
    pub name: String,
    /// Shape and constants.
    pub arch: Arch,
    /// `[vocab, hidden]`; `x0 = r16(M W)`.
    pub embedding: Linear,
    /// `[vocab, hidden]`, absent where tied.
    pub head: Option<Linear>,
    /// Layers, first to last.
    pub layers: Vec<Layer>,
    /// Integer gain of the last norm, one a channel, magnitude at most `2^16`.
    pub final_gain: Vec<i32>,
    /// Public tables.
    pub tables: Tables,
    /// Tokenizer, template and end ids.
    pub text: TextConfig,
}

impl Model {
    /// The matrix that makes logits: the head, or the embedding where it is tied.
    #[must_use]
    pub fn head(&self) -> &Linear {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}
