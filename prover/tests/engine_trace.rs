//! The witness is what the serving engine computes: each tensor of its trace, value by value.
//!
//! The engine and the witness share no kernel. That both agree with the slow reference is `shapes.rs`' business here and the
//! engine's own tests' there.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{answer, greedy, request, tau};
use monai_engine::{Program, Replay, Trace};
use monai_inference::shape::Shape;
use monai_inference::tensor::Tensor;
use monai_model::artefact::{Model, PairOrder};
use monai_model::semantics as s;
use monai_model::testing::{TinyOptions, tiny};
use monai_protocol::SelectionParams;
use monai_prover::{Witness, header, trace};

/// Values of a witness by layer, position and channel.
struct Values<'a> {
    w: &'a Witness,
    positions: usize,
}

impl Values<'_> {
    fn at(&self, t: Tensor, width: usize, first: usize, position: usize, channel: usize) -> i64 {
        let unit = first + channel / width;
        i64::from(self.w.slice(t)[(unit * self.positions + position) * width + channel % width])
    }

    /// A value that is stored with an offset of `2^15`.
    fn signed(&self, t: Tensor, width: usize, first: usize, position: usize, channel: usize) -> i64 {
        self.at(t, width, first, position, channel) - (1 << 15)
    }

    /// An output of a sub-layer, from its two halves.
    fn output(&self, sub: usize, hidden: usize, position: usize, channel: usize) -> i64 {
        let half = |t| self.at(t, 64, sub * hidden, position, channel);
        half(Tensor::SubLo) + (half(Tensor::SubHi) << 16) - (1 << 31)
    }
}

fn compare(
    model: &Model,
    shape: &Shape,
    w: &Witness,
    t: &Trace,
    n_in: usize,
    n_out: usize,
    params: &SelectionParams,
) {
    let v = Values { w, positions: shape.positions() };
    let (a, e) = (&model.arch, shape.head_dim());
    // The last id of an answer is no input; the engine's trace has its position too.
    for position in 0..n_in + n_out - 1 {
        for (l, layer) in t.layers.iter().enumerate() {
            let name = |what: &str, c: usize| format!("{what}, layer {l}, position {position}, channel {c}");
            let row = |values: &[i16], c: usize, width: usize| i64::from(values[position * width + c]);
            for c in 0..a.hidden {
                let norm =
                    |which: usize| v.signed(Tensor::NormY, 64, (2 * l + which) * shape.hidden, position, c);
                assert_eq!(norm(0), row(&layer.attention_y, c, a.hidden), "{}", name("attention norm", c));
                assert_eq!(norm(1), row(&layer.ffn_y, c, a.hidden), "{}", name("ffn norm", c));
                let at = position * a.hidden + c;
                assert_eq!(v.output(2 * l, shape.hidden, position, c), layer.attention_out[at]);
                assert_eq!(v.output(2 * l + 1, shape.hidden, position, c), layer.ffn_out[at]);
            }
            let first = l * shape.query_keys();
            for c in 0..a.heads * e {
                let q = v.signed(Tensor::QueryKey, e, first, position, c);
                assert_eq!(q, row(&layer.q, c, a.heads * e), "{}", name("query", c));
                let o = v.signed(Tensor::AttnOut, e, l * shape.heads, position, c);
                assert_eq!(o, row(&layer.o, c, a.heads * e), "{}", name("attention", c));
            }
            for c in 0..a.kv_heads * e {
                let k = v.signed(Tensor::QueryKey, e, first + shape.heads, position, c);
                assert_eq!(k, row(&layer.k, c, a.kv_heads * e), "{}", name("key", c));
                let value = v.signed(Tensor::Value, e, l * shape.kv_heads, position, c);
                assert_eq!(value, row(&layer.v, c, a.kv_heads * e), "{}", name("value", c));
            }
            for head in 0..a.heads {
                for key in 0..=position {
                    let unit = ((l * shape.heads + head) * shape.segments() + key / 64) * shape.positions();
                    let weight = w.slice(Tensor::Weight)[(unit + position) * 64 + key % 64];
                    assert_eq!(weight, i32::from(layer.e[t.triangle(head, position) + key]));
                }
            }
            for c in 0..a.ffn {
                let gate = |t| v.signed(t, 64, l * shape.ffn, position, c);
                assert_eq!(gate(Tensor::Gate), row(&layer.g, c, a.ffn), "{}", name("gate", c));
                assert_eq!(gate(Tensor::Gated), row(&layer.t, c, a.ffn), "{}", name("gated", c));
                let at = ((l * shape.ffn + c / 64) * shape.positions() + position) * 64 + c % 64;
                assert_eq!(w.raw.up[at], layer.up[position * a.ffn + c], "{}", name("up", c));
            }
            let exponent = w.slice(Tensor::FfnExponent)[l * shape.positions() + position];
            assert_eq!(exponent, layer.exponent[position] as i32);
        }
    }
    let rows = 1 << shape.output_bits;
    for (output, last) in t.finals.iter().take(n_out).enumerate() {
        assert_eq!(last.position, n_in - 1 + output);
        for (c, z) in last.z.iter().enumerate() {
            assert_eq!(v.signed(Tensor::FinalZ, 64, 0, last.position, c), i64::from(*z));
        }
        let logits: Vec<i64> = last.logits.iter().map(|a| s::logit(params.tau, *a)).collect();
        let max = logits.iter().max().unwrap();
        for (id, logit) in logits.iter().enumerate() {
            let at = (id / 64 * rows + output) * 64 + id % 64;
            let half = |t| i64::from(w.slice(t)[at]);
            assert_eq!(max - half(Tensor::LogitLo) - (half(Tensor::LogitHi) << 16), *logit, "logit {id}");
        }
    }
}

#[test]
fn the_witness_is_the_engines_trace() {
    let half = TinyOptions {
        seed: 5,
        pair_order: PairOrder::Half,
        head_dim: 64,
        qkv_bias: true,
        ..TinyOptions::default()
    };
    for (options, n_in) in [(TinyOptions::default(), 7), (half, 70)] {
        let model = tiny(&options).unwrap();
        let mut sampled = greedy(&model, 9);
        (sampled.tau, sampled.top_k, sampled.top_p, sampled.seed) = (tau(&model), 0, 60_000, 3);
        for params in [greedy(&model, 5), sampled] {
            let prompt: Vec<u32> = (0..n_in).map(|i| (i * 37 + 5) % 300).collect();
            let request = request(&model, &prompt, params.clone());
            let (output, _) = answer(&model, &request);
            let shape =
                Shape::new(&header(&model, common::CHUNK_BITS).unwrap(), prompt.len(), output.len()).unwrap();
            let w = trace(&model, &shape, &request, &output).unwrap();
            let program = Program::new(Arc::new(model.clone()), None).unwrap();
            let t = Replay::new(program, 1).unwrap().trace(&prompt, &params, &output).unwrap();
            compare(&model, &shape, &w, &t, prompt.len(), output.len(), &params);
        }
    }
}
