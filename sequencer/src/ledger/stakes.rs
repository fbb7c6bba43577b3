//! Stakes from a file, for networks without L1.

use std::collections::BTreeSet;
use std::path::PathBuf;

use monai_protocol::{ModelId, NodeIndex, NodeStake, StakeSnapshot};

use super::LedgerError;
use crate::config::{Operator, StakesFile};

/// Most bytes of a stakes file.
const MAX_BYTES: u64 = 16 << 20;

/// Where stakes come from.
#[derive(Debug)]
pub(crate) struct StakesSource(pub(crate) PathBuf);

impl StakesSource {
    /// Reads the file.
    pub(crate) fn read(&self) -> Result<StakesFile, LedgerError> {
        let wrong =
            |e: &dyn std::fmt::Display| LedgerError::Stakes(self.0.display().to_string(), e.to_string());
        let size = std::fs::metadata(&self.0).map_err(|e| wrong(&e))?.len();
        if size > MAX_BYTES {
            return Err(wrong(&format!("{size} bytes, at most {MAX_BYTES}")));
        }
        let text = std::fs::read(&self.0).map_err(|e| wrong(&e))?;
        let file: StakesFile = serde_json::from_slice(&text).map_err(|e| wrong(&e))?;
        let distinct: BTreeSet<_> = file.operators.iter().map(|o| o.operator).collect();
        if distinct.len() != file.operators.len() {
            return Err(wrong(&"an operator is listed twice"));
        }
        let slots: BTreeSet<_> = (0u16..).zip(&file.operators).map(|(i, o)| o.slot.unwrap_or(i)).collect();
        if slots.len() != file.operators.len() {
            return Err(wrong(&"two operators have one slot"));
        }
        Ok(file)
    }

    /// The snapshot at this moment.
    pub(crate) fn snapshot(&self, served: &[ModelId]) -> Result<StakeSnapshot, LedgerError> {
        let served = served.iter().copied().collect();
        Ok(snapshot(&self.read()?.operators, &served))
    }
}

/// Operators as routing wants them; those that name no models serve `served`, those without a slot stand in their
/// order. Exposure is zero: what this sequencer batched is audited by L1, which holds the stake until it is proved.
pub(crate) fn snapshot(operators: &[Operator], served: &BTreeSet<ModelId>) -> StakeSnapshot {
    let nodes = (0u16..).zip(operators).map(|(position, o)| {
        let models = o.models.clone().unwrap_or_else(|| served.clone());
        let slot = NodeIndex(o.slot.unwrap_or(position));
        (o.operator, NodeStake { slot, owner: o.owner, stake: o.stake, exposure: 0, models })
    });
    StakeSnapshot { nodes: nodes.collect() }
}
