//! Values of an expression: what they equal, how they are ordered, and how a guest gets them.

use std::cmp::Ordering;
use std::ops::Deref;
use std::rc::Rc;

use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::pairs;

/// A value. Durations and timestamps are nanoseconds.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    Duration(i64),
    Timestamp(i64),
    List(Rc<Items<Value>>),
    Map(Rc<Items<(Value, Value)>>),
    /// A protobuf message, opaque here.
    Message(Rc<[u8]>),
    /// What `type` answers: the name of a kind.
    Type(&'static str),
    /// Attributes below this path, read when one of them is asked for.
    Group(Rc<[u8]>),
}

/// The items of a list or map, and their bytes in all: counted again wherever a value is shared, since that is what
/// comparing or writing it costs.
#[derive(Clone, Debug)]
pub(super) struct Items<T> {
    items: Vec<T>,
    size: usize,
}

impl<T> Deref for Items<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

/// Bytes of one value, all that it holds included.
const VALUE_BYTES: usize = 1 << 20;

impl Value {
    /// A list; `None` when it would be too large.
    pub(super) fn list(items: Vec<Self>) -> Option<Self> {
        let size = items.iter().fold(size_of::<Self>(), |sum, item| sum.saturating_add(item.size()));
        (size <= VALUE_BYTES).then(|| Self::List(Rc::new(Items { items, size })))
    }

    /// A map; `None` when it would be too large.
    pub(super) fn map(items: Vec<(Self, Self)>) -> Option<Self> {
        let size = items
            .iter()
            .fold(size_of::<Self>(), |sum, (key, value)| sum.saturating_add(key.size()).saturating_add(value.size()));
        (size <= VALUE_BYTES).then(|| Self::Map(Rc::new(Items { items, size })))
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "duration",
            Self::Timestamp(_) => "timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Message(_) => "message",
            Self::Type(_) => "type",
            Self::Group(_) => "attributes",
        }
    }

    /// Bytes, with everything inside.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => size_of::<Self>() + text.len(),
            Self::Bytes(bytes) | Self::Message(bytes) | Self::Group(bytes) => size_of::<Self>() + bytes.len(),
            Self::List(list) => list.size,
            Self::Map(map) => map.size,
            _ => size_of::<Self>(),
        }
    }

    /// Steps that a comparison may take.
    pub(super) fn comparison_cost(&self, other: &Self) -> usize {
        match (self, other) {
            // Keys are looked up one after the other.
            (Self::List(_) | Self::Map(_), Self::List(_) | Self::Map(_)) => {
                (self.size() / size_of::<Self>()) * (other.size() / size_of::<Self>()) / 4 + 1
            }
            _ => self.size().min(other.size()) / 1024 + 1,
        }
    }

    /// CEL's equality: numbers by their value whatever their type, other types never equal each other.
    pub(super) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b)),
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, value)| find(b, key).is_some_and(|other| other.equals(value)))
            }
            (Self::Message(a), Self::Message(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// The order of two values of one kind; all numbers are one kind.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => a.partial_cmp(&(b.integer()? as f64)),
            (a, Self::Double(b)) => (a.integer()? as f64).partial_cmp(b),
            (a, b) => Some(a.integer()?.cmp(&b.integer()?)),
        }
    }

    fn integer(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some((*number).into()),
            Self::Uint(number) => Some((*number).into()),
            _ => None,
        }
    }

    /// Appends the value as a property would be: a null, a type, or attributes that are no value, cannot be.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Status {
        match self {
            Self::Null | Self::Type(_) | Self::Group(_) => return Status::SerializationFailure,
            Self::Bool(flag) => out.push(u8::from(*flag)),
            Self::Int(number) | Self::Duration(number) | Self::Timestamp(number) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Uint(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) | Self::Message(bytes) => out.extend_from_slice(bytes),
            Self::List(list) => {
                let mut items = Vec::with_capacity(list.len());
                for value in list.iter() {
                    let mut bytes = Vec::new();
                    if value.encode(&mut bytes) != Status::Ok {
                        return Status::SerializationFailure;
                    }
                    items.push((bytes, Vec::new()));
                }
                pairs::encode_value(&items, out);
            }
            Self::Map(map) => {
                let mut items = Vec::with_capacity(map.len());
                for (key, value) in map.iter() {
                    let (mut left, mut right) = (Vec::new(), Vec::new());
                    if key.encode(&mut left) != Status::Ok || value.encode(&mut right) != Status::Ok {
                        return Status::SerializationFailure;
                    }
                    items.push((left, right));
                }
                pairs::encode_value(&items, out);
            }
        }
        Status::Ok
    }
}

/// The value of a map under a key.
pub(super) fn find<'m>(map: &'m [(Value, Value)], key: &Value) -> Option<&'m Value> {
    map.iter().find(|(known, _)| known.equals(key)).map(|(_, value)| value)
}
