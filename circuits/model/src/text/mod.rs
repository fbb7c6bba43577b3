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

mod admit;
mod bpe;
mod bytes;
mod codec;
mod guard;
pub(crate) mod json;
mod stream;
mod template;

pub use admit::MAX_TOKENIZER_BYTES;
pub use bpe::{MAX_MERGES, MAX_SPECIAL_BYTES, MAX_SPECIALS, MAX_TOKEN_BYTES};
pub use codec::{MAX_TEXT_BYTES, TextCodec};
pub use stream::TextStream;
pub use template::{
    ChatTemplate, MAX_MESSAGES, MAX_RENDERED_BYTES, MAX_TEMPLATE_BYTES, Message, ROLES, TEMPLATE_FUEL,
};

use crate::artefact::TextConfig;

/// Most ids that end an answer.
pub const MAX_END_IDS: usize = 64;

/// Whether tokenizer and template of a model with `vocab` ids are of kinds that may be run: what import and loading ask
/// before anything else reads them.
///
/// # Errors
/// As [`TextCodec::new`], whose library may still find fault with what passes here.
pub fn check(config: &TextConfig, vocab: usize) -> Result<(), TextError> {
    end_ids(config)?;
    admit::admit(&config.tokenizer_json, vocab)?;
    if let Some(source) = &config.chat_template {
        ChatTemplate::new(source, &config.bos_token, &config.eos_token)?;
    }
    Ok(())
}

fn end_ids(config: &TextConfig) -> Result<(), TextError> {
    if config.eos_ids.is_empty() || config.eos_ids.len() > MAX_END_IDS {
        let count = config.eos_ids.len();
        return Err(TextError::Tokenizer(format!(
            "{count} ids end an answer: 1 to {MAX_END_IDS} are allowed"
        )));
    }
    Ok(())
}

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
    /// More text than [`TextCodec::most_bytes`].
    #[error("{bytes} bytes of text: at most {most} are allowed")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many are allowed.
        most: usize,
    },
    /// An id outside the vocabulary.
    #[error("token id {0} is outside the vocabulary")]
    UnknownId(u32),
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
