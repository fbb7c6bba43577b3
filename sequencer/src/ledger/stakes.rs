//! Stakes from a file, for networks without L1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use monai_protocol::{ModelId, NodeStake, StakeSnapshot};

use super::LedgerError;
use crate::config::StakesFile;

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
        Ok(file)
    }

    /// The snapshot at this moment. Exposure is zero: nothing is audited on L1 yet, so no slash is pending.
    pub(crate) fn snapshot(&self, served: &[ModelId]) -> Result<StakeSnapshot, LedgerError> {
        let all: BTreeSet<ModelId> = served.iter().copied().collect();
        let nodes: BTreeMap<_, _> = self
            .read()?
            .operators
            .into_iter()
            .map(|o| {
                let models = o.models.unwrap_or_else(|| all.clone());
                (o.operator, NodeStake { owner: o.owner, stake: o.stake, exposure: 0, models })
            })
            .collect();
        Ok(StakeSnapshot { nodes })
    }
}
