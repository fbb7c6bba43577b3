//! Strict text encodings. Every value has exactly one JSON spelling.
//!
//! Bytes are `0x` and lower-case hex of the exact length. Integers that may exceed 2^53, which a
//! JavaScript reader would round, are decimal strings without sign or leading zeros. A second
//! spelling of a value would make a receipt malleable: two different files, one signature.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Why a text is not the canonical spelling of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Hex text lacks its `0x`.
    #[error("expected 0x and lower-case hex")]
    Prefix,
    /// Hex text has the wrong number of digits.
    #[error("expected {expected} hex digits, got {got}")]
    Length {
        /// Digits that the type needs.
        expected: usize,
        /// Digits that came.
        got: usize,
    },
    /// A character outside 0-9a-f.
    #[error("expected lower-case hex digits only")]
    Digit,
    /// The number is not below the field's modulus.
    #[error("not a canonical field element")]
    NotCanonical,
    /// Not the canonical decimal spelling of an integer in range.
    #[error("expected a decimal integer without sign or leading zeros, in range")]
    Decimal,
}

/// Writes `0x` and lower-case hex.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Reads exactly `N` bytes from the canonical spelling.
///
/// # Errors
/// [`CodecError`] if the text is anything but `0x` and `2N` lower-case digits.
pub fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], CodecError> {
    let digits = text.strip_prefix("0x").ok_or(CodecError::Prefix)?;
    if digits.len() != 2 * N {
        return Err(CodecError::Length { expected: 2 * N, got: digits.len() });
    }
    if !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(CodecError::Digit);
    }
    let mut out = [0u8; N];
    hex::decode_to_slice(digits, &mut out).map_err(|_| CodecError::Digit)?;
    Ok(out)
}

/// Reads a canonical decimal integer.
///
/// # Errors
/// [`CodecError::Decimal`] for signs, leading zeros, spaces, or overflow.
pub fn decode_decimal<T: std::str::FromStr>(text: &str) -> Result<T, CodecError> {
    let canonical = !text.is_empty()
        && text.len() <= 40
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if !canonical {
        return Err(CodecError::Decimal);
    }
    text.parse().map_err(|_| CodecError::Decimal)
}

/// Serde of an integer as a canonical decimal string: `#[serde(with = "codec::decimal")]`.
pub mod decimal {
    use super::{Deserialize, Deserializer, Serializer, decode_decimal};
    use serde::de::Error as _;

    /// Writes the decimal string.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<T: std::fmt::Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    /// Reads the canonical decimal string.
    ///
    /// # Errors
    /// If the text is not canonical or out of range.
    pub fn deserialize<'de, T: std::str::FromStr, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        decode_decimal(&text).map_err(D::Error::custom)
    }
}

/// Reads a hex string through serde.
pub(crate) fn hex_from<'de, const N: usize, D: Deserializer<'de>>(d: D) -> Result<[u8; N], D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
    decode_hex(&text).map_err(D::Error::custom)
}

/// Defines a newtype over `[u8; N]` with the canonical hex spelling.
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $n:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $n]);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::codec::encode_hex(&self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::codec::CodecError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                $crate::codec::decode_hex(s).map(Self)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::codec::hex_from(d).map(Self)
            }
        }
    };
}

/// Defines a newtype over a field element, spelled as 32 canonical big-endian bytes in hex.
macro_rules! field_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $crate::field::Fr);
        impl $name {
            /// The canonical 32 big-endian bytes (`bytes32` in typed messages and contracts).
            #[must_use]
            pub fn to_bytes(self) -> [u8; 32] {
                $crate::field::to_bytes(self.0)
            }
            /// Decodes the canonical bytes; `None` at or above the modulus.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
                $crate::field::from_bytes(bytes).map(Self)
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::codec::encode_hex(&self.to_bytes()))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::codec::CodecError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Self::from_bytes(&$crate::codec::decode_hex(s)?)
                    .ok_or($crate::codec::CodecError::NotCanonical)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let bytes = $crate::codec::hex_from(d)?;
                Self::from_bytes(&bytes)
                    .ok_or_else(|| serde::de::Error::custom($crate::codec::CodecError::NotCanonical))
            }
        }
    };
}

/// Defines a newtype over an integer, transparent in JSON.
macro_rules! integer_newtype {
    ($(#[$doc:meta])* $name:ident, $t:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $t);
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

pub(crate) use {bytes_newtype, field_newtype, integer_newtype};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        assert_eq!(decode_hex::<2>("0x00ff"), Ok([0, 255]));
        for bad in ["00ff", "0x00FF", "0x0ff", "0x00ff0", "0X00ff", "0x00fg", "0x 0ff", ""] {
            assert!(decode_hex::<2>(bad).is_err(), "{bad}");
        }
        assert_eq!(decode_decimal::<u64>("0"), Ok(0));
        assert_eq!(decode_decimal::<u64>("18446744073709551615"), Ok(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "18446744073709551616"] {
            assert!(decode_decimal::<u64>(bad).is_err(), "{bad}");
        }
    }
}
