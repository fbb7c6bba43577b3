//! Typed access to the fields of a JSON body, with errors that name the field.

use serde_json::{Map, Value};

use super::error::ApiError;

/// The fields of an object and where it stands in the body (`""`, `"messages[0]."`, …).
///
/// An absent field and `null` mean the same, as clients send both.
pub(crate) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

/// Reads a body: UTF-8, JSON, an object.
pub(crate) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let text = std::str::from_utf8(body)
        .map_err(|e| ApiError::malformed(format!("The body is not UTF-8 (byte {}).", e.valid_up_to())))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ApiError::malformed("The body must be a JSON object.")),
        Err(e) => Err(ApiError::malformed(format!(
            "The body is not valid JSON (line {}, column {}).",
            e.line(),
            e.column()
        ))),
    }
}

fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn wrong_type(path: &str, wanted: &str, v: &Value) -> ApiError {
    let mut e = ApiError::invalid(
        path,
        format!("Invalid type for '{path}': expected {wanted}, but got {} instead.", type_name(v)),
    );
    e.code = Some("invalid_type");
    e
}

fn out_of_range(path: &str, wanted: &str) -> ApiError {
    ApiError::invalid(path, format!("Invalid value for '{path}': expected {wanted}."))
}

impl<'a> Fields<'a> {
    /// The fields of the whole body.
    pub(crate) fn root(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    /// The fields of an object inside it.
    pub(crate) fn of(value: &'a Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self { map, path: format!("{path}.") }),
            other => Err(wrong_type(path, "an object", other)),
        }
    }

    /// The same fields, named as those of a whole body.
    pub(crate) fn at_root(self) -> Self {
        Self { path: String::new(), ..self }
    }

    /// The full name of a field.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// The value of a field that is present and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// An object field.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>, ApiError> {
        self.get(key).map(|v| Fields::of(v, &self.name(key))).transpose()
    }

    /// A string field.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>, ApiError> {
        self.get(key)
            .map(|v| v.as_str().ok_or_else(|| wrong_type(&self.name(key), "a string", v)))
            .transpose()
    }

    /// A boolean field.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, ApiError> {
        self.get(key)
            .map(|v| v.as_bool().ok_or_else(|| wrong_type(&self.name(key), "a boolean", v)))
            .transpose()
    }

    /// An array field.
    pub(crate) fn array(&self, key: &str) -> Result<Option<&'a [Value]>, ApiError> {
        self.get(key)
            .map(|v| {
                v.as_array().map(Vec::as_slice).ok_or_else(|| wrong_type(&self.name(key), "an array", v))
            })
            .transpose()
    }

    /// An integer field in `[min, max]`. `3.0` is an integer, as JavaScript clients may write it.
    pub(crate) fn integer(&self, key: &str, min: i64, max: i64) -> Result<Option<i64>, ApiError> {
        let Some(v) = self.get(key) else { return Ok(None) };
        let path = self.name(key);
        if !v.is_number() {
            return Err(wrong_type(&path, "an integer", v));
        }
        let n = v.as_i64().or_else(|| {
            v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= 9_007_199_254_740_992.0).map(|f| f as i64)
        });
        match n {
            Some(n) if (min..=max).contains(&n) => Ok(Some(n)),
            _ => Err(out_of_range(&path, &format!("an integer from {min} to {max}"))),
        }
    }

    /// A number in `[min, max]`.
    pub(crate) fn number(&self, key: &str, min: f64, max: f64) -> Result<Option<f64>, ApiError> {
        let Some(v) = self.get(key) else { return Ok(None) };
        let path = self.name(key);
        match v.as_f64() {
            None => Err(wrong_type(&path, "a number", v)),
            Some(n) if n >= min && n <= max => Ok(Some(n)),
            Some(_) => Err(out_of_range(&path, &format!("a number from {min} to {max}"))),
        }
    }

    /// A field of some protocol type that knows its own JSON form.
    pub(crate) fn typed<T: serde::de::DeserializeOwned>(
        &self,
        key: &str,
        wanted: &str,
    ) -> Result<Option<T>, ApiError> {
        self.get(key)
            .map(|v| {
                serde_json::from_value(v.clone()).map_err(|e| {
                    let path = self.name(key);
                    ApiError::invalid(&path, format!("Invalid value for '{path}': expected {wanted} ({e})."))
                })
            })
            .transpose()
    }

    /// An array of token ids below `vocab`.
    pub(crate) fn ids(&self, key: &str, vocab: usize) -> Result<Option<Vec<u32>>, ApiError> {
        self.array(key)?.map(|items| token_ids(items, &self.name(key), vocab)).transpose()
    }
}

/// Token ids below `vocab` from JSON numbers.
pub(crate) fn token_ids(items: &[Value], path: &str, vocab: usize) -> Result<Vec<u32>, ApiError> {
    items
        .iter()
        .enumerate()
        .map(|(i, v)| {
            v.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (*n as usize) < vocab).ok_or_else(
                || out_of_range(&format!("{path}[{i}]"), &format!("a token id from 0 to {}", vocab - 1)),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_field() {
        let body = parse_object(br#"{"n": -1, "t": "warm", "o": {"x": 3}, "z": null, "f": 3.0}"#).unwrap();
        let f = Fields::root(&body);
        assert_eq!(f.integer("n", 1, 4).unwrap_err().param.as_deref(), Some("n"));
        assert_eq!(f.number("t", 0.0, 2.0).unwrap_err().code, Some("invalid_type"));
        let o = f.object("o").unwrap().unwrap();
        assert_eq!(o.string("x").unwrap_err().param.as_deref(), Some("o.x"));
        assert_eq!(f.integer("z", 0, 1).unwrap(), None);
        assert_eq!(f.integer("f", 0, 5).unwrap(), Some(3));
    }

    #[test]
    fn bodies_that_are_no_objects() {
        for bad in [&b"\xff\xfe{}"[..], b"", b"[]", b"{", b"{\"a\": \"\xc3\"}", b"null", b"1"] {
            assert_eq!(parse_object(bad).unwrap_err().code, Some("invalid_json"));
        }
        let deep = "[".repeat(100_000);
        assert!(parse_object(deep.as_bytes()).is_err());
    }

    #[test]
    fn ids_stay_in_the_vocabulary() {
        assert_eq!(token_ids(&[json!(0), json!(9)], "prompt", 10).unwrap(), vec![0, 9]);
        for bad in [json!(10), json!(-1), json!(1.5), json!("1"), json!(true)] {
            assert!(token_ids(&[bad], "prompt", 10).is_err());
        }
    }
}
