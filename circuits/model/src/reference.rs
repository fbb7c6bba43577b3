//! The slow reference: the integer program, one position after another, in the order of `SEMANTICS.md`.
//!
//! It shares no kernel with the engines. It is plain on purpose: whoever doubts an engine reads this.

use crate::artefact::{HeadNorm, Linear, Model};
use crate::semantics as s;

/// Keys and values of all positions so far, and the functions that extend them.
#[derive(Clone, Debug)]
pub struct Reference<'m> {
    model: &'m Model,
    /// `[layer][position][kv_heads * head_dim]`
    keys: Vec<Vec<Vec<i64>>>,
    /// Same shape.
    values: Vec<Vec<Vec<i64>>>,
    positions: usize,
}

/// `A[rows]` of a matrix for one input row.
#[must_use]
pub fn linear_raw(m: &Linear, x: &[i64]) -> Vec<i64> {
    (0..m.rows).map(|n| m.raw(n, m.row(n).iter().zip(x).map(|(&w, &x)| i64::from(w) * x).sum())).collect()
}

/// RMSNorm of a row without gain.
#[must_use]
pub fn normalise(h: &[i64], eps: u64) -> Vec<i64> {
    let sum: u128 = h.iter().map(|&v| u128::from(v.unsigned_abs()) * u128::from(v.unsigned_abs())).sum();
    let inv = s::norm_inverse(sum, eps);
    h.iter().map(|&v| s::norm_apply(v, inv)).collect()
}

impl<'m> Reference<'m> {
    /// An empty sequence.
    #[must_use]
    pub fn new(model: &'m Model) -> Self {
        let empty = vec![Vec::new(); model.arch.layers];
        Self { model, keys: empty.clone(), values: empty, positions: 0 }
    }

    /// Number of positions taken in so far.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Takes in one id and returns its residual after the last layer.
    ///
    /// # Panics
    /// If `id` is not below the vocabulary or the sequence is at `max_positions`: callers check both.
    pub fn advance(&mut self, id: u32) -> Vec<i64> {
        let a = &self.model.arch;
        assert!((id as usize) < a.vocab && self.positions < a.max_positions, "id or position out of range");
        let e = &self.model.embedding;
        let row = e.row(id as usize);
        let m = i64::from(e.multiplier[id as usize]);
        let mut h: Vec<i64> = row.iter().map(|&w| s::r16(m * i64::from(w))).collect();
        for l in 0..a.layers {
            self.attention(l, &mut h);
            self.feed_forward(l, &mut h);
        }
        self.positions += 1;
        h
    }

    /// Raw logits `A_v` (`[vocab]`) of a residual that [`Self::advance`] returned.
    #[must_use]
    pub fn logits(&self, residual: &[i64]) -> Vec<i64> {
        let y = normalise(residual, self.model.arch.norm_eps);
        let z: Vec<i64> =
            y.iter().zip(&self.model.final_gain).map(|(&y, &g)| s::r16(y * i64::from(g))).collect();
        linear_raw(self.model.head(), &z)
    }

    fn attention(&mut self, l: usize, h: &mut [i64]) {
        let a = &self.model.arch;
        let layer = &self.model.layers[l];
        let x = normalise(h, a.norm_eps);
        let q = self.rotated(&layer.q, layer.q_norm.as_ref(), &x);
        let k = self.rotated(&layer.k, layer.k_norm.as_ref(), &x);
        let v: Vec<i64> = linear_raw(&layer.v, &x).into_iter().map(s::r16).collect();
        self.keys[l].push(k);
        self.values[l].push(v);
        let mut out = vec![0i64; a.heads * a.head_dim];
        for head in 0..a.heads {
            let group = (head / (a.heads / a.kv_heads)) * a.head_dim;
            let query = &q[head * a.head_dim..(head + 1) * a.head_dim];
            let scores: Vec<i64> = self.keys[l]
                .iter()
                .map(|key| {
                    let dot = query.iter().zip(&key[group..group + a.head_dim]).map(|(a, b)| a * b).sum();
                    s::score(layer.score_multiplier, dot)
                })
                .collect();
            let max = scores.iter().copied().max().unwrap_or(0);
            let e: Vec<u64> =
                scores.iter().map(|&v| s::softmax_weight(&self.model.tables.exp, max - v)).collect();
            let inv = s::softmax_inverse(e.iter().sum());
            for c in 0..a.head_dim {
                let sum = e.iter().zip(&self.values[l]).map(|(&e, v)| e as i64 * v[group + c]).sum();
                out[head * a.head_dim + c] = s::softmax_apply(sum, inv);
            }
        }
        for (h, raw) in h.iter_mut().zip(linear_raw(&layer.o, &out)) {
            *h += s::r16(raw);
        }
    }

    /// Queries or keys of the current position after RoPE.
    fn rotated(&self, m: &Linear, norm: Option<&HeadNorm>, x: &[i64]) -> Vec<i64> {
        let a = &self.model.arch;
        let half = a.head_dim / 2;
        let mut raw = linear_raw(m, x);
        if let Some(norm) = norm {
            for head in raw.chunks_exact_mut(a.head_dim) {
                let t: Vec<i64> = head.iter().map(|&v| s::r16(v)).collect();
                for ((v, y), &g) in head.iter_mut().zip(normalise(&t, norm.eps)).zip(&norm.gain) {
                    *v = i64::from(g) * y;
                }
            }
        }
        let table = self.positions * half;
        for head in raw.chunks_exact_mut(a.head_dim) {
            for i in 0..half {
                let (p, q) = a.pair_order.channels(i, a.head_dim);
                let (cos, sin) = (self.model.tables.cos[table + i], self.model.tables.sin[table + i]);
                (head[p], head[q]) = s::rope_pair(head[p], head[q], cos, sin);
            }
        }
        raw
    }

    fn feed_forward(&self, l: usize, h: &mut [i64]) {
        let layer = &self.model.layers[l];
        let x = normalise(h, self.model.arch.norm_eps);
        let products: Vec<i64> = linear_raw(&layer.gate, &x)
            .into_iter()
            .zip(linear_raw(&layer.up, &x))
            .map(|(gate, up)| {
                let g = s::r16(gate);
                i64::from(self.model.tables.silu[(g + (1 << 15)) as usize]) * up
            })
            .collect();
        let min = products.iter().copied().min().unwrap_or(0);
        let max = products.iter().copied().max().unwrap_or(0);
        let Some(exponent) = s::row_exponent(min, max) else {
            unreachable!("import proves that every row fits the largest exponent");
        };
        let t: Vec<i64> = products.iter().map(|&p| s::gated(p, exponent)).collect();
        for (h, raw) in h.iter_mut().zip(linear_raw(&layer.down, &t)) {
            *h += s::r32(raw << exponent);
        }
    }
}
