//! The container: header, metadata, tensor table.

use std::collections::BTreeMap;

use super::GgufError;
use super::dequant::TensorType;
use super::metadata::{Array, Cursor, Value};

/// Most metadata keys.
const MAX_KEYS: u64 = 1 << 16;
/// Most tensors.
const MAX_TENSORS: u64 = 1 << 16;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;
/// Alignment of tensor data where the file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

/// Where a tensor is and what it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// How its values are stored.
    pub kind: TensorType,
    /// Sizes, fastest-varying first.
    pub dimensions: Vec<u64>,
    /// Number of values.
    pub values: u64,
    /// First byte in the file.
    pub start: usize,
    /// First byte after it.
    pub end: usize,
}

/// A parsed file; the tensor data stay where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors by name. All ranges are inside the file.
    pub tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Parses the header, metadata and tensor table of a whole file.
    ///
    /// # Errors
    /// [`GgufError`]; nothing in the file makes this panic or allocate more than a small multiple of its length.
    pub fn parse(file: &[u8]) -> Result<Self, GgufError> {
        let mut c = Cursor::new(file);
        if c.u32("the magic").map_err(|_| GgufError::Magic)? != u32::from_le_bytes(*b"GGUF") {
            return Err(GgufError::Magic);
        }
        match c.u32("the version")? {
            2 | 3 => {}
            v => return Err(GgufError::Version(v)),
        }
        let tensor_count = c.u64("the number of tensors")?;
        let key_count = c.u64("the number of keys")?;
        limit("tensors", tensor_count, MAX_TENSORS)?;
        limit("keys", key_count, MAX_KEYS)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..key_count {
            let key = c.name("a key")?;
            let value = c.value()?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(GgufError::Duplicate(key));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(a)) if *a > 0 && a % 8 == 0 && *a <= 1 << 16 => *a,
            Some(Value::Unsigned(a)) => return Err(GgufError::Alignment(*a)),
            Some(_) => return Err(GgufError::key("general.alignment", "is no unsigned integer")),
        };
        let mut raw = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = c.name("a tensor name")?;
            let entry = tensor(&mut c, &name, alignment)?;
            if raw.insert(name.clone(), entry).is_some() {
                return Err(GgufError::Duplicate(name));
            }
        }
        let data = (c.position() as u64).next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for (name, (kind, dimensions, values, offset)) in raw {
            let outside = || GgufError::tensor(&name, "lies outside the file");
            let bytes = kind.bytes(values).ok_or_else(outside)?;
            let start = data.checked_add(offset).ok_or_else(outside)?;
            let end = start.checked_add(bytes).filter(|&e| e <= file.len() as u64).ok_or_else(outside)?;
            let info = TensorInfo { kind, dimensions, values, start: start as usize, end: end as usize };
            tensors.insert(name, info);
        }
        Ok(Self { metadata, tensors })
    }

    /// An unsigned integer, whatever integer type it was written in.
    ///
    /// # Errors
    /// Where the value is there but is something else.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(v)) => Ok(Some(*v)),
            Some(Value::Signed(v)) if *v >= 0 => Ok(Some(v.unsigned_abs())),
            Some(_) => Err(GgufError::key(key, "is no unsigned integer")),
        }
    }

    /// A finite float, or an integer in its place.
    ///
    /// # Errors
    /// Where the value is there but is something else.
    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Float(v)) if v.is_finite() => Ok(Some(*v)),
            Some(Value::Unsigned(v)) => Ok(Some(*v as f64)),
            Some(_) => Err(GgufError::key(key, "is no finite number")),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// Where the value is there but is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Bool(v)) => Ok(Some(*v)),
            Some(_) => Err(GgufError::key(key, "is no boolean")),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// Where the value is there but is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(v)) => Ok(Some(v)),
            Some(_) => Err(GgufError::key(key, "is no string")),
        }
    }

    /// An array.
    ///
    /// # Errors
    /// Where the value is there but is something else.
    pub fn array(&self, key: &str) -> Result<Option<&Array>, GgufError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(Value::Array(v)) => Ok(Some(v)),
            Some(_) => Err(GgufError::key(key, "is no array")),
        }
    }
}

fn limit(what: &'static str, count: u64, limit: u64) -> Result<(), GgufError> {
    if count > limit { Err(GgufError::TooMany { what, count, limit }) } else { Ok(()) }
}

type RawTensor = (TensorType, Vec<u64>, u64, u64);

fn tensor(c: &mut Cursor<'_>, name: &str, alignment: u64) -> Result<RawTensor, GgufError> {
    let count = c.u32("a tensor's dimensions")?;
    if count == 0 || count > MAX_DIMENSIONS {
        return Err(GgufError::tensor(name, format!("has {count} dimensions")));
    }
    let mut dimensions = Vec::new();
    let mut values = 1u64;
    for _ in 0..count {
        let d = c.u64("a tensor's dimensions")?;
        values = values
            .checked_mul(d)
            .filter(|&v| v > 0 && v < 1 << 40)
            .ok_or_else(|| GgufError::tensor(name, "has no or too many values"))?;
        dimensions.push(d);
    }
    let id = c.u32("a tensor's type")?;
    let kind = TensorType::from_id(id)
        .ok_or_else(|| GgufError::tensor(name, format!("is of type {id}, which is not supported")))?;
    if dimensions[0] % kind.block_values() != 0 {
        return Err(GgufError::tensor(name, "has rows that are no whole number of blocks"));
    }
    let offset = c.u64("a tensor's offset")?;
    if offset % alignment != 0 {
        return Err(GgufError::tensor(name, "is not aligned"));
    }
    Ok((kind, dimensions, values, offset))
}
