//! The floating-point model that import reads: what a GGUF file and a Hugging Face folder have in common.

use std::fmt;
use std::fs::File;
use std::path::Path;

use crate::artefact::{PairOrder, TextConfig};
use crate::error::ModelError;
use crate::gguf::GgufModel;
use crate::hf::HfModel;
use crate::limits::Dimensions;

/// Shape and constants of a floating-point model.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatArch {
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
    /// Positions that the model was trained for.
    pub max_positions: usize,
    /// Channel pairs of RoPE in the rows of q and k.
    pub pair_order: PairOrder,
    /// The head is the embedding.
    pub tied_head: bool,
    /// Queries and keys have a norm a head.
    pub qk_norm: bool,
    /// q, k and v have biases.
    pub qkv_bias: bool,
    /// The output projection of attention has a bias.
    pub o_bias: bool,
    /// `eps` of all norms.
    pub norm_eps: f64,
    /// Angle a position of each channel pair, `[head_dim / 2]`.
    pub rope_frequencies: Vec<f64>,
}

impl FloatArch {
    /// The shape's numbers, registered for `max_positions`.
    #[must_use]
    pub fn dimensions(&self, max_positions: usize) -> Dimensions {
        Dimensions {
            layers: self.layers,
            hidden: self.hidden,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            ffn: self.ffn,
            vocab: self.vocab,
            max_positions,
            tied_head: self.tied_head,
        }
    }

    /// All tensors that such a model has.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut out = vec![Part::Embedding, Part::FinalNorm];
        if !self.tied_head {
            out.push(Part::Head);
        }
        for l in 0..self.layers {
            out.extend([Part::AttnNorm(l), Part::Q(l), Part::K(l), Part::V(l), Part::O(l), Part::FfnNorm(l)]);
            out.extend([Part::Gate(l), Part::Up(l), Part::Down(l)]);
            if self.qkv_bias {
                out.extend([Part::QBias(l), Part::KBias(l), Part::VBias(l)]);
            }
            if self.o_bias {
                out.push(Part::OBias(l));
            }
            if self.qk_norm {
                out.extend([Part::QNorm(l), Part::KNorm(l)]);
            }
        }
        out
    }
}

/// Opens a GGUF file or a Hugging Face folder.
///
/// # Errors
/// As [`crate::gguf::GgufModel::open`] and [`crate::hf::HfModel::open`].
pub fn open(path: &Path) -> Result<Box<dyn FloatModel>, ModelError> {
    Ok(if path.is_dir() { Box::new(HfModel::open(path)?) } else { Box::new(GgufModel::open(path)?) })
}

/// Opens a regular file for reading. Pipes would block whoever opens them, and devices have no end.
pub(crate) fn regular(path: &Path) -> Result<File, ModelError> {
    if !std::fs::metadata(path).map_err(ModelError::io(path))?.is_file() {
        return Err(ModelError::NotAFile(path.to_owned()));
    }
    File::open(path).map_err(ModelError::io(path))
}

/// A tensor by its role. Matrices are `[rows, cols]`, row-major, a row an output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `[vocab, hidden]`
    Embedding,
    /// `[vocab, hidden]`, where the head is not tied.
    Head,
    /// `[hidden]`
    FinalNorm,
    /// `[hidden]`
    AttnNorm(usize),
    /// `[heads * head_dim, hidden]`
    Q(usize),
    /// `[kv_heads * head_dim, hidden]`
    K(usize),
    /// `[kv_heads * head_dim, hidden]`
    V(usize),
    /// `[hidden, heads * head_dim]`
    O(usize),
    /// `[heads * head_dim]`
    QBias(usize),
    /// `[kv_heads * head_dim]`
    KBias(usize),
    /// `[kv_heads * head_dim]`
    VBias(usize),
    /// `[hidden]`
    OBias(usize),
    /// `[head_dim]`
    QNorm(usize),
    /// `[head_dim]`
    KNorm(usize),
    /// `[hidden]`
    FfnNorm(usize),
    /// `[ffn, hidden]`
    Gate(usize),
    /// `[ffn, hidden]`
    Up(usize),
    /// `[hidden, ffn]`
    Down(usize),
}

impl Part {
    /// Rows and columns; vectors have one column.
    #[must_use]
    pub fn shape(self, a: &FloatArch) -> (usize, usize) {
        let (q, kv) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
        match self {
            Self::Embedding | Self::Head => (a.vocab, a.hidden),
            Self::FinalNorm | Self::AttnNorm(_) | Self::FfnNorm(_) | Self::OBias(_) => (a.hidden, 1),
            Self::Q(_) => (q, a.hidden),
            Self::K(_) | Self::V(_) => (kv, a.hidden),
            Self::O(_) => (a.hidden, q),
            Self::QBias(_) => (q, 1),
            Self::KBias(_) | Self::VBias(_) => (kv, 1),
            Self::QNorm(_) | Self::KNorm(_) => (a.head_dim, 1),
            Self::Gate(_) | Self::Up(_) => (a.ffn, a.hidden),
            Self::Down(_) => (a.hidden, a.ffn),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, layer) = match *self {
            Self::Embedding => ("embedding", None),
            Self::Head => ("head", None),
            Self::FinalNorm => ("final norm", None),
            Self::AttnNorm(l) => ("attention norm", Some(l)),
            Self::Q(l) => ("q", Some(l)),
            Self::K(l) => ("k", Some(l)),
            Self::V(l) => ("v", Some(l)),
            Self::O(l) => ("o", Some(l)),
            Self::QBias(l) => ("q bias", Some(l)),
            Self::KBias(l) => ("k bias", Some(l)),
            Self::VBias(l) => ("v bias", Some(l)),
            Self::OBias(l) => ("o bias", Some(l)),
            Self::QNorm(l) => ("q norm", Some(l)),
            Self::KNorm(l) => ("k norm", Some(l)),
            Self::FfnNorm(l) => ("feed-forward norm", Some(l)),
            Self::Gate(l) => ("gate", Some(l)),
            Self::Up(l) => ("up", Some(l)),
            Self::Down(l) => ("down", Some(l)),
        };
        f.write_str(name)?;
        layer.map_or(Ok(()), |l| write!(f, " of layer {l}"))
    }
}

/// A model in floating point, read tensor by tensor.
pub trait FloatModel: Sync {
    /// Shape and constants.
    fn arch(&self) -> &FloatArch;

    /// All values of a tensor, row-major, in the order of [`Part::shape`].
    ///
    /// # Errors
    /// Where the file lacks the tensor, or holds it in another shape or in an unsupported type.
    fn values(&self, part: Part) -> Result<Vec<f32>, ModelError>;

    /// Tokenizer, template and end ids.
    ///
    /// # Errors
    /// Where the tokenizer is of a kind that is not supported.
    fn text(&self) -> Result<TextConfig, ModelError>;

    /// A name for people.
    fn name(&self) -> String;

    /// [`Self::values`], checked: the right number of values, all finite.
    ///
    /// # Errors
    /// As `values`, and [`ModelError::Tensor`].
    fn checked(&self, part: Part) -> Result<Vec<f32>, ModelError> {
        let v = self.values(part)?;
        let (rows, cols) = part.shape(self.arch());
        let bad = |reason: String| ModelError::Tensor { tensor: part.to_string(), reason };
        if v.len() != rows * cols {
            return Err(bad(format!("has {} values, not {rows} x {cols}", v.len())));
        }
        match v.iter().position(|x| !x.is_finite()) {
            Some(i) => Err(bad(format!("value {i} is not finite"))),
            None => Ok(v),
        }
    }
}

/// Positions that import registers unless told otherwise.
pub const DEFAULT_POSITIONS: usize = 2048;
