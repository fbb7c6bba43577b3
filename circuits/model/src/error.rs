//! What can go wrong between a foreign file and a model. Nothing here is a panic: all of it comes from outside input.

use std::path::PathBuf;

use crate::bounds::BoundError;
use crate::file::FileError;
use crate::gguf::GgufError;
use crate::hf::HfError;
use crate::limits::ShapeError;
use crate::text::TextError;

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused a file.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder, a pipe or a device where a file should be.
    #[error("{0}: not a regular file")]
    NotAFile(PathBuf),
    /// A GGUF file is malformed or holds something that is not supported.
    #[error("GGUF: {0}")]
    Gguf(#[from] GgufError),
    /// A Hugging Face folder is malformed or holds something that is not supported.
    #[error("Hugging Face folder: {0}")]
    Hf(#[from] HfError),
    /// The architecture has a shape that is neither served nor proved.
    #[error("unsupported model: {0}")]
    Shape(#[from] ShapeError),
    /// The architecture has a feature that the integer program does not have.
    #[error("unsupported model: {0}")]
    Unsupported(String),
    /// A weight is not a finite number, or a tensor has the wrong length.
    #[error("tensor {tensor}: {reason}")]
    Tensor {
        /// Name of the tensor, with its layer.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An integer bound does not hold: the artefact is refused.
    #[error("bound broken: {0}")]
    Bound(#[from] BoundError),
    /// An artefact file is malformed.
    #[error("artefact: {0}")]
    File(#[from] FileError),
    /// Tokenizer or template.
    #[error("text: {0}")]
    Text(#[from] TextError),
}

impl ModelError {
    /// Wraps an input/output error with the path that it is about.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
