//! Header values with `%REQ(name)%` in them.

use std::borrow::Cow;

use sidegate_sdk::RequestHead;
use sidegate_sdk::matching::RequestView;

/// A value, ready to be put together for a request.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    /// The same for every request.
    Fixed(Box<str>),
    Parts(Box<[Part]>),
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(Box<str>),
    /// A header, or else another, cut to a length.
    Request {
        name: Box<str>,
        other: Option<Box<str>>,
        max: Option<usize>,
    },
    /// A property; its path joined by NUL. True: without the port behind it.
    Property(&'static str, bool),
}

/// Operators that stand for a property.
const PROPERTIES: [(&str, &str, bool); 6] = [
    ("DOWNSTREAM_REMOTE_ADDRESS", "source\0address", false),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "source\0address", true),
    ("DOWNSTREAM_LOCAL_ADDRESS", "destination\0address", false),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "destination\0address", true),
    ("PROTOCOL", "request\0protocol", false),
    ("REQUESTED_SERVER_NAME", "connection\0requested_server_name", false),
];

impl Template {
    /// Reads a value; the error says what is wrong.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text.contains(['\r', '\n', '\0']) {
            return Err("a header value holds no line break and no NUL".to_owned());
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                plain.push('%');
                rest = after;
                continue;
            }
            let (operator, after) = after
                .split_once('%')
                .ok_or("a single % begins an operator such as %REQ(name)%; write %% for a percent sign")?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(read_operator(operator)?);
            rest = after;
        }
        plain.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Fixed(plain.into()));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self::Parts(parts.into()))
    }

    /// The value for a request; `None` if operators are all that it has and none has a value.
    pub(crate) fn value(&self, head: &RequestHead<'_>) -> Option<Cow<'_, str>> {
        let parts = match self {
            Self::Fixed(text) => return Some(Cow::Borrowed(text)),
            Self::Parts(parts) => parts,
        };
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Request { name, other, max } => {
                    let value = head.header(name).or_else(|| head.header(other.as_deref()?)).unwrap_or_default();
                    let end = max.map_or(value.len(), |max| value.floor_char_boundary(max));
                    out.push_str(value.get(..end).unwrap_or(&value));
                }
                Part::Property(path, without_port) => {
                    let value = head.property(*path).unwrap_or_default();
                    let bare = if *without_port { value.rsplit_once(':').map(|(address, _)| address) } else { None };
                    out.push_str(bare.unwrap_or(&value));
                }
            }
        }
        (!out.is_empty()).then_some(Cow::Owned(out))
    }
}

fn read_operator(text: &str) -> Result<Part, String> {
    if let Some(argument) = text.strip_prefix("REQ(") {
        let (names, max) = match argument.rsplit_once("):") {
            Some((names, max)) => (names, Some(max.parse().map_err(|_| format!("`{max}` is no length"))?)),
            None => (argument.strip_suffix(')').ok_or_else(|| format!("%{text}% misses its )"))?, None),
        };
        let (name, other) = names.split_once('?').map_or((names, None), |(name, other)| (name, Some(other)));
        if name.is_empty() {
            return Err("%REQ()% needs the name of a header".to_owned());
        }
        let lower = |name: &str| name.to_ascii_lowercase().into_boxed_str();
        return Ok(Part::Request { name: lower(name), other: other.map(lower), max });
    }
    let known = PROPERTIES.iter().find(|(operator, ..)| *operator == text);
    known
        .map(|(_, path, without_port)| Part::Property(path, *without_port))
        .ok_or_else(|| format!("operator %{text}% is not supported yet; write %% for a percent sign"))
}
