//! Which shapes a model may have: one function for import, artefacts, and the statement of proofs.
//!
//! What it accepts is served *and* proved, so a limit stands here whether a kernel, a bound or a relation asks for it. It
//! knows nothing of an answer's length, which memory limits, not shape.

use crate::artefact::Arch;

/// Most layers of a model.
pub const MAX_LAYERS: usize = 512;
/// Largest width of the residual.
pub const MAX_HIDDEN: usize = 1 << 15;
/// Most query heads: more would not fit the engines' work lists.
pub const MAX_HEADS: usize = 1024;
/// Widths of a head. The statement needs a power of two, because a head's channels are coordinates of a point; the
/// engines need at most 256, where a product of a query with a key's low bytes fits 32 bits.
pub const HEAD_DIMS: [usize; 4] = [32, 64, 128, 256];
/// Largest width of all query heads together.
pub const MAX_ATTENTION: usize = 1 << 16;
/// Largest width of the feed-forward layer.
pub const MAX_FFN: usize = 1 << 18;
/// Most token ids.
pub const MAX_VOCAB: usize = 1 << 20;
/// Fewest positions: a prompt and an answer of one id each.
pub const MIN_POSITIONS: usize = 2;
/// Most positions: `floor(2^32 / Z)` of a softmax row must be at least 1, and `Z` may be 65535 a position.
pub const MAX_POSITIONS: usize = 1 << 16;
/// Most ids that end an answer.
pub const MAX_EOS_IDS: usize = 1 << 8;
/// Most values of all matrices: a proof opens at most `2^16` chunks of `2^21`, and a fourth of them is left for the
/// answer's own values, and some for tables and biases.
pub const MAX_MATRIX_VALUES: u64 = 47 << 31;
/// Most values that a proof commits to at each position, in all layers together: 64 positions, which is what the shortest
/// answer takes, stay below half of the `2^35` values that a proof may commit to.
pub const MAX_POSITION_VALUES: u64 = 1 << 28;
/// Most of `(2 layers + 1)^2 hidden`: each of `2 layers + 1` terms of the residual has 31 bits, so the sum of its squares
/// stays below `2^95`, and the slack that pins its inverse root below the 96 bits that it has.
pub const MAX_RESIDUAL_TERMS: u64 = 1 << 33;

/// Why no model may have a shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A number outside its bounds.
    #[error("{what} is {got}, must be in [{least}, {most}]")]
    Range {
        /// What it is.
        what: &'static str,
        /// What came.
        got: u64,
        /// Least that is covered.
        least: u64,
        /// Most that is covered.
        most: u64,
    },
    /// A width that is not a whole number of blocks.
    #[error("{what} is {got}, must be a multiple of {of}")]
    Multiple {
        /// What it is.
        what: &'static str,
        /// What came.
        got: usize,
        /// The block.
        of: usize,
    },
    /// A head width that is not among [`HEAD_DIMS`].
    #[error("head_dim is {got}, must be 32, 64, 128 or 256")]
    HeadDim {
        /// What came.
        got: usize,
    },
}

/// The numbers of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Channels a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub ffn: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Most positions of a sequence.
    pub max_positions: usize,
    /// The head is the embedding.
    pub tied_head: bool,
}

impl From<&Arch> for Dimensions {
    fn from(a: &Arch) -> Self {
        Self {
            layers: a.layers,
            hidden: a.hidden,
            heads: a.heads,
            kv_heads: a.kv_heads,
            head_dim: a.head_dim,
            ffn: a.ffn,
            vocab: a.vocab,
            max_positions: a.max_positions,
            tied_head: a.tied_head,
        }
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Requires a number inside its bounds.
///
/// # Errors
/// [`ShapeError::Range`].
pub fn range(what: &'static str, got: usize, least: usize, most: usize) -> Result<(), ShapeError> {
    if (least..=most).contains(&got) {
        Ok(())
    } else {
        Err(ShapeError::Range { what, got: wide(got), least: wide(least), most: wide(most) })
    }
}

fn multiple(what: &'static str, got: usize, of: usize) -> Result<(), ShapeError> {
    if of != 0 && got.is_multiple_of(of) { Ok(()) } else { Err(ShapeError::Multiple { what, got, of }) }
}

fn product(factors: &[usize]) -> u64 {
    factors.iter().fold(1, |a, b| a.saturating_mul(wide(*b)))
}

impl Dimensions {
    /// Whether a model may have this shape.
    ///
    /// # Errors
    /// The first number that is outside its limit.
    pub fn check(&self) -> Result<(), ShapeError> {
        range("layers", self.layers, 1, MAX_LAYERS)?;
        range("hidden", self.hidden, 64, MAX_HIDDEN)?;
        multiple("hidden", self.hidden, 64)?;
        if !HEAD_DIMS.contains(&self.head_dim) {
            return Err(ShapeError::HeadDim { got: self.head_dim });
        }
        range("heads", self.heads, 1, MAX_HEADS)?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        multiple("heads", self.heads, self.kv_heads)?;
        range("heads * head_dim", self.heads.saturating_mul(self.head_dim), 1, MAX_ATTENTION)?;
        range("ffn", self.ffn, 64, MAX_FFN)?;
        multiple("ffn", self.ffn, 64)?;
        range("vocab", self.vocab, 1, MAX_VOCAB)?;
        range("max_positions", self.max_positions, MIN_POSITIONS, MAX_POSITIONS)?;
        let most = |what, got: u64, most: u64| {
            if got <= most { Ok(()) } else { Err(ShapeError::Range { what, got, least: 0, most }) }
        };
        let terms = self.layers.saturating_mul(2).saturating_add(1);
        most("(2 layers + 1)^2 hidden", product(&[terms, terms, self.hidden]), MAX_RESIDUAL_TERMS)?;
        most("values of all matrices", self.matrix_values(), MAX_MATRIX_VALUES)?;
        most("values at each position", self.position_values(), MAX_POSITION_VALUES)
    }

    /// Values that a proof commits to at one position of one segment of 64, in all layers, with norms on heads.
    fn position_values(&self) -> u64 {
        let heads = self.heads.saturating_add(self.kv_heads);
        let head = |count: usize, values: usize| product(&[count, values, self.head_dim]);
        // Norm outputs and sub-layer outputs; heads before and after their norm and RoPE; attention; scores; feed-forward; rows.
        [
            product(&[7, self.hidden]),
            head(heads, 4).saturating_add(head(self.kv_heads, 1)).saturating_add(head(self.heads, 2)),
            product(&[5, 64, self.heads]),
            product(&[5, self.ffn]),
            product(&[20, heads]).saturating_add(32),
        ]
        .into_iter()
        .fold(0u64, u64::saturating_add)
        .saturating_mul(wide(self.layers))
    }

    /// Values of all matrices, the vocabulary rounded up to a block of 64.
    fn matrix_values(&self) -> u64 {
        let vocabularies = if self.tied_head { 1 } else { 2 };
        let vocabulary = product(&[vocabularies, self.vocab.div_ceil(64), 64, self.hidden]);
        let heads = self.heads.saturating_add(self.kv_heads).saturating_mul(2);
        let attention = product(&[self.layers, heads, self.head_dim, self.hidden]);
        let feed_forward = product(&[self.layers, 3, self.ffn, self.hidden]);
        vocabulary.saturating_add(attention).saturating_add(feed_forward)
    }
}

/// Requires a list of end ids that a registration can carry.
///
/// # Errors
/// [`ShapeError::Range`].
pub fn check_end_ids(eos_ids: &[u32]) -> Result<(), ShapeError> {
    range("the number of end ids", eos_ids.len(), 1, MAX_EOS_IDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smallest() -> Dimensions {
        Dimensions {
            layers: 1,
            hidden: 64,
            heads: 1,
            kv_heads: 1,
            head_dim: 32,
            ffn: 64,
            vocab: 1,
            max_positions: MIN_POSITIONS,
            tied_head: true,
        }
    }

    /// What a change of the smallest shape is refused for.
    fn named(change: impl FnOnce(&mut Dimensions)) -> String {
        let mut d = smallest();
        change(&mut d);
        d.check().unwrap_err().to_string()
    }

    #[test]
    fn every_limit_is_refused_by_name() {
        assert_eq!(smallest().check(), Ok(()));
        assert!(named(|d| d.layers = 513).starts_with("layers is 513"));
        assert!(named(|d| d.hidden = 96).starts_with("hidden is 96"));
        assert!(named(|d| d.hidden = 1 << 16).starts_with("hidden is 65536"));
        for head_dim in [0, 16, 80, 96, 192, 512] {
            assert_eq!(
                named(|d| d.head_dim = head_dim),
                format!("head_dim is {head_dim}, must be 32, 64, 128 or 256")
            );
        }
        assert!(named(|d| d.heads = 0).starts_with("heads is 0"));
        assert!(named(|d| d.kv_heads = 2).starts_with("kv_heads is 2"));
        assert!(named(|d| (d.heads, d.kv_heads) = (3, 2)).starts_with("heads is 3, must be a multiple of 2"));
        assert!(named(|d| (d.heads, d.head_dim) = (512, 256)).starts_with("heads * head_dim is 131072"));
        assert!(named(|d| d.ffn = 100).starts_with("ffn is 100"));
        assert!(named(|d| d.ffn = 1 << 19).starts_with("ffn is 524288"));
        assert!(named(|d| d.vocab = (1 << 20) + 1).starts_with("vocab is 1048577"));
        assert!(named(|d| d.max_positions = 1).starts_with("max_positions is 1"));
        assert!(named(|d| (d.layers, d.hidden) = (512, 1 << 14)).starts_with("(2 layers + 1)^2 hidden"));
        let huge = |d: &mut Dimensions| (d.layers, d.hidden, d.ffn) = (250, 1 << 15, 1 << 18);
        assert!(named(huge).starts_with("values of all matrices"));
        let wide = |d: &mut Dimensions| {
            (d.layers, d.heads, d.kv_heads, d.ffn) = (512, 1024, 1024, 1 << 16);
        };
        assert!(named(wide).starts_with("values at each position"));
        assert!(check_end_ids(&[]).is_err() && check_end_ids(&[0; 257]).is_err());
        assert_eq!(check_end_ids(&[0; 256]), Ok(()));
    }

    /// Shapes of well-known models of the family.
    #[test]
    fn models_that_exist_are_accepted() {
        for (layers, hidden, heads, kv_heads, head_dim, ffn, vocab, tied_head) in [
            (30, 576, 9, 3, 64, 1536, 49_152, true),
            (16, 2048, 32, 8, 64, 8192, 128_256, true),
            (80, 8192, 64, 8, 128, 28_672, 128_256, false),
            (28, 1024, 16, 8, 128, 3072, 151_936, true),
            (36, 4096, 32, 8, 128, 12_288, 151_936, false),
            (32, 4096, 32, 8, 128, 14_336, 32_000, false),
        ] {
            let max_positions = 2048;
            let d = Dimensions {
                layers,
                hidden,
                heads,
                kv_heads,
                head_dim,
                ffn,
                vocab,
                max_positions,
                tied_head,
            };
            assert_eq!(d.check(), Ok(()), "{d:?}");
        }
    }
}
