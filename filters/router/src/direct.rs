//! Answers that a route gives itself.

use sidegate_sdk::{Response, Setup};

use crate::config::HttpDirectResponse;

/// Largest body of a direct response in bytes, and the size from which on it is odd.
const DIRECT_LIMIT: usize = 1_048_576;
const DIRECT_ODD: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Direct {
    status: u16,
    body: Vec<u8>,
}

impl Direct {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &HttpDirectResponse, pointer: &str, setup: &mut Setup) -> Self {
        if !(200..600).contains(&written.status) {
            setup.error(format!("{pointer}/status"), "a status is between 200 and 599");
        }
        let body = match written.body.as_ref().map(|body| (&body.string, &body.bytes)) {
            None => Vec::new(),
            Some((Some(text), None)) => text.as_bytes().to_vec(),
            Some((None, Some(encoded))) => base64(encoded).unwrap_or_else(|| {
                setup.error(format!("{pointer}/body/bytes"), "this is no base64");
                Vec::new()
            }),
            Some(_) => {
                setup.error(format!("{pointer}/body"), "one of string and bytes is needed");
                Vec::new()
            }
        };
        if body.len() > DIRECT_LIMIT {
            setup.error(format!("{pointer}/body"), "a body is at most 1 MiB");
        } else if body.len() > DIRECT_ODD {
            setup.warning(format!("{pointer}/body"), "a body over 100 kB is kept in every VM");
        }
        Self { status: written.status, body }
    }

    pub(crate) fn reply(&self) -> Response {
        Response::new(self.status).body(self.body.as_slice()).details("direct_response")
    }
}

/// Standard or URL-safe base64, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xFF).ok()?);
        }
    }
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read_padded_or_not() {
        assert_eq!(base64("dGVhcG90").as_deref(), Some(&b"teapot"[..]));
        assert_eq!(base64("dGVhcG8=").as_deref(), Some(&b"teapo"[..]));
        assert_eq!(base64("dGVhcG8").as_deref(), Some(&b"teapo"[..]));
        assert_eq!(base64("_-8=").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(base64("a"), None);
        assert_eq!(base64("a b="), None);
    }
}
