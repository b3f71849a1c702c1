//! The wire format of header maps: `u32 count, count x (u32 name, u32 value), count x (name NUL value NUL)`, all
//! little endian. What a guest gives is bounded; what it is shown is as large as the message's own limits allow.

use crate::host::Headers;
use crate::limits;

/// Appends the serialized map to `out`. An empty map is no bytes at all.
pub fn encode(headers: &dyn Headers, out: &mut Vec<u8>) {
    let count = headers.count();
    if count == 0 {
        return;
    }
    out.reserve(4 + count * 10 + headers.byte_size());
    out.extend_from_slice(&(count as u32).to_le_bytes());
    headers.visit(&mut |name, value| {
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    });
    headers.visit(&mut |name, value| {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(value);
        out.push(0);
    });
}

/// The same for a plain list.
pub fn encode_list<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)], out: &mut Vec<u8>) {
    if pairs.is_empty() {
        return;
    }
    out.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs {
        out.extend_from_slice(&(name.as_ref().len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.as_ref().len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        out.extend_from_slice(name.as_ref());
        out.push(0);
        out.extend_from_slice(value.as_ref());
        out.push(0);
    }
}

/// The same as the value of a property: an empty one is a count of nothing there.
pub fn encode_value<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)], out: &mut Vec<u8>) {
    if pairs.is_empty() {
        out.extend_from_slice(&[0; 4]);
    }
    encode_list(pairs, out);
}

/// Reads a serialized map; `None` when it is malformed or over the bounds. No bytes are an empty map.
pub fn decode(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    if bytes.len() > limits::PAIRS_BYTES {
        return None;
    }
    let (count, rest) = take_u32(bytes)?;
    let count = count as usize;
    if count > limits::PAIRS_COUNT {
        return None;
    }
    let (mut sizes, mut data) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, rest) = take_u32(sizes)?;
        let (value, rest) = take_u32(rest)?;
        sizes = rest;
        let (name, rest) = take_terminated(data, name as usize)?;
        let (value, rest) = take_terminated(rest, value as usize)?;
        data = rest;
        pairs.push((name, value));
    }
    data.is_empty().then_some(pairs)
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head), rest))
}

fn take_terminated(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(len)?;
    let (nul, rest) = rest.split_first()?;
    (*nul == 0).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut out = Vec::new();
        encode_list(&[("a", "1"), ("b", ""), ("a", "2")], &mut out);
        assert_eq!(decode(&out), Some(vec![(&b"a"[..], &b"1"[..]), (b"b", b""), (b"a", b"2")]));
        assert_eq!(decode(b""), Some(vec![]));
        let mut none = Vec::new();
        encode_value::<&str, &str>(&[], &mut none);
        assert_eq!((decode(&none), none.len()), (Some(vec![]), 4));
    }

    #[test]
    fn malformed_maps_are_refused() {
        let mut good = Vec::new();
        encode_list(&[("name", "value")], &mut good);
        for cut in 1..good.len() {
            assert_eq!(decode(&good[..cut]), None, "cut at {cut}");
        }
        let mut trailing = good.clone();
        trailing.push(0);
        assert_eq!(decode(&trailing), None);
        let mut unterminated = good;
        let last = unterminated.len() - 1;
        unterminated[last] = b'x';
        assert_eq!(decode(&unterminated), None);
        assert_eq!(decode(&u32::MAX.to_le_bytes()), None, "more entries than bytes");
    }
}
