//! Random models and numbers for tests, the same in every run.

use std::sync::Arc;

use monai_model::artefact::{
    Arch, HeadNorm, Int8s, Layer, Linear, Model, ModelId, PairOrder, Tables, TextConfig,
};
use monai_model::tables;
use monai_protocol::{Finish, SelectionParams};

/// A small generator (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[-bound, bound]`.
    pub(crate) fn within(&mut self, bound: i64) -> i64 {
        (self.next() % (2 * bound as u64 + 1)) as i64 - bound
    }
}

/// Integers in `[-bound, bound]`, the ends more often than chance would have them.
pub(crate) fn integers(seed: u64, len: usize, bound: i64) -> Vec<i64> {
    let mut rng = Rng(seed);
    (0..len)
        .map(|_| match rng.next() % 16 {
            0 => bound,
            1 => -bound,
            _ => rng.within(bound),
        })
        .collect()
}

/// A shape to test.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) ffn: usize,
    pub(crate) vocab: usize,
    pub(crate) pair_order: PairOrder,
    pub(crate) tied: bool,
    pub(crate) qk_norm: bool,
    pub(crate) bias: bool,
    pub(crate) acc32: bool,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            hidden: 64,
            heads: 6,
            kv_heads: 2,
            head_dim: 32,
            ffn: 192,
            vocab: 256,
            pair_order: PairOrder::Interleaved,
            tied: true,
            qk_norm: false,
            bias: false,
            acc32: true,
        }
    }
}

/// Every variant of shape that the architecture can have.
pub(crate) fn variants() -> Vec<Variant> {
    let base = Variant::default();
    vec![
        base.clone(),
        Variant { pair_order: PairOrder::Half, tied: false, ..base.clone() },
        Variant { qk_norm: true, ..base.clone() },
        Variant { bias: true, pair_order: PairOrder::Half, ..base.clone() },
        Variant { acc32: false, hidden: 320, ..base.clone() },
        // As many key heads as query heads; a vocabulary that is not whole panels.
        Variant { heads: 3, kv_heads: 3, head_dim: 64, vocab: 203, ..base.clone() },
        // Groups that do not fill tiles, one key head.
        Variant {
            heads: 4,
            kv_heads: 1,
            head_dim: 64,
            qk_norm: true,
            tied: false,
            bias: true,
            acc32: false,
            ..base
        },
    ]
}

/// A random matrix whose raw accumulators stay within `most` for inputs of 2-norm at most `input`.
fn linear(rng: &mut Rng, rows: usize, cols: usize, input: f64, most: f64, v: &Variant, bias: bool) -> Linear {
    let weight: Vec<i8> = (0..rows * cols).map(|_| rng.within(127) as i8).collect();
    let share = if bias { 0.8 } else { 0.99 };
    let multiplier: Vec<i32> = weight
        .chunks_exact(cols)
        .map(|row| {
            let norm = row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt().max(1.0);
            ((share * most / (norm * input)) as i32).max(1)
        })
        .collect();
    let bias = if bias { (0..rows).map(|_| rng.within((most * 0.15) as i64)).collect() } else { Vec::new() };
    Linear { rows, cols, weight: Int8s::owned(weight), multiplier, bias, acc32: v.acc32 }
}

/// Temperature 1 of random models: their raw logits are around `2^38`.
pub(crate) const TAU: u32 = 1 << 8;

/// A random model of two layers and 160 positions within the bounds that import checks.
pub(crate) fn model(v: &Variant, seed: u64) -> Arc<Model> {
    let rng = &mut Rng(seed);
    let (d, e, f) = (v.hidden, v.head_dim, v.ffn);
    let normed = 32767.0 + (d as f64).sqrt();
    let sixteen = 32766.0 * 65536.0;
    let rotated = 2f64.powi(33) * 0.7;
    let wide = |n: usize| 32768.0 * (n as f64).sqrt();
    let gain = |rng: &mut Rng| (0..e).map(|_| 60_000 + rng.within(30_000) as i32).collect();
    let layers = (0..2)
        .map(|_| {
            let most = if v.qk_norm { sixteen } else { rotated };
            Layer {
                q: linear(rng, v.heads * e, d, normed, most, v, v.bias),
                k: linear(rng, v.kv_heads * e, d, normed, most, v, v.bias),
                v: linear(rng, v.kv_heads * e, d, normed, sixteen, v, v.bias),
                o: linear(rng, d, v.heads * e, wide(v.heads * e), sixteen / 16.0, v, false),
                gate: linear(rng, f, d, normed, sixteen, v, false),
                up: linear(rng, f, d, normed, 2f64.powi(29), v, false),
                down: linear(rng, d, f, wide(f), 2f64.powi(33), v, false),
                q_norm: v.qk_norm.then(|| HeadNorm { eps: 3, gain: gain(rng) }),
                k_norm: v.qk_norm.then(|| HeadNorm { eps: 3, gain: gain(rng) }),
                score_multiplier: 1 + (rng.next() % 24) as i64,
            }
        })
        .collect();
    let positions = 160;
    let frequencies: Vec<f64> = (0..e / 2).map(|i| libm::pow(10_000.0, -2.0 * i as f64 / e as f64)).collect();
    let (cos, sin) = tables::rope_tables(&frequencies, positions);
    let model = Model {
        id: ModelId([7; 32]),
        name: "random".to_owned(),
        arch: Arch {
            layers: 2,
            hidden: d,
            heads: v.heads,
            kv_heads: v.kv_heads,
            head_dim: e,
            ffn: f,
            vocab: v.vocab,
            max_positions: positions,
            pair_order: v.pair_order,
            tied_head: v.tied,
            qk_norm: v.qk_norm,
            residual_bits: 8,
            norm_eps: 11,
            tau_one: u64::from(TAU) << 32,
            tau_max: 1 << 20,
        },
        // Residuals of some hundred units, logits of some nats at `TAU`.
        embedding: linear(rng, v.vocab, d, normed, 2f64.powi(41), v, false),
        head: (!v.tied).then(|| linear(rng, v.vocab, d, normed, 2f64.powi(41), v, false)),
        layers,
        final_gain: (0..d).map(|_| rng.within(65536) as i32).collect(),
        tables: Tables {
            exp: tables::exp_table(),
            silu: tables::silu_table(16.0 / 32768.0),
            weight: tables::weight_table(),
            cos,
            sin,
        },
        text: TextConfig {
            tokenizer_json: String::new(),
            chat_template: None,
            eos_ids: vec![2],
            bos_id: None,
            bos_token: String::new(),
            eos_token: String::new(),
        },
    };
    Arc::new(model)
}

/// Random ids of a model, none of which ends an answer.
pub(crate) fn ids(model: &Model, seed: u64, len: usize) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..len).map(|_| 3 + (rng.next() % (model.arch.vocab as u64 - 3)) as u32).collect()
}

/// Raw logits after each position, by the reference.
pub(crate) fn reference_logits(model: &Model, ids: &[u32]) -> Vec<Vec<i64>> {
    let mut reference = monai_model::reference::Reference::new(model);
    ids.iter()
        .map(|&id| {
            let h = reference.advance(id);
            reference.logits(&h)
        })
        .collect()
}

/// The answer to a prompt by the reference, and how it ends.
pub(crate) fn reference_answer(
    model: &Model,
    prompt: &[u32],
    params: &SelectionParams,
) -> (Vec<u32>, Finish) {
    let mut reference = monai_model::reference::Reference::new(model);
    let mut residual = Vec::new();
    for &id in prompt {
        residual = reference.advance(id);
    }
    let mut output = Vec::new();
    loop {
        let word = params.word((prompt.len() + output.len()) as u64);
        let raw = reference.logits(&residual);
        let id = monai_model::select::select(&raw, params, &model.tables.weight, word).unwrap();
        output.push(id);
        if model.text.eos_ids.contains(&id) || params.stop_ids.contains(&id) {
            return (output, Finish::Stop);
        }
        if output.len() == params.max_tokens as usize {
            return (output, Finish::Length);
        }
        residual = reference.advance(id);
    }
}

/// Parameters under which random models choose among many ids.
pub(crate) fn sampled(max_tokens: u32, seed: u64) -> SelectionParams {
    SelectionParams { tau: TAU, top_k: 0, seed, ..SelectionParams::greedy(max_tokens) }
}
