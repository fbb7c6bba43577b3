//! The MonAI protocol: its nouns, hashes, draws, scores, epochs, receipts and messages.
//!
//! Everything here is pure: no I/O, no clock, no randomness, no floats. Sequencer, node, auditor,
//! circuits and contracts take their meaning of a request, a draw, a receipt or an epoch from this
//! crate; `README.md` beside it is the protocol document, with the reason for each rule.

#![forbid(unsafe_code)]

pub mod batch;
pub mod beacon;
pub mod blob;
pub mod chain;
pub mod codec;
pub mod draw;
pub mod emission;
pub mod epoch;
pub mod field;
pub mod fixed;
pub mod hash;
pub mod ids;
pub mod keys;
pub mod leaf;
pub mod merkle;
pub mod messages;
pub mod output;
pub mod parameters;
pub mod poseidon;
pub mod receipt;
pub mod request;
pub mod score;
pub mod selection;
pub mod state;
pub mod types;
pub mod weights;
pub mod wire;

pub use batch::{Batch, BatchHeader, LaneRange, SpeedTotal};
pub use beacon::insecure_devnet_beacon;
pub use draw::{DrawInputs, Table, TableEntry, draw};
pub use epoch::{EpochCounters, EpochState, NodeCounters, NodeStake, StakeSnapshot, transition};
pub use field::Fr;
pub use hash::{Tag, hash};
pub use keys::{SecretKey, Signature};
pub use leaf::{Leaf, Meta};
pub use messages::Typed;
pub use output::output_commitment;
pub use parameters::Parameters;
pub use poseidon::{permute, poseidon2};
pub use receipt::{Receipt, Reexecute, TrustAnchors};
pub use request::Request;
pub use selection::{SelectionParams, sampling_word};
pub use state::{State, apply};
pub use types::{
    Address, Amount, Assurance, BatchDigest, Beacon, Blinding, ChainId, ChainLink, Digest, Domain, EpochId,
    Finish, Keccak, Lane, ModelId, NodeIndex, OutputCommitment, RequestCommitment, Retry, Slot,
};
