//! A model that is ready to prove with: artefact, laid-out tensors, commitment.
//!
//! The commitment is made once and kept. It follows from artefact and setup alone; the kept file is resumable, and whoever
//! can write it can only make this machine's own proofs fail, because verifiers bring their own M.

use super::setup;
use crate::cli::SetupArgs;
use crate::error::{Error, Result};
use crate::home::{Home, private_dir};
use crate::models::StoredModel;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use monai_inference::{ModelHeader, RegisteredModel};
use monai_model::artefact::Model;
use monai_prover::commit::Srs;
use monai_prover::{ModelTensors, ProveError, ProvingModel, chunk_bits, commit_model, header};
use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What proofs of one model are made with.
pub(crate) struct Kit {
    pub(crate) model: Arc<Model>,
    pub(crate) srs: Srs,
    tensors: ModelTensors,
    registered: RegisteredModel,
}

impl Kit {
    /// Loads a model and its commitment; chunks that are missing are committed to, with progress on standard error.
    ///
    /// # Errors
    /// A model that has no proofs ([`Error::Prover`]), a setup that can't be had, the order to stop.
    pub(crate) fn load(
        stored: &StoredModel,
        args: &SetupArgs,
        home: &Home,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let model = Arc::new(stored.load()?);
        let header = header_of(&model)?;
        let srs = setup::load(args, header.chunk_bits, home)?;
        let tensors = ModelTensors::new(&model, &header).map_err(prover)?;
        private_dir(&home.commitments())?;
        let kind = if args.setup.is_some() { "ceremony" } else { "INSECURE-development" };
        let cache = home.commitments().join(format!("{}-{kind}.chunks", hex::encode(stored.id.0)));
        let bar = CommitBar::default();
        let commitment = commit_model(&model, &tensors, &header, &srs, Some(&cache), &mut |done, all| {
            bar.at(done, all);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(prover)?;
        drop(bar);
        let registered = RegisteredModel::new(&commitment.digest(), &commitment, srs.key())
            .map_err(|e| Error::Prover(e.to_string()))?;
        Ok(Self { model, srs, tensors, registered })
    }

    /// As the prover takes it.
    pub(crate) fn proving(&self) -> ProvingModel<'_> {
        ProvingModel {
            model: &self.model,
            tensors: self.tensors.clone(),
            registered: self.registered.clone(),
        }
    }

    /// What verifiers need.
    pub(crate) fn registered(&self) -> &RegisteredModel {
        &self.registered
    }
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kit").field("model", &self.model.id).finish_non_exhaustive()
    }
}

/// The public header of a model, with the size of chunks that every prover of it uses.
///
/// # Errors
/// A model that the statement does not cover.
pub(crate) fn header_of(model: &Model) -> Result<ModelHeader> {
    let bits = chunk_bits(model).map_err(prover)?;
    header(model, bits).map_err(prover)
}

/// A prover's error with the exit code that fits it.
pub(crate) fn prover(error: ProveError) -> Error {
    match error {
        ProveError::Cancelled(_) => Error::Local("cancelled".into()),
        ProveError::Commit(e) => setup::error(e),
        // The verifier's own checks, made on what was to be proved.
        ProveError::Statement(e) => Error::Invalid(format!("can't be proved: {e}")),
        ProveError::Shape(e) => Error::Invalid(format!("can't be proved: {e}")),
        other => Error::Prover(other.to_string()),
    }
}

/// Chunks of a model that are committed to. Silent where nothing is left to do.
struct CommitBar {
    bar: ProgressBar,
    lines: bool,
}

impl Default for CommitBar {
    fn default() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) =
            ProgressStyle::with_template("committing to the model {bar:30} {pos}/{len} ({elapsed})")
        {
            bar.set_style(style);
        }
        Self { bar, lines: !std::io::stderr().is_terminal() }
    }
}

impl CommitBar {
    fn at(&self, done: usize, all: usize) {
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
        if self.lines && done < all && done.is_multiple_of(all.div_ceil(10).max(1)) {
            eprintln!("committing to the model: chunk {} of {all}", done + 1);
        }
    }
}

impl Drop for CommitBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
