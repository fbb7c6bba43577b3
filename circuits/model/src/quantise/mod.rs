//! Import: from a floating-point model to the integer artefact, the same bytes on every machine.
//!
//! All arithmetic is IEEE `f64` with correctly rounded operations and the portable `libm`; each row is computed by one
//! thread in a fixed order. No calibration data is used: every step follows from the weights and from what a norm's
//! output can be at most, so that no prompt can leave a range.

mod attention;
mod feed_forward;
mod matrix;
mod row;

use crate::artefact::{Arch, Linear, Model, ModelId, Tables};
use crate::bounds::{self, norm_square};
use crate::error::ModelError;
use crate::limits::check_end_ids;
use crate::semantics::NORM_MAX;
use crate::source::{DEFAULT_POSITIONS, FloatArch, FloatModel, Part};
use crate::tables;
use crate::text::TextCodec;
use matrix::Source;
use row::round;

/// What the caller of an import may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Most positions of a sequence; without it, those of the model but at most [`DEFAULT_POSITIONS`].
    pub max_positions: Option<usize>,
    /// Name for people; without it, the one in the source.
    pub name: Option<String>,
}

/// Hears how far an import is.
pub trait Progress: Sync {
    /// The whole import has `total` steps of roughly equal length.
    fn begin(&self, total: usize);
    /// One step is done; `what` names the next.
    fn step(&self, what: &str);
}

impl Progress for () {
    fn begin(&self, _: usize) {}
    fn step(&self, _: &str) {}
}

/// Room above a bound in floating point, so that rounding the weights does not push the integer bound over its limit.
const MARGIN: f64 = 1.002;
/// How often a step is enlarged before the final check is left to refuse the model.
const TRIES: usize = 24;
/// Coarsest and finest residual step: `2^-8` unless the embedding is too small for it.
const RESIDUAL_BITS: std::ops::RangeInclusive<u32> = 8..=16;
/// The embedding's root mean square has at least this many residual steps.
const RESIDUAL_STEPS: f64 = 8.0;

/// Real constants that follow from the shape.
struct Constants {
    /// Real value of one unit of a normalised activation, `sqrt(D) / 32767`.
    s_norm: f64,
    /// Largest real L2 norm of a normalised row.
    reach: f64,
    /// `2^residual_bits`.
    residual: f64,
}

/// Makes the artefact of a model. Its `id` is all zeros until it is written: see [`crate::file`].
///
/// # Errors
/// Where the source can't be read, has a shape or feature that the integer program lacks, or breaks a bound.
pub fn import(
    source: &dyn FloatModel,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Model, ModelError> {
    let f = source.arch();
    let positions = options.max_positions.unwrap_or(f.max_positions.min(DEFAULT_POSITIONS));
    if positions > f.max_positions {
        let most = f.max_positions;
        return Err(ModelError::Unsupported(format!("{positions} positions: the model has {most}")));
    }
    f.dimensions(positions).check()?;
    progress.begin(2 * f.layers + 3);
    let text = source.text()?;
    check_end_ids(&text.eos_ids)?;
    // A tokenizer or template that can't be used is refused now, not by the first request.
    TextCodec::new(&text, f.vocab)?;
    progress.step("embedding");

    let values = source.checked(Part::Embedding)?;
    let residual_bits = residual_bits(&values);
    let residual = f64::from(1u32 << residual_bits);
    let s_norm = libm::sqrt(f.hidden as f64) / NORM_MAX as f64;
    let reach = s_norm * libm::sqrt(norm_square(f.hidden) as f64);
    let c = Constants { s_norm, reach, residual };
    let mut embedding = vocabulary(f, Part::Embedding, &values, &c)?;
    drop(values);
    let mut head = match f.tied_head {
        true => None,
        false => Some(vocabulary(f, Part::Head, &source.checked(Part::Head)?, &c)?),
    };
    progress.step("gates");
    let (gates, s_gate) = feed_forward::gates(source, &c, progress)?;
    let (cos, sin) = tables::rope_tables(&f.rope_frequencies, positions);
    let tables = Tables {
        exp: tables::exp_table(),
        silu: tables::silu_table(s_gate),
        weight: tables::weight_table(),
        cos,
        sin,
    };
    let mut arch = architecture(f, positions, residual_bits);
    let mut layers = Vec::with_capacity(f.layers);
    for (l, gate) in gates.into_iter().enumerate() {
        progress.step(&format!("layer {l}"));
        let attention = attention::quantise(source, &arch, l, &c)?;
        let (up, down) = feed_forward::quantise(source, &tables.silu, &gate, l, &c)?;
        layers.push(attention.with_feed_forward(gate, up, down));
    }
    progress.step("bounds");
    let (final_gain, s_z) = final_gain(&source.checked(Part::FinalNorm)?, &c)?;
    // Real value of one unit of the raw logit, times 2^12 2^32 for the shift, times 2^32 for the request's rounding.
    let tau_one = round(libm::scalbn(s_z, 76 - 16) / residual);
    if tau_one < 1.0 || tau_one >= libm::scalbn(1.0, 64) {
        return Err(ModelError::Unsupported(format!("the last norm's gains reach {}", s_z / s_norm)));
    }
    arch.tau_one = tau_one as u64;
    embedding.acc32 = true;
    if let Some(h) = head.as_mut() {
        h.acc32 = true;
    }
    let mut model = Model {
        id: ModelId([0; 32]),
        name: options.name.clone().unwrap_or_else(|| source.name()),
        arch,
        embedding,
        head,
        layers,
        final_gain,
        tables,
        text,
    };
    adopt(&mut model)?;
    progress.step("done");
    Ok(model)
}

/// Runs the bound check and writes what follows from it (`acc32`, `tau_max`) into the model.
fn adopt(model: &mut Model) -> Result<(), ModelError> {
    let report = bounds::analyse(model)?;
    for (layer, flags) in model.layers.iter_mut().zip(&report.layers) {
        layer.q.acc32 = flags.q;
        layer.k.acc32 = flags.k;
        layer.v.acc32 = flags.v;
        layer.o.acc32 = flags.o;
        layer.gate.acc32 = flags.gate;
        layer.up.acc32 = flags.up;
        layer.down.acc32 = flags.down;
    }
    match model.head.as_mut() {
        Some(head) => head.acc32 = report.head_acc32,
        None => model.embedding.acc32 = report.head_acc32,
    }
    model.arch.tau_max = report.tau_max;
    Ok(())
}

fn architecture(f: &FloatArch, positions: usize, residual_bits: u32) -> Arch {
    // The sum of squares of the residual is in units of 4^-bits.
    let eps = round(f.hidden as f64 * f.norm_eps * libm::scalbn(1.0, 2 * residual_bits as i32)).max(1.0);
    Arch {
        layers: f.layers,
        hidden: f.hidden,
        heads: f.heads,
        kv_heads: f.kv_heads,
        head_dim: f.head_dim,
        ffn: f.ffn,
        vocab: f.vocab,
        max_positions: positions,
        pair_order: f.pair_order,
        tied_head: f.tied_head,
        qk_norm: f.qk_norm,
        residual_bits,
        norm_eps: eps as u64,
        tau_one: 0,
        tau_max: 0,
    }
}

/// 8, or as many bits as a small embedding needs to have its root mean square at [`RESIDUAL_STEPS`] steps.
fn residual_bits(embedding: &[f32]) -> u32 {
    let sum = embedding.iter().fold(0.0, |s, &v| s + f64::from(v) * f64::from(v));
    let rms = libm::sqrt(sum / embedding.len() as f64);
    let enough = |bits: &u32| rms * f64::from(1u32 << bits) >= RESIDUAL_STEPS;
    RESIDUAL_BITS.clone().find(enough).unwrap_or(*RESIDUAL_BITS.end())
}

/// Embedding or head: one raw unit is `2^-(16 + residual_bits)` of a real weight.
fn vocabulary(f: &FloatArch, part: Part, values: &[f32], c: &Constants) -> Result<Linear, ModelError> {
    let unit = 1.0 / (65536.0 * c.residual);
    Source { part, rows: f.vocab, cols: f.hidden, values, columns: &[] }.snap(unit)
}

/// Integer gains of the last norm, and the real value of one unit of its output.
fn final_gain(gain: &[f32], c: &Constants) -> Result<(Vec<i32>, f64), ModelError> {
    let max = gain.iter().fold(0.0f64, |m, &g| m.max(libm::fabs(f64::from(g))));
    if max <= 0.0 {
        return Err(ModelError::Tensor {
            tensor: Part::FinalNorm.to_string(),
            reason: "all gains are zero".into(),
        });
    }
    Ok((gain.iter().map(|&g| round(f64::from(g) * 65536.0 / max) as i32).collect(), c.s_norm * max))
}

/// `values` of a vector part as f64.
fn vector(source: &dyn FloatModel, part: Part) -> Result<Vec<f64>, ModelError> {
    Ok(source.checked(part)?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_embeddings_get_a_finer_residual() {
        assert_eq!(residual_bits(&[0.1; 64]), 8);
        assert_eq!(residual_bits(&[0.03125; 64]), 8, "0.03125 * 256 is exactly 8");
        assert_eq!(residual_bits(&[0.031; 64]), 9);
        assert_eq!(residual_bits(&[1e-9; 64]), 16);
    }
}
