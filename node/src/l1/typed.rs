//! Messages that are signed for the contracts (EIP-712).

use crate::error::{Error, Result};
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain, sol};
use monai_contracts::Addresses;
use monai_protocol::SecretKey;
use monai_protocol::types::Keccak;

sol! {
    /// A hot key agrees to serve an operator.
    struct HotKey { address operator; address hotKey; uint256 nonce; }
    /// A user owes the sequencer this much in all.
    struct Voucher { bytes32 session; uint256 cumulative; }
}

/// The domain of all messages.
fn domain(addresses: &Addresses) -> Eip712Domain {
    eip712_domain! {
        name: "MonAI",
        version: "1",
        chain_id: addresses.chain_id,
        verifying_contract: addresses.rollup,
    }
}

/// The signature of a message, 65 bytes.
pub(crate) fn sign(message: &impl SolStruct, addresses: &Addresses, key: &SecretKey) -> Result<Bytes> {
    let digest: B256 = message.eip712_signing_hash(&domain(addresses));
    let signature = key.sign(&Keccak(digest.0)).map_err(|e| Error::Local(format!("signing: {e}")))?;
    Ok(Bytes::copy_from_slice(&signature.0))
}
