//! Registering a model: its commitment, and the check that those who did not make it run.
//!
//! A proof shows that an answer follows from *committed* tensors. That these are the artefact's, that its tables are the
//! frozen ones and that no sum of it can leave its width is not proved: it is what [`check_registration`] recomputes.

use std::ops::ControlFlow;
use std::path::Path;

use monai_inference::commitment::{Commitment, ModelCommitment, ModelConstants, VerifierKey};
use monai_inference::shape::Matrix;
use monai_inference::{ModelDigest, ModelHeader, RegisteredModel, RegistrationError};
use monai_model::artefact::Model;
use monai_model::bounds::{self, BoundError};
use monai_model::{file, tables};

use crate::commit::{ChunkListId, ChunkRef, CommitError, Srs, commit_resumable};
use crate::error::ProveError;
use crate::model::{ModelTensors, header};

/// Told chunks done and chunks in all; `Break` stops the work.
pub type ChunkProgress<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// Why an artefact is not what a registration says.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationCheckError {
    /// The commitment does not hash to M, or contradicts itself.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The artefact in memory has another identity than its content.
    #[error("the artefact's content is not that of its identity")]
    Content,
    /// A part of the registration is not the artefact's.
    #[error("the registration's {0} is not the artefact's")]
    Differs(&'static str),
    /// A chunk is a commitment to other values.
    #[error("chunk {chunk} is not a commitment to the artefact's values")]
    Chunk {
        /// Its index.
        chunk: usize,
    },
    /// A table is not the one that the statement relies on.
    #[error("the table {0} is not the frozen one")]
    Table(&'static str),
    /// An integer bound does not hold.
    #[error(transparent)]
    Bound(#[from] BoundError),
    /// The artefact can't be laid out or committed to.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The work was stopped.
    #[error("stopped")]
    Stopped,
}

/// All of a model's commitment but its chunks, which are left empty.
///
/// # Errors
/// [`ProveError::Model`] where the architecture has no canonical form.
fn description(
    model: &Model,
    header: &ModelHeader,
    key: &VerifierKey,
) -> Result<ModelCommitment, ProveError> {
    let arch = serde_json::to_vec(&model.arch).map_err(|_| ProveError::Model("architecture"))?;
    let template = model.text.chat_template.as_deref().unwrap_or_default();
    let biased = Matrix::ALL
        .iter()
        .enumerate()
        .fold(0u8, |bits, (i, m)| bits | u8::from(header.biased.contains(m)) << i);
    Ok(ModelCommitment {
        model: model.id,
        architecture: *blake3::hash(&arch).as_bytes(),
        tokenizer: *blake3::hash(model.text.tokenizer_json.as_bytes()).as_bytes(),
        template: *blake3::hash(template.as_bytes()).as_bytes(),
        setup: key.digest(),
        chunk_bits: u8::try_from(header.chunk_bits).map_err(|_| ProveError::Model("chunk bits"))?,
        constants: ModelConstants {
            arch: model.arch.clone(),
            score_multipliers: header.score_multipliers.clone(),
            head_norm_eps: header.head_norm_eps.clone(),
            eos_ids: header.eos_ids.clone(),
            biased,
        },
        chunks: Vec::new(),
    })
}

/// Commits to a model: what M is the digest of, chunk by chunk.
///
/// With `cache`, done chunks are recorded there and a stopped run goes on after them; the file is trusted, see
/// [`commit_resumable`]. `progress` is told before each chunk, and once at the end.
///
/// # Errors
/// Where the statement does not cover the model, the setup is too small, the cache can't be written, or
/// [`CommitError::Cancelled`].
pub fn commit_model(
    model: &Model,
    tensors: &ModelTensors,
    header: &ModelHeader,
    srs: &Srs,
    cache: Option<&Path>,
    progress: &mut ChunkProgress<'_>,
) -> Result<ModelCommitment, ProveError> {
    let mut out = description(model, header, srs.key())?;
    let parts = tensors.chunks(header.chunk_bits);
    let chunks: Vec<ChunkRef<'_>> = parts.iter().map(|p| ChunkRef::Joined(p)).collect();
    out.chunks = match cache {
        Some(path) => {
            let layout = *blake3::hash(&out.to_bytes()).as_bytes();
            commit_resumable(srs, &ChunkListId { model: model.id.0, layout }, &chunks, path, progress)?
        }
        None => {
            let mut done: Vec<Commitment> = Vec::with_capacity(chunks.len());
            for chunk in &chunks {
                if progress(done.len(), chunks.len()).is_break() {
                    return Err(CommitError::Cancelled.into());
                }
                done.push(srs.commit(*chunk)?);
            }
            let _ = progress(chunks.len(), chunks.len());
            done
        }
    };
    Ok(out)
}

impl ModelTensors {
    /// Commits to all chunks, without a cache, and registers the result under its own digest: for provers, who have the
    /// artefact, and tests. A verifier starts from the M of a registry.
    ///
    /// # Errors
    /// Where the setup is too small, or as [`RegisteredModel::new`].
    pub fn commit(
        &self,
        model: &Model,
        header: &ModelHeader,
        srs: &Srs,
    ) -> Result<RegisteredModel, RegistrationCheckError> {
        let go = &mut |_, _| ControlFlow::Continue(());
        let commitment = commit_model(model, self, header, srs, None, go)?;
        Ok(RegisteredModel::new(&commitment.digest(), &commitment, srs.key())?)
    }
}

/// Checks that a registration is this artefact's, by recomputing all of it: identity, digests, constants, frozen tables,
/// integer bounds, and every chunk. Whoever relies on M runs it, or relies on somebody who has.
///
/// `model` comes from [`monai_model::file::load`], which checks its shape. `progress` is told before each chunk.
///
/// # Errors
/// The first difference, by name; [`RegistrationCheckError::Stopped`] if `progress` says so.
pub fn check_registration(
    registered: &ModelDigest,
    commitment: &ModelCommitment,
    model: &Model,
    srs: &Srs,
    progress: &mut ChunkProgress<'_>,
) -> Result<(), RegistrationCheckError> {
    RegisteredModel::new(registered, commitment, srs.key())?;
    let mut copy = model.clone();
    if file::identify(&mut copy).ok() != Some(model.id) {
        return Err(RegistrationCheckError::Content);
    }
    let header = header(model, commitment.chunk_bits.into())?;
    let own = description(model, &header, srs.key())?;
    for (part, same) in [
        ("model identity", own.model == commitment.model),
        ("architecture digest", own.architecture == commitment.architecture),
        ("tokenizer digest", own.tokenizer == commitment.tokenizer),
        ("template digest", own.template == commitment.template),
        ("architecture", own.constants.arch == commitment.constants.arch),
        ("score multipliers", own.constants.score_multipliers == commitment.constants.score_multipliers),
        ("eps of head norms", own.constants.head_norm_eps == commitment.constants.head_norm_eps),
        ("end ids", own.constants.eos_ids == commitment.constants.eos_ids),
        ("list of biases", own.constants.biased == commitment.constants.biased),
    ] {
        if !same {
            return Err(RegistrationCheckError::Differs(part));
        }
    }
    // The statement relies on EXP[0] and WEIGHT[0] being larger than all other entries, which is so in these tables.
    for (table, same) in [
        ("EXP", model.tables.exp == tables::exp_table()),
        ("WEIGHT", model.tables.weight == tables::weight_table()),
    ] {
        if !same {
            return Err(RegistrationCheckError::Table(table));
        }
    }
    bounds::check(model)?;
    let tensors = ModelTensors::new(model, &header)?;
    let chunks = tensors.chunks(header.chunk_bits);
    // Their number is the layout's, as the constructor above has checked.
    for (i, (chunk, listed)) in chunks.iter().zip(&commitment.chunks).enumerate() {
        if progress(i, chunks.len()).is_break() {
            return Err(RegistrationCheckError::Stopped);
        }
        if srs.commit(ChunkRef::Joined(chunk)).map_err(ProveError::from)? != *listed {
            return Err(RegistrationCheckError::Chunk { chunk: i });
        }
    }
    let _ = progress(chunks.len(), chunks.len());
    Ok(())
}
