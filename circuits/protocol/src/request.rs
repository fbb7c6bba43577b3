//! A request and its commitment R.

use crate::field::{self, Fr};
use crate::hash::{Tag, hash};
use crate::ids::{hash_ids, pack_ids};
use crate::leaf::MAX_COUNT;
use crate::selection::{MAX_STOP_IDS, SelectionError, SelectionParams};
use crate::types::{Address, Amount, Assurance, Blinding, Domain, ModelId, RequestCommitment};
use serde::{Deserialize, Serialize};

/// The version of R's preimage.
pub const REQUEST_VERSION: u64 = 1;
/// Field elements in R's preimage.
pub const REQUEST_ELEMENTS: usize = 23;

/// Everything that R commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The deployment: a request can't be replayed on another chain or rollup.
    pub domain: Domain,
    /// The registered model.
    pub model: ModelId,
    /// Selection parameters, seed included.
    pub params: SelectionParams,
    /// Token ids of the prompt, by the model's registered template and tokenizer.
    pub prompt: Vec<u32>,
    /// The key that asks: the user's own, or the gateway's for users of an API key.
    pub user: Address,
    /// Counts up per user key, so that equal prompts get different R and default seeds.
    pub nonce: u64,
    /// Hides the preimage.
    pub blinding: Blinding,
    /// Unix seconds after which no slot may be assigned.
    pub expiry: u64,
    /// The most that the answer may cost.
    pub max_price: Amount,
    /// How strongly the answer is to be assured.
    pub assurance: Assurance,
    /// The user named preferred providers. Such a request enters a preference lane, where nodes are not drawn by lot,
    /// and no other request may: else a sequencer could take the draw away from whoever did not ask for that.
    pub by_preference: bool,
}

/// Why a request is outside its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Selection parameters outside their bounds.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The prompt is empty, or prompt and output exceed what a leaf can count.
    #[error("prompt of {came} ids, must have 1 to {MAX_COUNT}")]
    PromptLength {
        /// Ids that came.
        came: usize,
    },
}

impl Request {
    /// Checks every bound that does not depend on the model.
    ///
    /// # Errors
    /// The first violated bound.
    pub fn validate(&self) -> Result<(), RequestError> {
        self.params.validate()?;
        if self.prompt.is_empty() || self.prompt.len() > MAX_COUNT as usize {
            return Err(RequestError::PromptLength { came: self.prompt.len() });
        }
        Ok(())
    }

    /// The preimage of R, element by element, with `seed` in the seed's place.
    fn preimage(&self, seed: u64) -> [Fr; REQUEST_ELEMENTS] {
        let p = &self.params;
        let [model_hi, model_lo] = self.model.limbs();
        // Eight ids fill one element and begin a second; both always stand, so the length is fixed.
        let mut stops = p.stop_ids.clone();
        stops.resize(MAX_STOP_IDS, 0);
        let stop = pack_ids(&stops);
        [
            Fr::from(REQUEST_VERSION),
            Fr::from(self.domain.chain_id.0),
            self.domain.rollup.to_field(),
            model_hi,
            model_lo,
            Fr::from(p.tau),
            Fr::from(p.top_k),
            Fr::from(p.top_p),
            Fr::from(p.delta_min_p),
            Fr::from(p.max_tokens),
            Fr::from(p.stop_ids.len() as u64),
            stop[0],
            stop[1],
            Fr::from(seed),
            Fr::from(self.prompt.len() as u64),
            hash_ids(&self.prompt).0,
            self.user.to_field(),
            Fr::from(self.nonce),
            Fr::from(self.blinding.0),
            Fr::from(self.expiry),
            Fr::from(self.max_price.0),
            Fr::from(u64::from(self.assurance.code())),
            Fr::from(self.by_preference),
        ]
    }

    /// R. Call [`Request::validate`] first: more than eight stop ids would not all be committed.
    #[must_use]
    pub fn commitment(&self) -> RequestCommitment {
        RequestCommitment(hash(Tag::Request, &self.preimage(self.params.seed)))
    }

    /// The seed of a request whose user gave none: the low 64 bits of the hash of the same preimage,
    /// with 0 in the seed's place, under its own tag.
    #[must_use]
    pub fn default_seed(&self) -> u64 {
        field::low_u64(hash(Tag::DefaultSeed, &self.preimage(0)))
    }

    /// The prompt's length as leaves and messages carry it.
    #[must_use]
    pub fn n_in(&self) -> u32 {
        u32::try_from(self.prompt.len()).unwrap_or(u32::MAX)
    }
}
