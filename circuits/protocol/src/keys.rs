//! secp256k1 keys and signatures over 32-byte digests.

use crate::codec::bytes_newtype;
use crate::types::{Address, Keccak};
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

bytes_newtype!(
    /// r ‖ s ‖ v: 65 bytes, s in the lower half of the order, v 27 or 28. Any other form of the
    /// same signature is refused, so a message has one signature per nonce of the signer.
    Signature, 65
);

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a canonical signature at all.
    #[error("malformed signature (65 bytes, low s, v 27 or 28)")]
    Malformed,
    /// A signature, but by another key or over another message.
    #[error("signed by {came}, expected {expected}")]
    Signer {
        /// The key that should have signed.
        expected: Address,
        /// The key that the signature recovers to.
        came: Address,
    },
}

impl Signature {
    /// The address whose key signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`].
    pub fn recover(&self, digest: &Keccak) -> Result<Address, SignatureError> {
        let (rs, v) = self.0.split_at(64);
        let parity = match v.first() {
            Some(27) => false,
            Some(28) => true,
            _ => return Err(SignatureError::Malformed),
        };
        let signature = k256::ecdsa::Signature::from_slice(rs).map_err(|_| SignatureError::Malformed)?;
        if signature.normalize_s().is_some() {
            return Err(SignatureError::Malformed);
        }
        let key = VerifyingKey::recover_from_prehash(&digest.0, &signature, RecoveryId::new(parity, false))
            .map_err(|_| SignatureError::Malformed)?;
        Ok(address_of(&key))
    }

    /// Checks that `signer` signed `digest`.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, digest: &Keccak, signer: Address) -> Result<(), SignatureError> {
        let came = self.recover(digest)?;
        if came == signer { Ok(()) } else { Err(SignatureError::Signer { expected: signer, came }) }
    }
}

fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    let hash = alloy_primitives::keccak256(&point.as_bytes()[1..]);
    let mut out = [0u8; 20];
    out.copy_from_slice(&hash[12..]);
    Address(out)
}

/// A signing key. Its bytes are wiped on drop and never shown.
#[derive(Clone)]
pub struct SecretKey {
    key: SigningKey,
    address: Address,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.address)
    }
}

impl SecretKey {
    /// Takes 32 secret bytes; `None` for zero and at or above the curve's order.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_slice(bytes).ok()?;
        let address = address_of(key.verifying_key());
        Some(Self { key, address })
    }

    /// The secret bytes, for a keystore.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes().into())
    }

    /// The key's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a digest; deterministic (RFC 6979), low s.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] in the event, of negligible probability, that the derived nonce
    /// gives no valid signature.
    pub fn sign(&self, digest: &Keccak) -> Result<Signature, SignatureError> {
        let (signature, recovery) =
            self.key.sign_prehash_recoverable(&digest.0).map_err(|_| SignatureError::Malformed)?;
        if recovery.is_x_reduced() {
            return Err(SignatureError::Malformed);
        }
        let mut out = [0u8; 65];
        out[..64].copy_from_slice(&signature.to_bytes());
        out[64] = 27 + u8::from(recovery.is_y_odd());
        Ok(Signature(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_address_and_round_trip() {
        let mut secret = [0u8; 32];
        secret[31] = 1;
        let key = SecretKey::from_bytes(&secret).unwrap();
        assert_eq!(key.address().to_string(), "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
        let digest = Keccak([7; 32]);
        let sig = key.sign(&digest).unwrap();
        assert_eq!(sig.verify(&digest, key.address()), Ok(()));
        assert!(sig.verify(&Keccak([8; 32]), key.address()).is_err());
        assert!(SecretKey::from_bytes(&[0; 32]).is_none());
    }

    #[test]
    fn the_other_half_of_s_and_other_v_are_refused() {
        let mut secret = [3u8; 32];
        secret[0] = 9;
        let key = SecretKey::from_bytes(&secret).unwrap();
        let digest = Keccak([7; 32]);
        let sig = key.sign(&digest).unwrap();
        let parsed = k256::ecdsa::Signature::from_slice(&sig.0[..64]).unwrap();
        let high = k256::ecdsa::Signature::from_scalars(
            parsed.r().to_bytes(),
            k256::FieldBytes::from((-*parsed.s()).to_bytes()),
        )
        .unwrap();
        let mut twin = sig;
        twin.0[..64].copy_from_slice(&high.to_bytes());
        twin.0[64] = 27 + 28 - sig.0[64];
        assert_eq!(twin.recover(&digest), Err(SignatureError::Malformed));
        let mut zero_v = sig;
        zero_v.0[64] -= 27;
        assert_eq!(zero_v.recover(&digest), Err(SignatureError::Malformed));
    }
}
