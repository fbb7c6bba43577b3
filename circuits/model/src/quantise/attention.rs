//! q, k, v and o of one layer.

use super::matrix::{Source, biases};
use super::row::{round, snapped, stretched};
use super::{Constants, MARGIN, TRIES, vector};
use crate::artefact::{Arch, HeadNorm, Layer, Linear};
use crate::bounds::{RAW16_LIMIT, normed_raw, rotated_excess};
use crate::error::ModelError;
use crate::semantics::{LOGIT_BITS, NORM_MAX, ROPE_BITS};
use crate::source::{FloatArch, FloatModel, Part};

/// Everything of a layer but its feed-forward part.
pub(super) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: Option<HeadNorm>,
    k_norm: Option<HeadNorm>,
    score_multiplier: i64,
}

impl Attention {
    pub(super) fn with_feed_forward(self, gate: Linear, up: Linear, down: Linear) -> Layer {
        let Self { q, k, v, o, q_norm, k_norm, score_multiplier } = self;
        Layer { q, k, v, o, gate, up, down, q_norm, k_norm, score_multiplier }
    }
}

pub(super) fn quantise(
    source: &dyn FloatModel,
    arch: &Arch,
    l: usize,
    c: &Constants,
) -> Result<Attention, ModelError> {
    let f = source.arch();
    let gain = vector(source, Part::AttnNorm(l))?;
    let q = Projection::read(source, Part::Q(l), Part::QBias(l), Part::QNorm(l), &gain)?;
    let k = Projection::read(source, Part::K(l), Part::KBias(l), Part::KNorm(l), &gain)?;
    let s_k = k.step(f, c);
    let k = k.quantise(arch, s_k, c)?;
    // One unit of q times one of k, over sqrt(E), in steps of 2^-12, is M_s / 2^16 exactly: q's step is enlarged for it.
    let per_query = k.step / libm::sqrt(f.head_dim as f64) * libm::scalbn(1.0, LOGIT_BITS as i32 + 16);
    let mut multiplier = libm::ceil(q.step(f, c) * per_query).max(1.0);
    let mut done = q.quantise(arch, multiplier / per_query, c)?;
    while done.step > multiplier / per_query {
        // The integer bound asked for a larger step than planned: take the next that gives an integer.
        multiplier = libm::ceil(done.step * per_query);
        done = q.quantise(arch, multiplier / per_query, c)?;
    }
    if multiplier >= libm::scalbn(1.0, 62) {
        return Err(ModelError::Unsupported(format!("scores of layer {l} need {multiplier} as multiplier")));
    }
    let v = values(source, l, &gain, c)?;
    let o = output(source, l, &v, c)?;
    Ok(Attention {
        q: done.linear,
        k: k.linear,
        v: v.linear,
        o,
        q_norm: done.norm,
        k_norm: k.norm,
        score_multiplier: multiplier as i64,
    })
}

/// q or k in floating point.
struct Projection<'g> {
    part: Part,
    bias_part: Part,
    rows: usize,
    values: Vec<f32>,
    bias: Vec<f32>,
    /// Gain of the head norm, where the model has one.
    norm: Option<Vec<f64>>,
    eps: f64,
    columns: &'g [f64],
}

struct Projected {
    linear: Linear,
    norm: Option<HeadNorm>,
    /// Real value of one unit after RoPE.
    step: f64,
}

impl<'g> Projection<'g> {
    fn read(
        source: &dyn FloatModel,
        part: Part,
        bias_part: Part,
        norm_part: Part,
        columns: &'g [f64],
    ) -> Result<Self, ModelError> {
        let f = source.arch();
        let (rows, _) = part.shape(f);
        let values = source.checked(part)?;
        let bias = if f.qkv_bias { source.checked(bias_part)? } else { Vec::new() };
        let norm = if f.qk_norm { Some(vector(source, norm_part)?) } else { None };
        Ok(Self { part, bias_part, rows, values, bias, norm, eps: f.norm_eps, columns })
    }

    fn source(&self) -> Source<'_> {
        let (rows, cols) = (self.rows, self.columns.len());
        Source { part: self.part, rows, cols, values: &self.values, columns: self.columns }
    }

    /// Least real step after RoPE at which the real bounds fit.
    fn step(&self, f: &FloatArch, c: &Constants) -> f64 {
        let e = f.head_dim;
        let channels = |head: usize, i: usize| {
            let (a, b) = f.pair_order.channels(i, e);
            (head * e + a, head * e + b)
        };
        let mut bound = f64::MIN_POSITIVE;
        if let Some(gain) = &self.norm {
            let reach = libm::sqrt(e as f64) * (1.0 + libm::sqrt(e as f64) / (2.0 * NORM_MAX as f64));
            for i in 0..e / 2 {
                let (a, b) = channels(0, i);
                bound = bound.max(libm::fabs(gain[a]).max(libm::fabs(gain[b])) * reach);
            }
        } else {
            let norms = self.source().norms();
            let bias = |n: usize| self.bias.get(n).map_or(0.0, |&b| f64::from(b));
            for head in 0..self.rows / e {
                for i in 0..e / 2 {
                    let (a, b) = channels(head, i);
                    let spread = libm::sqrt(norms[a] * norms[a] + norms[b] * norms[b]) * c.reach;
                    bound = bound.max(spread + libm::sqrt(bias(a) * bias(a) + bias(b) * bias(b)));
                }
            }
        }
        MARGIN * bound / NORM_MAX as f64
    }

    /// Quantises for the step, or for the next larger one at which the integer bound holds.
    fn quantise(&self, arch: &Arch, step: f64, c: &Constants) -> Result<Projected, ModelError> {
        let ones = vec![1.0; self.rows];
        let raw_bits = 32 - ROPE_BITS as i32;
        if let Some(gain) = &self.norm {
            let wide = sixteen_bits(&self.source(), self.bias_part, &self.bias, false, c)?;
            let e = arch.head_dim as f64;
            let eps = round(e * self.eps / (wide.step * wide.step)).clamp(1.0, libm::scalbn(1.0, 62));
            let factor = libm::sqrt(e) / NORM_MAX as f64 * libm::scalbn(1.0, raw_bits) / step;
            let gain = gain.iter().map(|g| round(g * factor) as i32).collect();
            return Ok(Projected {
                linear: wide.linear,
                norm: Some(HeadNorm { eps: eps as u64, gain }),
                step,
            });
        }
        let mut step = step;
        for _ in 0..TRIES {
            let unit = libm::scalbn(step, -raw_bits);
            let mut linear = self.source().snap(unit / c.s_norm)?;
            linear.bias = biases(self.bias_part, &self.bias, &ones, unit)?;
            match rotated_excess(arch, &linear) {
                None => return Ok(Projected { linear, norm: None, step }),
                Some(excess) => step *= excess.max(1.0) * 1.001,
            }
        }
        Err(ModelError::Tensor {
            tensor: self.part.to_string(),
            reason: "no step satisfies its bound".into(),
        })
    }
}

/// A projection whose `r16` fills 16 bits.
struct SixteenBits {
    linear: Linear,
    /// Real value of one unit after `r16`.
    step: f64,
    /// Factor by which each stored channel is longer than the given one.
    stretch: Vec<f64>,
}

/// Quantises at the least step at which every channel's bound fits 16 bits. With `free`, channels may be stretched.
fn sixteen_bits(
    source: &Source<'_>,
    bias_part: Part,
    bias: &[f32],
    free: bool,
    c: &Constants,
) -> Result<SixteenBits, ModelError> {
    let bounds: Vec<f64> = source
        .norms()
        .into_iter()
        .enumerate()
        .map(|(n, norm)| norm * c.reach + bias.get(n).map_or(0.0, |&b| libm::fabs(f64::from(b))))
        .collect();
    let largest = bounds.iter().fold(f64::MIN_POSITIVE, |m, &b| m.max(b));
    let mut step = MARGIN * largest / NORM_MAX as f64;
    for _ in 0..TRIES {
        let unit = libm::scalbn(step, -16);
        let (mut linear, stretch) = source.quantise(|n, w| match free {
            // A channel may grow up to the common bound, and at most to the double.
            true => stretched(w, unit / c.s_norm, (step * NORM_MAX as f64 / (MARGIN * bounds[n])).min(2.0)),
            false => snapped(w, unit / c.s_norm),
        })?;
        linear.bias = biases(bias_part, bias, &stretch, unit)?;
        let bound = normed_raw(&linear).into_iter().max().unwrap_or(0);
        if bound <= RAW16_LIMIT {
            return Ok(SixteenBits { linear, step, stretch });
        }
        step *= (bound as f64 / RAW16_LIMIT as f64) * 1.0005;
    }
    Err(ModelError::Tensor { tensor: source.part.to_string(), reason: "no step satisfies its bound".into() })
}

fn values(source: &dyn FloatModel, l: usize, gain: &[f64], c: &Constants) -> Result<SixteenBits, ModelError> {
    let (rows, cols) = Part::V(l).shape(source.arch());
    let values = source.checked(Part::V(l))?;
    let bias = if source.arch().qkv_bias { source.checked(Part::VBias(l))? } else { Vec::new() };
    let matrix = Source { part: Part::V(l), rows, cols, values: &values, columns: gain };
    sixteen_bits(&matrix, Part::VBias(l), &bias, true, c)
}

/// The output projection: its input channels have v's step, less v's stretch.
fn output(source: &dyn FloatModel, l: usize, v: &SixteenBits, c: &Constants) -> Result<Linear, ModelError> {
    let f = source.arch();
    let (rows, cols) = Part::O(l).shape(f);
    let group = f.heads / f.kv_heads;
    let columns: Vec<f64> = (0..cols)
        .map(|n| v.step / v.stretch[(n / f.head_dim / group) * f.head_dim + n % f.head_dim])
        .collect();
    let values = source.checked(Part::O(l))?;
    let unit = 1.0 / (65536.0 * c.residual);
    let mut o = Source { part: Part::O(l), rows, cols, values: &values, columns: &columns }.snap(unit)?;
    if f.o_bias {
        o.bias = biases(Part::OBias(l), &source.checked(Part::OBias(l))?, &vec![1.0; rows], unit)?;
    }
    Ok(o)
}
