//! Strings, numbers, lists and maps.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use schemars::SchemaGenerator;
use serde_json::{Value as Json, json};

use crate::{
    cursor::Cursor,
    read::Read,
    tree::{Value, json, scalar::Scalar},
};

impl Read for bool {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        match at.value() {
            Value::Scalar(Scalar::Bool(value)) => Some(*value),
            _ => at.expected("true or false", None),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "boolean"})
    }
}

impl Read for String {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        match at.value() {
            Value::Scalar(Scalar::Text(text)) if !text.contains('\0') => Some(text.to_string()),
            Value::Scalar(Scalar::Text(_)) => {
                at.error("a string must not contain NUL", None);
                None
            }
            Value::Scalar(scalar) => {
                at.expected("a string", scalar.as_quoted().map(|quoted| format!("put it in quotes: {quoted}")))
            }
            _ => at.expected("a string", None),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string"})
    }
}

/// A path, seen from the folder of the file that names it.
impl Read for PathBuf {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let text = String::read(at)?;
        if text.is_empty() {
            at.error("an empty path", None);
            return None;
        }
        Some(beside(&at.location().file, &text))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string"})
    }
}

/// `path` seen from the folder of `file`.
pub(crate) fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("")).join(path)
}

impl Read for u32 {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        whole_number(at, u64::from(Self::MAX)).and_then(|value| value.try_into().ok())
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "integer", "minimum": 0, "maximum": Self::MAX})
    }
}

impl Read for NonZeroUsize {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let value = Self::new(usize::try_from(whole_number(at, 4096)?).ok()?);
        if value.is_none() {
            at.error("must be at least 1", None);
        }
        value
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "integer", "minimum": 1, "maximum": 4096})
    }
}

fn whole_number(at: &Cursor<'_>, max: u64) -> Option<u64> {
    let value = match at.value() {
        Value::Scalar(Scalar::Int(digits)) => digits.parse().ok().filter(|value| *value <= max),
        Value::Scalar(Scalar::Text(text)) if text.parse::<u64>().is_ok() => {
            return at.expected("a whole number", Some("leave the quotes out".to_owned()));
        }
        _ => None,
    };
    value.or_else(|| at.expected(&format!("a whole number from 0 to {max}"), None))
}

impl<T: Read> Read for Option<T> {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        T::read(at).map(Some)
    }

    fn schema(generator: &mut SchemaGenerator) -> Json {
        T::schema(generator)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let Value::List(items) = at.value() else { return at.expected("a list", None) };
        let read: Vec<T> = at.items().filter_map(|item| T::read(&item)).collect();
        (read.len() == items.len()).then_some(read)
    }

    fn schema(generator: &mut SchemaGenerator) -> Json {
        json!({"type": "array", "items": T::schema(generator)})
    }
}

impl Read for BTreeMap<String, String> {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let Value::Map(entries) = at.value() else { return at.expected("a map of strings", None) };
        let read: Self = entries
            .iter()
            .filter_map(|(key, value)| Some((key.text.to_string(), String::read(&at.child(key, *value))?)))
            .collect();
        (read.len() == entries.len()).then_some(read)
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "object", "additionalProperties": {"type": "string"}})
    }
}

impl Read for serde_json::Map<String, Json> {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        if !matches!(at.value(), Value::Map(_)) {
            return at.expected("a map", None);
        }
        match serde_json::from_slice(&json_bytes(at)?) {
            Ok(map) => Some(map),
            Err(error) => {
                at.error(format!("no JSON can hold this: {error}"), None);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "object"})
    }
}

/// The element as compact JSON; infinite numbers are reported.
pub(crate) fn json_bytes(at: &Cursor<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match json::write(at.tree, at.id, &mut bytes) {
        Ok(()) => Some(bytes),
        Err(json::NotJson(id)) => {
            let at = Cursor { id, ..at.clone() };
            at.error("no JSON number can hold this value", Some("put it in quotes to pass it as a string".to_owned()));
            None
        }
    }
}
