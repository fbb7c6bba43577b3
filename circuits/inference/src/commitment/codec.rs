//! Reading fixed-width big-endian encodings without a panic.

use monai_protocol::field::{self, Fr};

use super::DecodeError;

/// A cursor over bytes. Every read either succeeds whole or leaves a typed error.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where fewer are left.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { missing: N.saturating_sub(self.rest.len()) });
        };
        self.rest = rest;
        Ok(*head)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.bytes::<1>().map(u8::from_be_bytes)
    }

    /// The next 32-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.bytes::<4>().map(u32::from_be_bytes)
    }

    /// The next 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.bytes::<8>().map(u64::from_be_bytes)
    }

    /// The next scalar, 32 bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::NonCanonicalScalar`] from the modulus on.
    pub fn scalar(&mut self) -> Result<Fr, DecodeError> {
        field::from_bytes(&self.bytes::<32>()?).ok_or(DecodeError::NonCanonicalScalar)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] where fewer are left.
    pub fn slice(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let Some((head, rest)) = self.rest.split_at_checked(n) else {
            return Err(DecodeError::Truncated { missing: n.saturating_sub(self.rest.len()) });
        };
        self.rest = rest;
        Ok(head)
    }

    /// All bytes left.
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Bytes left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Accepts the end of the input and nothing else.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] where bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { extra: self.rest.len() }) }
    }
}
