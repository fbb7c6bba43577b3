//! Import: a GGUF file or a Hugging Face folder becomes an artefact in the store.

use super::{ModelStore, Note, StoredModel};
use crate::error::{FileContext as _, Result};
use monai_model::gguf::GgufModel;
use monai_model::quantise::{self, ImportOptions, Progress};
use monai_model::source::FloatModel;
use std::path::Path;

/// What an import made.
#[derive(Debug)]
pub struct Imported {
    /// The artefact in the store.
    pub stored: StoredModel,
}

/// Imports `source` and keeps it.
///
/// # Errors
/// [`crate::error::Error::Model`] for a source that is malformed, of an unsupported kind, or that breaks a bound.
pub fn import(
    store: &ModelStore,
    source: &Path,
    name: Option<String>,
    max_positions: Option<usize>,
    progress: &dyn Progress,
) -> Result<Imported> {
    let metadata = std::fs::metadata(source).at(source)?;
    let name = name.or_else(|| file_stem(source));
    let options = ImportOptions { name, max_positions };
    let (float, source_sha256): (Box<dyn FloatModel>, String) = if metadata.is_dir() {
        (Box::new(monai_model::hf::HfModel::open(source)?), String::new())
    } else {
        (Box::new(GgufModel::open(source)?), crate::devnet::sha256(source)?)
    };
    let mut made = quantise::import(float.as_ref(), &options, progress)?;
    let note = Note { name: made.name.clone(), source_sha256, max_positions };
    Ok(Imported { stored: store.add(&mut made, note)? })
}

/// `SmolLM2-135M-Instruct` of `…/SmolLM2-135M-Instruct.Q4_1.gguf`: the file's name up to the quantisation.
fn file_stem(source: &Path) -> Option<String> {
    let stem = source.file_stem()?.to_str()?;
    let bare = match stem.rsplit_once('.') {
        Some((bare, tail)) if is_quantisation(tail) => bare,
        _ => stem,
    };
    Some(bare.to_owned())
}

fn is_quantisation(tail: &str) -> bool {
    let upper = tail.to_ascii_uppercase();
    ["Q", "IQ", "F16", "F32", "BF16"].iter().any(|p| upper.starts_with(p))
        && upper.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_leave_out_the_quantisation() {
        let name = |s: &str| file_stem(Path::new(s)).unwrap();
        assert_eq!(name("/a/SmolLM2-135M-Instruct.Q4_1.gguf"), "SmolLM2-135M-Instruct");
        assert_eq!(name("TinyLlama-1.1B-Chat-v1.0.Q4_K_M.gguf"), "TinyLlama-1.1B-Chat-v1.0");
        assert_eq!(name("model-v1.0.gguf"), "model-v1.0");
    }
}
