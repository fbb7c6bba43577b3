//! The rollup's state and the one function that changes it: (state, batch) → state.
//!
//! The sequencer applies its own batches with it and an auditor applies them again; both must agree.

mod apply;
mod error;
mod lane;

pub use apply::{MAX_SPEED_MILLIS, apply};
pub use error::{ApplyError, RegisterError};

use crate::batch::{
    Batch, BatchHeader, CIRCUIT_VERSION, LaneRange, SpeedTotal, leaf_data_hash, leaf_tree, links_digest,
    speed_digest,
};
use crate::chain::ChainAnchor;
use crate::epoch::{EpochCounters, EpochState, StakeSnapshot, transition};
use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::leaf::Leaf;
use crate::parameters::Parameters;
use crate::types::{BatchDigest, Beacon, ChainLink, Digest, Domain, Keccak, Lane, ModelId, Slot};
use ark_ff::Zero;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A revealed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revealed {
    /// Its index j.
    pub index: u64,
    /// s_j.
    pub link: ChainLink,
}

/// What is known about a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneState {
    /// The first slot that no batch holds.
    pub next_slot: Slot,
    /// The registered chain; none in preference lanes.
    pub chain: Option<ChainAnchor>,
    /// The latest revealed link of that chain.
    pub revealed: Option<Revealed>,
}

/// The rollup's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The deployment.
    pub domain: Domain,
    /// The parameters in force.
    pub parameters: Parameters,
    /// The number of the next batch.
    pub next_batch: u64,
    /// The digest of the last batch.
    pub head: BatchDigest,
    /// The routing state; its epoch is the running one.
    pub epoch: EpochState,
    /// The running epoch's beacon.
    pub beacon: Beacon,
    /// The running epoch's counters.
    pub counters: EpochCounters,
    /// Lanes by model.
    pub lanes: BTreeMap<ModelId, BTreeMap<Lane, LaneState>>,
}

impl State {
    /// The state before the first batch of epoch 0.
    #[must_use]
    pub fn genesis(domain: Domain, epoch: EpochState, beacon: Beacon, parameters: Parameters) -> Self {
        Self {
            domain,
            parameters,
            next_batch: 0,
            head: BatchDigest::GENESIS,
            epoch,
            beacon,
            counters: EpochCounters::default(),
            lanes: BTreeMap::new(),
        }
    }

    /// Opens a lane with its chain, before any slot of it, or replaces the chain of a lane whose next
    /// slot begins a new link. At genesis chains of epoch 0 are registered before its beacon is used;
    /// afterwards a chain counts from the next epoch on.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_chain(&mut self, chain: ChainAnchor) -> Result<(), RegisterError> {
        if chain.lane.by_preference() {
            return Err(RegisterError::Preference(chain.lane));
        }
        let at_genesis = self.next_batch == 0 && self.epoch.epoch.0 == 0;
        if !at_genesis && chain.epoch <= self.epoch.epoch {
            return Err(RegisterError::TooLate { came: chain.epoch, running: self.epoch.epoch });
        }
        let lane = self.lanes.entry(chain.model).or_default().entry(chain.lane).or_default();
        let needed = lane.next_slot.0.div_ceil(Slot::PER_LINK);
        if chain.first != needed {
            return Err(RegisterError::Gap { came: chain.first, needed });
        }
        chain.covers(chain.first)?;
        lane.chain = Some(chain);
        lane.revealed = None;
        Ok(())
    }

    /// Opens a preference lane.
    pub fn open_preference_lane(&mut self, model: ModelId, lane: Lane) {
        if lane.by_preference() {
            self.lanes.entry(model).or_default().entry(lane).or_default();
        }
    }

    /// Ends the running epoch; its slots must all be batched. The beacon is the next epoch's.
    #[must_use]
    pub fn next_epoch(&self, snapshot: &StakeSnapshot, beacon: Beacon) -> State {
        State {
            epoch: transition(&self.epoch, &self.counters, snapshot, &self.parameters),
            beacon,
            counters: EpochCounters::default(),
            ..self.clone()
        }
    }

    /// The commitment to the state that batches carry: hash(State, [epoch, beacon hi, lo, tables,
    /// lanes, counters]), the last three each a hash over their entries in ascending order.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut tables = Vec::new();
        for m in self.epoch.models.values() {
            tables.push(m.current.as_ref().map_or(Fr::zero(), |t| t.digest().0));
        }
        let mut lanes = Vec::new();
        for (model, by_lane) in &self.lanes {
            for (lane, l) in by_lane {
                lanes.extend(model.limbs());
                lanes.extend([Fr::from(lane.0), Fr::from(l.next_slot.0)]);
                let (index, link) =
                    l.revealed.map_or((Fr::zero(), Fr::zero()), |r| (Fr::from(r.index), r.link.0));
                lanes.extend([l.chain.as_ref().map_or(Fr::zero(), |c| c.anchor.0), index, link]);
            }
        }
        let mut counters = Vec::new();
        for (model, nodes) in &self.counters.models {
            for (node, c) in nodes {
                counters.extend(model.limbs());
                counters.push(node.to_field());
                counters.extend([c.answered, c.missed, c.busy, c.tokens, c.millis].map(Fr::from));
            }
        }
        let [b_hi, b_lo] = self.beacon.limbs();
        let parts = [tables, lanes, counters].map(|p| hash(Tag::State, &p));
        let epoch = Fr::from(self.epoch.epoch.0);
        Digest(hash(Tag::State, &[epoch, b_hi, b_lo, parts[0], parts[1], parts[2]]))
    }

    /// Builds the next batch from its parts and returns it with the state after it: what a sequencer
    /// signs and stores. `data` is the blob's versioned hash; without it, the leaves travel as calldata.
    ///
    /// # Errors
    /// Those of [`apply`]: a sequencer can't build what an auditor would refuse.
    pub fn seal(
        &self,
        model: ModelId,
        lanes: Vec<LaneRange>,
        speed: Vec<SpeedTotal>,
        leaves: Vec<Leaf>,
        data: Option<Keccak>,
    ) -> Result<(Batch, State), ApplyError> {
        let leaf_error = |(index, source)| ApplyError::Leaf { index, source };
        let data = match data {
            Some(data) => data,
            None => leaf_data_hash(&leaves).map_err(leaf_error)?,
        };
        let header = BatchHeader {
            number: self.next_batch,
            parent: self.head,
            model,
            epoch: self.epoch.epoch,
            circuit_version: CIRCUIT_VERSION,
            leaf_count: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
            root: leaf_tree(&leaves).map_err(leaf_error)?.root(),
            state_root: Digest(Fr::zero()),
            links: links_digest(&lanes, speed_digest(&speed)),
            node_roots: Digest(Fr::zero()),
            data,
        };
        let mut batch = Batch { header, lanes, speed, leaves };
        let mut next = apply::advance(self, &batch)?;
        batch.header.state_root = next.root();
        next.head = batch.header.batch_digest();
        Ok((batch, next))
    }

    fn lane(&self, model: ModelId, lane: Lane) -> Result<&LaneState, ApplyError> {
        self.lanes.get(&model).and_then(|l| l.get(&lane)).ok_or(ApplyError::Unregistered {
            model,
            lane,
            missing: "lane",
        })
    }
}
