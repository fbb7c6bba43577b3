//! `monai keys`.

use super::{KeyFolder, PasswordSource, describe, unlock};
use crate::cli::KeysCommand;
use crate::error::{Error, FileContext as _, Result};
use crate::home::{Home, write_atomic};
use monai_protocol::SecretKey;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Runs the command.
///
/// # Errors
/// What the key folder, a password source or a file says.
pub fn run(command: KeysCommand, home: &Home) -> Result<()> {
    let folder = KeyFolder::new(home.keys());
    match command {
        KeysCommand::New { name, password, json } => {
            let password = PasswordSource { file: password.password_file }.choose(&name)?;
            let key = folder.create(&name, &password)?;
            if json {
                let path = key.path.display().to_string();
                println!("{}", serde_json::json!({"name": key.name, "address": key.address, "path": path}));
            } else {
                println!("{}  {}", key.name, key.address);
                println!("kept encrypted in {}; without its password it is lost", key.path.display());
            }
        }
        KeysCommand::List { json } => {
            let keys = folder.list()?;
            if json {
                let list: Vec<_> = keys
                    .iter()
                    .map(|k| serde_json::json!({"name": k.name, "address": k.address, "path": k.path.display().to_string()}))
                    .collect();
                println!("{}", serde_json::Value::from(list));
            } else {
                for key in keys {
                    println!("{:<20} {}", key.name, key.address);
                }
            }
        }
        KeysCommand::ShowAddress { key } => println!("{}", describe(&folder.find(&key)?)?.address),
        KeysCommand::Import { name, source, password } => {
            let passwords = PasswordSource { file: password.password_file };
            let (secret, password) = if source == Path::new("-") {
                (secret_from_stdin()?, passwords.choose(&name)?)
            } else {
                let password = passwords.get(&source.display().to_string())?;
                (unlock(&source, &password)?, password)
            };
            let key = folder.store(&name, &secret, &password)?;
            println!("{}  {}", key.name, key.address);
        }
        KeysCommand::ExportAddress { key, out } => {
            let key = describe(&folder.find(&key)?)?;
            let text = format!("{}\n", serde_json::json!({"name": key.name, "address": key.address}));
            match out {
                Some(path) => write_atomic(&path, text.as_bytes(), false)?,
                None => print!("{text}"),
            }
        }
    }
    Ok(())
}

fn secret_from_stdin() -> Result<SecretKey> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(256).read_to_string(&mut text).at(Path::new("standard input"))?;
    let digits = text.trim().trim_start_matches("0x");
    let mut bytes = Zeroizing::new([0u8; 32]);
    // The error must not quote the text: it may be most of a secret.
    let wrong = || Error::Usage("standard input holds no private key of 64 hexadecimal digits".into());
    hex::decode_to_slice(digits, &mut *bytes).map_err(|_| wrong())?;
    SecretKey::from_bytes(&bytes).ok_or_else(wrong)
}
