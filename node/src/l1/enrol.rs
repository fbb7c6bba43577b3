//! Registering an operator: keys with their proofs of possession.

use super::place::Chain;
use super::typed::{HotKey, sign};
use crate::error::{Error, Result};
use alloy_primitives::aliases::U48;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::BlockId;
use monai_contracts::insecure_verifier::InsecureVerifier;
use monai_contracts::models::ModelRegistry;
use monai_contracts::operators::Operators;
use monai_protocol::SecretKey;

/// Version of the batch key's circuit.
const BATCH_KEY_VERSION: u32 = 1;

/// What an operator registers with.
pub(crate) struct Enrolment {
    /// The cold owner, who sends.
    pub(crate) operator: Address,
    pub(crate) bond: U256,
    /// 10^18 is all.
    pub(crate) commission: U256,
    pub(crate) url: String,
    /// Empty: all that are active in the next epoch.
    pub(crate) models: Vec<B256>,
}

/// The call that registers.
///
/// # Errors
/// A deployment with real verifiers: the program can't prove possession of a batch key yet.
pub(crate) async fn registration(
    chain: &Chain,
    wanted: &Enrolment,
    hot: &SecretKey,
) -> Result<Operators::registerCall> {
    let operators = Operators::new(chain.addresses.operators, chain.provider.clone());
    let nonce = operators.keyNonce(wanted.operator).call().await.map_err(|e| chain.call_failed(e))?;
    let hot_key = Address::from(hot.address());
    let message = HotKey { operator: wanted.operator, hotKey: hot_key, nonce };
    let (x, y) = insecure_batch_key(hot_key);
    let models = if wanted.models.is_empty() { active_models(chain).await? } else { wanted.models.clone() };
    Ok(Operators::registerCall {
        r: Operators::Registration {
            hotKey: hot_key,
            hotSignature: sign(&message, &chain.addresses, hot)?,
            batchX: x,
            batchY: y,
            batchKeyVersion: BATCH_KEY_VERSION,
            batchProof: stamp(chain, vec![x, y, U256::from_be_slice(wanted.operator.as_slice()), nonce])
                .await?,
            commission: wanted.commission,
            models,
            bond: wanted.bond,
        },
        url: wanted.url.clone(),
    })
}

/// A batch key that nobody can sign with: batches carry no signatures of nodes before their circuit is there.
fn insecure_batch_key(hot: Address) -> (U256, U256) {
    // 31 bytes each, so both are below the field's order.
    let coordinate = |axis: &str| {
        let digest = keccak256([b"insecure batch key", axis.as_bytes(), hot.as_slice()].concat());
        U256::from_be_bytes(digest.0) >> 8
    };
    (coordinate("x"), coordinate("y"))
}

/// What the development stand-in for all verifiers accepts as a proof.
async fn stamp(chain: &Chain, inputs: Vec<U256>) -> Result<Bytes> {
    let verifier = chain.addresses.insecure_verifier;
    if verifier.is_zero() {
        return Err(Error::Usage(
            "this deployment verifies batch keys, and this version can't prove possession of one yet".into(),
        ));
    }
    InsecureVerifier::new(verifier, chain.provider.clone())
        .stamp(inputs)
        .call()
        .await
        .map_err(|e| chain.call_failed(e))
}

async fn active_models(chain: &Chain) -> Result<Vec<B256>> {
    let registry = ModelRegistry::new(chain.addresses.models, chain.provider.clone());
    let block = chain.provider.get_block(BlockId::latest()).await.map_err(|e| chain.away(&e))?;
    let epoch = chain.addresses.epoch_at(block.map_or(0, |b| b.header.timestamp)) + 1;
    let count = registry.count().call().await.map_err(|e| chain.call_failed(e))?;
    let mut models = Vec::new();
    for index in 0..count.saturating_to::<u64>() {
        let id = registry.idAt(U256::from(index)).call().await.map_err(|e| chain.call_failed(e))?;
        let active = registry.isActive(id, U48::from(epoch)).call().await;
        if active.map_err(|e| chain.call_failed(e))? {
            models.push(id);
        }
    }
    Ok(models)
}
