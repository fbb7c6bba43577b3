//! The shape of a statement: a model's public header and the lengths of one answer.

use monai_model::artefact::{Arch, PairOrder};
use monai_protocol::ModelId;

use crate::error::ShapeError;
use crate::multilinear::log2_ceil;

/// Log of the channels in a block of all tensors but those of heads.
pub const BLOCK_BITS: usize = 6;
/// Channels in a block.
pub const BLOCK: usize = 64;
/// Most layers; bounds the verifier's work on a hostile header.
pub const MAX_LAYERS: u64 = 1 << 10;
/// Largest hidden or feed-forward width.
pub const MAX_WIDTH: u64 = 1 << 17;
/// Most token ids.
pub const MAX_VOCAB: u64 = 1 << 20;
/// Most positions in one proof.
pub const MAX_POSITIONS: u64 = 1 << 15;
/// Most values of a model's tensors. A verifier's work and memory grow with the number of blocks of 4096 of them: 2^22, or
/// 128 MiB for the largest list of weights.
pub const MAX_MODEL_VALUES: u64 = 1 << 34;
/// Most values of an answer's tensors, in units of at least 32: what bounds a verifier's memory on a hostile header.
pub const MAX_WITNESS_VALUES: u64 = 1 << 34;

/// Which stacked matrix an output belongs to. Queries and keys are one matrix: RoPE treats them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matrix {
    /// Queries, then keys, of each layer.
    QueryKey,
    /// Values.
    Value,
    /// Attention output.
    Output,
    /// Gate of the feed-forward layer.
    Gate,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Logits.
    Head,
}

impl Matrix {
    /// All, in the order of statements.
    pub const ALL: [Self; 7] =
        [Self::QueryKey, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down, Self::Head];
}

/// All that a verifier must know of a model besides its chunk commitments; bound by the model's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelHeader {
    /// The id that R commits to.
    pub id: ModelId,
    /// Architecture and integer constants.
    pub arch: Arch,
    /// `M_s` of each layer.
    pub score_multipliers: Vec<u64>,
    /// Ids that end an answer.
    pub eos_ids: Vec<u32>,
    /// Matrices that have a bias in some layer.
    pub biased: Vec<Matrix>,
    /// Log of the values in a chunk of the commitment, for the model and for witnesses.
    pub chunk_bits: usize,
}

/// A model header and the lengths of one answer, checked, in the units of the relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Layers, `L`.
    pub layers: usize,
    /// Blocks of 64 in the hidden width.
    pub hidden: usize,
    /// Query heads, `H`.
    pub heads: usize,
    /// Key and value heads, `G`.
    pub kv_heads: usize,
    /// Query heads of each key and value head.
    pub group: usize,
    /// Log of the head width, `E = 2^head_bits`.
    pub head_bits: usize,
    /// Blocks of 64 in the feed-forward width.
    pub ffn: usize,
    /// Token ids, `V`.
    pub vocab: usize,
    /// Blocks of 64 in the padded vocabulary.
    pub vocab_blocks: usize,
    /// Log of the positions, at least 6.
    pub position_bits: usize,
    /// Log of the rows of the logits.
    pub output_bits: usize,
    /// Blocks of 64 positions in RoPE's tables.
    pub table_segments: usize,
    /// Log of a chunk's values.
    pub chunk_bits: usize,
    /// Pair order of RoPE.
    pub pair_order: PairOrder,
    /// The head is the embedding.
    pub tied_head: bool,
    /// `eps` of the residual norms.
    pub norm_eps: u64,
    /// `M_s` of each layer.
    pub score_multipliers: Vec<u64>,
    /// Matrices with a bias.
    pub biased: Vec<Matrix>,
}

fn range(what: &'static str, got: usize, least: u64, most: u64) -> Result<usize, ShapeError> {
    let wide = u64::try_from(got).unwrap_or(u64::MAX);
    if (least..=most).contains(&wide) { Ok(got) } else { Err(ShapeError::Range { what, got: wide, least, most }) }
}

fn blocks(what: &'static str, got: usize) -> Result<usize, ShapeError> {
    range(what, got, 64, MAX_WIDTH)?;
    if got & 63 == 0 { Ok(got >> BLOCK_BITS) } else { Err(ShapeError::Multiple { what, got, of: BLOCK }) }
}

impl Shape {
    /// Checks header and lengths. `n_in + n_out - 1` positions run through the model: the last id is never an input.
    ///
    /// # Errors
    /// A [`ShapeError`] naming what is outside the statement.
    pub fn new(header: &ModelHeader, n_in: usize, n_out: usize) -> Result<Self, ShapeError> {
        let a = &header.arch;
        if a.qk_norm {
            return Err(ShapeError::NotProved("per-head norms of queries and keys"));
        }
        let layers = range("layers", a.layers, 1, MAX_LAYERS)?;
        let heads = range("heads", a.heads, 1, MAX_LAYERS)?;
        let kv_heads = range("kv_heads", a.kv_heads, 1, MAX_LAYERS)?;
        let group = heads.checked_div(kv_heads).unwrap_or(0);
        if group.checked_mul(kv_heads) != Some(heads) {
            return Err(ShapeError::Multiple { what: "heads", got: heads, of: kv_heads });
        }
        let head_bits = log2_ceil(range("head_dim", a.head_dim, 32, 256)?);
        if 1usize << head_bits != a.head_dim {
            return Err(ShapeError::NotProved("a head width that is not a power of two"));
        }
        let vocab = range("vocab", a.vocab, 1, MAX_VOCAB)?;
        let most = u64::try_from(a.max_positions).unwrap_or(u64::MAX).min(MAX_POSITIONS);
        range("max_positions", a.max_positions, 1, MAX_POSITIONS)?;
        range("n_in", n_in, 1, most)?;
        range("n_out", n_out, 1, most)?;
        let ids = range("n_in + n_out", n_in.saturating_add(n_out), 2, most)?;
        range("score_multipliers.len", header.score_multipliers.len(), wide(layers), wide(layers))?;
        range("chunk_bits", header.chunk_bits, 10, 28)?;
        Ok(Self {
            layers,
            hidden: blocks("hidden", a.hidden)?,
            heads,
            kv_heads,
            group,
            head_bits,
            ffn: blocks("ffn", a.ffn)?,
            vocab,
            vocab_blocks: vocab.div_ceil(BLOCK),
            position_bits: log2_ceil(ids.saturating_sub(1)).max(BLOCK_BITS),
            output_bits: log2_ceil(n_out),
            table_segments: a.max_positions.div_ceil(BLOCK),
            chunk_bits: header.chunk_bits,
            pair_order: a.pair_order,
            tied_head: a.tied_head,
            norm_eps: a.norm_eps,
            score_multipliers: header.score_multipliers.clone(),
            biased: header.biased.clone(),
        })
    }

    /// Norm sites: two a layer and the last.
    #[must_use]
    pub const fn sites(&self) -> usize {
        self.layers.saturating_mul(2).saturating_add(1)
    }

    /// Key segments of 64, a power of two.
    #[must_use]
    pub const fn segments(&self) -> usize {
        1usize << self.segment_bits()
    }

    /// Log of [`Self::segments`].
    #[must_use]
    pub const fn segment_bits(&self) -> usize {
        self.position_bits.saturating_sub(BLOCK_BITS)
    }

    /// Query heads over all layers.
    #[must_use]
    pub const fn all_heads(&self) -> usize {
        self.layers.saturating_mul(self.heads)
    }

    /// Query and key heads of one layer.
    #[must_use]
    pub const fn query_keys(&self) -> usize {
        self.heads.saturating_add(self.kv_heads)
    }

    /// Positions, `2^position_bits`.
    #[must_use]
    pub const fn positions(&self) -> usize {
        1usize << self.position_bits
    }

    /// Width of head `E`.
    #[must_use]
    pub const fn head_dim(&self) -> usize {
        1usize << self.head_bits
    }
}

/// Refuses tensors with more values than `most`.
pub(crate) fn limited(what: &'static str, values: usize, most: u64) -> Result<(), ShapeError> {
    range(what, values, 1, most).map(|_| ())
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
