//! The shape of a statement: a model's public header and the lengths of one answer.

use monai_model::artefact::{Arch, PairOrder};
use monai_model::limits::Dimensions;
use monai_protocol::ModelId;

use crate::error::ShapeError;
use crate::multilinear::{log2_ceil, shl};

/// Log of the channels in a block of all tensors but those of heads.
pub const BLOCK_BITS: usize = 6;
/// Channels in a block.
pub const BLOCK: usize = 64;
/// Most positions in one proof.
pub const MAX_POSITIONS: u64 = 1 << 16;
/// Most values of an answer's tensors, in units of at least 64: what bounds a verifier's memory on a hostile header. As many
/// as the most chunks of the default size hold.
pub const MAX_WITNESS_VALUES: u64 = 1 << 35;

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
    /// `eps` of the norms of queries and of keys, `[layer, 2]`; empty where heads have no norm.
    pub head_norm_eps: Vec<u64>,
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
    /// `eps` of the norms of queries and of keys, `[layer, 2]`; empty where heads have no norm.
    pub head_norm_eps: Vec<u64>,
    /// Matrices with a bias.
    pub biased: Vec<Matrix>,
}

fn range(what: &'static str, got: usize, least: u64, most: u64) -> Result<usize, ShapeError> {
    let wide = wide(got);
    if (least..=most).contains(&wide) {
        Ok(got)
    } else {
        Err(ShapeError::Range { what, got: wide, least, most })
    }
}

impl Shape {
    /// Checks header and lengths. `n_in + n_out - 1` positions run through the model: the last id is never an input.
    ///
    /// # Errors
    /// A [`ShapeError`] naming what is outside the statement.
    pub fn new(header: &ModelHeader, n_in: usize, n_out: usize) -> Result<Self, ShapeError> {
        let a = &header.arch;
        // The one function that decides which shapes there are: what can be imported can be proved.
        Dimensions::from(a).check()?;
        let layers = a.layers;
        let most = wide(a.max_positions).min(MAX_POSITIONS);
        range("n_in", n_in, 1, most)?;
        range("n_out", n_out, 1, most)?;
        let ids = range("n_in + n_out", n_in.saturating_add(n_out), 2, most)?;
        range("score_multipliers.len", header.score_multipliers.len(), wide(layers), wide(layers))?;
        let head_norms = if a.qk_norm { wide(layers).saturating_mul(2) } else { 0 };
        range("head_norm_eps.len", header.head_norm_eps.len(), head_norms, head_norms)?;
        range("chunk_bits", header.chunk_bits, 10, 28)?;
        Ok(Self {
            layers,
            hidden: a.hidden >> BLOCK_BITS,
            heads: a.heads,
            kv_heads: a.kv_heads,
            group: a.heads.checked_div(a.kv_heads).unwrap_or(0),
            head_bits: log2_ceil(a.head_dim),
            ffn: a.ffn >> BLOCK_BITS,
            vocab: a.vocab,
            vocab_blocks: a.vocab.div_ceil(BLOCK),
            position_bits: log2_ceil(ids.saturating_sub(1)).max(BLOCK_BITS),
            output_bits: log2_ceil(n_out),
            table_segments: a.max_positions.div_ceil(BLOCK),
            chunk_bits: header.chunk_bits,
            pair_order: a.pair_order,
            tied_head: a.tied_head,
            norm_eps: a.norm_eps,
            score_multipliers: header.score_multipliers.clone(),
            head_norm_eps: header.head_norm_eps.clone(),
            biased: header.biased.clone(),
        })
    }

    /// Query and key heads are normalised.
    #[must_use]
    pub const fn has_head_norms(&self) -> bool {
        !self.head_norm_eps.is_empty()
    }

    /// Norm sites: two a layer and the last.
    #[must_use]
    pub const fn sites(&self) -> usize {
        self.layers.saturating_mul(2).saturating_add(1)
    }

    /// Key segments of 64, a power of two.
    #[must_use]
    pub const fn segments(&self) -> usize {
        shl(1, self.segment_bits())
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

    /// Query and key heads over all layers.
    #[must_use]
    pub const fn all_query_keys(&self) -> usize {
        self.layers.saturating_mul(self.query_keys())
    }

    /// Positions, `2^position_bits`.
    #[must_use]
    pub const fn positions(&self) -> usize {
        shl(1, self.position_bits)
    }

    /// Width of head `E`.
    #[must_use]
    pub const fn head_dim(&self) -> usize {
        shl(1, self.head_bits)
    }
}

/// Refuses tensors with more values than `most`.
pub(crate) fn limited(what: &'static str, values: usize, most: u64) -> Result<(), ShapeError> {
    range(what, values, 1, most).map(|_| ())
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
pub(crate) mod tests {
    use monai_model::limits::{
        HEAD_DIMS, MAX_ATTENTION, MAX_FFN, MAX_HEADS, MAX_HIDDEN, MAX_LAYERS, MAX_VOCAB, MIN_POSITIONS,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::{Layout, Owner};

    fn header(d: &Dimensions, qk_norm: bool) -> ModelHeader {
        ModelHeader {
            id: ModelId([0; 32]),
            arch: Arch {
                layers: d.layers,
                hidden: d.hidden,
                heads: d.heads,
                kv_heads: d.kv_heads,
                head_dim: d.head_dim,
                ffn: d.ffn,
                vocab: d.vocab,
                max_positions: d.max_positions,
                pair_order: PairOrder::Half,
                tied_head: d.tied_head,
                qk_norm,
                residual_bits: 8,
                norm_eps: 1,
                tau_one: 1,
                tau_max: 1,
            },
            score_multipliers: vec![1; d.layers],
            head_norm_eps: vec![1; if qk_norm { 2 * d.layers } else { 0 }],
            eos_ids: vec![0],
            biased: Vec::new(),
            chunk_bits: 21,
        }
    }

    /// A shape with normalised heads.
    pub(crate) fn shape(layers: usize, heads: usize, kv_heads: usize) -> Shape {
        let d = Dimensions {
            layers,
            hidden: 64,
            heads,
            kv_heads,
            head_dim: 32,
            ffn: 64,
            vocab: 64,
            max_positions: 64,
            tied_head: true,
        };
        Shape::new(&header(&d, true), 1, 1).unwrap()
    }

    /// A number near its limits, or anything.
    fn number(most: usize) -> impl Strategy<Value = usize> {
        prop_oneof![
            4 => (0..=most.ilog2()).prop_map(|bits| 1usize << bits),
            2 => 1..=most,
            1 => most..=most + 1,
            1 => Just(0),
        ]
    }

    prop_compose! {
        fn dimensions()(
            layers in number(MAX_LAYERS),
            hidden in number(MAX_HIDDEN),
            kv_heads in number(MAX_HEADS),
            group in prop_oneof![3 => Just(1usize), 2 => number(16)],
            head_dim in prop_oneof![8 => prop::sample::select(&HEAD_DIMS[..]), 1 => number(MAX_ATTENTION)],
            ffn in number(MAX_FFN),
            vocab in number(MAX_VOCAB),
            max_positions in number(1 << 16),
            tied_head in any::<bool>(),
        ) -> Dimensions {
            let heads = kv_heads * group;
            Dimensions { layers, hidden, heads, kv_heads, head_dim, ffn, vocab, max_positions, tied_head }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// What import accepts, the statement covers, from the shortest answer on; what it refuses, the statement does too.
        #[test]
        fn exactly_what_can_be_imported_can_be_stated(d in dimensions(), qk_norm in any::<bool>()) {
            let header = header(&d, qk_norm);
            let stated = Shape::new(&header, 1, 1);
            prop_assert_eq!(stated.clone().err(), d.check().err());
            if let Ok(shape) = stated {
                let model = Layout::new(Owner::Model, &shape);
                let witness = Layout::new(Owner::Witness, &shape);
                prop_assert!(model.chunks() + witness.chunks() <= crate::commitment::MAX_CHUNKS);
                prop_assert!(limited("values", witness.len(), MAX_WITNESS_VALUES).is_ok());
                let longest = Shape::new(&header, d.max_positions - 1, 1).unwrap();
                prop_assert!(longest.positions() >= d.max_positions.max(MIN_POSITIONS) - 1);
            }
        }
    }
}
