//! Who asks: API keys from headers, compared in constant time.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::error::ApiError;
use crate::config::{ApiKey, KeyLimits, Limits};
use crate::secret::ApiKeyHash;

/// Longest API key that is hashed at all.
const MAX_KEY_BYTES: usize = 512;

/// Index of an API key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyIndex(pub(crate) u32);

/// All API keys.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    keys: Vec<ApiKey>,
    default_limits: KeyLimits,
}

impl ApiKeys {
    pub(crate) fn new(keys: Vec<ApiKey>, limits: &Limits) -> Self {
        Self { keys, default_limits: limits.per_key }
    }

    /// Finds the key of a request: `Authorization: Bearer …`, else `X-Api-Key`.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<KeyIndex, ApiError> {
        let given = presented(headers).ok_or_else(|| {
            ApiError::unauthorized("You didn't provide an API key. Send it as 'Authorization: Bearer KEY'.")
        })?;
        if given.len() > MAX_KEY_BYTES {
            return Err(ApiError::unauthorized("Incorrect API key provided."));
        }
        let hash = ApiKeyHash::of(given);
        // Every key is looked at, and none is left early, so time says nothing about which came close.
        let mut found = u32::MAX;
        for (i, key) in (0u32..).zip(&self.keys) {
            let equal: Choice = key.hash.bytes().ct_eq(hash.bytes());
            found = u32::conditional_select(&found, &i, equal);
        }
        match found {
            u32::MAX => Err(ApiError::unauthorized("Incorrect API key provided.")),
            i => Ok(KeyIndex(i)),
        }
    }

    pub(crate) fn get(&self, index: KeyIndex) -> &ApiKey {
        &self.keys[index.0 as usize]
    }

    pub(crate) fn limits(&self, index: KeyIndex) -> KeyLimits {
        self.get(index).limits.unwrap_or(self.default_limits)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that canaries use.
    pub(crate) fn canary(&self) -> Option<KeyIndex> {
        self.keys.iter().zip(0..).find(|(k, _)| k.canary).map(|(_, i)| KeyIndex(i))
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    if let Some(value) = text(AUTHORIZATION.as_str()) {
        let (scheme, key) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|k| !k.is_empty());
    }
    text("x-api-key").map(str::trim).filter(|k| !k.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> ApiKeys {
        let key = |name: &str| ApiKey {
            name: name.into(),
            hash: ApiKeyHash::of(name),
            limits: None,
            canary: false,
        };
        ApiKeys::new(vec![key("alpha"), key("beta")], &Limits::default())
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut h = HeaderMap::new();
        h.insert(name, value.parse().unwrap());
        h
    }

    #[test]
    fn both_headers_and_nothing_else() {
        let keys = keys();
        assert_eq!(keys.authenticate(&headers("authorization", "Bearer beta")), Ok(KeyIndex(1)));
        assert_eq!(keys.authenticate(&headers("authorization", "bearer alpha")), Ok(KeyIndex(0)));
        assert_eq!(keys.authenticate(&headers("x-api-key", "alpha")), Ok(KeyIndex(0)));
        for bad in ["Bearer gamma", "Bearer ", "Basic alpha", "alpha", "Bearer alph", "Bearer alphaa"] {
            assert_eq!(keys.authenticate(&headers("authorization", bad)).unwrap_err().status, 401, "{bad}");
        }
        assert_eq!(keys.authenticate(&HeaderMap::new()).unwrap_err().status, 401);
        let long = format!("Bearer {}", "a".repeat(MAX_KEY_BYTES + 1));
        assert!(keys.authenticate(&headers("authorization", &long)).is_err());
    }
}
