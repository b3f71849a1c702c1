//! A part of the tree as compact JSON: what a guest is given.

use crate::tree::{ElementId, Tree, Value, scalar::Scalar};

/// An element that JSON has no words for: an infinite number or one that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotJson(pub(crate) ElementId);

/// Writes the element: no spaces, keys in file order, whole numbers digit by digit.
pub(crate) fn write(tree: &Tree, id: ElementId, out: &mut Vec<u8>) -> Result<(), NotJson> {
    match &tree.element(id).value {
        Value::Scalar(Scalar::Null) => out.extend_from_slice(b"null"),
        Value::Scalar(Scalar::Bool(value)) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Scalar(Scalar::Int(digits)) => out.extend_from_slice(digits.as_bytes()),
        Value::Scalar(Scalar::Float(value)) => match serde_json::Number::from_f64(*value) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => return Err(NotJson(id)),
        },
        Value::Scalar(Scalar::Text(text)) => string(text, out),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(tree, *item, out)?;
            }
            out.push(b']');
        }
        Value::Map(entries) => {
            out.push(b'{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(&key.text, out);
                out.push(b':');
                write(tree, *value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}
