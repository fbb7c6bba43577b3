//! The layout of leaves in EIP-4844 blobs: leaf i in elements 3i, 3i+1, 3i+2.

use crate::field;
use crate::leaf::{Leaf, MetaError};
use ark_ff::Zero;

/// Elements in a blob.
pub const BLOB_ELEMENTS: usize = 4096;
/// Bytes in a blob.
pub const BLOB_BYTES: usize = 32 * BLOB_ELEMENTS;
/// Leaves in a blob; the last element stays zero.
pub const LEAVES_PER_BLOB: usize = BLOB_ELEMENTS / 3;
/// Most blobs of one batch.
pub const MAX_BLOBS: usize = 6;
/// Most leaves of one batch.
pub const MAX_BATCH_LEAVES: usize = MAX_BLOBS * LEAVES_PER_BLOB;

/// Why blob data can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The data is not exactly the blobs that so many leaves fill.
    #[error("expected {expected} bytes, got {got}")]
    Length {
        /// Bytes that the leaf count needs.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// More leaves than a batch holds.
    #[error("{0} leaves, at most {MAX_BATCH_LEAVES}")]
    TooManyLeaves(usize),
    /// An element at or above BN254's modulus.
    #[error("element {0} is not canonical")]
    NotCanonical(usize),
    /// An element beyond the last leaf is not zero.
    #[error("element {0} must be zero")]
    NotZero(usize),
    /// A leaf's metadata is malformed.
    #[error("leaf {index}: {source}")]
    Meta {
        /// The leaf.
        index: usize,
        /// What is wrong with it.
        source: MetaError,
    },
}

fn blob_bytes(leaves: usize) -> usize {
    leaves.div_ceil(LEAVES_PER_BLOB) * BLOB_BYTES
}

/// Lays leaves into whole blobs, zero-padded. BN254's modulus is below BLS12-381's, so each element
/// is a valid blob element.
///
/// # Errors
/// [`BlobError`] for too many leaves or metadata out of range.
pub fn encode(leaves: &[Leaf]) -> Result<Vec<u8>, BlobError> {
    if leaves.len() > MAX_BATCH_LEAVES {
        return Err(BlobError::TooManyLeaves(leaves.len()));
    }
    let mut out = Vec::with_capacity(blob_bytes(leaves.len()));
    for (blob, chunk) in leaves.chunks(LEAVES_PER_BLOB).enumerate() {
        for (i, leaf) in chunk.iter().enumerate() {
            let index = blob * LEAVES_PER_BLOB + i;
            let elements = leaf.elements().map_err(|source| BlobError::Meta { index, source })?;
            for e in elements {
                out.extend_from_slice(&field::to_bytes(e));
            }
        }
        out.resize((blob + 1) * BLOB_BYTES, 0);
    }
    Ok(out)
}

/// Reads `count` leaves; anything but the exact encoding is an error.
///
/// # Errors
/// [`BlobError`] naming the first wrong element.
pub fn decode(bytes: &[u8], count: usize) -> Result<Vec<Leaf>, BlobError> {
    if count > MAX_BATCH_LEAVES {
        return Err(BlobError::TooManyLeaves(count));
    }
    let expected = blob_bytes(count);
    if bytes.len() != expected {
        return Err(BlobError::Length { expected, got: bytes.len() });
    }
    let mut elements = Vec::with_capacity(count * 3);
    for (i, chunk) in bytes.chunks_exact(32).enumerate() {
        let (blob, at) = (i / BLOB_ELEMENTS, i % BLOB_ELEMENTS);
        let leaf = blob * LEAVES_PER_BLOB + at / 3;
        let mut word = [0u8; 32];
        word.copy_from_slice(chunk);
        let x = field::from_bytes(&word).ok_or(BlobError::NotCanonical(i))?;
        if at < 3 * LEAVES_PER_BLOB && leaf < count {
            elements.push(x);
        } else if !x.is_zero() {
            return Err(BlobError::NotZero(i));
        }
    }
    elements
        .chunks_exact(3)
        .enumerate()
        .map(|(index, e)| {
            Leaf::from_elements([e[0], e[1], e[2]]).map_err(|source| BlobError::Meta { index, source })
        })
        .collect()
}
