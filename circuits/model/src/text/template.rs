//! The chat template: Jinja as Hugging Face runs it, within limits.
//!
//! A template comes with a model's file, so from a stranger. What it may take: its length, its instructions and what it
//! writes are limited, it sees no clock and no file, and it is parsed and run on a thread whose stack is deep enough for
//! the deepest expression that fits its length and for the deepest value that its instructions can build. *Not limited*
//! are memory and time of single operations on strings: a template that doubles a text in a loop can use up a machine.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};

use super::TextError;

/// Roles that messages may have. The template decides which of them it takes.
pub const ROLES: [&str; 7] = ["system", "developer", "user", "assistant", "tool", "function", "ipython"];
/// Most messages of a conversation.
pub const MAX_MESSAGES: usize = 4096;
/// Most bytes that a template may write.
pub const MAX_RENDERED_BYTES: usize = 16 << 20;
/// Template instructions that one rendering may run.
pub const TEMPLATE_FUEL: u64 = 1_000_000;
/// Longest template.
pub const MAX_TEMPLATE_BYTES: usize = 64 << 10;
/// Longest begin and end token that templates may name.
const MAX_NAMED_TOKEN_BYTES: usize = 1024;
/// Stack of the thread on which templates are parsed and run. The parser, the compiler and the destructors of values go
/// one call deeper with each operator of a chain and each list in a list; a test measures what the limits above allow.
/// Only pages that are used take memory.
const STACK_BYTES: usize = 1 << 30;

/// One message of a conversation; parts of text have been joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// One of [`ROLES`].
    pub role: String,
    /// The text.
    pub content: String,
    /// The participant's name, for templates that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A message without a name.
    #[must_use]
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), name: None }
    }
}

/// A parsed template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TextError::Template`].
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TextError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            let bytes = source.len();
            return Err(TextError::Template(format!(
                "{bytes} bytes: at most {MAX_TEMPLATE_BYTES} are allowed"
            )));
        }
        if bos_token.len().max(eos_token.len()) > MAX_NAMED_TOKEN_BYTES {
            return Err(TextError::Template("a begin or end token is too long".into()));
        }
        apart(|| Self::parse(source, bos_token, eos_token))?
    }

    fn parse(source: &str, bos_token: &str, eos_token: &str) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(TEMPLATE_FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        // Jinja's own filter escapes for HTML; Hugging Face's does not.
        environment.add_filter("tojson", |v: Value| {
            serde_json::to_string(&v)
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
                .map(Value::from_safe_string)
        });
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|e| TextError::Template(describe(&e)))?;
        Ok(Self { environment, bos_token: bos_token.into(), eos_token: eos_token.into() })
    }

    /// The text of a conversation, ending where the assistant's answer begins.
    ///
    /// # Errors
    /// Unknown roles, too many messages, what the template refuses, and limits.
    pub fn render(&self, messages: &[Message]) -> Result<String, TextError> {
        if messages.is_empty() || messages.len() > MAX_MESSAGES {
            return Err(TextError::Messages(messages.len()));
        }
        if let Some(m) = messages.iter().find(|m| !ROLES.contains(&m.role.as_str())) {
            return Err(TextError::Role(m.role.chars().take(64).collect()));
        }
        apart(|| self.run(messages))?
    }

    fn run(&self, messages: &[Message]) -> Result<String, TextError> {
        let template = self.environment.get_template(NAME).map_err(|e| TextError::Template(describe(&e)))?;
        let values = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => self.bos_token,
            eos_token => self.eos_token,
            tools => (),
            documents => (),
        };
        let mut out = Limited { bytes: Vec::new(), full: false };
        match template.render_captured_to(values, &mut out) {
            _ if out.full => Err(TextError::TemplateLimit),
            Err(e) if e.kind() == ErrorKind::OutOfFuel => Err(TextError::TemplateLimit),
            Err(e) => Err(TextError::Refused(describe(&e))),
            Ok(_) => String::from_utf8(out.bytes).map_err(|_| TextError::Refused("no UTF-8".into())),
        }
    }
}

/// Runs on a thread with a deep stack, and waits for it.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, TextError> {
    let failed = |what: String| TextError::Template(what);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("template".into()).stack_size(STACK_BYTES);
        let thread =
            thread.spawn_scoped(scope, work).map_err(|e| failed(format!("no thread for it: {e}")))?;
        thread.join().map_err(|_| failed("it made the renderer panic".into()))
    })
}

/// An error's own words without the template's source around it.
fn describe(e: &Error) -> String {
    let detail = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
    detail.chars().take(512).collect()
}

/// Takes bytes up to [`MAX_RENDERED_BYTES`].
struct Limited {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for Limited {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + data.len() > MAX_RENDERED_BYTES {
            self.full = true;
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
