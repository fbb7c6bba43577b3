//! Reading: blocks, and the facts of one epoch at one block.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy_primitives::U256;
use alloy_provider::{Provider as _, RootProvider};
use alloy_rpc_types_eth::{BlockId, BlockNumberOrTag, Header};
use monai_contracts::Addresses;
use monai_contracts::epochs::Epochs;
use monai_contracts::models::ModelRegistry;
use monai_contracts::operators::Operators;
use monai_contracts::parameters::Parameters as ParametersContract;
use monai_protocol::{Address, Beacon, EpochId, ModelId, Parameters};

use super::facts::{BlockRef, EpochFacts};
use super::parameters::{READ, overlay, stake_units};
use super::{L1Config, L1Error};
use crate::config::Operator;

/// Elements of the node table for each slot: stake, hot key, batch key x and y, mask of models.
const ELEMENTS: usize = 5;
/// Most bits of a mask of models.
const MASK_BITS: usize = 208;

/// Reads one deployment.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    provider: RootProvider,
    pub(super) addresses: Addresses,
    confirmations: Option<u64>,
    /// What L1 does not govern.
    configured: Parameters,
    /// Models that the sequencer serves.
    served: BTreeSet<ModelId>,
}

impl Reader {
    pub(super) fn new(
        config: &L1Config,
        configured: Parameters,
        served: BTreeSet<ModelId>,
    ) -> Result<Self, L1Error> {
        let addresses = Addresses::load(&config.addresses)?;
        let provider =
            monai_contracts::connect(&config.rpc, Duration::from_millis(config.timeout_ms.max(1)))?;
        Ok(Self { provider, addresses, confirmations: config.confirmations, configured, served })
    }

    /// Fails if the endpoint serves another chain.
    pub(super) async fn check_chain(&self) -> Result<(), L1Error> {
        let found = self.provider.get_chain_id().await?;
        if found != self.addresses.chain_id {
            return Err(L1Error::WrongChain { expected: self.addresses.chain_id, found });
        }
        Ok(())
    }

    /// The newest block that counts; `None` while the chain is too short.
    pub(super) async fn confirmed(&self) -> Result<Option<BlockRef>, L1Error> {
        match self.confirmations {
            None => self.block(BlockId::Number(BlockNumberOrTag::Finalized)).await,
            Some(n) => match self.provider.get_block_number().await?.checked_sub(n) {
                Some(number) => self.block(BlockId::number(number)).await,
                None => Ok(None),
            },
        }
    }

    /// The canonical block of a number; `None` if the chain is shorter.
    pub(super) async fn at(&self, number: u64) -> Result<Option<BlockRef>, L1Error> {
        self.block(BlockId::number(number)).await
    }

    async fn block(&self, id: BlockId) -> Result<Option<BlockRef>, L1Error> {
        let block = self.provider.get_block(id).await?;
        Ok(block.map(|b| BlockRef {
            number: b.header.number,
            hash: b.header.hash,
            timestamp: b.header.timestamp,
        }))
    }

    /// What counts in an epoch, in the state of a block that is not before its start.
    pub(super) async fn facts(&self, epoch: EpochId, block: BlockRef) -> Result<EpochFacts, L1Error> {
        // By hash: if the block is gone when the answer is computed, that is an error and not another answer.
        let at = BlockId::hash(block.hash);
        let e = epoch_argument(epoch)?;
        let models = self.models(epoch, at).await?;
        let operators = Operators::new(self.addresses.operators, self.provider.clone());
        let table =
            Epochs::new(self.addresses.epochs, self.provider.clone()).nodeTable(e).block(at).call().await?;
        if !table.len().is_multiple_of(ELEMENTS) {
            return Err(L1Error::Malformed { what: format!("a node table of {} elements", table.len()) });
        }
        let mut nodes = BTreeMap::new();
        for (slot, row) in (0u16..).zip(table.chunks_exact(ELEMENTS)) {
            let &[stake, hot, _, _, mask] = row else { continue };
            if hot.is_zero() {
                continue;
            }
            let hot = hot_key(hot)?;
            let owner = operators.operatorOfHotKey(hot.into()).block(at).call().await?;
            let served: BTreeSet<ModelId> =
                models.iter().filter(|(index, _)| mask.bit(**index)).map(|(_, id)| *id).collect();
            let node = Operator {
                operator: hot,
                slot: Some(slot),
                owner: owner.into(),
                stake: stake_units(stake),
                models: Some(served),
            };
            nodes.insert(hot, node);
        }
        let parameters = self.parameters(epoch, at).await?;
        let beacon = self.beacon(epoch, block.number).await?;
        Ok(EpochFacts { epoch, block, operators: nodes.into_values().collect(), parameters, beacon })
    }

    /// prevRandao of the first block that is not before an epoch's start, at most `newest`, which is not. The same block
    /// that `Epochs.captureBeacon` takes.
    async fn beacon(&self, epoch: EpochId, newest: u64) -> Result<Beacon, L1Error> {
        let start = self.addresses.epoch_start(epoch.0);
        let (mut low, mut high) = (0, newest);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.header(middle).await?.timestamp < start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Beacon(self.header(low).await?.mix_hash.0))
    }

    async fn header(&self, number: u64) -> Result<Header, L1Error> {
        let block = self.provider.get_block(BlockId::number(number)).await?;
        block.map(|b| b.header).ok_or_else(|| L1Error::Away(format!("it has no block {number}")))
    }

    /// Models that are active in the epoch and served here, by their bit.
    async fn models(&self, epoch: EpochId, at: BlockId) -> Result<BTreeMap<usize, ModelId>, L1Error> {
        let e = epoch_argument(epoch)?;
        let registry = ModelRegistry::new(self.addresses.models, self.provider.clone());
        let count = registry.countAt(e).block(at).call().await?;
        let count = usize::try_from(count)
            .ok()
            .filter(|n| *n <= MASK_BITS)
            .ok_or_else(|| L1Error::Malformed { what: format!("{count} models") })?;
        let mut models = BTreeMap::new();
        for index in 0..count {
            let id = registry.idAt(U256::from(index)).block(at).call().await?;
            let model = ModelId(id.0);
            if self.served.contains(&model) && registry.isActive(id, e).block(at).call().await? {
                models.insert(index, model);
            }
        }
        Ok(models)
    }

    async fn parameters(&self, epoch: EpochId, at: BlockId) -> Result<Parameters, L1Error> {
        let e = epoch_argument(epoch)?;
        let contract = ParametersContract::new(self.addresses.parameters, self.provider.clone());
        let mut values = BTreeMap::new();
        for index in READ {
            values.insert(index, contract.valueAt(index, e).block(at).call().await?);
        }
        overlay(&self.configured, self.addresses.epoch_seconds, |i| {
            values.get(&i).copied().unwrap_or_default()
        })
        .map_err(|source| L1Error::Parameters { epoch: epoch.0, source })
    }
}

/// Epochs are 48 bits wide in the contracts.
fn epoch_argument(epoch: EpochId) -> Result<alloy_primitives::Uint<48, 1>, L1Error> {
    alloy_primitives::Uint::<48, 1>::try_from(epoch.0)
        .map_err(|_| L1Error::Malformed { what: format!("epoch {} of more than 48 bits", epoch.0) })
}

fn hot_key(element: U256) -> Result<Address, L1Error> {
    let bytes = element.to_be_bytes::<32>();
    match bytes.split_first_chunk::<12>() {
        Some((high, low)) if high.iter().all(|b| *b == 0) => {
            let low =
                <[u8; 20]>::try_from(low).map_err(|_| L1Error::Malformed { what: "a short word".into() })?;
            Ok(Address(low))
        }
        _ => Err(L1Error::Malformed { what: format!("{element} as a hot key") }),
    }
}
