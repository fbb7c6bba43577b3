//! What bodies may have beyond OpenAI's fields: provider preferences, and requests that users sign.

use monai_protocol::messages::RequestMessage;
use monai_protocol::{Address, Amount, Blinding, SelectionParams, Signature};

use super::error::ApiError;
use super::fields::Fields;

/// Who may answer, by the client's choice. Such answers earn no emissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    only: Option<Vec<Address>>,
    ignore: Vec<Address>,
    order: Vec<Address>,
}

/// What a user with its own key sends along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) user: Address,
    pub(crate) nonce: u64,
    pub(crate) blinding: Blinding,
    pub(crate) expiry: u64,
    pub(crate) max_price: Amount,
    pub(crate) params: SelectionParams,
    /// The ids that the user commits to; absent if they are to be computed from the text.
    pub(crate) prompt_ids: Option<Vec<u32>>,
    pub(crate) signature: Signature,
}

impl Preference {
    pub(crate) fn read(f: &Fields<'_>) -> Result<Option<Self>, ApiError> {
        let Some(p) = f.object("provider")? else { return Ok(None) };
        let wanted = "an array of node addresses in lower-case hex";
        let preference = Self {
            only: p.typed("only", wanted)?,
            ignore: p.typed("ignore", wanted)?.unwrap_or_default(),
            order: p.typed("order", wanted)?.unwrap_or_default(),
        };
        let empty = preference.only.is_none() && preference.ignore.is_empty() && preference.order.is_empty();
        Ok((!empty).then_some(preference))
    }

    /// The nodes to try, in order: `order` first, then the others of `candidates` as they come; without those
    /// of `ignore`, and with `only` nobody else.
    pub(crate) fn arrange(&self, candidates: &[Address]) -> Vec<Address> {
        let allowed =
            |n: &Address| !self.ignore.contains(n) && self.only.as_ref().is_none_or(|only| only.contains(n));
        let mut out: Vec<Address> = Vec::new();
        for node in self.order.iter().chain(candidates) {
            if candidates.contains(node) && allowed(node) && !out.contains(node) {
                out.push(*node);
            }
        }
        out
    }
}

impl Signed {
    pub(super) fn read(m: &Fields<'_>, vocab: usize) -> Result<Self, ApiError> {
        fn need<T>(m: &Fields<'_>, key: &str, value: Option<T>) -> Result<T, ApiError> {
            value.ok_or_else(|| ApiError::missing(&m.name(key)))
        }
        let decimal = |key: &str| -> Result<u64, ApiError> {
            let text = need(m, key, m.string(key)?)?;
            monai_protocol::codec::decode_decimal(text).map_err(|e| {
                ApiError::invalid(m.name(key), format!("Invalid value for '{}': {e}.", m.name(key)))
            })
        };
        let signed = Self {
            user: need(m, "user", m.typed("user", "an address")?)?,
            nonce: decimal("nonce")?,
            blinding: need(m, "blinding", m.typed("blinding", "0x and 32 hex digits")?)?,
            expiry: decimal("expiry")?,
            max_price: need(m, "max_price", m.typed("max_price", "a decimal string")?)?,
            params: need(m, "params", m.typed("params", "selection parameters")?)?,
            prompt_ids: m.ids("prompt_ids", vocab)?,
            signature: need(m, "signature", m.typed("signature", "a 65-byte signature")?)?,
        };
        signed.params.validate().map_err(|e| ApiError::invalid("monai.params", e.to_string()))?;
        Ok(signed)
    }

    /// The message that the user signed for R.
    pub(crate) fn message(
        &self,
        request: monai_protocol::RequestCommitment,
        model: monai_protocol::ModelId,
    ) -> RequestMessage {
        RequestMessage { request, model, max_price: self.max_price, nonce: self.nonce, expiry: self.expiry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_arrange() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| Address([n; 20]));
        let p = Preference { only: None, ignore: vec![b], order: vec![c, d] };
        assert_eq!(p.arrange(&[a, b, c]), vec![c, a]);
        let p = Preference { only: Some(vec![a, d]), ignore: vec![], order: vec![] };
        assert_eq!(p.arrange(&[a, b, c]), vec![a]);
    }
}
