//! The entry point: one proof, one answer.

use ark_ff::{One, Zero};
use monai_protocol::field::Fr;

use crate::commitment::{Commitment, verify_opening};
use crate::error::VerifyError;
use crate::proof::{Proof, VERSION};
use crate::reduction::{merged, weights_at};
use crate::registration::RegisteredModel;
use crate::relations::prove_all;
use crate::statement::{Public, Statement};
use crate::transcript::{Label, Transcript};
use crate::verifier::Verifier;

/// Absorbs all that is fixed before the first challenge. M comes first: it stands for the header and for every chunk of the
/// model's tensors, whose commitments are not absorbed one by one.
pub fn absorb_statement(t: &mut Transcript, s: &Statement, model: &RegisteredModel, witness: &[Commitment]) {
    let mut put = |x: Fr| t.absorb(Label::Statement, &x);
    for x in model.digest().limbs() {
        put(x);
    }
    put(Fr::from(VERSION));
    put(s.public.request.0);
    put(s.public.output.0);
    put(Fr::from(s.public.n_in));
    put(Fr::from(s.public.n_out));
    put(Fr::from(s.public.finish.code()));
    for row in &s.rows {
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
/// to, ending as the stop rule says.
///
/// `model` was checked against the registered M when it was made, and holds the setup's key that M names. The caller pins M
/// and the public inputs: a proof is worth nothing for an M that its prover chose.
///
/// # Errors
/// Why the proof is refused.
pub fn verify(model: &RegisteredModel, public: &Public, proof: &Proof) -> Result<(), VerifyError> {
    verify_with(model, public, proof, &mut Transcript::new())
}

/// [`verify`] on a transcript that the caller may inspect afterwards; it must be new.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    model: &RegisteredModel,
    public: &Public,
    proof: &Proof,
    transcript: &mut Transcript,
) -> Result<(), VerifyError> {
    let s = Statement::new(model.header(), public, &proof.preimage, &proof.rows)?;
    count("witness chunks", proof.commitments.len(), s.witness.chunks())?;
    count("model chunks", model.chunks().len(), s.model.chunks())?;
    absorb_statement(transcript, &s, model, &proof.commitments);

    let mut verifier = Verifier::new(&s, transcript, &proof.messages);
    prove_all(&mut verifier, &s)?;
    let claims = verifier.take_claims();
    let chi = crate::party::Party::challenge(&mut verifier, Label::Batch);
    let end = verifier.rounds(s.shape.chunk_bits, 2, merged(&claims, chi))?;
    let weights = weights_at(&s, &claims, chi, &end.point)?;
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
