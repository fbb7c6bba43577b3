//! Several answers of one model in one proof: they verify together, and nothing of one can stand for another's.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::OnceLock;

use ark_ff::One;
use common::*;
use monai_inference::proof::MAX_ANSWERS;
use monai_inference::transcript::{Label, Step, Transcript};
use monai_inference::verify::verify_with;
use monai_inference::{Proof, ProofFile, Public, VerifyError, verify, verify_file, verify_many};
use monai_protocol::{Finish, Fr};
use monai_prover::{Answer, ProveError, Stages, prove, prove_many, prove_witnesses, trace};
use rayon::prelude::*;

/// Answers of different lengths: greedy, sampled, and one whose positions fill two segments.
fn answers() -> Vec<Answer> {
    let m = shared();
    let long: Vec<u32> = (0..70).map(|i| 3 + i * 3 % 250).collect();
    let mut sampled = greedy(m.model, 5);
    (sampled.top_k, sampled.top_p, sampled.seed) = (50, 60_000, 4);
    [(&[1, 20, 30][..], greedy(m.model, 2)), (&[1, 9, 40, 50], sampled), (&long, greedy(m.model, 3))]
        .into_iter()
        .map(|(prompt, params)| {
            let request = request(m.model, prompt, params);
            let (output, finish) = answer(m.model, &request);
            statement(&request, &output, finish)
        })
        .collect()
}

fn publics(answers: &[Answer]) -> Vec<Public> {
    answers.iter().map(|(public, _)| *public).collect()
}

/// The first two answers and their proof.
fn two() -> &'static (Vec<Public>, Proof) {
    static TWO: OnceLock<(Vec<Public>, Proof)> = OnceLock::new();
    TWO.get_or_init(|| {
        let answers = &answers()[..2];
        let (proof, _) = prove_many(shared(), srs(), answers, &()).unwrap();
        (publics(answers), proof)
    })
}

fn refused(name: &str, change: impl FnOnce(&mut Proof, &mut Vec<Public>)) {
    let (mut publics, mut proof) = two().clone();
    change(&mut proof, &mut publics);
    assert!(verify_many(&shared().registered, &publics, &proof).is_err(), "{name}");
}

#[test]
fn two_and_three_answers_of_different_lengths_verify_together() {
    let m = shared();
    let (both, proof) = two();
    verify_many(&m.registered, both, proof).unwrap();
    assert_ne!(both[0].n_out, both[1].n_out);
    let file = ProofFile::new(&m.registered, both.clone(), proof.clone());
    assert_eq!(ProofFile::from_bytes(&file.to_bytes()).unwrap(), file);
    let found = verify_file(m.registered.digest(), &file.to_bytes()).unwrap();
    assert_eq!(&found.publics, both);

    let all = answers();
    let (proof, stages) = prove_many(m, srs(), &all, &()).unwrap();
    verify_many(&m.registered, &publics(&all), &proof).unwrap();
    // What is shared is there once, whatever the number of answers.
    for shared in ["reduction", "opening"] {
        assert_eq!(stages.0.iter().filter(|s| s.name == shared).count(), 1, "{shared}");
    }
}

#[test]
fn one_answer_is_the_special_case() {
    let m = shared();
    let all = answers();
    let (public, preimage) = &all[0];
    let (one, _) = prove(m, srs(), public, preimage).unwrap();
    let (many, _) = prove_many(m, srs(), &all[..1], &()).unwrap();
    assert_eq!(one.to_bytes(), many.to_bytes());
    verify(&m.registered, public, &many).unwrap();
}

#[test]
fn parts_of_answers_can_not_be_exchanged() {
    refused("answers exchanged", |q, p| {
        q.answers.swap(0, 1);
        p.swap(0, 1);
    });
    refused("shown parts exchanged", |q, _| q.answers.swap(0, 1));
    refused("public inputs exchanged", |_, p| p.swap(0, 1));
    refused("rows exchanged", |q, _| {
        let rows = q.answers[0].rows.clone();
        q.answers[0].rows = q.answers[1].rows.clone();
        q.answers[1].rows = rows;
    });
    refused("commitments exchanged", |q, _| q.commitments.reverse());
    refused("the second dropped", |q, p| {
        q.answers.truncate(1);
        p.truncate(1);
    });
    refused("the first dropped", |q, p| {
        q.answers.remove(0);
        p.remove(0);
    });
    refused("the second's public inputs dropped", |_, p| p.truncate(1));
    refused("one shown twice", |q, p| {
        q.answers[1] = q.answers[0].clone();
        p[1] = p[0];
    });
    refused("none", |q, p| {
        q.answers.clear();
        p.clear();
    });
    for i in 0..2 {
        refused("R", |_, p| p[i].request.0 += Fr::one());
        refused("O", |_, p| p[i].output.0 += Fr::one());
        refused("n_in", |_, p| p[i].n_in += 1);
        refused("finish", |_, p| p[i].finish = Finish::Cancelled);
        refused("an id", |q, _| q.answers[i].preimage.output[0] ^= 1);
        refused("a row", |q, _| q.answers[i].rows[0].all_weight += 1);
    }
}

#[test]
fn proofs_can_not_be_mixed() {
    let m = shared();
    let all = answers();
    let single = |i: usize| prove(m, srs(), &all[i].0, &all[i].1).unwrap().0;
    let (a, b) = (single(0), single(1));
    let joined = Proof {
        answers: [a.answers.clone(), b.answers.clone()].concat(),
        commitments: [a.commitments.clone(), b.commitments.clone()].concat(),
        messages: [a.messages.clone(), b.messages.clone()].concat(),
        opening: b.opening.clone(),
    };
    assert!(
        verify_many(&m.registered, &publics(&all[..2]), &joined).is_err(),
        "two proofs, one after the other"
    );
    // A part of the proof of two is no proof of one.
    refused("the first's part", |q, p| {
        q.answers.truncate(1);
        q.commitments.truncate(a.commitments.len());
        q.messages = a.messages.clone();
        p.truncate(1);
    });
    // Commitments and messages are those of this pair alone.
    refused("messages of another's proof", |q, _| {
        let n = a.messages.len().min(q.messages.len());
        q.messages[..n].copy_from_slice(&a.messages[..n]);
    });
    refused("the opening of another proof", |q, _| q.opening = a.opening.clone());
}

#[test]
fn a_false_answer_among_true_ones_is_refused() {
    let m = shared();
    let mut all = answers();
    all.truncate(2);
    let honest = all[1].1.clone();
    let mut output = honest.output.clone();
    output[1] = (output[1] + 1) % 300;
    all[1] = statement(&honest.request, &output, all[1].0.finish);
    assert!(prove_many(m, srs(), &all, &()).is_err());

    // The same false answer with rows that a liar made up to satisfy every check in the clear.
    let header = m.registered.header();
    let shape = |a: &Answer| {
        let (n_in, n_out) = (a.1.request.prompt.len(), a.1.output.len());
        monai_inference::shape::Shape::new(header, n_in, n_out).unwrap()
    };
    let witness = |a: &Answer| trace(m.model, &shape(a), &a.1.request, &a.1.output).unwrap();
    let (first, mut second) = (witness(&all[0]), witness(&all[1]));
    for row in &mut second.rows {
        (row.prefix_weight, row.chosen_weight) = (0, row.kept_weight.max(1));
    }
    let made = prove_witnesses(m, srs(), &all, &[&first, &second], &mut Stages::default(), &());
    match made {
        Err(ProveError::Statement(VerifyError::Check(check))) => assert_eq!(check, "the selection's sums"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_number_of_answers_is_bounded() {
    let m = shared();
    let (both, proof) = two();
    let mut proof = proof.clone();
    proof.answers = vec![proof.answers[0].clone(); MAX_ANSWERS + 1];
    let publics = vec![both[0]; MAX_ANSWERS + 1];
    assert!(matches!(verify_many(&m.registered, &publics, &proof), Err(VerifyError::Shape(_))));
}

#[test]
fn every_message_is_absorbed_and_binds() {
    let m = shared();
    let (both, proof) = two();
    let mut transcript = Transcript::new();
    transcript.record();
    verify_with(&m.registered, both, proof, &mut transcript).unwrap();
    let steps = transcript.steps();
    let absorbed = |label: Label| steps.iter().filter(|s| **s == Step::Absorb(label)).count();
    // M in two limbs, version, number of answers, and for each R, O, lengths, finish.
    assert_eq!(absorbed(Label::Statement), 4 + 5 * 2);
    assert_eq!(absorbed(Label::SelectionRow), 10 * proof.answers.iter().map(|a| a.rows.len()).sum::<usize>());
    assert_eq!(absorbed(Label::Chunk), 2 * proof.commitments.len());
    // All of it comes before the first challenge, and there are two fingerprints, one an answer.
    let first = steps.iter().position(|s| matches!(s, Step::Challenge(_))).unwrap();
    let early = |s: &&Step| matches!(s, Step::Absorb(Label::Statement | Label::SelectionRow | Label::Chunk));
    assert_eq!(steps[..first].iter().filter(early).count(), steps.iter().filter(early).count());
    assert_eq!(steps.iter().filter(|s| **s == Step::Challenge(Label::Fingerprint)).count(), 4);
    (0..proof.messages.len()).into_par_iter().filter(|i| i % 7 == 0).for_each(|i| {
        refused(&format!("message {i}"), |q, _| q.messages[i] += Fr::one());
    });
}
