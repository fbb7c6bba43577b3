//! What L1 says about this node: its registration, stake, models, and whether it is drawn at all.

use super::place::Chain;
use crate::error::{Error, Result};
use alloy_primitives::aliases::U48;
use alloy_primitives::{Address, U256};
use monai_contracts::Addresses;
use monai_contracts::models::ModelRegistry;
use monai_contracts::operators::Operators;
use monai_contracts::parameters::Parameters;
use monai_contracts::staking::Staking;
use monai_protocol::ModelId;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Position of `StakeFloor` in the contract's parameters.
const STAKE_FLOOR: u8 = 0;

/// Where L1 is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) rpc: String,
    pub(crate) addresses: PathBuf,
}

/// What an epoch's registry says about a hot key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: u64,
    pub(crate) operator: Address,
    pub(crate) slot: Option<u16>,
    /// Wei, own and delegated, as counted.
    pub(crate) stake: U256,
    /// Why it is not drawn, or not for all that it serves. Empty if all is well.
    pub(crate) troubles: Vec<Trouble>,
}

/// What keeps a node from being drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("the key {0} belongs to no operator: register with `monai stake --register`")]
    Unregistered(Address),
    #[error("the operator's key is {0} in this epoch, not this node's")]
    KeyMismatch(Address),
    #[error("the operator has left, or its registration does not count yet")]
    NotInTable,
    #[error("the operator is jailed")]
    Jailed,
    #[error("the stake is below the floor of {0} tokens")]
    BelowFloor(String),
    #[error("it serves {0}, which the operator is not registered for")]
    ModelNotServed(ModelId),
    #[error("it serves {0}, which is not an active model")]
    ModelInactive(ModelId),
}

impl Standing {
    /// Reads the standing of a hot key in the newest block's epoch.
    pub(crate) async fn read(chain: &Chain, hot: Address, serves: &BTreeSet<ModelId>) -> Result<Self> {
        let failed = |e| chain.call_failed(e);
        let epoch = chain.addresses.epoch_at(chain.now().await?);
        let e = U48::saturating_from(epoch);
        let operators = Operators::new(chain.addresses.operators, chain.provider.clone());
        let operator = operators.operatorOfHotKey(hot).call().await.map_err(failed)?;
        let mut standing = Self { epoch, operator, slot: None, stake: U256::ZERO, troubles: Vec::new() };
        if operator.is_zero() {
            standing.troubles.push(Trouble::Unregistered(hot));
            return Ok(standing);
        }
        let slot = operators.slotOf(operator).call().await.map_err(failed)?;
        standing.slot = Some(slot);
        if operators.operatorAt(slot, e).call().await.map_err(failed)? != operator {
            standing.troubles.push(Trouble::NotInTable);
        }
        let key = operators.keysAt(operator, e).call().await.map_err(failed)?.hotKey;
        if key != hot && !key.is_zero() {
            standing.troubles.push(Trouble::KeyMismatch(key));
        }
        if operators.isJailed(operator, e).call().await.map_err(failed)? {
            standing.troubles.push(Trouble::Jailed);
        }
        let staking = Staking::new(chain.addresses.staking, chain.provider.clone());
        standing.stake = staking.countedStake(operator, e).call().await.map_err(failed)?;
        // What is below the floor counts as nothing.
        if standing.stake.is_zero() {
            let parameters = Parameters::new(chain.addresses.parameters, chain.provider.clone());
            let floor = parameters.valueAt(STAKE_FLOOR, e).call().await.map_err(failed)?;
            standing.troubles.push(Trouble::BelowFloor(super::amount::tokens(floor)));
        }
        let registry = ModelRegistry::new(chain.addresses.models, chain.provider.clone());
        let mask = operators.servedAt(operator, e).call().await.map_err(failed)?;
        for model in serves {
            let id = model.0.into();
            if !registry.isActive(id, e).call().await.map_err(failed)? {
                standing.troubles.push(Trouble::ModelInactive(*model));
                continue;
            }
            let index = registry.indexOf(id).call().await.map_err(failed)?;
            if !mask.bit(index.saturating_to::<usize>()) {
                standing.troubles.push(Trouble::ModelNotServed(*model));
            }
        }
        Ok(standing)
    }
}

/// Reads the standing now and in each epoch, and tells it in the log, for ever. L1's silence is told once.
pub(crate) async fn keep_watch(place: Place, hot: Address, serves: BTreeSet<ModelId>) {
    let mut told: Option<Standing> = None;
    let mut silent = false;
    loop {
        match look(&place, hot, &serves, told.as_ref().map(|t| t.epoch)).await {
            Ok(None) => silent = false,
            Ok(Some(now)) => {
                silent = false;
                let same = told.as_ref().is_some_and(|t| Standing { epoch: now.epoch, ..t.clone() } == now);
                if !same {
                    tell(&now);
                }
                told = Some(now);
            }
            Err(error) if !silent => {
                silent = true;
                tracing::warn!(%error, "L1 does not say how this node stands");
            }
            Err(_) => {}
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The standing, if the epoch is another than the last one.
async fn look(
    place: &Place,
    hot: Address,
    serves: &BTreeSet<ModelId>,
    last: Option<u64>,
) -> Result<Option<Standing>> {
    let addresses = Addresses::load(&place.addresses).map_err(|e| Error::Usage(e.to_string()))?;
    let chain = Chain::open(&place.rpc, addresses).await?;
    let epoch = chain.addresses.epoch_at(chain.now().await?);
    if last == Some(epoch) {
        return Ok(None);
    }
    Standing::read(&chain, hot, serves).await.map(Some)
}

fn tell(standing: &Standing) {
    let stake = super::amount::tokens(standing.stake);
    let (epoch, operator, slot) = (standing.epoch, standing.operator, standing.slot);
    if standing.troubles.is_empty() {
        tracing::info!(epoch, %operator, ?slot, stake, "registered on L1, and drawn");
    }
    for trouble in &standing.troubles {
        tracing::warn!(epoch, %operator, ?slot, stake, "not drawn: {trouble}");
    }
}
