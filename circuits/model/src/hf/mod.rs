//! Hugging Face folders: `config.json`, safetensors (one file or shards with an index), tokenizer and template.

mod config;
mod model;
mod text;

pub use model::HfModel;

/// Largest configuration file.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Largest `tokenizer.json` and largest shard index.
const MAX_TOKENIZER_BYTES: u64 = crate::text::MAX_TOKENIZER_BYTES as u64;
/// Most shards.
const MAX_SHARDS: usize = 1024;

/// What is wrong with a Hugging Face folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HfError {
    /// A file that is no JSON of the expected form.
    #[error("{file}: {reason}")]
    Json {
        /// Name of the file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that is too large to be what it should be.
    #[error("{file} has {bytes} bytes: at most {limit} are read")]
    TooLarge {
        /// Name of the file.
        file: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A safetensors file that is malformed.
    #[error("{file}: {reason}")]
    Safetensors {
        /// Name of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is missing, there twice, or of another shape or type.
    #[error("tensor {name:?}: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A feature that the integer program does not have.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl HfError {
    fn json(file: &'static str, reason: impl ToString) -> Self {
        Self::Json { file, reason: reason.to_string() }
    }

    fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
