//! GGUF files.

/// What is wrong with a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// Malformed.
    #[error("{0}")]
    Malformed(String),
}
