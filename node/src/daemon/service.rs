//! What all sessions of a node share: key, domain, models, capacity.

use super::load::Meter;
use super::slots::Slots;
use crate::clock::unix_ms;
use crate::engine::AnyEngine;
use crate::error::{Error, Result};
use monai_protocol::messages::Credit;
use monai_protocol::types::Domain;
use monai_protocol::wire::{MAX_CREDITS, MAX_MODELS, ModelOffer};
use monai_protocol::{ModelId, SecretKey, Typed};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A model that is loaded.
#[derive(Debug)]
pub struct ServedModel {
    /// What computes its answers.
    pub engine: AnyEngine,
    /// Most positions of a sequence.
    pub max_positions: u32,
}

/// What a node serves, and how.
#[derive(Debug)]
pub struct Service {
    /// The hot operator key.
    pub(super) key: SecretKey,
    /// The deployment that signatures are made for.
    pub(super) domain: Domain,
    /// Concurrent streams of each model that each sequencer may use.
    pub(super) credits: u32,
    /// Most tokens a second of one stream.
    pub(super) rate: Option<f64>,
    /// Tokens that have left.
    pub(super) meter: Meter,
    /// What the key has signed.
    pub(super) slots: Arc<Slots>,
    models: BTreeMap<ModelId, ServedModel>,
}

impl Service {
    /// A service of these models. The journal of signed slots is kept in the folder `slots`, which
    /// must outlive the process: [`crate::home::Home::slots`].
    ///
    /// # Errors
    /// [`Error::Usage`] for numbers out of range; a journal that another process uses or that is damaged.
    pub fn new(
        key: SecretKey,
        domain: Domain,
        models: BTreeMap<ModelId, ServedModel>,
        credits: u32,
        rate: Option<f64>,
        slots: &Path,
    ) -> Result<Self> {
        if models.is_empty() {
            return Err(Error::Missing("no model to serve; make one with `monai model import`".into()));
        }
        if models.len() > MAX_MODELS {
            return Err(Error::Usage(format!(
                "{} models, at most {MAX_MODELS} can be offered",
                models.len()
            )));
        }
        if credits == 0 || credits > MAX_CREDITS {
            return Err(Error::Usage(format!("{credits} streams, must be 1 to {MAX_CREDITS}")));
        }
        if rate.is_some_and(|r| !r.is_finite() || r <= 0.0) {
            return Err(Error::Usage("the rate of tokens must be above 0".into()));
        }
        let slots = Arc::new(Slots::open(slots, &key.address())?);
        Ok(Self { key, domain, credits, rate, meter: Meter::default(), slots, models })
    }

    /// The node's address.
    #[must_use]
    pub fn address(&self) -> monai_protocol::Address {
        self.key.address()
    }

    pub(super) fn model(&self, id: &ModelId) -> Option<&ServedModel> {
        self.models.get(id)
    }

    /// Jobs that wait inside the engines.
    pub(super) fn queued(&self) -> usize {
        self.models.values().map(|m| m.engine.queued()).sum()
    }

    /// The signed capacity of every model, with `credits` streams each.
    pub(super) fn offers(&self, credits: u32) -> Result<Vec<ModelOffer>> {
        let issued_ms = unix_ms();
        self.models
            .iter()
            .map(|(&model, served)| {
                let credit = Credit { model, credits, issued_ms };
                let signature =
                    credit.sign(&self.domain, &self.key).map_err(|e| Error::Local(e.to_string()))?;
                Ok(ModelOffer { credit, signature, max_positions: served.max_positions })
            })
            .collect()
    }
}
