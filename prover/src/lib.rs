//! The prover: from an answer to a proof that `monai_inference::verify` accepts.
//!
//! | module | what |
//! |---|---|
//! | `commit` | setup, commitments, openings |
//! | `witness` | every committed value, traced by the scalar rules of the integer model |
//! | `model` | a model's tensors in the commitment's layout |
//! | `register` | a model's commitment, and the check that others run before they rely on it |
//! | `factors` | the factors of each relation's sum |
//! | `sumcheck`, `tree`, `reduce` | the three arguments; `leaves` is what the trees are made of |
//! | `party`, `prove` | the proving side of the protocol, and the entry point |
//! | `progress` | stages, times, cancellation |
//! | `memory` | what a proof needs, before it begins |
//! | `matvec` | one committed matrix times a vector, for comparisons |
//!
//! The relations themselves are in `monai_inference::relations`: their flow is written once for both parties.

pub mod commit;

mod channel;
pub mod error;
mod factors;
pub mod kernels;
mod leaves;
pub mod matvec;
pub mod memory;
pub mod model;
mod party;
pub mod progress;
mod prove;
mod reduce;
mod register;
mod sumcheck;
mod tree;
pub mod witness;

pub use error::ProveError;
pub use memory::{MemoryEstimate, most_positions};
pub use model::{ModelTensors, chunk_bits, header};
pub use progress::{Cancelled, Progress, Stage, StageTime};
pub use prove::{
    Answer, ProvingModel, Stages, check_relations, check_relations_of, prove, prove_many, prove_watched,
    prove_witnesses,
};
pub use register::{ChunkProgress, RegistrationCheckError, check_registration, commit_model};
pub use witness::{Constraint, Witness, broken, trace};
