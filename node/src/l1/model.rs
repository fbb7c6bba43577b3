//! A model of this machine as the registry describes it.

use crate::error::{Error, Result};
use crate::models::StoredModel;
use alloy_primitives::{B256, keccak256};

/// Digests and bounds of a model.
pub(crate) struct Description {
    pub(crate) artefact: B256,
    /// Of tokenizer and template.
    pub(crate) tokenizer: B256,
    pub(crate) architecture: B256,
    /// 0 base, 2 instruct.
    pub(crate) kind: u8,
    pub(crate) positions: u32,
}

/// Reads the artefact.
pub(crate) fn describe(stored: &StoredModel) -> Result<Description> {
    let model = stored.load()?;
    let architecture = serde_json::to_vec(&model.arch).map_err(|e| Error::Local(e.to_string()))?;
    let template = model.text.chat_template.as_deref().unwrap_or_default();
    Ok(Description {
        artefact: B256::from(stored.id.0),
        tokenizer: keccak256([model.text.tokenizer_json.as_bytes(), &[0], template.as_bytes()].concat()),
        architecture: keccak256(architecture),
        kind: if template.is_empty() { 0 } else { 2 },
        positions: u32::try_from(model.arch.max_positions)
            .map_err(|_| Error::Model("more positions than the registry can name".into()))?,
    })
}
