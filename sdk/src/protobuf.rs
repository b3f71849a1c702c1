//! Protocol Buffers by hand: enough for the few messages of a service that a filter asks over gRPC, without generated
//! code.
//!
//! ```
//! use sidegate_sdk::protobuf::{Malformed, Value, Writer, fields};
//!
//! let mut question = Writer::new();
//! question.bytes(1, "shop").message(2, |user| {
//!     user.bytes(1, "ann").number(2, 7);
//! });
//! let bytes = question.into_bytes();
//!
//! let mut domain = String::new();
//! for field in fields(&bytes) {
//!     match field? {
//!         (1, Value::Bytes(text)) => domain = String::from_utf8_lossy(text).into_owned(),
//!         (2, Value::Bytes(user)) => assert_eq!(fields(user).last(), Some(Ok((2, Value::Number(7))))),
//!         _ => {}
//!     }
//! }
//! assert_eq!(domain, "shop");
//! # Ok::<(), Malformed>(())
//! ```

/// The largest number of a field.
const MAX_FIELD: u64 = (1 << 29) - 1;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no Protocol Buffers message")]
pub struct Malformed;

/// The value of a field, as far as the bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'m> {
    /// An integer, a truth value or an enumeration.
    Number(u64),
    /// A text, bytes, or a message inside.
    Bytes(&'m [u8]),
    /// `fixed32`, `sfixed32`, or the bits of a `float`.
    Fixed32(u32),
    /// `fixed64`, `sfixed64`, or the bits of a `double`.
    Fixed64(u64),
}

/// A message that is being written. Fields stand in the order of the calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a text or bytes.
    pub fn bytes(&mut self, field: u32, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds an integer, a truth value or an enumeration; a negative `int32` or `int64` as `-1_i64 as u64`.
    pub fn number(&mut self, field: u32, number: u64) -> &mut Self {
        self.varint(u64::from(field) << 3);
        self.varint(number);
        self
    }

    /// Adds a message inside; `write` fills it.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inside = Self::new();
        write(&mut inside);
        self.bytes(field, inside.bytes)
    }

    /// Adds an entry of a `map<string, string>`.
    pub fn entry(&mut self, field: u32, key: &str, value: &str) -> &mut Self {
        self.message(field, |entry| {
            entry.bytes(1, key).bytes(2, value);
        })
    }

    /// The message.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}

/// The fields of a message in their order, each with its number. What is no message ends in [`Malformed`].
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// See [`fields`].
#[derive(Debug, Clone)]
pub struct Fields<'m> {
    rest: &'m [u8],
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u32, Value<'m>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read().ok_or(Malformed);
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'m> Fields<'m> {
    fn read(&mut self) -> Option<(u32, Value<'m>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups, which nobody writes any more.
            _ => return None,
        };
        let number = Some(tag >> 3).filter(|number| (1..=MAX_FIELD).contains(number))?;
        Some((u32::try_from(number).ok()?, value))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Writer::new();
        message.bytes(1, [7; 300]).number(2, u64::MAX).number(200, 150).entry(3, "k", "v").message(4, |_| {});
        let bytes = message.into_bytes();
        let read: Vec<_> = fields(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            read,
            [
                (1, Value::Bytes(&[7; 300])),
                (2, Value::Number(u64::MAX)),
                (200, Value::Number(150)),
                (3, Value::Bytes(b"\x0a\x01k\x12\x01v")),
                (4, Value::Bytes(b"")),
            ]
        );
        let fixed = [1 << 3 | 5, 1, 0, 0, 0, 2 << 3 | 1, 2, 0, 0, 0, 0, 0, 0, 0];
        let read: Vec<_> = fields(&fixed).collect::<Result<_, _>>().unwrap();
        assert_eq!(read, [(1, Value::Fixed32(1)), (2, Value::Fixed64(2))]);
    }

    #[test]
    fn what_is_broken_ends_in_an_error() {
        let cut = [1 << 3 | 2, 3, 0];
        for broken in [&cut[..], &[0x80; 11], &[1 << 3 | 3], &[0, 1], &[1 << 3 | 2, 0xff, 0xff, 3], &[1 << 3 | 1, 0]] {
            let read: Vec<_> = fields(broken).collect();
            assert_eq!(read, [Err(Malformed)], "{broken:?}");
        }
    }
}
