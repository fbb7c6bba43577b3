//! Opening the ledger: from genesis, or from where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use monai_protocol::chain::HashChain;
use monai_protocol::epoch::EpochState;
use monai_protocol::{
    Beacon, EpochId, ModelId, Parameters, SecretKey, Slot, StakeSnapshot, State,
};
use rand::Rng as _;

use super::registry::{Counted, Registry};
use super::reorg::Basis;
use super::view::EpochView;
use super::{LOT_LANE, Ledger, LedgerError, ModelView, PREFERENCE_LANE, meta};
use crate::clock::now_ms;
use crate::config::Intervals;
use crate::metrics::Metrics;
use crate::records::{Clock, ClosedSlot, EpochRecord};
use crate::secret::Secret32;
use crate::store::{Cf, Change, Store, keys};

/// What the ledger needs from outside.
pub(crate) struct LedgerSetup {
    pub(crate) store: Arc<Store>,
    pub(crate) key: Arc<SecretKey>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) intervals: Intervals,
    pub(crate) registry: Registry,
    pub(crate) models: Vec<ModelId>,
    pub(crate) domain: monai_protocol::Domain,
    pub(crate) parameters: Parameters,
}

impl Ledger {
    /// Opens the ledger of a store. Blocks: it derives chains and writes.
    pub(crate) fn open(setup: LedgerSetup) -> Result<Self, LedgerError> {
        let LedgerSetup { store, key, metrics, mut intervals, registry, models, domain, parameters } = setup;
        parameters.validate()?;
        if intervals.epoch_ms == 0 {
            intervals.epoch_ms = parameters.epoch_seconds.saturating_mul(1_000);
        }
        let state: Option<State> = store.get_json(Cf::Meta, meta::STATE)?;
        let mut basis: Option<Basis> = store.get_json(Cf::Meta, meta::BASIS)?;
        if let (Some(l1), Some(basis)) = (registry.l1(), &basis) {
            l1.remember(basis.facts.block);
        }
        let (chain_secret, state, clock) = match state {
            Some(state) => {
                if registry.l1().is_none() && state.parameters != parameters {
                    return Err(LedgerError::ParametersChanged);
                }
                let secret = store
                    .get(Cf::Meta, meta::CHAIN_SECRET)?
                    .and_then(|b| <[u8; 32]>::try_from(b).ok())
                    .ok_or(LedgerError::Inconsistent("a state without a chain secret"))?;
                let clock = store
                    .get_json(Cf::Meta, meta::CLOCK)?
                    .ok_or(LedgerError::Inconsistent("a state without a clock"))?;
                (Secret32::new(secret), state, clock)
            }
            None => {
                let counted = registry.first(&models)?;
                let beacon = counted.beacon(EpochId(0));
                let Counted { snapshot, parameters: governed, facts } = counted;
                basis = facts.map(|facts| Basis { facts, previous: None });
                let parameters = governed.unwrap_or(parameters);
                let first = Genesis { snapshot, parameters, beacon, basis: basis.as_ref() };
                genesis(&store, domain, first, &models, &intervals, &registry)?
            }
        };
        let mut closed = super::ClosedSlots::new();
        for (raw, slot) in store.scan_json::<ClosedSlot>(Cf::Leaves, &[], usize::MAX)? {
            let (model, lane, number) =
                keys::parse_slot(&raw).ok_or(LedgerError::Inconsistent("a leaf under a malformed key"))?;
            closed.entry((model, lane)).or_default().insert(number, slot);
        }
        metrics.epoch.set(clock.epoch.0 as i64);
        Ok(Self {
            store,
            key,
            domain,
            metrics,
            intervals,
            registry,
            basis: Mutex::new(basis),
            models,
            chain_secret,
            state: Mutex::new(Arc::new(state)),
            clock: Mutex::new(clock),
            closed: Mutex::new(closed),
            stepping: Mutex::default(),
            stuck: AtomicBool::new(false),
            chains: Mutex::default(),
        })
    }

    /// The view of the epoch that new slots belong to, or of an earlier one that still has open slots.
    pub(crate) fn view(&self, epoch: EpochId) -> Result<EpochView, LedgerError> {
        let parameters = self.state().parameters.clone();
        let mut models = BTreeMap::new();
        for (raw, record) in
            self.store.scan_json::<EpochRecord>(Cf::Epochs, &epoch.0.to_be_bytes(), usize::MAX)?
        {
            let model = raw
                .get(8..)
                .and_then(|m| <[u8; 32]>::try_from(m).ok())
                .map(ModelId)
                .ok_or(LedgerError::Inconsistent("an epoch under a malformed key"))?;
            let chain = self.chain(&model, record.chain.first, record.chain.length)?;
            models.insert(model, Arc::new(ModelView::new(epoch, record, chain, parameters.max_attempts)));
        }
        Ok(EpochView { epoch, models })
    }
}

/// What a network begins with.
struct Genesis<'a> {
    snapshot: StakeSnapshot,
    parameters: Parameters,
    beacon: Beacon,
    basis: Option<&'a Basis>,
}

fn genesis(
    store: &Store,
    domain: monai_protocol::Domain,
    first: Genesis<'_>,
    models: &[ModelId],
    intervals: &Intervals,
    registry: &Registry,
) -> Result<(Secret32, State, Clock), LedgerError> {
    let Genesis { snapshot, parameters, beacon, basis } = first;
    let secret = Secret32::new(rand::rng().random());
    let ids: BTreeSet<ModelId> = models.iter().copied().collect();
    // The order of the real thing: tables and chains first, then the beacon.
    let epochs = EpochState::genesis(&ids, &snapshot, &parameters);
    let epoch = epochs.epoch;
    let anchors = models
        .iter()
        .map(|m| {
            let chain = HashChain::derive(secret.expose(), m, LOT_LANE, 0, intervals.chain_links)?;
            Ok(chain.anchor(*m, LOT_LANE, epoch))
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
    let mut state = State::genesis(domain, epochs, beacon, parameters);
    let now = now_ms();
    let mut first = Change::default();
    let mut first_slots = Vec::new();
    for chain in &anchors {
        state.register_chain(chain.clone())?;
        state.open_preference_lane(chain.model, PREFERENCE_LANE);
        let record =
            EpochRecord { beacon, table: state.epoch.table(&chain.model).cloned(), chain: chain.clone() };
        first.put_json(Cf::Epochs, keys::epoch(epoch, &chain.model), &record)?;
        first_slots.extend(super::LANES.map(|lane| (chain.model, lane, Slot(0))));
    }
    let clock = Clock {
        epoch,
        started_ms: now,
        ends_ms: registry.ends_ms(epoch, now, intervals.epoch_ms),
        first_slots,
        new_chains: anchors,
    };
    first.put(Cf::Meta, meta::CHAIN_SECRET.to_vec(), secret.expose().to_vec());
    first.put_json(Cf::Meta, meta::STATE.to_vec(), &state)?;
    first.put_json(Cf::Meta, meta::CLOCK.to_vec(), &clock)?;
    if let Some(basis) = basis {
        first.put_json(Cf::Meta, meta::BASIS.to_vec(), basis)?;
    }
    store.submit(first).durable_blocking()?;
    Ok((secret, state, clock))
}
