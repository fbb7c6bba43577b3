//! From a receipt to the bytes of a proof file.

use super::kit::{Kit, header_of, prover};
use super::memory::{available, gib};
use crate::audit::Auditor;
use crate::cli::SetupArgs;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::models::ModelStore;
use monai_inference::proof::MAX_ANSWERS;
use monai_inference::shape::Shape;
use monai_inference::{ModelDigest, Preimage, ProofFile, Public};
use monai_protocol::ModelId;
use monai_protocol::receipt::Receipt;
use monai_prover::{MemoryEstimate, Progress, StageTime, prove_many};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A proof, and what it cost.
#[derive(Debug)]
pub(crate) struct Made {
    /// The proof file.
    pub(crate) bytes: Vec<u8>,
    /// The model's commitment, M.
    pub(crate) commitment: ModelDigest,
    /// The setup that it rests on.
    pub(crate) setup: String,
    /// From the receipt to the bytes, without loading the model.
    pub(crate) time: Duration,
    /// Its parts.
    pub(crate) stages: Vec<StageTime>,
    /// What was expected before it began.
    pub(crate) memory: MemoryEstimate,
}

/// Makes proofs, one at a time, and keeps the last model loaded.
#[derive(Debug)]
pub(crate) struct Maker {
    home: Home,
    setup: SetupArgs,
    auditor: Auditor,
    kit: Mutex<Option<Arc<Kit>>>,
}

impl Maker {
    /// A maker that finds its models in this home.
    pub(crate) fn new(home: &Home, setup: &SetupArgs) -> Self {
        let auditor = Auditor::new(ModelStore::new(home.models()), None);
        Self { home: home.clone(), setup: setup.clone(), auditor, kit: Mutex::default() }
    }

    /// The kit of a model.
    ///
    /// # Errors
    /// [`Error::Missing`] where the store has no such model; as [`Kit::load`].
    pub(crate) fn kit(&self, model: &ModelId, stop: &AtomicBool) -> Result<Arc<Kit>> {
        let mut kept = self.kit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kit) = kept.as_ref().filter(|k| k.model.id == *model) {
            return Ok(kit.clone());
        }
        // The old one goes first: two models in memory may be one too many.
        *kept = None;
        let stored = ModelStore::new(self.home.models()).get(model)?;
        let kit = Arc::new(Kit::load(&stored, &self.setup, &self.home, stop)?);
        *kept = Some(kit.clone());
        Ok(kit)
    }

    /// One proof of the answers of some receipts, which are all of one model.
    ///
    /// The engine runs each answer again first, in seconds: an answer that is not the model's is refused by the place where
    /// it differs, before any proof is tried.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is nothing true to prove; [`Error::Local`] where memory does not suffice or the proof
    /// was cancelled.
    pub(crate) fn prove(
        &self,
        receipts: &[Receipt],
        progress: &dyn Progress,
        stop: &AtomicBool,
    ) -> Result<Made> {
        let answers = receipts.iter().map(statement).collect::<Result<Vec<_>>>()?;
        let Some(first) = receipts.first() else { return Err(Error::Usage("no receipt".into())) };
        if receipts.len() > MAX_ANSWERS {
            return Err(Error::Usage(format!("one proof is about at most {MAX_ANSWERS} answers")));
        }
        if receipts.iter().any(|r| r.request.model != first.request.model) {
            return Err(Error::Usage("one proof is about answers of one model".into()));
        }
        let kit = self.kit(&first.request.model, stop)?;
        let publics: Vec<Public> = answers.iter().map(|(public, _)| *public).collect();
        let memory = estimate(&kit, &publics)?;
        let start = Instant::now();
        for receipt in receipts {
            self.auditor.confirm(receipt)?;
        }
        let (proof, stages) = prove_many(&kit.proving(), &kit.srs, &answers, progress).map_err(prover)?;
        let bytes = ProofFile::new(kit.registered(), publics, proof).to_bytes();
        Ok(Made {
            bytes,
            commitment: *kit.registered().digest(),
            setup: kit.srs.kind().to_string(),
            time: start.elapsed(),
            stages: stages.0,
            memory,
        })
    }
}

/// What a receipt claims, in the proof's terms.
///
/// # Errors
/// [`Error::Invalid`] where the node's response is about another request or answer than the receipt shows. Signatures
/// and draw are `monai audit`'s business.
pub(crate) fn statement(receipt: &Receipt) -> Result<(Public, Preimage)> {
    let response = &receipt.response.message;
    let public = Public {
        request: response.request,
        output: response.output,
        n_in: response.n_in,
        n_out: response.n_out,
        finish: response.finish,
    };
    if receipt.request.commitment() != public.request {
        return Err(Error::Invalid("the receipt's request is not the one that the node signed".into()));
    }
    if receipt.output.is_empty() {
        return Err(Error::Invalid("an answer without an id has nothing to prove".into()));
    }
    Ok((public, Preimage { request: receipt.request.clone(), output: receipt.output.clone() }))
}

/// Refuses what does not fit into memory.
fn estimate(kit: &Kit, publics: &[Public]) -> Result<MemoryEstimate> {
    let header = header_of(&kit.model)?;
    let shape = |public: &Public| {
        Shape::new(&header, public.n_in as usize, public.n_out as usize)
            .map_err(|e| Error::Invalid(format!("can't be proved: {e}")))
    };
    let shapes = publics.iter().map(shape).collect::<Result<Vec<_>>>()?;
    let memory = MemoryEstimate::of_all(&shapes);
    // Model and setup are loaded already.
    let needed = memory.total().saturating_sub(memory.model).saturating_sub(memory.setup);
    match available() {
        Some(free) if needed > free => {
            let most =
                monai_prover::most_positions(&header, free.saturating_add(memory.model + memory.setup));
            let most = match most {
                Ok(Some(n)) => format!("one answer of up to {n} ids, prompt included, fits"),
                _ => "no answer of this model fits".into(),
            };
            let ids: u64 = publics.iter().map(|p| u64::from(p.n_in) + u64::from(p.n_out)).sum();
            Err(Error::Local(format!(
                "proving {ids} ids takes about {} more memory and {} are free; {most}",
                gib(needed),
                gib(free)
            )))
        }
        _ => Ok(memory),
    }
}
