//! Shape is data: every shape of tiny models that the statement covers proves, and its witness is the reference's.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use monai_inference::shape::Shape;
use monai_inference::statement::Statement;
use monai_inference::tensor::Tensor;
use monai_inference::{ShapeError, verify};
use monai_model::artefact::PairOrder;
use monai_model::reference::Reference;
use monai_model::semantics::logit;
use monai_model::testing::TinyOptions;
use monai_protocol::{Finish, SelectionParams};
use monai_prover::{broken, check_relations, header, prove, trace};

/// Answers with the reference, compares every logit, runs twin and relations.
fn holds(options: &TinyOptions, prompt: &[u32], params: SelectionParams) {
    let m = proving(model(options));
    let request = request(m.model, prompt, params);
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let header = m.registered.header();
    let shape = Shape::new(header, prompt.len(), output.len()).unwrap();
    let w = trace(m.model, &shape, &request, &output).unwrap();
    let s = Statement::new(header, &public, &preimage, &w.rows).unwrap();
    assert!(broken(m.model, &s, &w).is_empty());
    check_relations(&m, &public, &preimage, &w).unwrap();

    let mut r = Reference::new(m.model);
    for (p, id) in s.inputs().enumerate() {
        let residual = r.advance(id as u32);
        let Some(t) = p.checked_sub(prompt.len() - 1) else { continue };
        for (v, a) in r.logits(&residual).iter().enumerate() {
            let at = ((v / 64) * (1 << shape.output_bits) + t) * 64 + v % 64;
            let (lo, hi) = (w.slice(Tensor::LogitLo)[at], w.slice(Tensor::LogitHi)[at]);
            let l = i64::from(w.rows[t].max) - i64::from(lo) - (i64::from(hi) << 16);
            assert_eq!(l, logit(request.params.tau, *a), "position {p}, id {v}");
        }
    }
}

fn sampled(options: &TinyOptions, seed: u64, max_tokens: u32) -> SelectionParams {
    let mut p = greedy(model(options), max_tokens);
    (p.top_k, p.top_p, p.delta_min_p, p.seed) = (40, 60_000, 30_000, seed);
    p
}

#[test]
fn two_segments_of_positions() {
    let o = TinyOptions::default();
    let prompt: Vec<u32> = (0..75).map(|i| 3 + i * 3 % 250).collect();
    holds(&o, &prompt, sampled(&o, 5, 3));
}

#[test]
fn three_layers_of_untied_heads_with_biases_in_half_order() {
    let o = TinyOptions {
        layers: 3,
        heads: 6,
        kv_heads: 2,
        pair_order: PairOrder::Half,
        qkv_bias: true,
        tied_head: false,
        vocab: 300,
        ..TinyOptions::default()
    };
    holds(&o, &[1, 9, 8, 7], sampled(&o, 11, 5));
}

#[test]
fn one_layer_of_wide_heads() {
    let o = TinyOptions {
        layers: 1,
        hidden: 64,
        heads: 1,
        kv_heads: 1,
        head_dim: 64,
        ffn: 64,
        seed: 4,
        ..TinyOptions::default()
    };
    holds(&o, &[1], greedy(model(&o), 1));
}

#[test]
fn a_sampled_answer_proves_and_verifies_and_an_altered_one_does_not() {
    let o = TinyOptions::default();
    let m = shared();
    let request = request(m.model, &[1, 20, 30], sampled(&o, 77, 6));
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let (proof, _) = prove(m, srs(), &public, &preimage).unwrap();
    verify(&m.registered, &public, &proof).unwrap();

    let mut wrong = output.clone();
    wrong[2] = (wrong[2] + 1) % 300;
    let (public, preimage) = statement(&request, &wrong, finish);
    assert!(prove(m, srs(), &public, &preimage).is_err());
    if output.len() > 1 {
        // An early stop.
        let short = &output[..output.len() - 1];
        for finish in [Finish::Stop, Finish::Length] {
            let (public, preimage) = statement(&request, short, finish);
            assert!(prove(m, srs(), &public, &preimage).is_err());
        }
    }
}

/// Norms on heads: in both pair orders, with one gain a kind, grouped queries, biases, two segments of positions.
#[test]
fn normalised_heads() {
    let o = TinyOptions { qk_norm: true, ..TinyOptions::default() };
    holds(&o, &[1, 9, 8, 7], sampled(&o, 11, 5));
    let o = TinyOptions {
        qk_norm: true,
        layers: 3,
        heads: 6,
        kv_heads: 2,
        head_dim: 64,
        hidden: 64,
        ffn: 64,
        pair_order: PairOrder::Half,
        qkv_bias: true,
        tied_head: false,
        seed: 3,
        ..TinyOptions::default()
    };
    let prompt: Vec<u32> = (0..70).map(|i| 3 + i * 3 % 250).collect();
    holds(&o, &prompt, greedy(model(&o), 2));
}

#[test]
fn an_answer_of_a_model_with_normalised_heads_proves_and_verifies() {
    let o = TinyOptions { qk_norm: true, layers: 1, hidden: 64, ffn: 64, ..TinyOptions::default() };
    let m = proving(model(&o));
    let request = request(m.model, &[1, 20, 30], sampled(&o, 77, 4));
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let (proof, _) = prove(&m, srs(), &public, &preimage).unwrap();
    verify(&m.registered, &public, &proof).unwrap();
}

#[test]
fn what_has_no_proof_is_refused_by_name() {
    let mut header = header(model(&TinyOptions::default()), CHUNK_BITS).unwrap();
    assert!(Shape::new(&header, 200, 57).is_err(), "more than max_positions");
    header.arch.head_dim = 192;
    assert_eq!(Shape::new(&header, 4, 4), Err(ShapeError::HeadDim { got: 192 }));
    header.arch.head_dim = 32;
    header.arch.qk_norm = true;
    assert!(Shape::new(&header, 4, 4).is_err(), "a head norm without an eps");
}
