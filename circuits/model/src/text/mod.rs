//! Text to ids and back: tokenizer, chat template, streaming detokeniser.
//!
//! Everything here is a pure function of the registered [`crate::artefact::TextConfig`]: sequencer, proxy and auditor
//! run the same code on the same messages and must get the same ids. Templates therefore see no clock and no
//! environment.
//!
//! **No injection.** A user's text never becomes a control token. Before the template runs, every place in a message
//! where a special token stands, or could come about together with what the template writes around it, is broken by a
//! marker character; the tokenizer looks for special tokens first and removes the markers after. What a template writes
//! itself is matched as usual. Added tokens that the tokenizer does not call special (`<think>`, runs of spaces) are
//! ordinary text and matched everywhere.

mod bytes;
mod codec;
mod guard;
pub(crate) mod json;
mod stream;
mod template;

pub use codec::{MAX_TEXT_BYTES, TextCodec};
pub use stream::TextStream;
pub use template::{ChatTemplate, MAX_MESSAGES, MAX_RENDERED_BYTES, Message, ROLES, TEMPLATE_FUEL};

/// What can go wrong with tokenizer, template or a request's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The tokenizer is malformed or of a kind that is not supported.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template can't be parsed.
    #[error("chat template: {0}")]
    Template(String),
    /// The template refused these messages, with its own words.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
    /// The template did more work, or wrote more, than the limits allow.
    #[error("the chat template exceeds its limits on these messages")]
    TemplateLimit,
    /// A base model was asked to chat.
    #[error("this model has no chat template")]
    NoChat,
    /// A role that no template knows.
    #[error("unknown role {0:?}")]
    Role(String),
    /// No message, or more than [`MAX_MESSAGES`].
    #[error("{0} messages: 1 to {MAX_MESSAGES} are allowed")]
    Messages(usize),
    /// More text than [`MAX_TEXT_BYTES`].
    #[error("{0} bytes of text: at most {MAX_TEXT_BYTES} are allowed")]
    TooLong(usize),
    /// An id outside the vocabulary.
    #[error("token id {0} is outside the vocabulary")]
    UnknownId(u32),
}

#[cfg(test)]
mod tests;
