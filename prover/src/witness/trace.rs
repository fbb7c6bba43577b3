//! The layers of one answer, position by position side by side, by the scalar twins of `monai_model::semantics`.
//!
//! It must agree with `monai_model::reference` on every logit (a test compares them). Positions beyond the answer start
//! from a zero residual and follow the same rules, so that nothing about them is special.

use monai_inference::leaf::Remainder;
use monai_inference::shape::Shape;
use monai_inference::tensor::Tensor;
use monai_model::artefact::{HeadNorm, Layer, Linear, Model};
use monai_model::semantics as s;
use monai_protocol::{Fr, Request};
use rayon::prelude::*;

use super::store::Witness;
use super::{count, logits};
use crate::error::ProveError;
use crate::progress::{Progress, Stage, check};

/// Rows of activations, `[position][channel]`.
pub(super) type Rows = Vec<Vec<i64>>;

/// Block layout of a tensor of `positions` rows and `width` columns a unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Rows.
    pub(super) positions: usize,
    /// Columns.
    pub(super) width: usize,
}

impl Blocks {
    /// Index of a channel that counts from unit `first`.
    pub(super) fn at(self, first: usize, position: usize, channel: usize) -> usize {
        ((first + channel / self.width) * self.positions + position) * self.width + channel % self.width
    }
}

/// Rows of weights that one task multiplies with all positions.
const WEIGHT_ROWS: usize = 16;

/// The raw accumulators `A` of a matrix for all rows. Inputs are 16-bit values.
///
/// A row of weights meets all positions while it is in the cache, so the matrix is read once, not once a position.
pub(super) fn raw(m: &Linear, x: &Rows) -> Rows {
    let narrow: Option<Vec<Vec<i16>>> =
        x.iter().map(|x| x.iter().map(|v| i16::try_from(*v).ok()).collect()).collect();
    let Some(narrow) = narrow else { return raw_reference(m, x) };
    let columns: Vec<Vec<i64>> = (0..m.rows)
        .into_par_iter()
        .with_min_len(WEIGHT_ROWS)
        .map(|n| narrow.iter().map(|x| m.raw(n, dot16(m.row(n), x))).collect())
        .collect();
    (0..x.len()).into_par_iter().map(|p| columns.iter().map(|c| c[p]).collect()).collect()
}

/// The twin of [`raw`], for inputs of any width.
fn raw_reference(m: &Linear, x: &Rows) -> Rows {
    x.par_iter()
        .map(|x| {
            (0..m.rows)
                .map(|n| m.raw(n, m.row(n).iter().zip(x).map(|(&w, &x)| i64::from(w) * x).sum()))
                .collect()
        })
        .collect()
}

/// `sum w x`.
fn dot16(w: &[i8], x: &[i16]) -> i64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has just been seen to support AVX2, the only feature that the function asks for.
        return unsafe { dot16_avx2(w, x) };
    }
    dot16_plain(w, x)
}

/// The same loop, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot16_avx2(w: &[i8], x: &[i16]) -> i64 {
    dot16_plain(w, x)
}

#[inline(always)]
fn dot16_plain(w: &[i8], x: &[i16]) -> i64 {
    // 2^8 products of at most 2^22 fit 31 bits.
    let piece = |(w, x): (&[i8], &[i16])| -> i64 {
        i64::from(w.iter().zip(x).map(|(w, x)| i32::from(*w) * i32::from(*x)).sum::<i32>())
    };
    w.chunks(256).zip(x.chunks(256)).map(piece).sum()
}

struct Tracer<'a> {
    model: &'a Model,
    shape: &'a Shape,
    w: Witness,
}

/// Traces one answer: all of the witness, with the selection rows that the statement shows.
///
/// `output` is the claimed answer; a wrong one traces, and the statement made from the rows then refuses it.
///
/// # Errors
/// [`ProveError::Range`] where a value leaves its width, which import's bounds exclude.
pub fn trace(model: &Model, shape: &Shape, request: &Request, output: &[u32]) -> Result<Witness, ProveError> {
    trace_watched(model, shape, request, output, &())
}

/// [`trace`] that tells which layer it is at and can be cancelled.
///
/// # Errors
/// As [`trace`], and [`ProveError::Cancelled`].
pub fn trace_watched(
    model: &Model,
    shape: &Shape,
    request: &Request,
    output: &[u32],
    progress: &dyn Progress,
) -> Result<Witness, ProveError> {
    let steps = shape.layers + 2;
    let mut t = Tracer { model, shape, w: Witness::new(shape) };
    let fed = output.len().saturating_sub(1);
    let ids: Vec<u32> = request.prompt.iter().chain(&output[..fed]).copied().collect();
    let mut h = t.embed(&ids)?;
    for l in 0..shape.layers {
        check(progress)?;
        progress.step(Stage::Witness, "layer", l, steps);
        let x = t.norm(2 * l, &h)?;
        let out = t.attention(l, &model.layers[l], &x)?;
        t.add(2 * l, &mut h, &out)?;
        let x = t.norm(2 * l + 1, &h)?;
        let out = t.feed_forward(l, &model.layers[l], &x)?;
        t.add(2 * l + 1, &mut h, &out)?;
    }
    let y = t.norm(2 * shape.layers, &h)?;
    let mut w = t.w;
    check(progress)?;
    progress.step(Stage::Witness, "logits", shape.layers, steps);
    logits::trace(model, shape, request, output, &y, &mut w)?;
    check(progress)?;
    progress.step(Stage::Witness, "multiplicities", shape.layers + 1, steps);
    count::multiplicities(model, shape, &mut w)?;
    Ok(w)
}

impl Tracer<'_> {
    fn wide(&self) -> Blocks {
        Blocks { positions: self.shape.positions(), width: 64 }
    }

    fn heads(&self) -> Blocks {
        Blocks { positions: self.shape.positions(), width: self.shape.head_dim() }
    }

    fn embed(&mut self, ids: &[u32]) -> Result<Rows, ProveError> {
        let e = &self.model.embedding;
        let blocks = self.wide();
        let mut h = vec![vec![0i64; e.cols]; self.shape.positions()];
        for (p, h) in h.iter_mut().enumerate() {
            let id = ids.get(p).map(|id| *id as usize).filter(|id| *id < e.rows);
            for (c, h) in h.iter_mut().enumerate() {
                let a = id.map_or(0, |id| i64::from(e.multiplier[id]) * i64::from(e.row(id)[c]));
                *h = s::r16(a);
                let at = blocks.at(0, p, c);
                self.w.put32(Tensor::X0Lo, Tensor::X0Hi, at, *h)?;
                self.w.remainder(Remainder::X0, at, i128::from(a + (1 << 15) - (*h << 16)), 16)?;
            }
        }
        Ok(h)
    }

    fn norm(&mut self, site: usize, h: &Rows) -> Result<Rows, ProveError> {
        let (blocks, sites) = (self.wide(), self.shape.sites());
        let first = site * self.shape.hidden;
        let mut rows = Vec::with_capacity(h.len());
        for (p, h) in h.iter().enumerate() {
            let (at, stride) = (site * blocks.positions + p, sites * blocks.positions);
            let (sum, inv) = self.inverse(Tensor::NormRows, (at, stride), h, self.shape.norm_eps)?;
            self.w.raw.squares[at] = sum;
            let mut row = Vec::with_capacity(h.len());
            for (c, v) in h.iter().enumerate() {
                let at = blocks.at(first, p, c);
                self.w.raw.residual[at] = *v;
                row.push(self.normalised(Tensor::NormY, Remainder::Norm, at, *v, inv)?);
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// A row's sum of squares and its inverse root, with the slacks that pin it. `at` is the first limb's index and their
    /// distance.
    fn inverse(
        &mut self,
        rows: Tensor,
        (at, stride): (usize, usize),
        h: &[i64],
        eps: u64,
    ) -> Result<(Fr, u64), ProveError> {
        let c2 = u128::from(s::NORM_C) * u128::from(s::NORM_C);
        let sum: u128 = h.iter().map(|v| u128::from(v.unsigned_abs()) * u128::from(v.unsigned_abs())).sum();
        let inv = s::norm_inverse(sum, eps);
        let total = sum + u128::from(eps);
        let (wide, next) = (u128::from(inv), u128::from(inv) + 1);
        self.w.put_limbs(rows, (at, stride), 2, wide)?;
        self.w.put_limbs(rows, (at + 2 * stride, stride), 4, c2 - wide * wide * total)?;
        self.w.put_limbs(rows, (at + 6 * stride, stride), 6, next * next * total - c2 - 1)?;
        Ok((Fr::from(sum), inv))
    }

    /// One output of a norm.
    fn normalised(
        &mut self,
        output: Tensor,
        remainder: Remainder,
        at: usize,
        v: i64,
        inv: u64,
    ) -> Result<i64, ProveError> {
        let y = s::norm_apply(v, inv);
        self.w.put16(output, at, y)?;
        let rest = i128::from(v) * i128::from(inv) + (1 << 15) - (i128::from(y) << 16);
        self.w.remainder(remainder, at, rest, 16)?;
        Ok(y)
    }

    /// The norm of every head of some rows, from unit `first`, times its gain.
    fn head_norm(&mut self, first: usize, norm: &HeadNorm, rows: &mut Rows) -> Result<(), ProveError> {
        let (blocks, e) = (self.heads(), self.shape.head_dim());
        let stride = self.shape.all_query_keys() * blocks.positions;
        for (p, row) in rows.iter_mut().enumerate() {
            for (head, a) in row.chunks_exact_mut(e).enumerate() {
                for (c, a) in a.iter_mut().enumerate() {
                    let (raw, at) = (*a, blocks.at(first + head, p, c));
                    *a = s::r16(raw);
                    self.w.put16(Tensor::HeadT, at, *a)?;
                    self.w.remainder(Remainder::HeadT, at, i128::from(raw + (1 << 15) - (*a << 16)), 16)?;
                }
                let at = (first + head) * blocks.positions + p;
                let (sum, inv) = self.inverse(Tensor::HeadRows, (at, stride), a, norm.eps)?;
                self.w.raw.head_squares[at] = sum;
                for (c, (a, gain)) in a.iter_mut().zip(&norm.gain).enumerate() {
                    let at = blocks.at(first + head, p, c);
                    let y = self.normalised(Tensor::HeadY, Remainder::HeadNorm, at, *a, inv)?;
                    *a = i64::from(*gain) * y;
                }
            }
        }
        Ok(())
    }

    /// Adds a sub-layer's output to the residual and records it.
    fn add(&mut self, sub: usize, h: &mut Rows, out: &Rows) -> Result<(), ProveError> {
        let blocks = self.wide();
        for (p, (h, out)) in h.iter_mut().zip(out).enumerate() {
            for (c, (h, out)) in h.iter_mut().zip(out).enumerate() {
                self.w.put32(Tensor::SubLo, Tensor::SubHi, blocks.at(sub * self.shape.hidden, p, c), *out)?;
                *h += out;
            }
        }
        Ok(())
    }

    /// Queries or keys of one layer, from unit `first`.
    fn rotated(
        &mut self,
        first: usize,
        m: &Linear,
        norm: Option<&HeadNorm>,
        x: &Rows,
    ) -> Result<Rows, ProveError> {
        let (blocks, e) = (self.heads(), self.shape.head_dim());
        let (tables, half) = (&self.model.tables, e / 2);
        let mut out = raw(m, x);
        if let Some(norm) = norm {
            self.head_norm(first, norm, &mut out)?;
        }
        for (p, row) in out.iter_mut().enumerate() {
            for (c, a) in row.iter().enumerate() {
                self.w.raw.query_key[blocks.at(first, p, c)] = *a;
            }
            for (head, row) in row.chunks_exact_mut(e).enumerate() {
                for i in 0..half {
                    let (a, b) = self.shape.pair_order.channels(i, e);
                    // Beyond the model's positions the tables are 0.
                    let entry = |t: &[i16]| t.get(p * half + i).copied().unwrap_or(0);
                    let (cos, sin) = (entry(&tables.cos), entry(&tables.sin));
                    let (c, n) = (i128::from(cos), i128::from(sin));
                    let (x, y) = (i128::from(row[a]), i128::from(row[b]));
                    (row[a], row[b]) = s::rope_pair(row[a], row[b], cos, sin);
                    for (channel, exact) in [(a, x * c - y * n), (b, x * n + y * c)] {
                        let value = row[channel];
                        let at = blocks.at(first + head, p, channel);
                        self.w.put16(Tensor::QueryKey, at, value)?;
                        let rest = exact + (1 << 31) - (i128::from(value) << 32);
                        let hi = self.w.remainder(Remainder::QueryKey, at, rest, 32)?;
                        self.w.put(Tensor::QueryKeyHi, at, hi);
                    }
                }
            }
        }
        Ok(out)
    }

    fn attention(&mut self, l: usize, layer: &Layer, x: &Rows) -> Result<Rows, ProveError> {
        let sh = self.shape;
        let e = sh.head_dim();
        let q = self.rotated(l * sh.query_keys(), &layer.q, layer.q_norm.as_ref(), x)?;
        let k = self.rotated(l * sh.query_keys() + sh.heads, &layer.k, layer.k_norm.as_ref(), x)?;
        let mut v = raw(&layer.v, x);
        let blocks = self.heads();
        for (p, v) in v.iter_mut().enumerate() {
            for (c, v) in v.iter_mut().enumerate() {
                let (a, at) = (*v, blocks.at(l * sh.kv_heads, p, c));
                *v = s::r16(a);
                self.w.put16(Tensor::Value, at, *v)?;
                self.w.remainder(Remainder::Value, at, i128::from(a + (1 << 15) - (*v << 16)), 16)?;
            }
        }
        let mut o = vec![vec![0i64; sh.heads * e]; sh.positions()];
        for head in 0..sh.heads {
            for (p, o) in o.iter_mut().enumerate() {
                let from = head / sh.group * e;
                let query = &q[p][head * e..(head + 1) * e];
                let dots: Vec<i64> = k
                    .iter()
                    .map(|k| query.iter().zip(&k[from..from + e]).map(|(a, b)| a * b).sum())
                    .collect();
                let weights = self.softmax(l, head, p, layer.score_multiplier, &dots)?;
                let inv = s::softmax_inverse(weights.iter().sum());
                for c in 0..e {
                    let sum: i64 = weights.iter().zip(&v).map(|(w, v)| *w as i64 * v[from + c]).sum();
                    let value = s::softmax_apply(sum, inv);
                    let at = blocks.at(l * sh.heads + head, p, c);
                    self.w.put16(Tensor::AttnOut, at, value)?;
                    let rest = i128::from(sum) * i128::from(inv) + (1 << 31) - (i128::from(value) << 32);
                    let hi = self.w.remainder(Remainder::AttnOut, at, rest, 32)?;
                    self.w.put(Tensor::AttnOutHi, at, hi);
                    o[head * e + c] = value;
                }
            }
        }
        let mut out = raw(&layer.o, &o);
        let blocks = self.wide();
        for (p, out) in out.iter_mut().enumerate() {
            for (c, out) in out.iter_mut().enumerate() {
                let a = *out;
                *out = s::r16(a);
                let rest = i128::from(a) + (1 << 15) - (i128::from(*out) << 16);
                self.w.remainder(Remainder::Output, blocks.at(l * sh.hidden, p, c), rest, 16)?;
            }
        }
        Ok(out)
    }

    /// One row of scores: distances, weights, pointer, inverse. Returns the weights, 0 where hidden.
    fn softmax(
        &mut self,
        l: usize,
        head: usize,
        p: usize,
        multiplier: i64,
        dots: &[i64],
    ) -> Result<Vec<u64>, ProveError> {
        let sh = self.shape;
        let n = sh.positions();
        let unit = l * sh.heads + head;
        let scores: Vec<i64> = dots.iter().map(|d| s::score(multiplier, *d)).collect();
        let max = scores[..=p].iter().copied().max().unwrap_or(0);
        let mut weights = vec![0u64; n];
        let mut pointed = false;
        for (j, score) in scores.iter().enumerate() {
            let at = ((unit * sh.segments() + j / 64) * n + p) * 64 + j % 64;
            let d = max - score;
            let (lo, hi) = (d & 0xffff, d >> 16);
            let visible = j <= p;
            let far = !visible || hi != 0;
            if !(-(1 << 16)..1 << 16).contains(&hi) {
                return Err(ProveError::Range { what: "a score's distance", got: d.into() });
            }
            if !far {
                weights[j] = s::softmax_weight(&self.model.tables.exp, d);
            }
            let point = visible && d == 0 && !pointed;
            pointed |= point;
            self.w.put(Tensor::DistanceLo, at, lo);
            self.w.put(Tensor::DistanceHi, at, hi);
            self.w.put(Tensor::Far, at, i64::from(far));
            self.w.put(Tensor::Weight, at, weights[j] as i64);
            self.w.put(Tensor::MaxPointer, at, i64::from(point));
            let rest = i128::from(multiplier) * i128::from(dots[j]) + (1 << 15) - (i128::from(*score) << 16);
            self.w.remainder(Remainder::Score, at, rest, 16)?;
        }
        let z: u64 = weights.iter().sum();
        let inv = s::softmax_inverse(z);
        let rho = (1u64 << 32) - inv * z;
        let at = unit * n + p;
        let stride = sh.all_heads() * n;
        for (i, value) in
            [(max + (1 << 31)) as u128, inv.into(), rho.into(), (z - 1 - rho).into()].into_iter().enumerate()
        {
            self.w.put_limbs(Tensor::SoftRows, (at + 2 * i * stride, stride), 2, value)?;
        }
        Ok(weights)
    }

    fn feed_forward(&mut self, l: usize, layer: &Layer, x: &Rows) -> Result<Rows, ProveError> {
        let sh = self.shape;
        let (gate, up) = (raw(&layer.gate, x), raw(&layer.up, x));
        let blocks = self.wide();
        let first = l * sh.ffn;
        let mut t: Rows = Vec::with_capacity(gate.len());
        let mut exponents = Vec::with_capacity(gate.len());
        for (p, (gate, up)) in gate.iter().zip(&up).enumerate() {
            let mut products = Vec::with_capacity(gate.len());
            for (c, (a, u)) in gate.iter().zip(up).enumerate() {
                let at = blocks.at(first, p, c);
                let g = s::r16(*a);
                self.w.put16(Tensor::Gate, at, g)?;
                self.w.remainder(Remainder::Gate, at, i128::from(a + (1 << 15) - (g << 16)), 16)?;
                let silu = i64::from(self.model.tables.silu[(g + (1 << 15)) as usize]);
                self.w.put(Tensor::Silu, at, silu);
                self.w.raw.up[at] = *u;
                products.push(silu * u);
            }
            let x = self.exponent(l, p, &products)?;
            let mut row = Vec::with_capacity(products.len());
            for (c, product) in products.iter().enumerate() {
                let at = blocks.at(first, p, c);
                let value = s::gated(*product, x);
                self.w.put16(Tensor::Gated, at, value)?;
                let rest = (i128::from(*product) << (s::MAX_ROW_EXPONENT - x)) + (1 << 31)
                    - (i128::from(value) << 32);
                let hi = self.w.remainder(Remainder::Gated, at, rest, 32)?;
                self.w.put(Tensor::GatedHi, at, hi);
                row.push(value);
            }
            t.push(row);
            exponents.push(x);
        }
        let mut out = raw(&layer.down, &t);
        for (p, (out, x)) in out.iter_mut().zip(exponents).enumerate() {
            for (c, out) in out.iter_mut().enumerate() {
                let (a, at) = (*out, blocks.at(l * sh.hidden, p, c));
                self.w.raw.down[at] = a;
                *out = s::r32(a << x);
                let rest = (i128::from(a) << x) + (1 << 31) - (i128::from(*out) << 32);
                let hi = self.w.remainder(Remainder::Down, at, rest, 32)?;
                self.w.put(Tensor::DownHi, at, hi);
            }
        }
        Ok(out)
    }

    /// The row exponent, its powers, and the entry that shows that it is the least.
    fn exponent(&mut self, l: usize, p: usize, products: &[i64]) -> Result<u32, ProveError> {
        let sh = self.shape;
        let n = sh.positions();
        let (min, max) = products.iter().fold((0, 0), |(a, b), v| ((*v).min(a), (*v).max(b)));
        let x = s::row_exponent(min, max).ok_or(ProveError::Model("row exponent"))?;
        let at = l * n + p;
        self.w.put(Tensor::FfnExponent, at, x.into());
        self.w.put(Tensor::FfnDown, at, 1 << (s::MAX_ROW_EXPONENT - x));
        self.w.put(Tensor::FfnUp, at, 1 << x);
        self.w.put(Tensor::FfnNonzero, at, i64::from(x > 0));
        // The value at the next lower exponent, before its shift.
        let next = |v: i64| (i128::from(v) << (s::MAX_ROW_EXPONENT + 1 - x)) + (1 << 31);
        let above = |v: i64| next(v) - (1 << 47);
        let below = |v: i64| -next(v) - (1 << 47) - 1;
        let pointed = if x == 0 {
            Some((0, 0, 0))
        } else {
            products.iter().enumerate().find_map(|(c, v)| {
                if above(*v) >= 0 {
                    Some((c, 0, above(*v)))
                } else if below(*v) >= 0 {
                    Some((c, 1, below(*v)))
                } else {
                    None
                }
            })
        };
        let (c, sign, slack) = pointed.ok_or(ProveError::Model("row exponent is not the least"))?;
        let entry = self.wide().at(l * sh.ffn, p, c);
        self.w.put(Tensor::GatedPointer, entry, 1);
        self.w.put(Tensor::FfnSign, at, sign);
        self.w.put_limbs(Tensor::FfnSlack, (at, sh.layers * n), 3, slack as u128)?;
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monai_model::testing::{TinyOptions, tiny};

    #[test]
    fn products_agree_with_their_twin() {
        let model = tiny(&TinyOptions { ffn: 320, ..TinyOptions::default() }).unwrap();
        let layer = &model.layers[0];
        for m in [&layer.gate, &layer.down, model.head()] {
            let extreme = |p: usize, c: usize| {
                if (p * c).is_multiple_of(3) { -32_768 } else { 32_767 - (p * 77 + c) as i64 }
            };
            let x: Rows = (0..5).map(|p| (0..m.cols).map(|c| extreme(p, c)).collect()).collect();
            assert_eq!(raw(m, &x), raw_reference(m, &x));
            let wide: Rows = x.iter().map(|x| x.iter().map(|v| v << 9).collect()).collect();
            assert_eq!(raw(m, &wide), raw_reference(m, &wide));
        }
        assert_eq!(dot16(&[-128; 2000], &[-32_768; 2000]), 2000 * 128 * 32_768);
    }
}
