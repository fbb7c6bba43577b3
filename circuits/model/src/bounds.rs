//! The a-priori bounds: a check in pure integers that no value of a finished artefact can leave its width, whatever the
//! input. Import runs it, loading runs it, and whoever registers a model runs it again: the soundness of a proof rests
//! on it, because a relation over a field only means what it says where nothing wraps around.
//!
//! A norm's output has `|y| <= 32767` and `|y|_2 <= 32767 + sqrt(n)/2`, so Cauchy-Schwarz bounds a row `W` by
//! `|W|_2 |y|_2`, and every partial sum of it in every order by the same number. Inputs that are no norm output are
//! bounded channel by channel, and rows over them by the sum of `|W|` times the channel's bound.
//!
//! The functions return the least bound they can prove; roots are rounded outwards.

use rayon::prelude::*;

use crate::artefact::{Arch, Layer, Linear, Model};
use crate::semantics::{MAX_ROW_EXPONENT, NORM_MAX, TABLE_LEN};

/// Largest raw accumulator whose `r16` is at most 32767 in magnitude.
pub const RAW16_LIMIT: u128 = (32767 << 16) + (1 << 15) - 1;
/// Largest argument of `r32` whose result is at most 32767 in magnitude.
pub const ROPE_LIMIT: u128 = (32767 << 32) + (1 << 31) - 1;
/// Largest product `SILU * up`: at the largest row exponent it still rounds to at most 32767.
pub const PRODUCT_LIMIT: u128 = (1 << 47) - (1 << 31) - 1;
/// Largest argument of an `r16` or `r32` that adds half in i64.
const I64_LIMIT: u128 = (1 << 63) - (1 << 31) - 1;
/// Largest `|A|` whose `r16` fits 32 bits.
const OUT32_LIMIT: u128 = ((1 << 31) - 1) << 16;
/// Largest `|tau A_v|`: the logit is then below `2^30`.
const LOGIT_LIMIT: u128 = (1 << 62) - (1 << 31) - 1;
/// SiLU entries have 24 bits with their sign.
const SILU_LIMIT: u128 = (1 << 23) - 1;
/// Score magnitudes must stay below this, so that `max - s < 2^32`.
const SCORE_LIMIT: u128 = (1 << 31) - 1;

/// A bound that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{} channel {channel}: bound {bound} exceeds the limit {limit}", layer_text(.layer))]
pub struct BoundError {
    /// Tensor and result that leave their width.
    pub what: &'static str,
    /// Layer, where the tensor has one.
    pub layer: Option<usize>,
    /// Output channel (for scores: the query head).
    pub channel: usize,
    /// What can be proved.
    pub bound: u128,
    /// What is needed.
    pub limit: u128,
}

fn layer_text(layer: &Option<usize>) -> String {
    layer.map_or_else(|| ",".into(), |l| format!(" of layer {l},"))
}

/// Which matrices' sums `sum W x` fit i32, in every partial sum and every order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerFlags {
    /// See [`Linear::acc32`].
    pub q: bool,
    /// Same.
    pub k: bool,
    /// Same.
    pub v: bool,
    /// Same.
    pub o: bool,
    /// Same.
    pub gate: bool,
    /// Same.
    pub up: bool,
    /// Same.
    pub down: bool,
}

/// What the weights alone determine, and how near to the limits they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// `acc32` of each layer's matrices.
    pub layers: Vec<LayerFlags>,
    /// `acc32` of the head (the embedding where it is tied).
    pub head_acc32: bool,
    /// Largest `|A_v|` of any id.
    pub logit_bound: u64,
    /// Largest temperature multiplier at which `|L| < 2^30`.
    pub tau_max: u32,
}

/// `|A|` of every row of a matrix over a normalised input of `m.cols` values.
pub(crate) fn normed_raw(m: &Linear) -> Vec<u128> {
    NormInput::new(m, norm_square(m.cols)).raw
}

/// By which factor the rotated pairs of a matrix exceed their width; `None` where all fit.
pub(crate) fn rotated_excess(a: &Arch, m: &Linear) -> Option<f64> {
    let square = norm_square(m.cols);
    let free = At { layer: None };
    // Rounded table entries: (2^14 + 0.71)^2 is below this.
    let turn = (1u128 << (2 * crate::semantics::ROPE_BITS)) + (1 << 15);
    let pairs = linear_pairs(&free, "", a, m, &NormInput::new(m, square), square, turn);
    pairs.err().map(|e| e.bound as f64 / e.limit as f64)
}

struct At {
    layer: Option<usize>,
}

impl At {
    fn require(
        &self,
        what: &'static str,
        channel: usize,
        bound: u128,
        limit: u128,
    ) -> Result<(), BoundError> {
        if bound <= limit {
            Ok(())
        } else {
            Err(BoundError { what, layer: self.layer, channel, bound, limit })
        }
    }
}

/// Smallest integer whose square is at least `v`.
fn isqrt_ceil(v: u128) -> u128 {
    let r = v.isqrt();
    if r * r == v { r } else { r + 1 }
}

/// An upper bound of the squared L2 norm of a normalised row of `n` values: `(32767 + sqrt(n)/2)^2`, rounded up.
#[must_use]
pub fn norm_square(n: usize) -> u128 {
    let top = NORM_MAX as u128;
    top * top + isqrt_ceil(top * top * n as u128) + (n as u128).div_ceil(4)
}

/// Sum of squares and sum of magnitudes of a row.
#[derive(Clone, Copy)]
struct RowStats {
    squares: u64,
    magnitudes: u64,
}

fn row_stats(row: &[i8]) -> RowStats {
    let mut s = RowStats { squares: 0, magnitudes: 0 };
    // 2^14 squares of at most 128^2 fit u32.
    for part in row.chunks(1 << 14) {
        let (mut squares, mut magnitudes) = (0u32, 0u32);
        for &w in part {
            let w = i32::from(w);
            squares += (w * w) as u32;
            magnitudes += w.unsigned_abs();
        }
        s.squares += u64::from(squares);
        s.magnitudes += u64::from(magnitudes);
    }
    s
}

fn stats(m: &Linear) -> Vec<RowStats> {
    (0..m.rows).into_par_iter().map(|n| row_stats(m.row(n))).collect()
}

/// Bounds of one matrix over a normalised input.
struct NormInput {
    /// `|sum W y|` by row.
    acc: Vec<u128>,
    /// `|A|` by row.
    raw: Vec<u128>,
    /// Sum of squares by row.
    squares: Vec<u64>,
}

impl NormInput {
    fn new(m: &Linear, square: u128) -> Self {
        let stats = stats(m);
        let acc: Vec<u128> = stats
            .iter()
            .map(|s| {
                (u128::from(s.squares) * square).isqrt().min(u128::from(s.magnitudes) * NORM_MAX as u128)
            })
            .collect();
        let raw = acc.iter().enumerate().map(|(n, &a)| raw_bound(m, n, a)).collect();
        Self { acc, raw, squares: stats.iter().map(|s| s.squares).collect() }
    }

    fn acc32(&self) -> bool {
        fits_i32(&self.acc)
    }
}

fn fits_i32(acc: &[u128]) -> bool {
    acc.iter().all(|&a| a <= i32::MAX as u128)
}

fn raw_bound(m: &Linear, n: usize, acc: u128) -> u128 {
    let bias = m.bias.get(n).map_or(0, |b| u128::from(b.unsigned_abs()));
    u128::from(m.multiplier[n].unsigned_abs()) * acc + bias
}

/// `sum |W[n,c]| x[c]` by row.
fn weighted(m: &Linear, x: &[u64]) -> Vec<u128> {
    (0..m.rows)
        .into_par_iter()
        // At most 2^18 products of 2^7 and 2^31: u64 has room.
        .map(|n| m.row(n).iter().zip(x).map(|(&w, &x)| u64::from(w.unsigned_abs()) * x).sum::<u64>())
        .map(u128::from)
        .collect()
}

/// Magnitude of `r16` of anything up to `raw`.
const fn r16_bound(raw: u128) -> u128 {
    (raw + (1 << 15)) >> 16
}

/// Proves every width that `SEMANTICS.md` names, for all inputs.
///
/// The shape must already be consistent (lengths, limits, multipliers at least 1, tables complete), as loading and
/// import make sure.
///
/// # Errors
/// The first bound that does not hold.
pub fn analyse(model: &Model) -> Result<Report, BoundError> {
    let a = &model.arch;
    let silu = silu_maxima(&model.tables.silu)?;
    let turn = rope_square(model);
    let mut layers = Vec::with_capacity(a.layers);
    for (l, layer) in model.layers.iter().enumerate() {
        let at = At { layer: Some(l) };
        let (mut flags, values) = attention_inputs(&at, a, layer, turn)?;
        output(&at, a, layer, &values, &mut flags)?;
        feed_forward(&at, a, layer, &silu, &mut flags)?;
        layers.push(flags);
    }
    let (head_acc32, logit_bound) = head(model)?;
    let tau_max = u32::try_from(LOGIT_LIMIT / logit_bound.max(1)).unwrap_or(u32::MAX);
    At { layer: None }.require(
        "temperature 1 of the logits",
        0,
        u128::from(model.arch.tau_one >> 32),
        u128::from(tau_max),
    )?;
    let logit_bound = u64::try_from(logit_bound).unwrap_or(u64::MAX);
    Ok(Report { layers, head_acc32, logit_bound, tau_max })
}

/// [`analyse`], and that the artefact's own claims (`acc32`, `tau_max`) are what follows from its weights.
///
/// # Errors
/// As `analyse`; a wrong claim is reported with the claimed and the right value.
pub fn check(model: &Model) -> Result<Report, BoundError> {
    let report = analyse(model)?;
    let claim = |layer, what, claimed: bool, right: bool| {
        At { layer }.require(what, 0, u128::from(claimed != right), 0)
    };
    for (l, (layer, f)) in model.layers.iter().zip(&report.layers).enumerate() {
        let l = Some(l);
        claim(l, "acc32 flag of q", layer.q.acc32, f.q)?;
        claim(l, "acc32 flag of k", layer.k.acc32, f.k)?;
        claim(l, "acc32 flag of v", layer.v.acc32, f.v)?;
        claim(l, "acc32 flag of o", layer.o.acc32, f.o)?;
        claim(l, "acc32 flag of gate", layer.gate.acc32, f.gate)?;
        claim(l, "acc32 flag of up", layer.up.acc32, f.up)?;
        claim(l, "acc32 flag of down", layer.down.acc32, f.down)?;
    }
    claim(None, "acc32 flag of the head", model.head().acc32, report.head_acc32)?;
    At { layer: None }.require("tau_max", 0, u128::from(model.arch.tau_max), u128::from(report.tau_max))?;
    Ok(report)
}

/// `max |SILU[g]|` over `|g| <= b`, for `b` in [0, 32767].
fn silu_maxima(table: &[i32]) -> Result<Vec<u64>, BoundError> {
    let centre = TABLE_LEN / 2;
    let mut max = 0u64;
    let mut out = Vec::with_capacity(centre);
    for b in 0..centre {
        for g in [centre + b, centre - b] {
            max = max.max(u64::from(table[g].unsigned_abs()));
        }
        At { layer: None }.require("SiLU table", b, u128::from(max), SILU_LIMIT)?;
        out.push(max);
    }
    Ok(out)
}

/// Largest `c^2 + s^2` of the RoPE tables.
fn rope_square(model: &Model) -> u128 {
    let square = |v: i16| i64::from(v) * i64::from(v);
    let t = &model.tables;
    t.cos.iter().zip(&t.sin).map(|(&c, &s)| (square(c) + square(s)) as u128).max().unwrap_or(0)
}

/// q, k, v and the scores. Returns the bounds of the channels of `v`.
fn attention_inputs(
    at: &At,
    a: &Arch,
    layer: &Layer,
    turn: u128,
) -> Result<(LayerFlags, Vec<u64>), BoundError> {
    let square = norm_square(a.hidden);
    let q = NormInput::new(&layer.q, square);
    let k = NormInput::new(&layer.k, square);
    let v = NormInput::new(&layer.v, square);
    let flags = LayerFlags { q: q.acc32(), k: k.acc32(), v: v.acc32(), ..LayerFlags::default() };
    let mut values = Vec::with_capacity(v.raw.len());
    for (n, &raw) in v.raw.iter().enumerate() {
        at.require("v", n, raw, RAW16_LIMIT)?;
        values.push(r16_bound(raw) as u64);
    }
    let rotated = |what, m: &Linear, input: &NormInput, norm: Option<&crate::artefact::HeadNorm>| match norm {
        Some(norm) => {
            for (n, &raw) in input.raw.iter().enumerate() {
                at.require(what, n, raw, RAW16_LIMIT)?;
            }
            let pairs = normed_pairs(at, what, a, &norm.gain, turn)?;
            Ok(pairs.repeat(m.rows / a.head_dim))
        }
        None => linear_pairs(at, what, a, m, input, square, turn),
    };
    let q_pairs = rotated("q", &layer.q, &q, layer.q_norm.as_ref())?;
    let k_pairs = rotated("k", &layer.k, &k, layer.k_norm.as_ref())?;
    let half = a.head_dim / 2;
    for head in 0..a.heads {
        let group = head / (a.heads / a.kv_heads);
        let dot: u128 = q_pairs[head * half..(head + 1) * half]
            .iter()
            .zip(&k_pairs[group * half..(group + 1) * half])
            .map(|(q, k)| q * k)
            .sum();
        let product = layer.score_multiplier.unsigned_abs() as u128 * dot;
        at.require("score product of query head", head, product, I64_LIMIT)?;
        at.require("score of query head", head, r16_bound(product), SCORE_LIMIT)?;
    }
    Ok((flags, values))
}

/// Bounds of the L2 norm of each rotated channel pair, where the pair comes straight from the accumulators.
fn linear_pairs(
    at: &At,
    what: &'static str,
    a: &Arch,
    m: &Linear,
    input: &NormInput,
    square: u128,
    turn: u128,
) -> Result<Vec<u128>, BoundError> {
    let mut pairs = Vec::with_capacity(m.rows / 2);
    for head in 0..m.rows / a.head_dim {
        for i in 0..a.head_dim / 2 {
            let (p, q) = a.pair_order.channels(i, a.head_dim);
            let (p, q) = (head * a.head_dim + p, head * a.head_dim + q);
            // One raw accumulator alone must fit 2^48, so that the squares below fit u128.
            at.require(what, p, input.raw[p], 1 << 48)?;
            at.require(what, q, input.raw[q], 1 << 48)?;
            let weight = |n: usize| {
                let m = u128::from(m.multiplier[n].unsigned_abs());
                m * m * u128::from(input.squares[n])
            };
            let bias = |n: usize| m.bias.get(n).map_or(0, |b| u128::from(b.unsigned_abs()));
            let spread = isqrt_ceil(weight(p) + weight(q));
            let length = spread * isqrt_ceil(square) + isqrt_ceil(bias(p) * bias(p) + bias(q) * bias(q));
            pairs.push(turned(at, what, p, length, turn)?);
        }
    }
    Ok(pairs)
}

/// Bounds of the L2 norm of each rotated channel pair of one head that has a norm and integer gains.
fn normed_pairs(
    at: &At,
    what: &'static str,
    a: &Arch,
    gain: &[i32],
    turn: u128,
) -> Result<Vec<u128>, BoundError> {
    let length = isqrt_ceil(norm_square(a.head_dim));
    (0..a.head_dim / 2)
        .map(|i| {
            let (p, q) = a.pair_order.channels(i, a.head_dim);
            let gain = u128::from(gain[p].unsigned_abs().max(gain[q].unsigned_abs()));
            turned(at, what, p, gain * length, turn)
        })
        .collect()
}

/// From the length of a raw pair to the length of the rotated, rounded pair.
fn turned(at: &At, what: &'static str, channel: usize, length: u128, turn: u128) -> Result<u128, BoundError> {
    // Up to 2^48 the product of squares fits u128 (`turn` is below 2^32), and above it the limit is broken anyway.
    at.require(what, channel, length, 1 << 48)?;
    let rotated = isqrt_ceil(length * length * turn);
    at.require(what, channel, rotated, ROPE_LIMIT)?;
    // Rounding moves each of the two by at most one half.
    Ok((rotated >> 32) + 2)
}

fn output(
    at: &At,
    a: &Arch,
    layer: &Layer,
    values: &[u64],
    flags: &mut LayerFlags,
) -> Result<(), BoundError> {
    let group = a.heads / a.kv_heads;
    let x: Vec<u64> = (0..a.heads * a.head_dim)
        .map(|c| values[(c / a.head_dim / group) * a.head_dim + c % a.head_dim])
        .collect();
    let acc = weighted(&layer.o, &x);
    flags.o = fits_i32(&acc);
    for (n, &acc) in acc.iter().enumerate() {
        at.require("o", n, raw_bound(&layer.o, n, acc), OUT32_LIMIT)?;
    }
    Ok(())
}

fn feed_forward(
    at: &At,
    a: &Arch,
    layer: &Layer,
    silu: &[u64],
    flags: &mut LayerFlags,
) -> Result<(), BoundError> {
    let square = norm_square(a.hidden);
    let gate = NormInput::new(&layer.gate, square);
    let up = NormInput::new(&layer.up, square);
    (flags.gate, flags.up) = (gate.acc32(), up.acc32());
    let mut products = Vec::with_capacity(a.ffn);
    for n in 0..a.ffn {
        at.require("gate", n, gate.raw[n], RAW16_LIMIT)?;
        let product = u128::from(silu[r16_bound(gate.raw[n]) as usize]) * up.raw[n];
        at.require("SiLU times up", n, product, PRODUCT_LIMIT)?;
        products.push(product as u64);
    }
    // |t| <= min(32768, P / 2^17 + 1), and |t| 2^x <= P / 2^17 + 2^(x-1), whatever the row exponent.
    let t: Vec<u64> = products.iter().map(|p| ((p >> 17) + 1).min(1 << 15)).collect();
    flags.down = fits_i32(&weighted(&layer.down, &t));
    let shifted: Vec<u64> = products.iter().map(|p| (p >> 17) + 1 + (1 << (MAX_ROW_EXPONENT - 1))).collect();
    for (n, acc) in weighted(&layer.down, &shifted).into_iter().enumerate() {
        at.require("down", n, raw_bound(&layer.down, n, acc), I64_LIMIT)?;
    }
    Ok(())
}

/// `acc32` and the largest `|A_v|` of the head, whose input is `z = r16(y gain)`.
fn head(model: &Model) -> Result<(bool, u128), BoundError> {
    let at = At { layer: None };
    for (c, g) in model.final_gain.iter().enumerate() {
        at.require("final gain", c, u128::from(g.unsigned_abs()), 1 << 16)?;
    }
    let m = model.head();
    let square = norm_square(model.arch.hidden);
    let acc: Vec<u128> = (0..m.rows)
        .into_par_iter()
        .map(|n| {
            let (mut squares, mut magnitudes) = (0u128, 0u64);
            for (row, gain) in m.row(n).chunks(64).zip(model.final_gain.chunks(64)) {
                // 64 squares of at most (2^7 2^16)^2 fit i64.
                let mut part = 0i64;
                for (&w, &g) in row.iter().zip(gain) {
                    let v = i64::from(w) * i64::from(g);
                    part += v * v;
                    magnitudes += u64::from(w.unsigned_abs());
                }
                squares += part as u128;
            }
            // z differs from y gain / 2^16 by at most one half a channel.
            let by_norm =
                ((isqrt_ceil(squares) * isqrt_ceil(square)) >> 16) + 1 + u128::from(magnitudes).div_ceil(2);
            by_norm.min(u128::from(magnitudes) * NORM_MAX as u128)
        })
        .collect();
    let mut bound = 0;
    for (n, &acc) in acc.iter().enumerate() {
        let raw = raw_bound(m, n, acc);
        at.require("logit accumulator", n, raw, LOGIT_LIMIT)?;
        bound = bound.max(raw);
    }
    Ok((fits_i32(&acc), bound))
}
