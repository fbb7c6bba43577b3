//! The artefact file.
//!
//! ```text
//! magic "MonAI\0md" | version u32 | header length u32 | header JSON | zeros to 64
//! section | zeros to 64 | section | zeros to 64 | ...
//! name length u16 | name (UTF-8)
//! ```
//!
//! All integers are little-endian. The header holds the architecture and a table of sections: name, type, shape and
//! BLAKE3 digest of each. There is exactly one file for a model and a name: the header is the canonical JSON (no
//! spaces, members in the order of the structs, integers only), sections come in one order, offsets follow from the
//! lengths, and padding is zero. The model's identity is the BLAKE3 digest of everything before the first section, so
//! it binds every section through its digest; the name is outside it.

mod header;
mod read;
mod sections;
mod store;
mod write;

pub use header::{Digests, FORMAT_VERSION, Header, Kind, MAX_HEADER_BYTES, MAX_NAME_BYTES, SectionInfo};
pub use read::{load, peek};
pub use store::{Store, Stored};
pub use write::{identify, write};

/// What is wrong with an artefact file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FileError {
    /// Not an artefact, or of a version that this program does not know.
    #[error("not a MonAI model, or of another format version")]
    Magic,
    /// The file ends too early, or goes on after its end.
    #[error("{0}")]
    Length(&'static str),
    /// The header is not the canonical JSON of a header.
    #[error("header: {0}")]
    Header(String),
    /// A section is missing, in the wrong place, or of the wrong shape.
    #[error("section {section}: {reason}")]
    Section {
        /// Name of the section.
        section: String,
        /// What is wrong.
        reason: String,
    },
    /// The content is not what the identity says.
    #[error("digest of {section} is {found}, not {expected}")]
    Digest {
        /// Section, or `model` for the whole.
        section: String,
        /// What the file says or the caller expects, in hex.
        expected: String,
        /// What it is, in hex.
        found: String,
    },
    /// A value is outside its range.
    #[error("{0}")]
    Value(String),
}

impl FileError {
    fn section(section: &str, reason: impl Into<String>) -> Self {
        Self::Section { section: section.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
