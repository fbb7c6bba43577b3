//! Text to ids and back: tokenizer, chat template, streaming detokeniser.

pub(crate) mod json;

/// What can go wrong with tokenizer, template or a request's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The tokenizer is malformed or of a kind that is not supported.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}
