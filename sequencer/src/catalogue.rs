//! The models that are served: text codec, shape and price. Weights are loaded to check the artefact, then let go.

use std::path::Path;
use std::sync::Arc;

use monai_model::ModelError;
use monai_model::artefact::Arch;
use monai_model::file::Store as ModelStore;
use monai_model::text::TextCodec;
use monai_protocol::{Amount, ModelId};

use crate::config::ServedModel;

/// One model.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) id: ModelId,
    pub(crate) arch: Arch,
    pub(crate) codec: TextCodec,
    /// SHA-256 of tokenizer and template, which clients that tokenise themselves compare.
    pub(crate) tokenizer_digest: String,
    pub(crate) template_digest: Option<String>,
    pub(crate) price_input: Amount,
    pub(crate) price_output: Amount,
    eos_ids: Vec<u32>,
}

/// All of them, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Catalogue {
    models: Vec<Arc<Served>>,
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    monai_protocol::codec::encode_hex(&sha2::Sha256::digest(text.as_bytes()))
}

impl Served {
    /// Ids that end an answer.
    pub(crate) fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Ids are below this.
    pub(crate) fn vocab(&self) -> u32 {
        u32::try_from(self.arch.vocab).unwrap_or(u32::MAX)
    }

    /// What an answer costs at most.
    pub(crate) fn charge(&self, n_in: u32, n_out: u32) -> Option<Amount> {
        monai_protocol::receipt::charge(n_in, n_out, self.price_input, self.price_output)
    }
}

impl Catalogue {
    /// Loads and checks the models. Blocks: it reads every artefact once.
    pub(crate) fn load(dir: &Path, models: &[ServedModel]) -> Result<Self, ModelError> {
        let store = ModelStore::open(dir)?;
        let models = models
            .iter()
            .map(|m| {
                let model = store.load(&m.id)?;
                Ok(Arc::new(Served {
                    name: m.name.clone(),
                    id: model.id,
                    codec: TextCodec::of(&model)?,
                    tokenizer_digest: sha256(&model.text.tokenizer_json),
                    template_digest: model.text.chat_template.as_deref().map(sha256),
                    price_input: m.price_input,
                    price_output: m.price_output,
                    eos_ids: model.text.eos_ids.clone(),
                    arch: model.arch,
                }))
            })
            .collect::<Result<_, ModelError>>()?;
        Ok(Self { models })
    }

    /// A model by its name or hex id.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Served>> {
        self.models.iter().find(|m| m.name == name || m.id.to_string() == name)
    }

    /// A model by its id.
    pub(crate) fn by_id(&self, id: &ModelId) -> Option<&Arc<Served>> {
        self.models.iter().find(|m| m.id == *id)
    }

    /// All.
    pub(crate) fn all(&self) -> &[Arc<Served>] {
        &self.models
    }
}
