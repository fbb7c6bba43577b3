//! Every field of a proof and of its public inputs, tampered with, is refused; so are arbitrary bytes, without a panic.
#![allow(clippy::unwrap_used)]

mod common;

use ark_ff::One;
use common::*;
use monai_inference::commitment::{Commitment, ModelCommitment};
use monai_inference::transcript::{Label, Step, Transcript};
use monai_inference::verify::verify_with;
use monai_inference::{Preimage, Proof, Public, RegisteredModel, RegistrationError, verify};
use monai_model::testing::TinyOptions;
use monai_protocol::{Assurance, Blinding, Finish, Fr};
use monai_prover::{ProvingModel, prove};
use rayon::prelude::*;
use std::sync::OnceLock;

type Honest = (&'static ProvingModel<'static>, Public, Proof);

fn proved(m: &'static ProvingModel<'static>) -> Honest {
    let mut params = greedy(m.model, 3);
    (params.top_k, params.top_p, params.seed) = (50, 60_000, 4);
    let request = request(m.model, &[1, 20, 30, 40], params);
    let (output, finish) = answer(m.model, &request);
    let (public, preimage) = statement(&request, &output, finish);
    let (proof, _) = prove(m, srs(), &public, &preimage).unwrap();
    verify(&m.registered, &public, &proof).unwrap();
    (m, public, proof)
}

fn honest() -> &'static Honest {
    static HONEST: OnceLock<Honest> = OnceLock::new();
    HONEST.get_or_init(|| proved(shared()))
}

fn refused(name: &str, change: impl FnOnce(&mut Proof, &mut Public)) {
    let (m, public, proof) = honest();
    let (mut public, mut proof) = (*public, proof.clone());
    change(&mut proof, &mut public);
    assert!(verify(&m.registered, &public, &proof).is_err(), "{name}");
}

/// The request and the answer changed together with R and O, so that the preimages still fit: only relations can refuse.
fn refused_with_new_commitments(name: &str, change: impl FnOnce(&mut Preimage)) {
    let (m, public, proof) = honest();
    let mut proof = proof.clone();
    change(&mut proof.answers[0].preimage);
    let (public, _) =
        statement(&proof.answers[0].preimage.request, &proof.answers[0].preimage.output, public.finish);
    assert!(verify(&m.registered, &public, &proof).is_err(), "{name}");
}

#[test]
fn public_inputs_and_preimages() {
    refused("R", |_, p| p.request.0 += Fr::one());
    refused("O", |_, p| p.output.0 += Fr::one());
    refused("n_in", |_, p| p.n_in += 1);
    refused("n_out", |_, p| p.n_out -= 1);
    refused("finish", |_, p| {
        p.finish = if p.finish == Finish::Length { Finish::Stop } else { Finish::Length }
    });
    refused("prompt", |q, _| q.answers[0].preimage.request.prompt[1] += 1);
    refused("answer", |q, _| q.answers[0].preimage.output[1] ^= 1);
    refused("blinding", |q, _| q.answers[0].preimage.request.blinding = Blinding(1));
    refused("nonce", |q, _| q.answers[0].preimage.request.nonce += 1);
    refused("chain", |q, _| q.answers[0].preimage.request.domain.chain_id.0 += 1);
    refused("rollup", |q, _| q.answers[0].preimage.request.domain.rollup.0[3] ^= 1);
    refused("model", |q, _| q.answers[0].preimage.request.model.0[3] ^= 1);
    refused("tau", |q, _| q.answers[0].preimage.request.params.tau -= 1);
    refused("top_k", |q, _| q.answers[0].preimage.request.params.top_k += 1);
    refused("top_p", |q, _| q.answers[0].preimage.request.params.top_p -= 1);
    refused("delta_min_p", |q, _| q.answers[0].preimage.request.params.delta_min_p -= 1);
    refused("max_tokens", |q, _| q.answers[0].preimage.request.params.max_tokens += 1);
    refused("stop ids", |q, _| q.answers[0].preimage.request.params.stop_ids.push(299));
    refused("seed", |q, _| q.answers[0].preimage.request.params.seed += 1);
    refused("a prompt id more", |q, _| q.answers[0].preimage.request.prompt.push(1));
    refused("an answer id less", |q, _| q.answers[0].preimage.output.truncate(1));
    refused("user", |q, _| q.answers[0].preimage.request.user.0[3] ^= 1);
    refused("expiry", |q, _| q.answers[0].preimage.request.expiry += 1);
    refused("price", |q, _| q.answers[0].preimage.request.max_price.0 += 1);
    refused("assurance", |q, _| q.answers[0].preimage.request.assurance = Assurance::Sampled);
    refused("preference", |q, _| q.answers[0].preimage.request.by_preference = true);
    refused_with_new_commitments("another prompt", |q| q.request.prompt[1] += 1);
    refused_with_new_commitments("another answer", |q| q.output[0] ^= 1);
    refused_with_new_commitments("another seed", |q| q.request.params.seed += 1);
    refused_with_new_commitments("another temperature", |q| q.request.params.tau -= 1);
    refused_with_new_commitments("another request", |q| q.request.nonce += 1);
    refused_with_new_commitments("another model", |q| q.request.model.0[0] ^= 1);
}

#[test]
fn rows_commitments_and_opening() {
    let rows = honest().2.answers[0].rows.len();
    for t in 0..rows {
        refused("max", |q, _| q.answers[0].rows[t].max += 1);
        refused("argmax", |q, _| q.answers[0].rows[t].argmax ^= 1);
        refused("delta", |q, _| q.answers[0].rows[t].delta ^= 1);
        refused("kept", |q, _| q.answers[0].rows[t].kept += 1);
        refused("below", |q, _| q.answers[0].rows[t].below ^= 1);
        refused("all", |q, _| q.answers[0].rows[t].all_weight += 1);
        refused("kept weight", |q, _| q.answers[0].rows[t].kept_weight += 1);
        refused("below weight", |q, _| q.answers[0].rows[t].below_weight ^= 1);
        refused("prefix", |q, _| q.answers[0].rows[t].prefix_weight ^= 1);
        refused("chosen", |q, _| q.answers[0].rows[t].chosen_weight += 1);
    }
    refused("a row less", |q, _| q.answers[0].rows.truncate(rows - 1));
    for i in 0..honest().2.commitments.len() {
        refused("a commitment", |q, _| q.commitments[i] = q.opening.h);
    }
    refused("a commitment less", |q, _| q.commitments.truncate(q.commitments.len() - 1));
    refused("a commitment more", |q, _| q.commitments.push(Commitment::IDENTITY));
    refused("h", |q, _| q.opening.h = q.opening.g);
    refused("g", |q, _| q.opening.g = q.opening.h);
    refused("q", |q, _| q.opening.q = q.opening.h);
    refused("s", |q, _| q.opening.s = q.opening.h);
    refused("d", |q, _| q.opening.d = q.opening.h);
    refused("at zeta", |q, _| q.opening.at_zeta = q.opening.h);
    refused("at inverse", |q, _| q.opening.at_inverse = q.opening.h);
    refused("at alpha", |q, _| q.opening.at_alpha = q.opening.h);
    refused("h(alpha)", |q, _| q.opening.h_alpha += Fr::one());
    refused("g(zeta)", |q, _| q.opening.g_zeta += Fr::one());
    refused("g(1/zeta)", |q, _| q.opening.g_inverse += Fr::one());
    refused("h(zeta)", |q, _| q.opening.h_zeta += Fr::one());
    refused("h(1/zeta)", |q, _| q.opening.h_inverse += Fr::one());
    refused("s(1/zeta)", |q, _| q.opening.s_inverse += Fr::one());
}

/// Each message is absorbed exactly once, and a proof with another one is refused.
fn each_message_binds((m, public, proof): &Honest) {
    let mut transcript = Transcript::new();
    transcript.record();
    verify_with(&m.registered, &[*public], proof, &mut transcript).unwrap();
    let labels: Vec<Label> = transcript
        .steps()
        .iter()
        .filter_map(|s| match s {
            Step::Absorb(Label::Statement | Label::SelectionRow | Label::Chunk | Label::Opening) => None,
            Step::Absorb(label) => Some(*label),
            Step::Challenge(_) => None,
        })
        .collect();
    assert_eq!(labels.len(), proof.messages.len(), "each message is absorbed exactly once");
    labels.par_iter().enumerate().for_each(|(i, label)| {
        let mut proof = proof.clone();
        proof.messages[i] += Fr::one();
        assert!(verify(&m.registered, public, &proof).is_err(), "message {i}, {label:?}");
    });
}

#[test]
fn messages() {
    each_message_binds(honest());
    refused("a message less", |q, _| q.messages.truncate(q.messages.len() - 1));
    refused("a message more", |q, _| q.messages.push(Fr::one()));
}

#[test]
fn messages_of_normalised_heads() {
    let o = TinyOptions { qk_norm: true, layers: 1, hidden: 64, ffn: 64, ..TinyOptions::default() };
    let honest = proved(Box::leak(Box::new(proving(model(&o)))));
    each_message_binds(&honest);
    // Another eps is another M, and the proof is not one for it.
    let (m, public, proof) = honest;
    let mut other = m.registered.commitment().clone();
    other.constants.head_norm_eps[0] += 1;
    let other = RegisteredModel::new(&other.digest(), &other, m.registered.key()).unwrap();
    assert!(verify(&other, &public, &proof).is_err());
}

/// Every challenge comes after all that it must depend on: the schedule by label, runs merged.
#[test]
fn transcript_inventory() {
    let (m, public, proof) = honest();
    let mut transcript = Transcript::new();
    transcript.record();
    verify_with(&m.registered, &[*public], proof, &mut transcript).unwrap();
    let mut order: Vec<Label> = Vec::new();
    for step in transcript.steps() {
        let (Step::Absorb(label) | Step::Challenge(label)) = step;
        if order.last() != Some(label) {
            order.push(*label);
        }
    }
    // Statement, shown integers and all commitments come first, in this order.
    assert_eq!(order[..4], [Label::Statement, Label::SelectionRow, Label::Chunk, Label::Batch]);
    // The fingerprint's challenges come after every column, and before any tree.
    let fingerprint = order.iter().position(|l| *l == Label::Fingerprint).unwrap();
    assert!(order[..fingerprint].iter().all(|l| !matches!(l, Label::Root | Label::Tree | Label::Remainder)));
    assert!(order[fingerprint + 1..].iter().all(|l| !matches!(l, Label::Chunk | Label::Fingerprint)));
    // All claims are absorbed before they are combined; chunk values before the opening.
    let end = &order[order.len() - 5..];
    assert_eq!(end, [Label::Batch, Label::Round, Label::ChunkValue, Label::Batch, Label::Opening]);
    let absorbed = |label: Label| transcript.steps().iter().filter(|s| **s == Step::Absorb(label)).count();
    // M in two limbs, version, R, O, lengths, finish.
    assert_eq!(absorbed(Label::Statement), 8);
    assert_eq!(absorbed(Label::SelectionRow), 10 * proof.answers[0].rows.len());
    assert_eq!(absorbed(Label::Chunk), 2 * proof.commitments.len());
}

/// A model whose registration differs is another M: not the registered one, and the proof is not one for it either.
#[test]
fn another_registration_is_refused() {
    let (m, public, proof) = honest();
    let key = m.registered.key();
    let differs = |name: &str, change: &dyn Fn(&mut ModelCommitment)| {
        let mut other = m.registered.commitment().clone();
        change(&mut other);
        let under_m = RegisteredModel::new(m.registered.digest(), &other, key);
        assert!(matches!(under_m, Err(RegistrationError::Digest { .. })), "{name}");
        let own = RegisteredModel::new(&other.digest(), &other, key).unwrap();
        assert!(verify(&own, public, proof).is_err(), "{name}");
    };
    let chunks = m.registered.chunks().len();
    for i in 0..chunks {
        differs("a chunk", &|c| c.chunks[i] = proof.opening.h);
    }
    differs("two chunks swapped", &|c| c.chunks.swap(0, chunks - 1));
    differs("score multiplier", &|c| c.constants.score_multipliers[0] += 1);
    differs("norm eps", &|c| c.constants.arch.norm_eps += 1);
    differs("tau_max", &|c| c.constants.arch.tau_max += 1);
    differs("tau_one", &|c| c.constants.arch.tau_one += 1);
    differs("an end id", &|c| c.constants.eos_ids.push(299));
    differs("identity", &|c| c.model.0[5] ^= 1);
    differs("architecture digest", &|c| c.architecture[0] ^= 1);
    differs("tokenizer", &|c| c.tokenizer[0] ^= 1);
    differs("template", &|c| c.template[0] ^= 1);
}

#[test]
fn encodings_are_canonical_and_arbitrary_bytes_never_panic() {
    let (m, public, proof) = honest();
    let bytes = proof.to_bytes();
    assert_eq!(&Proof::from_bytes(&bytes).unwrap(), proof);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..400 {
        let mut changed = bytes.clone();
        match next() % 3 {
            0 => changed.truncate(next() as usize % bytes.len()),
            1 => changed.push(next() as u8),
            _ => {
                let at = next() as usize % if next() % 2 == 0 { 600 } else { bytes.len() };
                changed[at] ^= (next() as u8).max(1);
            }
        }
        if let Ok(decoded) = Proof::from_bytes(&changed) {
            assert_eq!(decoded.to_bytes(), changed, "one encoding a proof");
            assert!(verify(&m.registered, public, &decoded).is_err());
        }
    }
    for n in 0..200usize {
        let noise: Vec<u8> = (0..n * 7).map(|_| next() as u8).collect();
        assert!(Proof::from_bytes(&noise).is_err());
    }
}
