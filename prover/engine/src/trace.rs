//! What a prover needs of a pass: every intermediate tensor, exactly as the rules define it.
//!
//! A trace is recorded beside the fast pass, from its own buffers; without one the pass does nothing more.

use monai_model::artefact::{Arch, Model};
use monai_model::semantics as s;

use crate::elementwise as ew;
use crate::forward::Row;
use crate::kernel::Isa;
use crate::pool::Shards;

/// All tensors of a causal pass over one sequence of `positions` ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The ids, prompt and output together.
    pub ids: Vec<u32>,
    /// Layers, first to last.
    pub layers: Vec<LayerTrace>,
    /// Last norm and logits of the positions whose logits were wanted, in order.
    pub finals: Vec<FinalTrace>,
    pub(crate) shape: Shape,
}

/// What the tensors of a trace are indexed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    positions: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    ffn: usize,
}

/// One layer of a [`Trace`]. Row-major, one row a position, unless it says otherwise.
///
/// Tensors over (head, position, key position) are *triangular*: the row of a head and position has `position + 1`
/// entries and begins at [`Trace::triangle`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerTrace {
    /// `inv` of the first norm `[positions]`.
    pub attention_inv: Vec<u64>,
    /// Its output `[positions, hidden]`.
    pub attention_y: Vec<i16>,
    /// Queries after RoPE `[positions, heads * head_dim]`.
    pub q: Vec<i16>,
    /// Keys after RoPE `[positions, kv_heads * head_dim]`.
    pub k: Vec<i16>,
    /// Values `[positions, kv_heads * head_dim]`.
    pub v: Vec<i16>,
    /// Scores, triangular.
    pub scores: Vec<i64>,
    /// Row maxima `[heads, positions]`.
    pub max: Vec<i64>,
    /// Unnormalised weights, triangular.
    pub e: Vec<u16>,
    /// Row sums `Z` `[heads, positions]`.
    pub z: Vec<u64>,
    /// `floor(2^32 / Z)` `[heads, positions]`.
    pub softmax_inv: Vec<u64>,
    /// Attention outputs `[positions, heads * head_dim]`.
    pub o: Vec<i16>,
    /// What attention adds to the residual `[positions, hidden]`.
    pub attention_out: Vec<i64>,
    /// `inv` of the second norm `[positions]`.
    pub ffn_inv: Vec<u64>,
    /// Its output `[positions, hidden]`.
    pub ffn_y: Vec<i16>,
    /// `g` `[positions, ffn]`.
    pub g: Vec<i16>,
    /// `u = A_up` `[positions, ffn]`.
    pub up: Vec<i64>,
    /// `P` `[positions, ffn]`.
    pub p: Vec<i64>,
    /// Row exponents `[positions]`.
    pub exponent: Vec<u32>,
    /// `t` `[positions, ffn]`.
    pub t: Vec<i16>,
    /// What the feed-forward layer adds to the residual `[positions, hidden]`.
    pub ffn_out: Vec<i64>,
}

/// Last norm and logits of one position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalTrace {
    /// The position whose residual this is; its logits select the id at the next.
    pub position: usize,
    /// `inv` of the last norm.
    pub inv: u64,
    /// Its output before the gain `[hidden]`.
    pub y: Vec<i16>,
    /// After the gain `[hidden]`.
    pub z: Vec<i16>,
    /// Raw logits `[vocab]`.
    pub logits: Vec<i64>,
    /// The id that the request's parameters select from them.
    pub selected: u32,
}

impl Trace {
    /// An empty trace with room for a sequence.
    pub(crate) fn new(model: &Model, ids: &[u32]) -> Self {
        let Arch { hidden, heads, kv_heads, head_dim, ffn, .. } = model.arch;
        let n = ids.len();
        let triangle = heads * n * (n + 1) / 2;
        let layer = LayerTrace {
            attention_inv: vec![0; n],
            attention_y: vec![0; n * hidden],
            q: vec![0; n * heads * head_dim],
            k: vec![0; n * kv_heads * head_dim],
            v: vec![0; n * kv_heads * head_dim],
            scores: vec![0; triangle],
            max: vec![0; heads * n],
            e: vec![0; triangle],
            z: vec![0; heads * n],
            softmax_inv: vec![0; heads * n],
            o: vec![0; n * heads * head_dim],
            attention_out: vec![0; n * hidden],
            ffn_inv: vec![0; n],
            ffn_y: vec![0; n * hidden],
            g: vec![0; n * ffn],
            up: vec![0; n * ffn],
            p: vec![0; n * ffn],
            exponent: vec![0; n],
            t: vec![0; n * ffn],
            ffn_out: vec![0; n * hidden],
        };
        let shape = Shape { positions: n, hidden, heads, kv_heads, head_dim, ffn };
        Self { ids: ids.to_vec(), layers: vec![layer; model.layers.len()], finals: Vec::new(), shape }
    }

    /// Where the row of a head and position begins in a triangular tensor.
    #[must_use]
    pub fn triangle(&self, head: usize, position: usize) -> usize {
        self.shape.triangle(head, position)
    }

    /// What records layer `layer` of the current pass.
    pub(crate) fn layer_sink<'a>(&'a mut self, layer: usize, isa: Isa, exp: &'a [u16]) -> LayerSink<'a> {
        let shape = self.shape;
        let t = &mut self.layers[layer];
        LayerSink {
            shape,
            isa,
            exp,
            k: Shards::new(&mut t.k),
            v: Shards::new(&mut t.v),
            scores: Shards::new(&mut t.scores),
            max: Shards::new(&mut t.max),
            e: Shards::new(&mut t.e),
            z: Shards::new(&mut t.z),
            softmax_inv: Shards::new(&mut t.softmax_inv),
            g: Shards::new(&mut t.g),
            up: Shards::new(&mut t.up),
            attention_inv: &mut t.attention_inv,
            attention_y: &mut t.attention_y,
            q: &mut t.q,
            o: &mut t.o,
            attention_out: &mut t.attention_out,
            ffn_inv: &mut t.ffn_inv,
            ffn_y: &mut t.ffn_y,
            p: &mut t.p,
            exponent: &mut t.exponent,
            t: &mut t.t,
            ffn_out: &mut t.ffn_out,
            before: Vec::new(),
        }
    }

    pub(crate) fn push_final(&mut self, position: usize, inv: u64, y: Vec<i16>, z: &[i16], logits: &[i64]) {
        let (z, logits) = (z.to_vec(), logits.to_vec());
        self.finals.push(FinalTrace { position, inv, y, z, logits, selected: 0 });
    }
}

impl Shape {
    fn triangle(self, head: usize, position: usize) -> usize {
        head * self.positions * (self.positions + 1) / 2 + position * (position + 1) / 2
    }
}

/// Records one layer of one pass. The [`Shards`] are written by the items of parallel sections.
pub(crate) struct LayerSink<'a> {
    shape: Shape,
    isa: Isa,
    exp: &'a [u16],
    k: Shards<i16>,
    v: Shards<i16>,
    scores: Shards<i64>,
    max: Shards<i64>,
    e: Shards<u16>,
    z: Shards<u64>,
    softmax_inv: Shards<u64>,
    g: Shards<i16>,
    up: Shards<i64>,
    attention_inv: &'a mut [u64],
    attention_y: &'a mut [i16],
    q: &'a mut [i16],
    o: &'a mut [i16],
    attention_out: &'a mut [i64],
    ffn_inv: &'a mut [u64],
    ffn_y: &'a mut [i16],
    p: &'a mut [i64],
    exponent: &'a mut [u32],
    t: &'a mut [i16],
    ffn_out: &'a mut [i64],
    /// The residual before the current sub-layer.
    before: Vec<i64>,
}

/// Copies the rows of a pass to their positions.
fn place<T: Copy>(rows: &[Row], width: usize, from: &[T], to: &mut [T]) {
    for (row, from) in rows.iter().zip(from.chunks_exact(width)) {
        to[row.position * width..(row.position + 1) * width].copy_from_slice(from);
    }
}

impl LayerSink<'_> {
    pub(crate) fn attention_norm(&mut self, rows: &[Row], inv: &[u64], y: &[i16], h: &[i64]) {
        place(rows, 1, inv, self.attention_inv);
        place(rows, self.shape.hidden, y, self.attention_y);
        self.before = h.to_vec();
    }

    pub(crate) fn attention_output(&mut self, rows: &[Row], q: &[i16], o: &[i16], h: &[i64]) {
        let width = self.shape.heads * self.shape.head_dim;
        place(rows, width, q, self.q);
        place(rows, width, o, self.o);
        let added: Vec<i64> = h.iter().zip(&self.before).map(|(after, before)| after - before).collect();
        place(rows, self.shape.hidden, &added, self.attention_out);
        self.before = h.to_vec();
    }

    pub(crate) fn ffn_norm(&mut self, rows: &[Row], inv: &[u64], y: &[i16]) {
        place(rows, 1, inv, self.ffn_inv);
        place(rows, self.shape.hidden, y, self.ffn_y);
    }

    pub(crate) fn ffn_output(&mut self, rows: &[Row], p: &[i64], t: &[i16], exponent: &[u32], h: &[i64]) {
        place(rows, self.shape.ffn, p, self.p);
        place(rows, self.shape.ffn, t, self.t);
        place(rows, 1, exponent, self.exponent);
        let added: Vec<i64> = h.iter().zip(&self.before).map(|(after, before)| after - before).collect();
        place(rows, self.shape.hidden, &added, self.ffn_out);
    }

    pub(crate) fn key(&self, position: usize, head: usize, key: &[i16]) {
        let at = (position * self.shape.kv_heads + head) * self.shape.head_dim;
        // SAFETY: one item computes this head of this position.
        unsafe { self.k.part(at, key.len()) }.copy_from_slice(key);
    }

    pub(crate) fn value(&self, position: usize, head: usize, value: &[i16]) {
        let at = (position * self.shape.kv_heads + head) * self.shape.head_dim;
        // SAFETY: as in `key`.
        unsafe { self.v.part(at, value.len()) }.copy_from_slice(value);
    }

    pub(crate) fn scores(&self, position: usize, head: usize, scores: &[i64], inverse: u64) {
        let at = self.shape.triangle(head, position);
        let row = head * self.shape.positions + position;
        // SAFETY: one item computes this head of this position.
        let (kept, e, max, z, inv) = unsafe {
            (
                self.scores.part(at, scores.len()),
                self.e.part(at, scores.len()),
                self.max.part(row, 1),
                self.z.part(row, 1),
                self.softmax_inv.part(row, 1),
            )
        };
        kept.copy_from_slice(scores);
        max[0] = scores.iter().copied().max().unwrap_or(0);
        for (e, &score) in e.iter_mut().zip(scores) {
            *e = s::softmax_weight(self.exp, max[0] - score) as u16;
        }
        z[0] = e.iter().map(|&e| u64::from(e)).sum();
        inv[0] = inverse;
    }

    pub(crate) fn gate_and_up(&self, position: usize, first: usize, gate: &[i64], up: &[i64]) {
        let at = position * self.shape.ffn + first;
        // SAFETY: one item computes this panel of this position.
        let (g, u) = unsafe { (self.g.part(at, gate.len()), self.up.part(at, up.len())) };
        ew::to_16(self.isa, gate, g);
        u.copy_from_slice(up);
    }
}
