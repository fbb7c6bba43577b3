//! The clear-text twin of all relations: which constraints a witness breaks, by integer arithmetic on committed values.
//!
//! It shares no code with the relations' sums: accumulators and remainders are computed again from committed tensors and
//! the artefact. Tests require that both agree on honest and on broken witnesses.

use std::collections::BTreeSet;

use monai_inference::leaf::{Leaf, Remainder};
use monai_inference::shape::Shape;
use monai_inference::statement::{SelectionRow, Statement, TOP_WEIGHT};
use monai_inference::tensor::{Table, Tensor};
use monai_model::artefact::{Linear, Model};
use monai_model::semantics::NORM_C;
use rayon::prelude::*;

use super::count::entry;
use super::store::Witness;
use super::trace::Blocks;

/// A constraint of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Constraint {
    /// Each value of a group is an entry of its table.
    Lookup(Leaf),
    /// A table's multiplicities are the numbers of lookups.
    Multiplicity(Table),
    /// The remainder that follows from committed values has 16 bits.
    Remainder(Remainder),
    /// `inv^2 (S + eps) + a = C^2` and `(inv + 1)^2 (S + eps) = C^2 + 1 + b`.
    NormInverse,
    /// The same of a query or key head's norm.
    HeadInverse,
    /// `inv Z + rho = 2^32` and `Z = 1 + rho + slack`.
    SoftmaxInverse,
    /// Each row of the maximum's pointer sums to 1.
    MaxPointer,
    /// `sum pointer e = 65535`.
    MaxAttained,
    /// Each row of the exponent's pointer sums to 1.
    ExponentPointer,
    /// The pointed entry overflows at the next lower exponent.
    ExponentLeast,
    /// `sign^2 = sign`.
    ExponentSign,
    /// The shown integers are the sums that they claim to be.
    Selection,
}

/// A matrix times rows, from committed values.
fn raw(parts: &[&Linear], x: &[Vec<i128>]) -> Vec<Vec<i128>> {
    x.par_iter()
        .map(|x| {
            parts
                .iter()
                .flat_map(|m| {
                    (0..m.rows).map(move |n| {
                        let sum: i128 = m.row(n).iter().zip(x).map(|(w, x)| i128::from(*w) * x).sum();
                        i128::from(m.multiplier[n]) * sum + i128::from(m.bias.get(n).copied().unwrap_or(0))
                    })
                })
                .collect()
        })
        .collect()
}

struct Checker<'a> {
    model: &'a Model,
    s: &'a Statement,
    w: &'a Witness,
    broken: BTreeSet<Constraint>,
}

/// The constraints that a witness breaks.
#[must_use]
pub fn broken(model: &Model, s: &Statement, w: &Witness) -> BTreeSet<Constraint> {
    let mut c = Checker { model, s, w, broken: BTreeSet::new() };
    c.lookups();
    c.layers();
    c.selection();
    c.broken
}

impl Checker<'_> {
    fn shape(&self) -> &Shape {
        &self.s.shape
    }

    fn get(&self, t: Tensor, i: usize) -> i128 {
        self.w.slice(t)[i].into()
    }

    fn require(&mut self, c: Constraint, holds: bool) {
        if !holds {
            self.broken.insert(c);
        }
    }

    fn remainder(&mut self, r: Remainder, rest: i128) {
        self.require(Constraint::Remainder(r), (0..1 << 16).contains(&rest));
    }

    /// Stored rows of units `first..` as signed values, `[position][channel]`.
    fn rows(&self, t: Tensor, first: usize, units: usize, width: usize) -> Vec<Vec<i128>> {
        let n = self.shape().positions();
        let b = Blocks { positions: n, width };
        (0..n)
            .map(|p| (0..units * width).map(|c| self.get(t, b.at(first, p, c)) - (1 << 15)).collect())
            .collect()
    }

    fn lookups(&mut self) {
        for table in Table::ALL {
            let mut counts = vec![0i128; 1 << table.bits()];
            for leaf in Leaf::all().into_iter().filter(|l| l.table() == table) {
                let entry_of = entry(self.w, self.shape(), leaf);
                for i in 0..self.w.slice(leaf.shaped_as()).len() {
                    let found = entry_of(i).filter(|e| *e < counts.len() && self.matches(leaf, i, *e));
                    self.require(Constraint::Lookup(leaf), found.is_some());
                    if let Some(e) = found {
                        counts[e] += 1;
                    }
                }
            }
            let stored = self.w.slice(Tensor::Multiplicity(table));
            let same = stored.iter().zip(&counts).all(|(a, b)| i128::from(*a) == *b);
            // A value in no table leaves the counts undefined.
            let defined =
                !self.broken.iter().any(|c| matches!(c, Constraint::Lookup(l) if l.table() == table));
            self.require(Constraint::Multiplicity(table), same || !defined);
        }
    }

    /// The components beyond the key agree with the table's entry.
    fn matches(&self, leaf: Leaf, i: usize, e: usize) -> bool {
        let t = &self.model.tables;
        let is = |tensor, v: i128| self.get(tensor, i) == v;
        match leaf {
            Leaf::Range(_) | Leaf::Remainder(_) => true,
            Leaf::Silu => is(Tensor::Silu, t.silu[e].into()),
            Leaf::Exp => {
                (0..1 << 16).contains(&self.get(Tensor::DistanceLo, i))
                    && is(Tensor::Weight, if e >> 16 == 1 { 0 } else { t.exp[e].into() })
            }
            Leaf::Weight => {
                (0..1 << 16).contains(&self.get(Tensor::LogitLo, i))
                    && is(Tensor::LogitWeight, if e >> 16 == 1 { 0 } else { t.weight[e].into() })
            }
            Leaf::Distance | Leaf::LogitDistance => {
                let far = if leaf == Leaf::Distance { Tensor::Far } else { Tensor::LogitFar };
                let (visible, key) = (e >> 17 == 1, e & 0x1_ffff);
                if visible { key >= 1 << 16 && is(far, i128::from(key != 1 << 16)) } else { is(far, 1) }
            }
            Leaf::Compare => {
                let (far, key) = (e >> 17 == 1, e & 0x1_ffff);
                is(Tensor::Keep, i128::from(!far && key <= 1 << 16))
                    && is(Tensor::Below, i128::from(!far && key < 1 << 16))
            }
            Leaf::Power => {
                e < 16
                    && is(Tensor::FfnDown, 1 << (15 - e))
                    && is(Tensor::FfnUp, 1 << e)
                    && is(Tensor::FfnNonzero, i128::from(e > 0))
            }
        }
    }

    fn layers(&mut self) {
        let sh = self.shape().clone();
        let n = sh.positions();
        let b = Blocks { positions: n, width: 64 };
        let mut h = vec![vec![0i128; sh.hidden * 64]; n];
        let ids: Vec<usize> = self.s.inputs().collect();
        let e = &self.model.embedding;
        for (p, h) in h.iter_mut().enumerate() {
            for (c, h) in h.iter_mut().enumerate() {
                let at = b.at(0, p, c);
                *h = self.get(Tensor::X0Lo, at) + (self.get(Tensor::X0Hi, at) << 16) - (1 << 31);
                let a = ids.get(p).map_or(0, |id| i128::from(e.multiplier[*id]) * i128::from(e.row(*id)[c]));
                self.remainder(Remainder::X0, a + (1 << 15) - (*h << 16));
            }
        }
        for l in 0..sh.layers {
            let model = self.model;
            let layer = &model.layers[l];
            let x = self.norm(2 * l, &h);
            let turned = self.head_norms(l, &raw(&[&layer.q, &layer.k], &x));
            self.attention(l, layer.score_multiplier.into(), &turned, &raw(&[&layer.v], &x));
            let o = self.rows(Tensor::AttnOut, l * sh.heads, sh.heads, sh.head_dim());
            self.add(2 * l, &mut h, &raw(&[&layer.o], &o));
            let x = self.norm(2 * l + 1, &h);
            let t = self.rows(Tensor::Gated, l * sh.ffn, sh.ffn, 64);
            self.feed_forward(l, &raw(&[&layer.gate], &x), &raw(&[&layer.up], &x));
            self.add(2 * l + 1, &mut h, &raw(&[&layer.down], &t));
        }
        let y = self.norm(2 * sh.layers, &h);
        self.logits(&y);
    }

    fn norm(&mut self, site: usize, h: &[Vec<i128>]) -> Vec<Vec<i128>> {
        let sh = self.shape().clone();
        let (n, stride) = (sh.positions(), sh.sites() * sh.positions());
        let b = Blocks { positions: n, width: 64 };
        let y = self.rows(Tensor::NormY, site * sh.hidden, sh.hidden, 64);
        for (p, h) in h.iter().enumerate() {
            let (inv, holds) = self.inverse(Tensor::NormRows, (site * n + p, stride), h, sh.norm_eps);
            self.require(Constraint::NormInverse, holds);
            for (c, v) in h.iter().enumerate() {
                let y = self.get(Tensor::NormY, b.at(site * sh.hidden, p, c)) - (1 << 15);
                self.remainder(Remainder::Norm, v * inv + (1 << 15) - (y << 16));
            }
        }
        y
    }

    /// The stored inverse of a row, whose first limb is at `at.0`, and whether its slacks pin it.
    fn inverse(&self, rows: Tensor, at: (usize, usize), h: &[i128], eps: u64) -> (i128, bool) {
        let limbs = |first: usize, count: usize| -> i128 {
            (0..count).map(|l| self.get(rows, (first + l) * at.1 + at.0) << (16 * l)).sum()
        };
        let (inv, a, upper) = (limbs(0, 2), limbs(2, 4), limbs(6, 6));
        let c2 = i128::from(NORM_C) * i128::from(NORM_C);
        let sum: i128 = h.iter().map(|v| v * v).sum::<i128>() + i128::from(eps);
        let holds = inv * inv * sum + a == c2 && (inv + 1) * (inv + 1) * sum == c2 + 1 + upper;
        (inv, holds)
    }

    /// What RoPE turns: the accumulators, or where heads have a norm its committed output times the gain.
    fn head_norms(&mut self, l: usize, raw: &[Vec<i128>]) -> Vec<Vec<i128>> {
        let model = self.model;
        let sh = self.shape().clone();
        let (n, e) = (sh.positions(), sh.head_dim());
        let (b, stride) = (Blocks { positions: n, width: e }, sh.all_query_keys() * n);
        let mut out = raw.to_vec();
        for (p, out) in out.iter_mut().enumerate() {
            for (head, out) in out.chunks_exact_mut(e).enumerate() {
                let layer = &model.layers[l];
                let norm = if head < sh.heads { &layer.q_norm } else { &layer.k_norm };
                let Some(norm) = norm else { continue };
                let unit = l * sh.query_keys() + head;
                let signed = |c: &Self, t, i: usize| c.get(t, b.at(unit, p, i)) - (1 << 15);
                let t: Vec<i128> = (0..e).map(|c| signed(self, Tensor::HeadT, c)).collect();
                let (inv, holds) = self.inverse(Tensor::HeadRows, (unit * n + p, stride), &t, norm.eps);
                self.require(Constraint::HeadInverse, holds);
                for (c, out) in out.iter_mut().enumerate() {
                    let y = signed(self, Tensor::HeadY, c);
                    self.remainder(Remainder::HeadT, *out + (1 << 15) - (t[c] << 16));
                    self.remainder(Remainder::HeadNorm, t[c] * inv + (1 << 15) - (y << 16));
                    *out = i128::from(norm.gain[c]) * y;
                }
            }
        }
        out
    }

    fn attention(&mut self, l: usize, multiplier: i128, qk: &[Vec<i128>], v: &[Vec<i128>]) {
        let sh = self.shape().clone();
        let (n, e) = (sh.positions(), sh.head_dim());
        let b = Blocks { positions: n, width: e };
        let first = l * sh.query_keys();
        let tables = &self.model.tables;
        for (p, a) in qk.iter().enumerate() {
            for head in 0..sh.query_keys() {
                for i in 0..e / 2 {
                    let (c0, c1) = sh.pair_order.channels(i, e);
                    let entry = |t: &[i16]| i128::from(t.get(p * (e / 2) + i).copied().unwrap_or(0));
                    let (cos, sin) = (entry(&tables.cos), entry(&tables.sin));
                    let (x, y) = (a[head * e + c0], a[head * e + c1]);
                    for (c, exact) in [(c0, x * cos - y * sin), (c1, x * sin + y * cos)] {
                        let at = b.at(first + head, p, c);
                        let out = self.get(Tensor::QueryKey, at) - (1 << 15);
                        let hi = self.get(Tensor::QueryKeyHi, at);
                        self.remainder(Remainder::QueryKey, exact + (1 << 31) - (out << 32) - (hi << 16));
                    }
                }
            }
        }
        for (p, a) in v.iter().enumerate() {
            for (c, a) in a.iter().enumerate() {
                let v = self.get(Tensor::Value, b.at(l * sh.kv_heads, p, c)) - (1 << 15);
                self.remainder(Remainder::Value, a + (1 << 15) - (v << 16));
            }
        }
        let qk = self.rows(Tensor::QueryKey, first, sh.query_keys(), e);
        let v = self.rows(Tensor::Value, l * sh.kv_heads, sh.kv_heads, e);
        for head in 0..sh.heads {
            let unit = l * sh.heads + head;
            let (kv, stride) = (head / sh.group, sh.all_heads() * n);
            for p in 0..n {
                let limbs = |w: &Self, i: usize| -> i128 {
                    let at = 2 * i * stride + unit * n + p;
                    w.get(Tensor::SoftRows, at) + (w.get(Tensor::SoftRows, at + stride) << 16)
                };
                let (max, inv, rho, slack) =
                    (limbs(self, 0) - (1 << 31), limbs(self, 1), limbs(self, 2), limbs(self, 3));
                let (mut z, mut pointers, mut pointed) = (0i128, 0i128, 0i128);
                let mut mixed = vec![0i128; e];
                for j in 0..n {
                    let at = ((unit * sh.segments() + j / 64) * n + p) * 64 + j % 64;
                    let dot: i128 =
                        (0..e).map(|c| qk[p][head * e + c] * qk[j][(sh.heads + kv) * e + c]).sum();
                    let d = self.get(Tensor::DistanceLo, at) + (self.get(Tensor::DistanceHi, at) << 16);
                    self.remainder(Remainder::Score, multiplier * dot + (1 << 15) - ((max - d) << 16));
                    let weight = self.get(Tensor::Weight, at);
                    let pointer = self.get(Tensor::MaxPointer, at);
                    z += weight;
                    pointers += pointer;
                    pointed += pointer * weight;
                    for (c, m) in mixed.iter_mut().enumerate() {
                        *m += weight * v[j][kv * e + c];
                    }
                }
                self.require(Constraint::SoftmaxInverse, inv * z + rho == 1 << 32 && z == 1 + rho + slack);
                self.require(Constraint::MaxPointer, pointers == 1);
                self.require(Constraint::MaxAttained, pointed == 65_535);
                for (c, m) in mixed.iter().enumerate() {
                    let at = b.at(unit, p, c);
                    let out = self.get(Tensor::AttnOut, at) - (1 << 15);
                    let hi = self.get(Tensor::AttnOutHi, at);
                    self.remainder(Remainder::AttnOut, inv * m + (1 << 31) - (out << 32) - (hi << 16));
                }
            }
        }
    }

    /// A sub-layer's committed output against its accumulators, added to the residual.
    fn add(&mut self, sub: usize, h: &mut [Vec<i128>], raw: &[Vec<i128>]) {
        let sh = self.shape().clone();
        let b = Blocks { positions: sh.positions(), width: 64 };
        let l = sub / 2;
        for (p, (h, raw)) in h.iter_mut().zip(raw).enumerate() {
            let up = self.get(Tensor::FfnUp, l * sh.positions() + p);
            for (c, (h, a)) in h.iter_mut().zip(raw).enumerate() {
                let at = b.at(sub * sh.hidden, p, c);
                let out = self.get(Tensor::SubLo, at) + (self.get(Tensor::SubHi, at) << 16) - (1 << 31);
                if sub.is_multiple_of(2) {
                    self.remainder(Remainder::Output, a + (1 << 15) - (out << 16));
                } else {
                    let hi = self.get(Tensor::DownHi, b.at(l * sh.hidden, p, c));
                    self.remainder(Remainder::Down, a * up + (1 << 31) - (out << 32) - (hi << 16));
                }
                *h += out;
            }
        }
    }

    fn feed_forward(&mut self, l: usize, gate: &[Vec<i128>], up: &[Vec<i128>]) {
        let sh = self.shape().clone();
        let n = sh.positions();
        let b = Blocks { positions: n, width: 64 };
        for (p, (gate, up)) in gate.iter().zip(up).enumerate() {
            let row = l * n + p;
            let down = self.get(Tensor::FfnDown, row);
            let (mut pointers, mut pointed) = (0i128, 0i128);
            for (c, (a, u)) in gate.iter().zip(up).enumerate() {
                let at = b.at(l * sh.ffn, p, c);
                let g = self.get(Tensor::Gate, at) - (1 << 15);
                self.remainder(Remainder::Gate, a + (1 << 15) - (g << 16));
                let product = self.get(Tensor::Silu, at) * u;
                let t = self.get(Tensor::Gated, at) - (1 << 15);
                let hi = self.get(Tensor::GatedHi, at);
                self.remainder(Remainder::Gated, product * down + (1 << 31) - (t << 32) - (hi << 16));
                let pointer = self.get(Tensor::GatedPointer, at);
                pointers += pointer;
                pointed += pointer * product;
            }
            self.require(Constraint::ExponentPointer, pointers == 1);
            let sign = self.get(Tensor::FfnSign, row);
            let slack: i128 =
                (0..3).map(|i| self.get(Tensor::FfnSlack, i * sh.layers * n + row) << (16 * i)).sum();
            let y = 2 * down * pointed + (1 << 31);
            let nonzero = self.get(Tensor::FfnNonzero, row) != 0;
            let least = (1 - 2 * sign) * y - (1 << 47) - sign == slack;
            self.require(Constraint::ExponentLeast, !nonzero || least);
            self.require(Constraint::ExponentSign, sign == 0 || sign == 1);
        }
    }

    fn logits(&mut self, y: &[Vec<i128>]) {
        let sh = self.shape().clone();
        let b = Blocks { positions: sh.positions(), width: 64 };
        let model = self.model;
        for (p, y) in y.iter().enumerate() {
            for (c, (y, g)) in y.iter().zip(&model.final_gain).enumerate() {
                let z = self.get(Tensor::FinalZ, b.at(0, p, c)) - (1 << 15);
                self.remainder(Remainder::Final, y * i128::from(*g) + (1 << 15) - (z << 16));
            }
        }
        let z = self.rows(Tensor::FinalZ, 0, sh.hidden, 64);
        let rows = 1usize << sh.output_bits;
        let zero = vec![0i128; sh.hidden * 64];
        let inputs: Vec<Vec<i128>> = (0..rows)
            .map(|t| if t < self.s.n_out() { z[self.s.position_before(t)].clone() } else { zero.clone() })
            .collect();
        let b = Blocks { positions: rows, width: 64 };
        let tau = i128::from(self.s.request.params.tau);
        for (t, a) in raw(&[model.head()], &inputs).iter().enumerate() {
            let max = self.s.rows.get(t).map_or(0, |r| i128::from(r.max));
            for v in 0..sh.vocab_blocks * 64 {
                let at = b.at(0, t, v);
                let d = self.get(Tensor::LogitLo, at) + (self.get(Tensor::LogitHi, at) << 16);
                let hi = self.get(Tensor::LogitRemHi, at);
                let a = a.get(v).copied().unwrap_or(0);
                self.remainder(Remainder::Logit, tau * a + (1 << 31) - ((max - d) << 32) - (hi << 16));
            }
        }
    }

    fn selection(&mut self) {
        let sh = self.shape().clone();
        let b = Blocks { positions: 1 << sh.output_bits, width: 64 };
        for t in 0..self.s.n_out() {
            let shown = self.s.rows[t];
            let mut sums = SelectionRow {
                max: shown.max,
                argmax: shown.argmax,
                delta: shown.delta,
                ..Default::default()
            };
            let mut top = 0;
            for v in 0..sh.vocab_blocks * 64 {
                let at = b.at(0, t, v);
                let value = |tensor| self.get(tensor, at) as u64;
                let (w, keep, below) =
                    (value(Tensor::LogitWeight), value(Tensor::Keep), value(Tensor::Below));
                sums.kept += keep;
                sums.below += below;
                sums.all_weight += w;
                sums.kept_weight += keep * w;
                sums.below_weight += below * w;
                let chosen = self.s.output[t] as usize;
                match v.cmp(&chosen) {
                    std::cmp::Ordering::Less => sums.prefix_weight += keep * w,
                    std::cmp::Ordering::Equal => sums.chosen_weight = keep * w,
                    std::cmp::Ordering::Greater => {}
                }
                if v == shown.argmax as usize {
                    top = w;
                }
            }
            self.require(Constraint::Selection, sums == shown && top == TOP_WEIGHT);
        }
    }
}
