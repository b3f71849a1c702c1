//! What we tell the upstream of the client: `x-forwarded-for`, `x-forwarded-proto`, `x-request-id`.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::exchange::view::ConnectionFacts;
use crate::worker::env::Rng;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Adds the client to the list of those the request came through, and gives the request an id if it has none.
/// Hygiene has removed what an untrusted client claimed.
pub fn stamp(headers: &mut HeaderMap, connection: &ConnectionFacts, rng: &mut Rng) {
    if !connection.remote_ip.is_empty() {
        let value = if headers.contains_key(FOR) {
            // The list may have come in several lines.
            let mut list = Vec::new();
            for line in headers.get_all(FOR) {
                list.extend_from_slice(line.as_bytes());
                list.push(b',');
            }
            list.extend_from_slice(connection.remote_ip.as_bytes());
            HeaderValue::from_bytes(&list)
        } else {
            HeaderValue::from_str(&connection.remote_ip)
        };
        if let Ok(value) = value {
            headers.insert(FOR, value);
        }
    }
    headers.entry(PROTO).or_insert(HeaderValue::from_static("http"));
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = HeaderValue::from_maybe_shared(Bytes::from(uuid(rng)))
    {
        headers.insert(REQUEST_ID, id);
    }
}

//= RFC 9562 section 5.4: version 4.
fn uuid(rng: &mut Rng) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = (rng.draw() & !0xf000) | 0x4000;
    let low = (rng.draw() & !(0b11 << 62)) | (0b10 << 62);
    let mut text = String::with_capacity(36);
    for (index, half) in [high, low].into_iter().enumerate() {
        for nibble in (0..16).rev() {
            if (index == 0 && matches!(nibble, 7 | 3)) || (index == 1 && matches!(nibble, 15 | 11)) {
                text.push('-');
            }
            let digit = (half >> (nibble * 4)) as usize & 15;
            text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids() {
        let mut rng = Rng::from_entropy();
        for _ in 0..100 {
            let id = uuid(&mut rng);
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        }
    }
}
