//! What an inference proof says, and its verifier.
//!
//! [`verify()`] decides whether an answer is exactly what a registered integer model decodes from a committed request. It
//! needs the model's commitment, never its weights. `docs/statement.md` states the relations and argues their soundness;
//! each relation's file has its own part of the argument.
//!
//! | to | use |
//! |---|---|
//! | verify a proof file against the registered M | [`verify_file`] |
//! | verify a proof of several answers | [`verify_many`] |
//! | verify a proof | [`RegisteredModel::new`] from M, the [`commitment::ModelCommitment`] and the setup's key, then [`verify()`] |
//! | name a model in a registry | [`ModelDigest`], M: `0x` and 64 hex digits as text |
//! | store what M is the digest of | [`commitment::ModelCommitment::to_bytes`] and `from_bytes`, one canonical encoding |
//! | hand a proof over | [`ProofFile::to_bytes`] and `from_bytes`: proof, public inputs, model commitment, key |
//! | commit to a model, register it | `monai_prover::{commit_model, check_registration}` |
//!
//! Deliberately absent: a prover, kernels, anything that has seen a witness. The flow of each relation is written once,
//! over the trait [`party::Party`], which the prover implements in its own crate.
#![forbid(unsafe_code)]
// Nothing here may panic or wrap on outside input: no lint of this list has an exception outside tests.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod batch;
pub mod commitment;
pub mod error;
pub mod field;
pub mod leaf;
pub mod multilinear;
pub mod party;
pub mod proof;
pub mod proof_file;
pub mod reduction;
pub mod registration;
pub mod relations;
pub mod shape;
pub mod statement;
pub mod sumcheck;
pub mod tensor;
pub mod transcript;
pub mod verifier;
pub mod verify;

pub use batch::Batch;
pub use commitment::ModelDigest;
pub use error::{ShapeError, VerifyError};
pub use proof::Proof;
pub use proof_file::{FileError, ProofFile, Verified, verify_file};
pub use registration::{RegisteredModel, RegistrationError};
pub use shape::ModelHeader;
pub use statement::{Preimage, Public, Shown};
pub use verify::{verify, verify_many};
