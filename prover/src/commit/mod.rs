//! The prover's half of the commitment: setup, commitments and openings.
//!
//! The scheme, its conventions and what a verifier checks are in `monai_inference::commitment`.
//!
//! | file | what |
//! |---|---|
//! | `srs/` | powers of tau: own file, public ceremonies, insecure development setup |
//! | `chunk.rs` | values in their integer type, and commitments to them |
//! | `msm/` | multi-scalar products: batched affine buckets, eight additions at once where the processor can, and the naive twin |
//! | `fold.rs` | random linear combination of integer chunks, and its reference twin |
//! | `open.rs` | Mercury openings |
//! | `registration.rs` | all chunks of a model: resumable, with progress |
//! | `field.rs` | between arkworks' types (interfaces) and halo2curves' (kernels) |

mod chunk;
mod eq;
mod error;
mod field;
mod fold;
mod msm;
mod open;
mod registration;
mod srs;
mod univariate;

pub use chunk::ChunkRef;
pub use eq::eq_table;
pub use error::CommitError;
pub use fold::{combine, combine_reference};
pub use open::{open, open_watched};
pub use registration::{ChunkListId, commit_resumable};
pub use srs::Srs;

#[cfg(test)]
mod tests;
