//! How a body of the OpenAI API becomes a request, for clients that want to compute R themselves.
//!
//! A proxy that signs for its user and an auditor that checks intakes use these functions, so that their ids and
//! parameters are the sequencer's.

use monai_model::text::Message;
use serde_json::Value;

use crate::api::fields::Fields;
pub use crate::api::sampling::Sampling;
pub use crate::api::stops::StopFilter;
use crate::api::{ask, extensions, prompt};

/// Why a body is not understood: the message and field that the API's error would have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FieldError {
    /// For people.
    pub message: String,
    /// The field, as in `messages[0].role`.
    pub param: Option<String>,
}

impl From<crate::api::error::ApiError> for FieldError {
    fn from(e: crate::api::error::ApiError) -> Self {
        Self { message: e.message, param: e.param }
    }
}

/// A prompt of the completions endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPrompt {
    /// To be tokenised with `TextCodec::prompt_ids`.
    Text(String),
    /// Taken as they are.
    Ids(Vec<u32>),
}

fn fields(body: &Value) -> Result<Fields<'_>, FieldError> {
    Ok(Fields::of(body, "body")?.at_root())
}

/// The messages of a chat body, as they go into the model's template: parts joined, `developer` read as `system`.
///
/// # Errors
/// [`FieldError`] as the API would report it.
pub fn chat_messages(body: &Value) -> Result<Vec<Message>, FieldError> {
    Ok(prompt::messages(&fields(body)?)?)
}

/// The prompts of a completions body, at most `most`, with ids below `vocab`.
///
/// # Errors
/// [`FieldError`] as the API would report it.
pub fn text_prompts(body: &Value, vocab: usize, most: usize) -> Result<Vec<TextPrompt>, FieldError> {
    let prompts = prompt::prompts(&fields(body)?, vocab, most)?;
    Ok(prompts
        .into_iter()
        .map(|p| match p {
            prompt::TextPrompt::Text(t) => TextPrompt::Text(t),
            prompt::TextPrompt::Ids(ids) => TextPrompt::Ids(ids),
        })
        .collect())
}

/// The sampling fields of a body.
///
/// # Errors
/// [`FieldError`] as the API would report it.
pub fn sampling(body: &Value) -> Result<Sampling, FieldError> {
    Ok(ask::sampling(&fields(body)?)?)
}

/// True if the body prefers providers, so that its request goes into a preference lane and R says so.
///
/// # Errors
/// [`FieldError`] as the API would report it.
pub fn by_preference(body: &Value) -> Result<bool, FieldError> {
    Ok(extensions::Preference::read(&fields(body)?)?.is_some())
}
