//! The sequencer's hash chain, whose links make draws unpredictable to everyone else.
//!
//! A chain of `length` links covers j = first .. first + length of one (model, lane). Its last link
//! is a secret; s_{j-1} = hash(Chain, [s_j]) all the way down to the anchor s_{first-1}, which is
//! registered before the beacon of the first epoch that uses it. Revealing s_j reveals all earlier
//! links and no later one, so a batch reveals one link per lane.

use crate::field::Fr;
use crate::hash::{Tag, hash};
use crate::types::{ChainLink, EpochId, Lane, ModelId};
use serde::{Deserialize, Serialize};

/// Most links in a chain, and most steps that a verifier takes.
pub const MAX_CHAIN_LENGTH: u64 = 1 << 20;

/// A registered chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainAnchor {
    /// The model.
    pub model: ModelId,
    /// The lane.
    pub lane: Lane,
    /// The first epoch that may use it: its beacon came after the registration.
    pub epoch: EpochId,
    /// The index j of the first link.
    pub first: u64,
    /// The number of links.
    pub length: u64,
    /// s_{first-1}.
    pub anchor: ChainLink,
}

/// Why a link is not of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The chain does not cover the index.
    #[error("chain covers links {first}..{end}, not {index}")]
    OutOfRange {
        /// First covered index.
        first: u64,
        /// One past the last covered index.
        end: u64,
        /// The index asked for.
        index: u64,
    },
    /// Hashing down from the link does not give the known one.
    #[error("link {index} does not hash to the known link")]
    NotALink {
        /// The index claimed.
        index: u64,
    },
    /// A chain of no or too many links.
    #[error("chain of {0} links, must have 1 to {MAX_CHAIN_LENGTH}")]
    Length(u64),
}

/// One step down: s_{j-1} from s_j.
#[must_use]
pub fn step_down(link: ChainLink) -> ChainLink {
    ChainLink(hash(Tag::Chain, &[link.0]))
}

/// `steps` steps down.
#[must_use]
pub fn descend(link: ChainLink, steps: u64) -> ChainLink {
    (0..steps).fold(link, |l, _| step_down(l))
}

impl ChainAnchor {
    /// Checks that the chain covers `index`.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn covers(&self, index: u64) -> Result<(), ChainError> {
        if self.length == 0 || self.length > MAX_CHAIN_LENGTH {
            return Err(ChainError::Length(self.length));
        }
        let end = self.first.saturating_add(self.length);
        if index < self.first || index >= end {
            return Err(ChainError::OutOfRange { first: self.first, end, index });
        }
        Ok(())
    }

    /// Checks that `link` is s_index by hashing down to the anchor.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn verify(&self, index: u64, link: ChainLink) -> Result<(), ChainError> {
        self.covers(index)?;
        if descend(link, index - self.first + 1) == self.anchor {
            Ok(())
        } else {
            Err(ChainError::NotALink { index })
        }
    }

    /// Like [`ChainAnchor::verify`], but only down to a link that is known already.
    ///
    /// # Errors
    /// [`ChainError`]; also if the known link is later than `index`.
    pub fn verify_from(
        &self,
        known: Option<(u64, ChainLink)>,
        index: u64,
        link: ChainLink,
    ) -> Result<(), ChainError> {
        let Some((known_index, known_link)) = known else { return self.verify(index, link) };
        self.covers(index)?;
        let steps = index.checked_sub(known_index).ok_or(ChainError::NotALink { index })?;
        if descend(link, steps) == known_link { Ok(()) } else { Err(ChainError::NotALink { index }) }
    }
}

/// The sequencer's side: all links of a chain.
#[derive(Clone)]
pub struct HashChain {
    first: u64,
    /// s_{first-1} (the anchor), s_first, ...
    links: Vec<ChainLink>,
}

impl std::fmt::Debug for HashChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HashChain({}..{})", self.first, self.first + self.links.len() as u64 - 1)
    }
}

impl HashChain {
    /// Derives the chain of (model, lane, first) from the sequencer's 32-byte secret.
    ///
    /// # Errors
    /// [`ChainError::Length`].
    pub fn derive(
        secret: &[u8; 32],
        model: &ModelId,
        lane: Lane,
        first: u64,
        length: u64,
    ) -> Result<Self, ChainError> {
        if length == 0 || length > MAX_CHAIN_LENGTH {
            return Err(ChainError::Length(length));
        }
        let [s_hi, s_lo] = crate::field::split(secret);
        let [m_hi, m_lo] = model.limbs();
        let inputs = [s_hi, s_lo, m_hi, m_lo, Fr::from(lane.0), Fr::from(first), Fr::from(length)];
        let mut link = ChainLink(hash(Tag::ChainSecret, &inputs));
        let mut links = Vec::with_capacity(length as usize + 1);
        links.push(link);
        for _ in 0..length {
            link = step_down(link);
            links.push(link);
        }
        links.reverse();
        Ok(Self { first, links })
    }

    /// s_index, if the chain covers it.
    #[must_use]
    pub fn link(&self, index: u64) -> Option<ChainLink> {
        let at = index.checked_sub(self.first)?.checked_add(1)?;
        self.links.get(usize::try_from(at).ok()?).copied()
    }

    /// What is registered.
    #[must_use]
    pub fn anchor(&self, model: ModelId, lane: Lane, epoch: EpochId) -> ChainAnchor {
        let anchor = self.links.first().copied().unwrap_or(ChainLink(Fr::default()));
        ChainAnchor { model, lane, epoch, first: self.first, length: self.links.len() as u64 - 1, anchor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_verify_in_place_only() {
        let model = ModelId([5; 32]);
        let chain = HashChain::derive(&[1; 32], &model, Lane(0), 10, 8).unwrap();
        let anchor = chain.anchor(model, Lane(0), EpochId(3));
        assert_eq!(anchor.length, 8);
        for j in 10..18 {
            let link = chain.link(j).unwrap();
            assert_eq!(anchor.verify(j, link), Ok(()));
            assert!(anchor.verify(j + 1, link).is_err());
            assert_eq!(anchor.verify_from(Some((10, chain.link(10).unwrap())), j, link), Ok(()));
        }
        assert!(chain.link(9).is_none() && chain.link(18).is_none());
        assert!(anchor.verify(9, anchor.anchor).is_err());
        assert!(anchor.verify(18, chain.link(17).unwrap()).is_err());
        let known = Some((12, chain.link(12).unwrap()));
        assert!(anchor.verify_from(known, 11, chain.link(11).unwrap()).is_err());
    }
}
