//! Metadata values and the cursor that reads them.

use super::GgufError;

/// Longest key or tensor name.
const MAX_NAME: u64 = 1 << 16;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// Either float type.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array of one of the above.
    Array(Array),
}

/// An array by the type of its elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Any integer type that fits.
    Integers(Vec<i64>),
    /// Either float type.
    Floats(Vec<f64>),
    /// Booleans.
    Bools(Vec<bool>),
    /// Strings.
    Texts(Vec<String>),
}

/// Reads little-endian values from the front of a slice.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn take(&mut self, n: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        if n > self.left() {
            return Err(GgufError::Truncated(what));
        }
        let start = self.at;
        self.at += n as usize;
        Ok(&self.bytes[start..self.at])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let part = self.take(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(part);
        Ok(out)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, GgufError> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| GgufError::Utf8(what))
    }

    /// A key or a tensor name.
    pub(super) fn name(&mut self, what: &'static str) -> Result<String, GgufError> {
        let start = self.at;
        let count = self.u64(what)?;
        if count > MAX_NAME {
            return Err(GgufError::TooMany { what: "bytes in a name", count, limit: MAX_NAME });
        }
        self.at = start;
        self.text(what)
    }

    pub(super) fn value(&mut self) -> Result<Value, GgufError> {
        let kind = self.u32("a value type")?;
        if kind == 9 { Ok(Value::Array(self.values()?)) } else { self.scalar(kind) }
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, GgufError> {
        let what = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(what)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(what)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(what)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(what)?).into()),
            4 => Value::Unsigned(self.u32(what)?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(what)?).into()),
            7 => match self.array::<1>(what)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                b => return Err(GgufError::Bool(b)),
            },
            8 => Value::Text(self.text(what)?),
            10 => Value::Unsigned(self.u64(what)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            other => return Err(GgufError::ValueType(other)),
        })
    }

    fn values(&mut self) -> Result<Array, GgufError> {
        let kind = self.u32("an array's type")?;
        let count = self.u64("an array's length")?;
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            other => return Err(GgufError::ValueType(other)),
        };
        // What the elements take at least: no allocation is larger than the file allows.
        if count.checked_mul(least).is_none_or(|n| n > self.left()) {
            return Err(GgufError::Truncated("an array"));
        }
        let count = count as usize;
        let mut scalars = (0..count).map(|_| self.scalar(kind));
        let wrong = || GgufError::ValueType(kind);
        Ok(match kind {
            6 | 12 => Array::Floats(collect(&mut scalars, count, |v| match v {
                Value::Float(v) => Ok(v),
                _ => Err(wrong()),
            })?),
            7 => Array::Bools(collect(&mut scalars, count, |v| match v {
                Value::Bool(v) => Ok(v),
                _ => Err(wrong()),
            })?),
            8 => Array::Texts(collect(&mut scalars, count, |v| match v {
                Value::Text(v) => Ok(v),
                _ => Err(wrong()),
            })?),
            _ => Array::Integers(collect(&mut scalars, count, |v| match v {
                Value::Signed(v) => Ok(v),
                Value::Unsigned(v) => i64::try_from(v).map_err(|_| wrong()),
                _ => Err(wrong()),
            })?),
        })
    }
}

fn collect<T>(
    from: &mut dyn Iterator<Item = Result<Value, GgufError>>,
    count: usize,
    convert: impl Fn(Value) -> Result<T, GgufError>,
) -> Result<Vec<T>, GgufError> {
    let mut out = Vec::with_capacity(count);
    for v in from {
        out.push(convert(v?)?);
    }
    Ok(out)
}
