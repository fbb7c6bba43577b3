//! What an inference proof says, and its verifier.
//!
//! [`verify`] decides whether an answer is exactly what a registered integer model decodes from a committed request. It
//! needs the model's chunk commitments and header, never its weights. `docs/statement.md` states the relations and argues
//! their soundness; each relation's file has its own part of the argument.
//!
//! Deliberately absent: a prover, kernels, anything that has seen a witness. The flow of each relation is written once,
//! over the trait [`party::Party`], which the prover implements in its own crate.
#![forbid(unsafe_code)]

pub mod commitment;

macro_rules! verifier_modules {
    ($($(#[$doc:meta])* $vis:vis mod $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[cfg_attr(not(test), deny(
                clippy::as_conversions,
                clippy::expect_used,
                clippy::indexing_slicing,
                clippy::panic,
                clippy::unwrap_used
            ))]
            $vis mod $name;
        )*
    };
}

verifier_modules! {
    pub mod error;
    pub mod field;
    pub mod leaf;
    pub mod multilinear;
    pub mod party;
    pub mod proof;
    pub mod reduction;
    pub mod relations;
    pub mod shape;
    pub mod statement;
    pub mod sumcheck;
    pub mod tensor;
    pub mod transcript;
    pub mod verifier;
    pub mod verify;
}

pub use error::{ShapeError, VerifyError};
pub use proof::Proof;
pub use shape::ModelHeader;
pub use statement::{Preimage, Public};
pub use verify::{RegisteredModel, verify};
