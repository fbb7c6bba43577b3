//! What the sequencer reads from L1: who is staked with how much, which keys and models they have, the governed
//! parameters, and the calendar of epochs.
//!
//! Everything that routing uses is read by epoch: the contracts answer for an epoch that has begun with the same
//! numbers for ever, so a block only decides *whether* an epoch has begun and *which history* this is. The follower
//! ([`follow`]) watches confirmed blocks and notices reorgs; the reader ([`read`]) fetches the facts of an epoch at
//! one block, by its hash. What becomes of facts is the ledger's business (`ledger/registry.rs`, `ledger/reorg.rs`).
//!
//! What is written to L1 is in [`post`], behind [`BatchPoster`]: it takes sealed batches from the store and has no part
//! in making them.

mod config;
mod facts;
mod follow;
mod parameters;
mod post;
mod poster;
mod read;

pub use config::L1Config;
pub use post::PostConfig;
pub use poster::{BatchPoster, PostError};

pub(crate) use facts::EpochFacts;
pub(crate) use follow::{L1, Status};
pub(crate) use post::Poster;

/// Why L1 can't be read, or what it says can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum L1Error {
    /// The configured endpoint is none.
    #[error(transparent)]
    Connect(#[from] monai_contracts::ConnectError),
    /// The address file can't be used.
    #[error(transparent)]
    Addresses(#[from] monai_contracts::AddressesError),
    /// The endpoint does not answer, or answers with an error. Tried again at the next poll.
    #[error("L1 does not answer: {0}")]
    Away(String),
    /// The endpoint serves another chain than the address file names.
    #[error("the endpoint serves chain {found}, the addresses are of chain {expected}")]
    WrongChain {
        /// Chain of the address file.
        expected: u64,
        /// Chain of the endpoint.
        found: u64,
    },
    /// The contracts' answer is not shaped as their interface says.
    #[error("the contracts answered {what}")]
    Malformed {
        /// What is wrong with the answer.
        what: String,
    },
    /// The governed parameters can't be used here.
    #[error("parameters of epoch {epoch}: {source}")]
    Parameters {
        /// Epoch that they are for.
        epoch: u64,
        /// Which, and why.
        source: monai_protocol::parameters::ParameterError,
    },
}

impl From<alloy_contract::Error> for L1Error {
    fn from(error: alloy_contract::Error) -> Self {
        Self::Away(error.to_string())
    }
}

impl From<alloy_transport::TransportError> for L1Error {
    fn from(error: alloy_transport::TransportError) -> Self {
        Self::Away(error.to_string())
    }
}
