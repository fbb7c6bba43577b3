//! The preimage of R: made by the gateway for its own key, or rebuilt from what a user signed.

use monai_protocol::keys::SignatureError;
use monai_protocol::messages::Typed as _;
use monai_protocol::{Blinding, Request, Signature};
use rand::Rng as _;

use super::Api;
use super::ask::Ask;
use super::error::ApiError;
use super::extensions::Signed;
use crate::catalogue::Served;
use crate::clock::now_secs;

/// Seconds for which a gateway's own request may wait for a slot.
const GATEWAY_EXPIRY_S: u64 = 600;
/// The farthest expiry of a user's own request, seconds from now: nonces are remembered until then.
pub(crate) const MAX_EXPIRY_S: u64 = 24 * 3_600;

impl Api {
    /// The request that R commits to, and the user's signature if it has a key of its own.
    pub(super) fn request(
        &self,
        ask: &Ask,
        served: &Served,
        ids: &[u32],
        max_tokens: u32,
        index: u32,
    ) -> Result<(Request, Option<Signature>), ApiError> {
        if let Some(signed) = &ask.signed {
            return Ok((self.signed_request(ask, signed, served, ids)?, Some(signed.signature)));
        }
        let arch = &served.arch;
        // Choices with the same seed would be the same answer, so each counts on from the one before.
        let seed = ask.seed.map(|s| s.wrapping_add(u64::from(index)));
        let stop_ids = ask.stop_ids.clone();
        let params =
            ask.sampling.to_params(arch.tau_one, arch.tau_max, max_tokens, seed.unwrap_or(0), stop_ids);
        let worst = served.charge(ids.len() as u32, max_tokens).ok_or_else(ApiError::internal)?;
        let mut request = Request {
            domain: self.router.domain,
            model: served.id,
            params,
            prompt: ids.to_vec(),
            user: self.router.key.address(),
            nonce: self.router.slots.nonce(),
            blinding: Blinding(rand::rng().random()),
            expiry: now_secs().saturating_add(GATEWAY_EXPIRY_S),
            max_price: ask.max_price.unwrap_or(worst),
            assurance: ask.assurance,
            by_preference: ask.preference.is_some(),
        };
        request.validate().map_err(|e| ApiError::invalid("prompt", e.to_string()))?;
        if seed.is_none() {
            request.params.seed = request.default_seed();
        }
        Ok((request, None))
    }

    /// Rebuilds what the user signed, from the ids that the text gives, and checks the signature.
    fn signed_request(
        &self,
        ask: &Ask,
        signed: &Signed,
        served: &Served,
        ids: &[u32],
    ) -> Result<Request, ApiError> {
        if signed.prompt_ids.as_ref().is_some_and(|theirs| theirs != ids) {
            return Err(ApiError::signed_request(
                "prompt_ids_mismatch",
                "The text does not become 'monai.prompt_ids' by this model's tokenizer and template.",
            ));
        }
        if signed.params.tau > served.arch.tau_max {
            return Err(ApiError::invalid(
                "monai.params",
                format!("'tau' must not exceed {} for this model.", served.arch.tau_max),
            ));
        }
        let now = now_secs();
        if signed.expiry < now || signed.expiry > now.saturating_add(MAX_EXPIRY_S) {
            return Err(ApiError::signed_request(
                "expiry_out_of_range",
                format!("'monai.expiry' must lie within {MAX_EXPIRY_S} seconds from now."),
            ));
        }
        let request = Request {
            domain: self.router.domain,
            model: served.id,
            params: signed.params.clone(),
            prompt: ids.to_vec(),
            user: signed.user,
            nonce: signed.nonce,
            blinding: signed.blinding,
            expiry: signed.expiry,
            max_price: signed.max_price,
            assurance: ask.assurance,
            by_preference: ask.preference.is_some(),
        };
        request.validate().map_err(|e| ApiError::invalid("monai.params", e.to_string()))?;
        let r = request.commitment();
        signed.message(r, served.id).verify(&self.router.domain, &signed.signature, signed.user).map_err(
            |e| match e {
                SignatureError::Malformed => ApiError::signed_request("malformed_signature", e.to_string()),
                SignatureError::Signer { .. } => ApiError::signed_request(
                    "signature_mismatch",
                    format!("The signature is not by 'monai.user' over this request, whose R is {r}."),
                ),
            },
        )?;
        Ok(request)
    }
}
