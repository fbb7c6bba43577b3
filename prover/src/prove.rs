//! From an answer to its proof.

use std::time::{Duration, Instant};

use ark_ff::One;
use monai_inference::proof::Proof;
use monai_inference::relations::prove_all;
use monai_inference::shape::Shape;
use monai_inference::statement::Statement;
use monai_inference::transcript::{Label, Transcript};
use monai_inference::verify::absorb_statement;
use monai_inference::{Preimage, Public, RegisteredModel};
use monai_model::artefact::Model;
use monai_protocol::Fr;

use crate::channel::Channel;
use crate::commit::{ChunkRef, Srs, open};
use crate::error::ProveError;
use crate::model::ModelTensors;
use crate::party::Prover;
use crate::reduce;
use crate::witness::{Witness, trace};

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
pub struct Stages(pub Vec<(&'static str, Duration)>);

impl Stages {
    fn time<T>(&mut self, name: &'static str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = f();
        self.0.push((name, start.elapsed()));
        out
    }
}

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
    let mut stages = Stages::default();
    let header = model.registered.header();
    let shape = Shape::new(header, preimage.request.prompt.len(), preimage.output.len())?;
    let witness =
        stages.time("witness", || trace(model.model, &shape, &preimage.request, &preimage.output))?;
    let proof = prove_witness(model, srs, public, preimage, &witness, &mut stages)?;
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
    let s = Statement::new(model.registered.header(), public, preimage, &witness.rows)?;
    let mut transcript = Transcript::new();
    absorb_statement(&mut transcript, &s, &model.registered, &[]);
    prove_all(&mut Prover::new(&s, witness, &model.tensors, Channel::new(transcript)), &s)
}

/// [`prove`] from a witness. A wrong witness gives a proof that is refused, or an error.
///
/// # Errors
/// As [`prove`].
pub fn prove_witness(
    model: &ProvingModel<'_>,
    srs: &Srs,
    public: &Public,
    preimage: &Preimage,
    witness: &Witness,
    stages: &mut Stages,
) -> Result<Proof, ProveError> {
    let registered = &model.registered;
    let s = Statement::new(registered.header(), public, preimage, &witness.rows)?;
    let chunk = 1usize << s.shape.chunk_bits;
    let mut chunks: Vec<ChunkRef<'_>> = witness.values.chunks(chunk).map(ChunkRef::I32).collect();
    let commitments = stages.time("commit", || srs.commit_all(&chunks))?;
    let mut transcript = Transcript::new();
    absorb_statement(&mut transcript, &s, registered, &commitments);

    let mut prover = Prover::new(&s, witness, &model.tensors, Channel::new(transcript));
    stages.time("relations", || prove_all(&mut prover, &s))?;
    let Prover { mut channel, claims, spent, .. } = prover;
    stages.0.extend(spent);
    let (point, values) = stages.time("reduce", || {
        reduce::prove(&s, &witness.values, model.tensors.values(), &claims, &mut channel)
    })?;
    let xi = channel.challenge(Label::Batch);
    let Channel { mut transcript, messages } = channel;

    let coefficients: Vec<Fr> =
        std::iter::successors(Some(Fr::one()), |x| Some(*x * xi)).take(values.len()).collect();
    chunks.extend(model.tensors.chunks(s.shape.chunk_bits).into_iter().map(ChunkRef::I64));
    let all: Vec<_> = commitments.iter().chain(registered.chunks()).copied().collect();
    let (_, opening) =
        stages.time("open", || open(srs, &chunks, &all, &coefficients, &point, &mut transcript))?;
    Ok(Proof { preimage: preimage.clone(), rows: witness.rows.clone(), commitments, messages, opening })
}
