//! The integer model: what a registered model computes, exactly.
//!
//! `SEMANTICS.md` has the rules; this crate holds their scalar twins, the slow reference, the artefact and its import,
//! the tokenizer and the chat template. It has no fast kernel (those are in `monai-engine`) and no proof.

pub mod artefact;
pub mod bounds;
pub mod error;
pub mod file;
pub mod gguf;
pub mod hf;
pub mod limits;
pub mod quantise;
pub mod reference;
pub mod select;
pub mod semantics;
pub mod source;
pub mod tables;
pub mod testing;
pub mod text;

pub use error::ModelError;
