//! Envoy's formats: text with `%OPERATOR%` and `%OPERATOR(ARGUMENT):LENGTH%`, or JSON whose texts hold them. What is
//! missing prints as `-` in a text and as null in JSON.

mod operator;
mod parse;
mod time;

use serde_json::{Map, Value};

use self::operator::Operator;
use crate::exchange::view::View;

/// Envoy's default, one line of text.
const DEFAULT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ",
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" ",
    "\"%UPSTREAM_HOST%\"\n"
);
/// How deep JSON may nest.
const MAX_DEPTH: usize = 8;

/// A compiled format.
#[derive(Debug)]
pub(super) struct Format {
    shape: Shape,
    /// What is missing leaves nothing behind.
    omits: bool,
}

#[derive(Debug)]
enum Shape {
    Text(Vec<Piece>),
    Json(Node),
}

/// A part of a JSON format.
#[derive(Debug)]
enum Node {
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(Vec<Piece>),
    Fixed(Value),
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    /// The operator, and how many bytes of it are kept.
    Operator(Operator, Option<usize>),
}

impl Format {
    /// A line of `text`, an object of `labels`, or Envoy's default.
    pub(super) fn of(text: Option<&str>, labels: Option<&Map<String, Value>>, omits: bool) -> Result<Self, String> {
        let shape = match labels {
            Some(labels) => Shape::Json(Node::map(labels, "json", 0)?),
            None => Shape::Text(parse::pieces(text.unwrap_or(DEFAULT))?),
        };
        Ok(Self { shape, omits })
    }

    pub(super) fn render(&self, view: &View, out: &mut Vec<u8>) {
        match &self.shape {
            Shape::Text(pieces) => pieces.iter().for_each(|piece| piece.render(view, self.omits, Escape::Quotes, out)),
            Shape::Json(node) => {
                let value = node.value(view, self.omits).unwrap_or_default();
                out.extend_from_slice(value.to_string().as_bytes());
            }
        }
    }
}

impl Node {
    fn new(value: &Value, place: &str, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("{place} is nested more than {MAX_DEPTH} deep"));
        }
        Ok(match value {
            Value::String(text) => Self::Text(parse::pieces(text).map_err(|problem| format!("{place}: {problem}"))?),
            Value::Object(map) => Self::map(map, place, depth)?,
            Value::Array(list) => {
                Self::List(list.iter().map(|value| Self::new(value, place, depth + 1)).collect::<Result<_, _>>()?)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Fixed(value.clone()),
        })
    }

    fn map(map: &Map<String, Value>, place: &str, depth: usize) -> Result<Self, String> {
        let entry = |(key, value): (&String, &Value)| {
            Ok((key.clone(), Self::new(value, &format!("{place}.{key}"), depth + 1)?))
        };
        map.iter().map(entry).collect::<Result<_, String>>().map(Self::Map)
    }

    /// `None`: there is nothing, and what is missing is left out.
    fn value(&self, view: &View, omits: bool) -> Option<Value> {
        match self {
            Self::Fixed(value) => Some(value.clone()),
            Self::List(list) => {
                Some(Value::Array(list.iter().map(|node| node.value(view, omits).unwrap_or_default()).collect()))
            }
            Self::Map(entries) => {
                let kept = entries.iter().filter_map(|(key, node)| Some((key.clone(), node.value(view, omits)?)));
                Some(Value::Object(kept.collect()))
            }
            Self::Text(pieces) => match pieces.as_slice() {
                // An operator that stands alone keeps its type.
                [Piece::Operator(operator, length)] => {
                    let mut bytes = Vec::new();
                    operator.render(view, &mut bytes);
                    if bytes.is_empty() {
                        return (!omits).then_some(Value::Null);
                    }
                    cut(&mut bytes, 0, *length);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let number = operator.is_number().then(|| text.parse::<u64>().ok()).flatten();
                    Some(number.map_or(Value::String(text), Value::from))
                }
                pieces => {
                    let mut bytes = Vec::new();
                    pieces.iter().for_each(|piece| piece.render(view, omits, Escape::No, &mut bytes));
                    Some(String::from_utf8_lossy(&bytes).into_owned().into())
                }
            },
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Escape {
    /// A value must not forge a line, or end a quoted field.
    Quotes,
    /// JSON's writer does it.
    No,
}

impl Piece {
    fn render(&self, view: &View, omits: bool, escape: Escape, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Operator(operator, length) => {
                let start = out.len();
                operator.render(view, out);
                if out.len() == start && !omits {
                    out.push(b'-');
                }
                cut(out, start, *length);
                if escape == Escape::Quotes {
                    escape_from(start, out);
                }
            }
        }
    }
}

fn cut(out: &mut Vec<u8>, start: usize, length: Option<usize>) {
    if let Some(length) = length {
        out.truncate(start.saturating_add(length));
    }
}

fn escape_from(start: usize, out: &mut Vec<u8>) {
    let needs = |byte: &u8| matches!(byte, b'"' | 0..=31 | 127);
    let Some(first) = out.get(start..).and_then(|value| value.iter().position(needs)) else { return };
    let tail = out.split_off(start + first);
    for byte in tail {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            0..=31 | 127 => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_parses() {
        let Shape::Text(pieces) = Format::of(None, None, false).unwrap().shape else { panic!("a text") };
        let operators = pieces.iter().filter(|piece| matches!(piece, Piece::Operator(..))).count();
        assert_eq!(operators, 15);
    }

    #[test]
    fn json_is_checked_wherever_it_holds_operators() {
        let of = |json: &str| {
            let labels: Map<String, Value> = serde_json::from_str(json).unwrap();
            Format::of(None, Some(&labels), false).map(|_| ())
        };
        assert_eq!(of(r#"{"a": 1, "b": {"c": ["%REQ(X)%", true]}}"#), Ok(()));
        assert_eq!(of(r#"{"b": {"c": ["%NOPE%"]}}"#), Err("json.b.c: unknown operator %NOPE%".to_owned()));
        let deep = format!("{}1{}", r#"{"a":"#.repeat(20), "}".repeat(20));
        assert!(of(&deep).is_err_and(|problem| problem.contains("deep")));
    }

    #[test]
    fn values_cannot_forge_a_line() {
        let mut out = b"\"start\"".to_vec();
        let start = out.len();
        out.extend_from_slice(b"a\"b\nc\x7f\xc3\xa9");
        escape_from(start, &mut out);
        assert_eq!(out, b"\"start\"a\\\"b\\x0ac\\x7f\xc3\xa9");
    }
}
