//! A GGUF file as a floating-point model of the Llama family.

use std::collections::BTreeSet;
use std::path::Path;

use memmap2::Mmap;

use super::reader::Gguf;
use super::{Array, GgufError, Value, dequantise, vocabulary};
use crate::artefact::{PairOrder, TextConfig};
use crate::error::ModelError;
use crate::limits::{Dimensions, MIN_POSITIONS};
use crate::source::{FloatArch, FloatModel, Part, regular};

/// Architectures that are read, and whether their RoPE turns neighbouring channels (`true`) or the two halves.
const ARCHITECTURES: [(&str, bool); 3] = [("llama", true), ("qwen2", false), ("qwen3", false)];

/// Keys below the architecture's name that are understood or change nothing. All others are refused by name: a key
/// that is not understood may change what the model computes.
const KEYS: [&str; 18] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
];

/// An opened file: mapped, parsed, its architecture understood.
pub struct GgufModel {
    map: Mmap,
    gguf: Gguf,
    arch: FloatArch,
}

impl GgufModel {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it can't be read, is malformed, or describes a model that the integer program can't be.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = regular(path)?;
        // SAFETY: the map is read-only and every access is checked against its length. A file that changes during the
        // import gives another model or an error, no undefined behaviour of ours: only bytes and integers are read.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io(path))?;
        let gguf = Gguf::parse(&map)?;
        let mut arch = architecture(&gguf)?;
        if let Some(info) = gguf.tensors.get(ROPE_FACTORS) {
            let factors = dequantise(info.kind, &map[info.start..info.end]);
            divide(&mut arch.rope_frequencies, &factors)?;
        }
        Ok(Self { map, gguf, arch })
    }

    /// The parsed container.
    #[must_use]
    pub fn container(&self) -> &Gguf {
        &self.gguf
    }
}

impl FloatModel for GgufModel {
    fn arch(&self) -> &FloatArch {
        &self.arch
    }

    fn values(&self, part: Part) -> Result<Vec<f32>, ModelError> {
        let name = tensor_name(part);
        let info = self.gguf.tensors.get(&name).ok_or_else(|| GgufError::tensor(&name, "is missing"))?;
        let (rows, cols) = part.shape(&self.arch);
        let shape: &[u64] = if cols == 1 { &[rows as u64] } else { &[cols as u64, rows as u64] };
        if info.dimensions != shape {
            let reason = format!("has the shape {:?}, not {shape:?}", info.dimensions);
            return Err(GgufError::tensor(&name, reason).into());
        }
        Ok(dequantise(info.kind, &self.map[info.start..info.end]))
    }

    fn text(&self) -> Result<TextConfig, ModelError> {
        Ok(vocabulary::text(&self.gguf)?)
    }

    fn name(&self) -> String {
        self.gguf
            .text("general.name")
            .ok()
            .flatten()
            .unwrap_or("unnamed")
            .chars()
            .filter(|c| !c.is_control())
            .take(64)
            .collect()
    }
}

fn tensor_name(part: Part) -> String {
    match part {
        Part::Embedding => "token_embd.weight".into(),
        Part::Head => "output.weight".into(),
        Part::FinalNorm => "output_norm.weight".into(),
        Part::AttnNorm(l) => format!("blk.{l}.attn_norm.weight"),
        Part::Q(l) => format!("blk.{l}.attn_q.weight"),
        Part::K(l) => format!("blk.{l}.attn_k.weight"),
        Part::V(l) => format!("blk.{l}.attn_v.weight"),
        Part::O(l) => format!("blk.{l}.attn_output.weight"),
        Part::QBias(l) => format!("blk.{l}.attn_q.bias"),
        Part::KBias(l) => format!("blk.{l}.attn_k.bias"),
        Part::VBias(l) => format!("blk.{l}.attn_v.bias"),
        Part::OBias(l) => format!("blk.{l}.attn_output.bias"),
        Part::QNorm(l) => format!("blk.{l}.attn_q_norm.weight"),
        Part::KNorm(l) => format!("blk.{l}.attn_k_norm.weight"),
        Part::FfnNorm(l) => format!("blk.{l}.ffn_norm.weight"),
        Part::Gate(l) => format!("blk.{l}.ffn_gate.weight"),
        Part::Up(l) => format!("blk.{l}.ffn_up.weight"),
        Part::Down(l) => format!("blk.{l}.ffn_down.weight"),
    }
}

/// Divisors of the RoPE frequencies, which Llama 3's scaling brings.
const ROPE_FACTORS: &str = "rope_freqs.weight";

fn architecture(g: &Gguf) -> Result<FloatArch, ModelError> {
    let name = g.text("general.architecture")?.ok_or_else(|| missing("general.architecture"))?;
    let interleaved = ARCHITECTURES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, i)| *i)
        .ok_or_else(|| GgufError::Unsupported(format!("architecture {name:?}")))?;
    let prefix = format!("{name}.");
    if let Some(key) = g.metadata.keys().find(|k| k.strip_prefix(&prefix).is_some_and(|k| !KEYS.contains(&k)))
    {
        return Err(GgufError::Unsupported(format!("key {key:?}")).into());
    }
    if g.bool(&format!("{name}.attention.causal"))? == Some(false) {
        return Err(GgufError::Unsupported("attention to what follows".into()).into());
    }
    let optional = |key: &str| -> Result<Option<usize>, GgufError> {
        let key = format!("{name}.{key}");
        g.unsigned(&key)?
            .map(|v| u32::try_from(v).map(|v| v as usize).map_err(|_| GgufError::key(&key, "is too large")))
            .transpose()
    };
    let number = |key: &str| optional(key)?.ok_or_else(|| missing(&format!("{name}.{key}")));
    let (layers, hidden, heads) =
        (number("block_count")?, number("embedding_length")?, number("attention.head_count")?);
    let kv_heads = optional("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = match optional("attention.key_length")? {
        Some(e) => e,
        None if heads > 0 && hidden % heads == 0 => hidden / heads,
        None => return Err(GgufError::Unsupported(format!("width {hidden} over {heads} heads")).into()),
    };
    if optional("attention.value_length")?.is_some_and(|v| v != head_dim) {
        return Err(GgufError::Unsupported("another width of values than of keys".into()).into());
    }
    if optional("rope.dimension_count")?.is_some_and(|r| r != head_dim) {
        return Err(GgufError::Unsupported("RoPE on a part of the channels".into()).into());
    }
    let vocab = vocabulary::tokens(g)?.len();
    let (ffn, max_positions) = (number("feed_forward_length")?, number("context_length")?);
    // The file's own limit may be beyond what can be registered; import checks what is asked for.
    let has = |part: Part| g.tensors.contains_key(&tensor_name(part));
    let tied_head = !has(Part::Head);
    let max = MIN_POSITIONS;
    Dimensions { layers, hidden, heads, kv_heads, head_dim, ffn, vocab, max_positions: max, tied_head }
        .check()?;
    let arch = FloatArch {
        layers,
        hidden,
        heads,
        kv_heads,
        head_dim,
        ffn,
        vocab,
        max_positions,
        pair_order: if interleaved { PairOrder::Interleaved } else { PairOrder::Half },
        tied_head,
        qk_norm: has(Part::QNorm(0)),
        qkv_bias: has(Part::QBias(0)),
        o_bias: has(Part::OBias(0)),
        norm_eps: positive(g, &format!("{name}.attention.layer_norm_rms_epsilon"), None)?,
        rope_frequencies: frequencies(g, name, head_dim)?,
    };
    only_known_tensors(g, &arch)?;
    Ok(arch)
}

fn missing(key: &str) -> GgufError {
    GgufError::Missing(key.into())
}

fn positive(g: &Gguf, key: &str, default: Option<f64>) -> Result<f64, GgufError> {
    match g.float(key)?.or(default) {
        Some(v) if v > 0.0 => Ok(v),
        Some(_) => Err(GgufError::key(key, "is not positive")),
        None => Err(missing(key)),
    }
}

/// Angles a position, before the file's own divisors. Linear scaling divides all of them.
fn frequencies(g: &Gguf, name: &str, head_dim: usize) -> Result<Vec<f64>, GgufError> {
    let base = positive(g, &format!("{name}.rope.freq_base"), Some(10_000.0))?;
    let scaling = g.text(&format!("{name}.rope.scaling.type"))?.unwrap_or("none");
    let divisor = match scaling {
        "none" => positive(g, &format!("{name}.rope.scale_linear"), Some(1.0))?,
        "linear" => positive(g, &format!("{name}.rope.scaling.factor"), None)?,
        other => return Err(GgufError::Unsupported(format!("RoPE scaling {other:?}"))),
    };
    Ok(plain_frequencies(base, head_dim).into_iter().map(|f| f / divisor).collect())
}

/// Applies the file's own divisors, one a channel pair.
fn divide(frequencies: &mut [f64], factors: &[f32]) -> Result<(), GgufError> {
    if factors.len() != frequencies.len() || factors.iter().any(|f| !f.is_finite() || *f <= 0.0) {
        return Err(GgufError::tensor(ROPE_FACTORS, "has the wrong length or is not positive"));
    }
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= f64::from(*factor);
    }
    Ok(())
}

/// `base^(-2i / head_dim)`.
pub(crate) fn plain_frequencies(base: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| libm::pow(base, -((2 * i) as f64) / head_dim as f64)).collect()
}

/// Refuses tensors that no rule of the integer program reads.
fn only_known_tensors(g: &Gguf, a: &FloatArch) -> Result<(), GgufError> {
    let mut known: BTreeSet<String> = a.parts().into_iter().map(tensor_name).collect();
    known.insert(ROPE_FACTORS.into());
    match g.tensors.keys().find(|k| !known.contains(*k)) {
        Some(name) => Err(GgufError::Unsupported(format!("tensor {name:?}"))),
        None => Ok(()),
    }
}

/// The strings of an array key.
pub(super) fn texts<'g>(g: &'g Gguf, key: &str) -> Result<&'g [String], GgufError> {
    match g.metadata.get(key) {
        Some(Value::Array(Array::Texts(v))) => Ok(v),
        Some(_) => Err(GgufError::key(key, "is no array of strings")),
        None => Err(missing(key)),
    }
}
