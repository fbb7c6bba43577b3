//! The integer parameters by which a token is selected, and the words that selection draws.

use crate::field::{self, Fr};
use crate::hash::{Tag, hash};
use serde::{Deserialize, Serialize};

/// Most stop ids that a request may add to the model's own end-of-sequence ids.
pub const MAX_STOP_IDS: usize = 8;
/// `top_p` that switches the top-p rule off: one, in units of 2^-16.
pub const TOP_P_OFF: u32 = 1 << 16;
/// `delta_min_p` that switches the min-p rule off.
pub const DELTA_MIN_P_OFF: u32 = 65_535;

/// The selection parameters that R commits to.
///
/// Floats from an API become these integers once, at the API; nothing after it sees a float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectionParams {
    /// τ ≥ 1, which multiplies inside the requantisation of the logits.
    pub tau: u32,
    /// Ranks kept; 0 is off, 1 is greedy.
    pub top_k: u32,
    /// Probability mass kept, in units of 2^-16, in [1, 65536]; 65536 is off.
    pub top_p: u32,
    /// Largest distance below the maximum logit that is kept, in [0, 65535]; 65535 is off.
    pub delta_min_p: u32,
    /// Most output ids, at least 1.
    pub max_tokens: u32,
    /// Ids that stop the answer besides the model's own: at most 8, strictly ascending.
    pub stop_ids: Vec<u32>,
    /// The seed, a decimal string in JSON.
    #[serde(with = "crate::codec::decimal")]
    pub seed: u64,
}

/// Why parameters are outside their bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A number outside its range.
    #[error("{field} is {came}, must be in [{min}, {max}]")]
    Range {
        /// The field's name.
        field: &'static str,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
        /// The value that came.
        came: u64,
    },
    /// Stop ids repeat or are out of order.
    #[error("stop_ids must be strictly ascending")]
    StopIdsUnsorted,
}

fn in_range(field: &'static str, came: u64, min: u64, max: u64) -> Result<(), SelectionError> {
    if (min..=max).contains(&came) { Ok(()) } else { Err(SelectionError::Range { field, min, max, came }) }
}

impl SelectionParams {
    /// Greedy selection of at most `max_tokens` ids.
    #[must_use]
    pub fn greedy(max_tokens: u32) -> Self {
        Self {
            tau: 1,
            top_k: 1,
            top_p: TOP_P_OFF,
            delta_min_p: DELTA_MIN_P_OFF,
            max_tokens,
            stop_ids: Vec::new(),
            seed: 0,
        }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field outside its bounds.
    pub fn validate(&self) -> Result<(), SelectionError> {
        in_range("tau", self.tau.into(), 1, u32::MAX.into())?;
        in_range("top_p", self.top_p.into(), 1, TOP_P_OFF.into())?;
        in_range("delta_min_p", self.delta_min_p.into(), 0, DELTA_MIN_P_OFF.into())?;
        in_range("max_tokens", self.max_tokens.into(), 1, crate::leaf::MAX_COUNT.into())?;
        in_range("stop_ids.len", self.stop_ids.len() as u64, 0, MAX_STOP_IDS as u64)?;
        if self.stop_ids.windows(2).all(|w| w[0] < w[1]) {
            Ok(())
        } else {
            Err(SelectionError::StopIdsUnsorted)
        }
    }

    /// True if selection ignores the seed.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.top_k == 1
    }

    /// The word u of selection at `position`: 0 for greedy, [`sampling_word`] otherwise.
    #[must_use]
    pub fn word(&self, position: u64) -> u64 {
        if self.is_greedy() { 0 } else { sampling_word(self.seed, position) }
    }
}

/// The word u that selects the token at `position`, its absolute index in prompt ‖ output: the low
/// 64 bits of hash(Seed, [seed, position]).
#[must_use]
pub fn sampling_word(seed: u64, position: u64) -> u64 {
    field::low_u64(hash(Tag::Seed, &[Fr::from(seed), Fr::from(position)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let ok = SelectionParams::greedy(16);
        assert_eq!(ok.validate(), Ok(()));
        let bad = |f: fn(&mut SelectionParams)| {
            let mut p = SelectionParams::greedy(16);
            f(&mut p);
            p.validate().is_err()
        };
        assert!(bad(|p| p.tau = 0));
        assert!(bad(|p| p.top_p = 0));
        assert!(bad(|p| p.top_p = 65_537));
        assert!(bad(|p| p.delta_min_p = 65_536));
        assert!(bad(|p| p.max_tokens = 0));
        assert!(bad(|p| p.max_tokens = 1 << 20));
        assert!(bad(|p| p.stop_ids = (0..9).collect()));
        assert!(bad(|p| p.stop_ids = vec![2, 2]));
        assert!(bad(|p| p.stop_ids = vec![3, 2]));
    }

    #[test]
    fn greedy_draws_nothing() {
        let mut p = SelectionParams::greedy(1);
        p.seed = 9;
        assert_eq!(p.word(3), 0);
        p.top_k = 0;
        assert_eq!(p.word(3), sampling_word(9, 3));
        assert_ne!(sampling_word(9, 3), sampling_word(9, 4));
    }
}
