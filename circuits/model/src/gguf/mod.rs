//! GGUF files: container, values, dequantisation, and the model they describe.
//!
//! Files come from strangers. Every count is checked against the bytes that are left before anything is allocated for
//! it, every product is checked for overflow, and every range is checked against the file.

mod dequant;
mod metadata;
mod model;
mod reader;
mod vocabulary;

pub use dequant::{TensorType, dequantise};
pub use metadata::{Array, Value};
pub use model::GgufModel;
pub(crate) use model::plain_frequencies;
pub use reader::{Gguf, TensorInfo};

/// What is wrong with a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first bytes are not those of a little-endian GGUF file.
    #[error("not a little-endian GGUF file")]
    Magic,
    /// A version that is not supported.
    #[error("version {0} is not supported (2 and 3 are)")]
    Version(u32),
    /// The file ends inside something.
    #[error("the file ends inside {0}")]
    Truncated(&'static str),
    /// More of something than the limit.
    #[error("{count} {what}: at most {limit} are read")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many the file says.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// A key or tensor name occurs twice.
    #[error("{0:?} occurs twice")]
    Duplicate(String),
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    /// A value type that does not exist, or an array of arrays.
    #[error("metadata value type {0} is not supported")]
    ValueType(u32),
    /// A boolean that is neither 0 nor 1.
    #[error("{0} is no boolean")]
    Bool(u8),
    /// An alignment that is no multiple of 8 up to 65536.
    #[error("alignment {0}")]
    Alignment(u64),
    /// A tensor that is malformed or outside the file.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A metadata key that is missing.
    #[error("key {0:?} is missing")]
    Missing(String),
    /// A metadata key with a value of the wrong type or out of range.
    #[error("key {key:?}: {reason}")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A feature that the integer program does not have.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl GgufError {
    fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), reason: reason.into() }
    }

    fn key(key: &str, reason: impl Into<String>) -> Self {
        Self::Key { key: key.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
