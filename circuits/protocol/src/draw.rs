//! The allocation table of an epoch and model, and the draw of a node from it.

use crate::chain::ChainAnchor;
use crate::field::{self, Fr};
use crate::hash::{Tag, hash};
use crate::types::{Address, Beacon, ChainLink, Digest, EpochId, Lane, ModelId, NodeIndex, Retry, Slot};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most nodes in a table. Leaves could index 65,536; receipts carry whole tables, so less is allowed
/// until they carry paths instead.
pub const MAX_TABLE_NODES: usize = 4096;
/// Largest weight of a node: 2^96 leaves the total of a full table far below a draw word.
pub const MAX_WEIGHT: u128 = 1 << 96;

/// One node of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableEntry {
    /// The node's slot in the registry, which leaves name it by: L1 knows slots, and no order of addresses.
    pub slot: NodeIndex,
    /// The node's operator key.
    pub node: Address,
    /// A_i · min(S_c, S_i), an integer; the node's probability is this over the table's total.
    #[serde(with = "crate::codec::decimal")]
    pub weight: u128,
}

/// The table of an epoch and model: strictly ascending addresses, distinct slots, positive weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The epoch that draws from it.
    pub epoch: EpochId,
    /// The model.
    pub model: ModelId,
    /// The nodes.
    pub entries: Vec<TableEntry>,
}

/// Why nothing can be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// The table holds no node, or more than allowed.
    #[error("table of {0} nodes, must have 1 to {MAX_TABLE_NODES}")]
    TableSize(usize),
    /// Entries are not strictly ascending by address.
    #[error("table entry {0} is out of order or repeated")]
    Order(usize),
    /// Two entries have one slot.
    #[error("table entry {0} has the slot of another")]
    Slot(usize),
    /// A weight is zero or too large.
    #[error("weight of table entry {0} is out of range")]
    Weight(usize),
    /// Every node of the table has been tried.
    #[error("attempt {retry} but the table has {nodes} nodes")]
    Exhausted {
        /// The attempt asked for.
        retry: u8,
        /// Nodes in the table.
        nodes: usize,
    },
}

/// What decides a draw, besides table and attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawInputs {
    /// The epoch's beacon.
    pub beacon: Beacon,
    /// s_j, j = ⌊slot/64⌋.
    pub link: ChainLink,
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The slot.
    pub slot: Slot,
}

impl Table {
    /// Checks order, size, slots and weights.
    ///
    /// # Errors
    /// The first violation.
    pub fn validate(&self) -> Result<(), DrawError> {
        if self.entries.is_empty() || self.entries.len() > MAX_TABLE_NODES {
            return Err(DrawError::TableSize(self.entries.len()));
        }
        let mut slots = BTreeSet::new();
        for (i, e) in self.entries.iter().enumerate() {
            if !slots.insert(e.slot) {
                return Err(DrawError::Slot(i));
            }
            if e.weight == 0 || e.weight > MAX_WEIGHT {
                return Err(DrawError::Weight(i));
            }
            if i > 0 && self.entries[i - 1].node >= e.node {
                return Err(DrawError::Order(i));
            }
        }
        Ok(())
    }

    /// The sum of all weights.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.entries.iter().fold(0, |t, e| t.saturating_add(e.weight))
    }

    /// The entry of a node.
    #[must_use]
    pub fn entry(&self, node: &Address) -> Option<&TableEntry> {
        self.entries.get(self.entries.binary_search_by_key(node, |e| e.node).ok()?)
    }

    /// The slot of a node.
    #[must_use]
    pub fn index_of(&self, node: &Address) -> Option<NodeIndex> {
        self.entry(node).map(|e| e.slot)
    }

    /// The node in a slot.
    #[must_use]
    pub fn node(&self, slot: NodeIndex) -> Option<Address> {
        self.entries.iter().find(|e| e.slot == slot).map(|e| e.node)
    }

    /// hash(Table, [epoch, model hi, model lo, n, slot_0, node_0, weight_0, ...]).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let [hi, lo] = self.model.limbs();
        let mut inputs = vec![Fr::from(self.epoch.0), hi, lo, Fr::from(self.entries.len() as u64)];
        for e in &self.entries {
            inputs.extend([Fr::from(u64::from(e.slot.0)), e.node.to_field(), Fr::from(e.weight)]);
        }
        Digest(hash(Tag::Table, &inputs))
    }
}

/// Draws the slot of an attempt's node: the one function of sequencer, auditor and circuit.
///
/// Attempt 0 draws from the whole table. Attempt r draws from the table without the nodes of
/// attempts 0..r of the same slot, so the attempts of a slot are one weighted order without
/// repetition, fixed before any of them runs; a node that failed a slot is not asked again.
///
/// For one attempt, words are the low 128 bits of hash(Draw, [beacon hi, lo, s_j, model hi, lo, lane,
/// slot, retry, counter]), counter = 0, 1, ...; the first word below the largest multiple of the
/// remaining total decides: the node in whose prefix-sum interval `word mod total` falls. Given
/// uniform words this is exactly unbiased. (A uniform field element's low 128 bits are themselves
/// uniform to within 2^-125.)
///
/// # Errors
/// [`DrawError`] if the table is malformed or every node has been tried.
pub fn draw(inputs: &DrawInputs, table: &Table, retry: Retry) -> Result<NodeIndex, DrawError> {
    draw_order(inputs, table, retry).map(|order| order.last().copied().unwrap_or(NodeIndex(0)))
}

/// The slots of the nodes of attempts 0..=retry, in order.
///
/// # Errors
/// Those of [`draw`].
pub fn draw_order(inputs: &DrawInputs, table: &Table, retry: Retry) -> Result<Vec<NodeIndex>, DrawError> {
    table.validate()?;
    if usize::from(retry.0) >= table.entries.len() {
        return Err(DrawError::Exhausted { retry: retry.0, nodes: table.entries.len() });
    }
    let mut tried = vec![false; table.entries.len()];
    let mut remaining = table.total();
    let mut order = Vec::with_capacity(usize::from(retry.0) + 1);
    for attempt in 0..=retry.0 {
        let mut target = uniform_below(remaining, |counter| word(inputs, Retry(attempt), counter));
        let mut chosen = 0;
        for (i, e) in table.entries.iter().enumerate().filter(|(i, _)| !tried[*i]) {
            chosen = i;
            if target < e.weight {
                break;
            }
            target -= e.weight;
        }
        tried[chosen] = true;
        remaining -= table.entries[chosen].weight;
        order.push(table.entries[chosen].slot);
    }
    Ok(order)
}

/// The 128-bit word of an attempt and rejection counter.
#[must_use]
pub fn word(inputs: &DrawInputs, retry: Retry, counter: u64) -> u128 {
    let [b_hi, b_lo] = inputs.beacon.limbs();
    let [m_hi, m_lo] = inputs.model.limbs();
    field::low_u128(hash(
        Tag::Draw,
        &[
            b_hi,
            b_lo,
            inputs.link.0,
            m_hi,
            m_lo,
            Fr::from(inputs.lane.0),
            Fr::from(inputs.slot.0),
            Fr::from(u64::from(retry.0)),
            Fr::from(counter),
        ],
    ))
}

/// A uniform integer below `total` (> 0) from uniform words, by rejection.
fn uniform_below(total: u128, word: impl Fn(u64) -> u128) -> u128 {
    // 2^128 mod total words at the top would favour small remainders.
    let excess = (u128::MAX % total + 1) % total;
    let mut counter = 0;
    loop {
        let w = word(counter);
        if w <= u128::MAX - excess {
            return w % total;
        }
        counter += 1;
    }
}

/// The digest of a draw's inputs that the attestation carries: hash(DrawContext, [epoch, beacon hi,
/// lo, table digest, chain epoch, chain first, chain length, chain anchor]); without a chain, in
/// preference lanes, the last four are 0.
#[must_use]
pub fn context_digest(beacon: &Beacon, table: &Table, chain: Option<&ChainAnchor>) -> Digest {
    let [hi, lo] = beacon.limbs();
    let mut inputs = vec![Fr::from(table.epoch.0), hi, lo, table.digest().0];
    inputs.extend(match chain {
        Some(c) => [Fr::from(c.epoch.0), Fr::from(c.first), Fr::from(c.length), c.anchor.0],
        None => [Fr::default(); 4],
    });
    Digest(hash(Tag::DrawContext, &inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejection_leaves_no_bias() {
        // Words 0..2^128 in miniature: with total 3 the one excess word (2^128 mod 3 = 1) is refused.
        let total = 3u128;
        let seen = std::cell::Cell::new(0);
        let r = uniform_below(total, |c| {
            seen.set(c);
            if c == 0 { u128::MAX } else { 4 }
        });
        assert_eq!((r, seen.get()), (1, 1));
        assert_eq!(uniform_below(total, |_| u128::MAX - 1), (u128::MAX - 1) % 3);
        // A power of two refuses nothing.
        assert_eq!(uniform_below(1 << 40, |_| u128::MAX), (1 << 40) - 1);
    }
}
