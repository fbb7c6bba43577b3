//! Hugging Face folders.

/// What is wrong with a Hugging Face folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HfError {
    /// Malformed.
    #[error("{0}")]
    Malformed(String),
}
