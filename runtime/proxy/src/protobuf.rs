//! Protocol Buffers' wire format, as far as small messages need it: fields in, fields out, no schema.

/// What a field carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes of fixed width; no message of ours has them.
    Fixed,
}

/// Not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a protobuf message")]
pub struct Malformed;

/// Hands every field of a message over, in order, by its number.
pub fn read<'a>(mut message: &'a [u8], mut field: impl FnMut(u64, Value<'a>)) -> Result<(), Malformed> {
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => take(&mut message, 8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(varint(&mut message)?).map_err(|_| Malformed)?;
                Value::Bytes(take(&mut message, len)?)
            }
            5 => take(&mut message, 4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        if key >> 3 == 0 {
            return Err(Malformed);
        }
        field(key >> 3, value);
    }
    Ok(())
}

/// A text: bytes that are not UTF-8 make the message malformed, as with every proto3 parser.
pub fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Writes a text, bytes or message; nothing when it is empty, since that is what absence means.
pub fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_message(out, number, bytes);
    }
}

/// Writes a message, also an empty one: it is there.
pub fn put_message(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(out, number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a number or boolean; nothing for zero.
pub fn put_number(out: &mut Vec<u8>, number: u64, value: u64) {
    if value != 0 {
        put_varint(out, number << 3);
        put_varint(out, value);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint(message: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, rest) = message.split_first().ok_or(Malformed)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = message.split_at_checked(len).ok_or(Malformed)?;
    *message = rest;
    Ok(taken)
}

/// `google.protobuf.Struct` of a JSON object.
pub fn json_struct(map: &serde_json::Map<String, serde_json::Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in map {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_message(&mut entry, 2, &json_value(value));
        put_message(&mut out, 1, &entry);
    }
    out
}

/// `google.protobuf.Value`. Its kinds are a oneof: they are written also when they are zero.
fn json_value(value: &serde_json::Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        serde_json::Value::Null => out.extend_from_slice(&[1 << 3, 0]),
        serde_json::Value::Number(number) => {
            out.push(2 << 3 | 1);
            out.extend_from_slice(&number.as_f64().unwrap_or_default().to_le_bytes());
        }
        serde_json::Value::String(text) => put_message(&mut out, 3, text.as_bytes()),
        serde_json::Value::Bool(flag) => out.extend_from_slice(&[4 << 3, u8::from(*flag)]),
        serde_json::Value::Object(map) => put_message(&mut out, 5, &json_struct(map)),
        serde_json::Value::Array(list) => {
            let mut values = Vec::new();
            for value in list {
                put_message(&mut values, 1, &json_value(value));
            }
            put_message(&mut out, 6, &values);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        put_bytes(&mut message, 1, b"text");
        put_bytes(&mut message, 2, b"");
        put_number(&mut message, 3, 300);
        put_message(&mut message, 4, b"");
        message.extend_from_slice(&[5 << 3 | 5, 1, 2, 3, 4]);
        let mut seen = Vec::new();
        read(&message, |number, value| seen.push((number, value))).unwrap();
        let expected = [(1, Value::Bytes(b"text")), (3, Value::Number(300)), (4, Value::Bytes(b"")), (5, Value::Fixed)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [&b"\x0a\x05text"[..], b"\x0a", b"\x80", b"\x03", b"\x00\x00", b"\x0d\x01", &[0xff; 11]] {
            assert_eq!(read(message, |_, _| {}), Err(Malformed), "{message:?}");
        }
        assert_eq!(text(b"\xff"), Err(Malformed));
    }

    #[test]
    fn json_as_a_struct() {
        let json = serde_json::json!({"a": "b", "n": 1.0, "l": [true, null], "m": {}});
        let expected = b"\x0a\x08\x0a\x01a\x12\x03\x1a\x01b\
                         \x0a\x0e\x0a\x01n\x12\x09\x11\0\0\0\0\0\0\xf0\x3f\
                         \x0a\x0f\x0a\x01l\x12\x0a\x32\x08\x0a\x02\x20\x01\x0a\x02\x08\x00\
                         \x0a\x07\x0a\x01m\x12\x02\x2a\x00";
        assert_eq!(json_struct(json.as_object().unwrap()), expected);
    }
}
