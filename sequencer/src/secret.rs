//! Secrets as types that don't print themselves.

use std::fmt;

use monai_protocol::codec::{decode_hex, encode_hex};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// 32 secret bytes, wiped when dropped. Reads from `0x` hex; has no serialiser.
#[derive(Clone)]
pub struct Secret32([u8; 32]);

impl Secret32 {
    /// Takes the bytes in.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes. Keep them short-lived.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret32 {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(..)")
    }
}

impl<'de> Deserialize<'de> for Secret32 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(d)?;
        let bytes = decode_hex::<32>(&text);
        text.zeroize();
        // The error must not quote the text: it is the secret.
        bytes.map(Self).map_err(|_| D::Error::custom("expected 0x and 64 lower-case hex digits"))
    }
}

/// SHA-256 of an API key. Keys are random, so no slow hash is needed to protect them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// The hash of a key as the client sends it.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The hash's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in time that does not depend on where the two differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(..)")
    }
}

impl Serialize for ApiKeyHash {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&encode_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for ApiKeyHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        decode_hex(&text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_bytes() {
        let s = Secret32::new([0xab; 32]);
        assert_eq!(format!("{s:?}"), "Secret32(..)");
        assert_eq!(format!("{:?}", ApiKeyHash::of("devnet")), "ApiKeyHash(..)");
    }

    #[test]
    fn a_bad_secret_is_not_quoted() {
        let error = serde_json::from_str::<Secret32>("\"0xdeadbeef\"").unwrap_err().to_string();
        assert!(!error.contains("deadbeef"), "{error}");
    }
}
