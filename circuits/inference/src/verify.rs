//! The entry point: one proof, one answer or several.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use crate::batch::Batch;
use crate::commitment::{Commitment, verify_opening};
use crate::error::VerifyError;
use crate::proof::{Proof, VERSION};
use crate::reduction::{merged, weights_at};
use crate::registration::RegisteredModel;
use crate::relations::prove_all;
use crate::statement::Public;
use crate::transcript::{Label, Transcript};
use crate::verifier::Verifier;

/// Absorbs all that is fixed before the first challenge. M comes first: it stands for the header and for every chunk of the
/// model's tensors, whose commitments are not absorbed one by one.
///
/// Several answers begin with their number, one answer with its R. No R is a small number, short of a preimage of the hash,
/// so no list of answers is absorbed as another.
pub fn absorb_statements(t: &mut Transcript, batch: &Batch, model: &RegisteredModel, witness: &[Commitment]) {
    let mut put = |x: Fr| t.absorb(Label::Statement, &x);
    for x in model.digest().limbs() {
        put(x);
    }
    put(Fr::from(VERSION));
    let statements = batch.statements();
    if statements.len() > 1 {
        put(Fr::from(u64::try_from(statements.len()).unwrap_or(u64::MAX)));
    }
    for s in statements {
        put(s.public.request.0);
        put(s.public.output.0);
        put(Fr::from(s.public.n_in));
        put(Fr::from(s.public.n_out));
        put(Fr::from(s.public.finish.code()));
    }
    for row in statements.iter().flat_map(|s| &s.rows) {
        for x in row.elements() {
            t.absorb(Label::SelectionRow, &x);
        }
    }
    for chunk in witness {
        for x in chunk.coordinates() {
            t.absorb(Label::Chunk, &x);
        }
    }
}

/// Verifies that O commits to the ids that the registered model selects, position after position, from what R commits
/// to, ending as the stop rule says: a proof of one answer.
///
/// `model` was checked against the registered M when it was made, and holds the setup's key that M names. The caller pins M
/// and the public inputs: a proof is worth nothing for an M that its prover chose.
///
/// # Errors
/// Why the proof is refused.
pub fn verify(model: &RegisteredModel, public: &Public, proof: &Proof) -> Result<(), VerifyError> {
    verify_many(model, std::slice::from_ref(public), proof)
}

/// [`verify`] for all answers of a proof, in their order.
///
/// # Errors
/// Why the proof is refused. One false answer among true ones refuses all.
pub fn verify_many(model: &RegisteredModel, publics: &[Public], proof: &Proof) -> Result<(), VerifyError> {
    verify_with(model, publics, proof, &mut Transcript::new())
}

/// [`verify_many`] on a transcript that the caller may inspect afterwards; it must be new.
///
/// # Errors
/// As [`verify_many`].
pub fn verify_with(
    model: &RegisteredModel,
    publics: &[Public],
    proof: &Proof,
    transcript: &mut Transcript,
) -> Result<(), VerifyError> {
    let batch = Batch::new(model.header(), publics, &proof.answers)?;
    count("witness chunks", proof.commitments.len(), batch.witness_chunks())?;
    count("model chunks", model.chunks().len(), batch.model_chunks())?;
    absorb_statements(transcript, &batch, model, &proof.commitments);

    let mut verifier = Verifier::new(batch.statement(0)?, transcript, &proof.messages);
    for (answer, s) in batch.statements().iter().enumerate() {
        verifier.turn_to(answer, s);
        prove_all(&mut verifier, s)?;
    }
    let claims = verifier.take_claims();
    let chi = crate::party::Party::challenge(&mut verifier, Label::Batch);
    let end = verifier.rounds(batch.chunk_bits(), 2, merged(&claims, chi))?;
    let weights = weights_at(&batch, &claims, chi, &end.point)?;
    let mut values = Vec::with_capacity(weights.len());
    for _ in &weights {
        values.push(verifier.read(Label::ChunkValue)?);
    }
    let sum = weights.iter().zip(&values).fold(Fr::zero(), |acc, (w, v)| acc + *w * v);
    if sum != end.value {
        return Err(VerifyError::Check("the claims follow from the chunks' values"));
    }
    let xi = crate::party::Party::challenge(&mut verifier, Label::Batch);
    verifier.finish()?;

    let coefficients: Vec<Fr> =
        std::iter::successors(Some(Fr::one()), |x| Some(*x * xi)).take(values.len()).collect();
    let value = coefficients.iter().zip(&values).fold(Fr::zero(), |acc, (a, v)| acc + *a * v);
    let chunks: Vec<Commitment> = proof.commitments.iter().chain(model.chunks()).copied().collect();
    verify_opening(model.key(), &chunks, &coefficients, &end.point, &value, &proof.opening, transcript)?;
    Ok(())
}

fn count(what: &'static str, got: usize, expected: usize) -> Result<(), VerifyError> {
    if got == expected { Ok(()) } else { Err(VerifyError::Count { what, got, expected }) }
}
