//! The models that the proxy can check: registered in the anchors, listed by the sequencer, and here.

use super::fault::Fault;
use crate::anchors::Anchors;
use crate::models::ModelStore;
use crate::openai::Endpoint;
use monai_model::artefact::Model;
use monai_model::text::TextCodec;
use monai_protocol::ModelId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A model with what its texts need.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) model: Model,
    pub(super) codec: TextCodec,
}

/// Models that have been asked for.
#[derive(Debug)]
pub(super) struct Catalogue {
    store: ModelStore,
    known: Mutex<BTreeMap<ModelId, Arc<Known>>>,
}

impl Catalogue {
    pub(super) fn new(store: ModelStore) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// The model that a client calls `name`. What the sequencer says about names is only a hint: the
    /// identity has to be registered, and the artefact of that identity has to be here.
    pub(super) async fn find(
        &self,
        name: &str,
        anchors: &Anchors,
        upstream: &Endpoint,
    ) -> Result<Arc<Known>, Fault> {
        let id = match name.to_ascii_lowercase().parse::<ModelId>() {
            Ok(id) => id,
            Err(_) => self.by_name(name, upstream).await?,
        };
        if !anchors.trust.models.contains(&id) {
            let message =
                format!("The model '{name}' ({id}) is not registered in {}.", anchors.path.display());
            return Err(Fault::not_found("model", "model_not_found", message));
        }
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(known.clone());
        }
        let stored = self.store.get(&id).map_err(|_| {
            Fault::not_found(
                "model",
                "model_not_here",
                format!("The model {id} is not on this machine; the proxy needs it to check answers (`monai model import`)."),
            )
        })?;
        let known = tokio::task::spawn_blocking(move || {
            let model = stored.load()?;
            let codec = TextCodec::of(&model)
                .map_err(monai_model::ModelError::from)
                .map_err(crate::error::Error::from)?;
            Ok::<_, crate::error::Error>(Arc::new(Known { model, codec }))
        })
        .await
        .map_err(|e| Fault::own(e.to_string()))??;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, known.clone());
        Ok(known)
    }

    /// The identity of a name: this machine's own store says which model it means, because the sequencer must not
    /// choose what is signed for. The sequencer's listing decides between several models of one name here, and where it
    /// names another one than the only one here, that is an error and not a substitution.
    async fn by_name(&self, name: &str, upstream: &Endpoint) -> Result<ModelId, Fault> {
        let here: Vec<ModelId> =
            self.store.list()?.into_iter().filter(|m| m.name == name).map(|m| m.id).collect();
        let models = upstream.get("/models").await?;
        let listed = models["data"].as_array().into_iter().flatten().find(|m| m["id"] == name);
        let listed: Option<ModelId> = listed.and_then(|m| m["model_id"].as_str()?.parse().ok());
        let shown: String = name.chars().take(100).collect();
        match (here.as_slice(), listed) {
            (here, Some(id)) if here.contains(&id) => Ok(id),
            ([only], None) => Ok(*only),
            ([], None) => Err(Fault::not_found(
                "model",
                "model_not_found",
                format!("The model '{shown}' does not exist."),
            )),
            ([], Some(id)) => Err(Fault::not_found(
                "model",
                "model_not_here",
                format!(
                    "The sequencer's '{shown}' is the model {id}, which is not on this machine; the proxy needs it to check answers (`monai model import`)."
                ),
            )),
            (_, came) => {
                let came = came.map_or("no such name".into(), |id| id.to_string());
                let here: Vec<String> = here.iter().map(ToString::to_string).collect();
                Err(Fault::not_found(
                    "model",
                    "model_differs",
                    format!(
                        "'{shown}' is {} on this machine, and the sequencer lists {came}. Ask for the model by its id.",
                        here.join(" or ")
                    ),
                ))
            }
        }
    }
}
