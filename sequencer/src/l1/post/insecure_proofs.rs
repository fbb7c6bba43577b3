//! **Insecure**: what the contract `InsecureVerifier` takes for a proof of a batch or an epoch.
//!
//! Anybody can compute it for any statement, false ones included. It stands where the proofs of the rollup's circuits
//! will, so that everything after them can be lived through; only the devnet profile deploys a verifier that takes it.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolValue as _;
use monai_protocol::{BatchHeader, Fr, field};

/// The stand-in's word for a statement.
#[derive(Clone, Debug)]
pub(super) struct InsecureStamp(pub(super) Bytes);

impl InsecureStamp {
    /// keccak256(abi.encode("insecure", version, public inputs)).
    pub(super) fn of(version: u32, inputs: &[U256]) -> Self {
        let encoded = ("insecure".to_owned(), version, inputs.to_vec()).abi_encode_params();
        Self(keccak256(encoded).to_vec().into())
    }
}

/// In place of a circuit's commitment to a list: a digest of the words in it, below the field's order.
pub(super) fn insecure_commitment(what: &str, words: &[U256]) -> U256 {
    let encoded = (what.to_owned(), words.to_vec()).abi_encode_params();
    U256::from_be_bytes(keccak256(encoded).0) >> 8
}

fn element(x: Fr) -> U256 {
    U256::from_be_bytes(field::to_bytes(x))
}

/// A word of 256 bits as two public inputs.
pub(super) fn split(word: B256) -> [U256; 2] {
    let word = U256::from_be_bytes(word.0);
    [word >> 128, word & U256::from(u128::MAX)]
}

/// The public inputs of a batch's proof, as `Rollup.proveBatch` lists them. `before` is the state of the parent.
pub(super) fn batch_inputs(h: &BatchHeader, before: U256, chain_id: u64, rollup: Address) -> Vec<U256> {
    let [model_high, model_low] = split(B256::from(h.model.0));
    vec![
        U256::from(h.number),
        U256::from(h.epoch.0),
        model_high,
        model_low,
        U256::from(h.leaf_count),
        element(h.root.0),
        before,
        element(h.state_root.0),
        element(h.links.0),
        element(h.node_roots.0),
        U256::from(chain_id),
        U256::from_be_slice(rollup.as_slice()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_what_the_contract_computes() {
        // cast keccak $(cast abi-encode 'f(string,uint32,uint256[])' insecure 1 '[7,8]')
        let want = "0xa9df8505bc4bb52944c35e062af4acba441927a34f3ed1d27ba838d41bf37577";
        assert_eq!(InsecureStamp::of(1, &[U256::from(7), U256::from(8)]).0.to_string(), want);
    }
}
