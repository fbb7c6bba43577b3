//! Where a password comes from: a file, the environment, or a prompt that does not echo.

use crate::error::{Error, FileContext as _, Result};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The variable that may hold a password. Set it for one command, not in a profile.
const PASSWORD_VARIABLE: &str = "MONAI_PASSWORD";

/// A password, wiped when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Keep it short-lived.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Where to look for a password first.
#[derive(Clone, Debug, Default)]
pub struct PasswordSource {
    /// A file whose first line it is.
    pub file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password for a key that exists.
    ///
    /// # Errors
    /// No source, or one that can't be read.
    pub fn get(&self, what: &str) -> Result<Password> {
        match self.unattended()? {
            Some(password) => Ok(password),
            None => prompt(&format!("Password for {what}: ")),
        }
    }

    /// A password for a new key; a typed one is asked for twice.
    ///
    /// # Errors
    /// No source, an empty password, or two that differ.
    pub fn choose(&self, what: &str) -> Result<Password> {
        let password = match self.unattended()? {
            Some(password) => password,
            None => {
                let first = prompt(&format!("New password for {what}: "))?;
                let second = prompt("Again: ")?;
                if first.expose() != second.expose() {
                    return Err(Error::Usage("the two passwords differ".into()));
                }
                first
            }
        };
        if password.expose().is_empty() {
            return Err(Error::Usage("an empty password protects nothing".into()));
        }
        Ok(password)
    }

    fn unattended(&self) -> Result<Option<Password>> {
        if let Some(path) = &self.file {
            let text = Zeroizing::new(std::fs::read_to_string(path).at(path)?);
            return Ok(Some(Password::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        match std::env::var(PASSWORD_VARIABLE) {
            Ok(text) => Ok(Some(Password::new(text))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Error::Usage(format!("{PASSWORD_VARIABLE} is not UTF-8")))
            }
        }
    }
}

fn prompt(text: &str) -> Result<Password> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "no terminal to ask for a password; give --password-file FILE or {PASSWORD_VARIABLE}"
        )));
    }
    rpassword::prompt_password(text)
        .map(Password::new)
        .map_err(|e| Error::Local(format!("can't read a password: {e}")))
}
