//! From answers to their proof.

use ark_ff::One;
use monai_inference::proof::Proof;
use monai_inference::relations::prove_all;
use monai_inference::shape::Shape;
use monai_inference::statement::Statement;
use monai_inference::transcript::{Label, Transcript};
use monai_inference::verify::absorb_statements;
use monai_inference::{Batch, ModelHeader, Preimage, Public, RegisteredModel, Shown, VerifyError};
use monai_model::artefact::Model;
use monai_protocol::Fr;

use crate::channel::Channel;
use crate::commit::{ChunkRef, Srs, open_watched};
use crate::error::ProveError;
use crate::model::ModelTensors;
use crate::party::Prover;
use crate::progress::{Progress, Stage, StageTime, Stopwatch, check};
use crate::reduce;
use crate::witness::{Witness, trace_watched};

/// A model that is ready to prove with: artefact, laid-out tensors, registration.
#[derive(Debug)]
pub struct ProvingModel<'a> {
    /// The artefact.
    pub model: &'a Model,
    /// Its tensors in the commitment's layout.
    pub tensors: ModelTensors,
    /// What verifiers have.
    pub registered: RegisteredModel,
}

/// Time spent in each stage. What follows "relations" is part of it.
#[derive(Clone, Debug, Default)]
pub struct Stages(pub Vec<StageTime>);

impl Stages {
    fn time<T>(&mut self, name: &'static str, f: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let out = f();
        self.0.push(watch.read(name));
        out
    }
}

/// An answer and what is claimed of it.
pub type Answer = (Public, Preimage);

/// Proves that `preimage.output` is what the model decodes from `preimage.request`.
///
/// # Errors
/// A [`ProveError`]; where the answer is not the model's, [`ProveError::Statement`].
pub fn prove(
    model: &ProvingModel<'_>,
    srs: &Srs,
    public: &Public,
    preimage: &Preimage,
) -> Result<(Proof, Stages), ProveError> {
    prove_watched(model, srs, public, preimage, &())
}

/// [`prove`] that tells how far it is and can be cancelled.
///
/// # Errors
/// As [`prove`], and [`ProveError::Cancelled`].
pub fn prove_watched(
    model: &ProvingModel<'_>,
    srs: &Srs,
    public: &Public,
    preimage: &Preimage,
    progress: &dyn Progress,
) -> Result<(Proof, Stages), ProveError> {
    prove_many(model, srs, &[(*public, preimage.clone())], progress)
}

/// One proof of several answers of one model, of up to [`monai_inference::proof::MAX_ANSWERS`]: they share the model's part of
/// the reduction, and the opening. All witnesses are in memory at the same time.
///
/// # Errors
/// As [`prove_watched`]; one answer that is not the model's refuses all.
pub fn prove_many(
    model: &ProvingModel<'_>,
    srs: &Srs,
    answers: &[Answer],
    progress: &dyn Progress,
) -> Result<(Proof, Stages), ProveError> {
    let mut stages = Stages::default();
    let header = model.registered.header();
    let witnesses = stages.time(Stage::Witness.name(), || {
        let trace = |(_, preimage): &Answer| -> Result<Witness, ProveError> {
            let shape = Shape::new(header, preimage.request.prompt.len(), preimage.output.len())?;
            trace_watched(model.model, &shape, &preimage.request, &preimage.output, progress)
        };
        answers.iter().map(trace).collect::<Result<Vec<_>, _>>()
    })?;
    let witnesses: Vec<&Witness> = witnesses.iter().collect();
    let proof = prove_witnesses(model, srs, answers, &witnesses, &mut stages, progress)?;
    Ok((proof, stages))
}

/// Runs all relations on a witness, without commitments: whether it satisfies them, except with negligible probability.
///
/// Only a self-check of provers and tests. Its challenges do not depend on the witness, so it convinces nobody else.
///
/// # Errors
/// The first relation that does not hold, as [`ProveError::Statement`].
pub fn check_relations(
    model: &ProvingModel<'_>,
    public: &Public,
    preimage: &Preimage,
    witness: &Witness,
) -> Result<(), ProveError> {
    check_relations_of(model.registered.header(), &model.tensors, public, preimage, witness)
}

/// [`check_relations`] for a model that is not committed to.
///
/// # Errors
/// As [`check_relations`].
pub fn check_relations_of(
    header: &ModelHeader,
    tensors: &ModelTensors,
    public: &Public,
    preimage: &Preimage,
    witness: &Witness,
) -> Result<(), ProveError> {
    let s = Statement::new(header, public, preimage, &witness.rows)?;
    let mut transcript = Transcript::new();
    transcript.absorb(Label::Statement, &public.request.0);
    transcript.absorb(Label::Statement, &public.output.0);
    prove_all(&mut Prover::new(&s, witness, tensors, Channel::new(transcript), &()), &s)
}

/// [`prove_many`] from witnesses, one an answer. A wrong witness gives a proof that is refused, or an error.
///
/// # Errors
/// As [`prove_many`].
pub fn prove_witnesses(
    model: &ProvingModel<'_>,
    srs: &Srs,
    answers: &[Answer],
    witnesses: &[&Witness],
    stages: &mut Stages,
    progress: &dyn Progress,
) -> Result<Proof, ProveError> {
    let registered = &model.registered;
    let publics: Vec<Public> = answers.iter().map(|(public, _)| *public).collect();
    let shown: Vec<Shown> = answers
        .iter()
        .zip(witnesses)
        .map(|((_, preimage), w)| Shown { preimage: preimage.clone(), rows: w.rows.clone() })
        .collect();
    let batch = Batch::new(registered.header(), &publics, &shown)?;
    let chunk = 1usize << batch.chunk_bits();
    let mut chunks: Vec<ChunkRef<'_>> =
        witnesses.iter().flat_map(|w| w.values.chunks(chunk)).map(ChunkRef::I32).collect();
    let commitments = stages.time(Stage::Commit.name(), || {
        let commit = |(i, c): (usize, &ChunkRef<'_>)| {
            progress.step(Stage::Commit, "chunk", i, chunks.len());
            srs.commit_watched(*c, progress)
        };
        chunks.iter().enumerate().map(commit).collect::<Result<Vec<_>, _>>()
    })?;
    let mut transcript = Transcript::new();
    absorb_statements(&mut transcript, &batch, registered, &commitments);

    let statements = batch.statements();
    let (Some(first), Some(witness)) = (statements.first(), witnesses.first()) else {
        return Err(VerifyError::Internal("no answer").into());
    };
    let mut prover = Prover::new(first, witness, &model.tensors, Channel::new(transcript), progress);
    stages.time(Stage::Relations.name(), || {
        for (answer, (s, w)) in statements.iter().zip(witnesses).enumerate() {
            prover.turn_to(answer, statements.len(), s, w);
            prove_all(&mut prover, s)?;
        }
        Ok::<_, ProveError>(())
    })?;
    let Prover { mut channel, claims, spent, .. } = prover;
    stages.0.extend(spent.into_values());
    let (point, values) = stages.time(Stage::Reduction.name(), || {
        progress.step(Stage::Reduction, "reduction", 0, 1);
        let values: Vec<&[i32]> = witnesses.iter().map(|w| w.values.as_slice()).collect();
        reduce::prove(&batch, &values, &model.tensors, &claims, &mut channel)
    })?;
    check(progress)?;
    let xi = channel.challenge(Label::Batch);
    let Channel { mut transcript, messages } = channel;

    let coefficients: Vec<Fr> =
        std::iter::successors(Some(Fr::one()), |x| Some(*x * xi)).take(values.len()).collect();
    let parts = model.tensors.chunks(batch.chunk_bits());
    chunks.extend(parts.iter().map(|p| ChunkRef::Joined(p)));
    let all: Vec<_> = commitments.iter().chain(registered.chunks()).copied().collect();
    let (_, opening) = stages.time(Stage::Opening.name(), || {
        open_watched(srs, &chunks, &all, &coefficients, &point, &mut transcript, progress)
    })?;
    progress.step(Stage::Opening, "done", 1, 1);
    Ok(Proof { answers: shown, commitments, messages, opening })
}
