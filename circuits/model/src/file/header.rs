//! The header: what the model's identity is the digest of.

use serde::{Deserialize, Serialize};

use super::FileError;
use crate::artefact::{Arch, ModelId};

/// First bytes of every artefact.
pub(super) const MAGIC: &[u8; 8] = b"MonAI\0md";
/// Version of format and semantics together.
pub const FORMAT_VERSION: u32 = 1;
/// Sections start at multiples of this.
pub(super) const ALIGN: u64 = 64;
/// Magic, version and length of the header.
pub(super) const PREFIX: u64 = 16;
/// Largest header: 512 layers of 30 sections of less than 200 bytes fit.
pub const MAX_HEADER_BYTES: u32 = 4 << 20;
/// Longest display name.
pub const MAX_NAME_BYTES: usize = 256;

/// Type of a section's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Signed bytes.
    I8,
    /// Signed 16-bit.
    I16,
    /// Unsigned 16-bit.
    U16,
    /// Signed 32-bit.
    I32,
    /// Unsigned 32-bit.
    U32,
    /// Signed 64-bit.
    I64,
    /// UTF-8 text.
    Utf8,
}

impl Kind {
    /// Bytes of one value.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::I8 | Self::Utf8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 => 4,
            Self::I64 => 8,
        }
    }
}

/// One entry of the section table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionInfo {
    /// Name, for example `layers.3.q.weight`.
    pub name: String,
    /// Type of its values.
    pub kind: Kind,
    /// Rows; 1 for vectors and text.
    pub rows: u64,
    /// Values a row.
    pub cols: u64,
    /// BLAKE3 of its bytes, lower-case hex.
    pub blake3: String,
}

impl SectionInfo {
    /// Bytes of the section; `None` where that overflows.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.rows.checked_mul(self.cols)?.checked_mul(self.kind.bytes())
    }
}

/// The part of [`crate::artefact::TextConfig`] that is small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextHeader {
    pub(super) eos_ids: Vec<u32>,
    pub(super) bos_id: Option<u32>,
    pub(super) bos_token: String,
    pub(super) eos_token: String,
}

/// The whole header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Shape and constants.
    pub arch: Arch,
    /// Names of the matrices whose sums fit i32, in section order.
    pub acc32: Vec<String>,
    pub(super) text: TextHeader,
    /// All sections in order.
    pub sections: Vec<SectionInfo>,
}

/// Digests of the model's parts, as a registry lists them. All are BLAKE3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The model's identity: of everything before the first section.
    pub model: ModelId,
    /// Of the canonical JSON of [`Arch`].
    pub architecture: [u8; 32],
    /// Of the tokenizer's JSON.
    pub tokenizer: [u8; 32],
    /// Of the chat template; of nothing for models without one.
    pub template: [u8; 32],
    /// Of the table entries (canonical JSON, in order) of all sections that are not text.
    pub weights: [u8; 32],
}

/// Name of the tokenizer's section.
pub(super) const TOKENIZER: &str = "text.tokenizer";
/// Name of the template's section.
pub(super) const TEMPLATE: &str = "text.template";

impl Header {
    /// Magic, version, length and JSON, padded: what the identity is the digest of.
    pub(super) fn encode(&self) -> Result<Vec<u8>, FileError> {
        let json = serde_json::to_vec(self).map_err(|e| FileError::Header(e.to_string()))?;
        let len = u32::try_from(json.len()).ok().filter(|&l| l <= MAX_HEADER_BYTES);
        let len = len.ok_or_else(|| FileError::Header("too long".into()))?;
        let mut out = Vec::with_capacity(json.len() + 128);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&json);
        out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
        Ok(out)
    }

    /// Offset and bytes of every section, and the end of the last (padded). `None` where that overflows.
    pub(super) fn layout(&self, start: u64) -> Option<(Vec<(u64, u64)>, u64)> {
        let mut at = start;
        let mut out = Vec::with_capacity(self.sections.len());
        for s in &self.sections {
            let bytes = s.bytes()?;
            out.push((at, bytes));
            at = at.checked_add(bytes)?.checked_next_multiple_of(ALIGN)?;
        }
        Some((out, at))
    }

    /// Digests of the parts.
    ///
    /// # Errors
    /// Where the header can't be encoded, or lacks the tokenizer.
    pub fn digests(&self) -> Result<Digests, FileError> {
        let json = |v: Result<Vec<u8>, serde_json::Error>| v.map_err(|e| FileError::Header(e.to_string()));
        let text = |name: &str| {
            self.sections.iter().find(|s| s.name == name).map(|s| {
                let mut out = [0; 32];
                hex::decode_to_slice(&s.blake3, &mut out)
                    .map(|()| out)
                    .map_err(|_| FileError::section(name, "its digest is not 64 hex digits"))
            })
        };
        let mut weights = blake3::Hasher::new();
        for s in self.sections.iter().filter(|s| s.kind != Kind::Utf8) {
            weights.update(&json(serde_json::to_vec(s))?);
        }
        Ok(Digests {
            model: ModelId(*blake3::hash(&self.encode()?).as_bytes()),
            architecture: *blake3::hash(&json(serde_json::to_vec(&self.arch))?).as_bytes(),
            tokenizer: text(TOKENIZER).ok_or_else(|| FileError::section(TOKENIZER, "missing"))??,
            template: text(TEMPLATE).transpose()?.unwrap_or(*blake3::hash(b"").as_bytes()),
            weights: *weights.finalize().as_bytes(),
        })
    }
}
