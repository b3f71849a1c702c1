//! The one authority of a request: `host:port` in a strict grammar.

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Uri, Version};

use super::{Refusal, refuse};

/// Bytes of an authority: a DNS name has at most 253.
const MAX_BYTES: usize = 255;

//= RFC 9112 section 3.2: exactly one Host, and in absolute-form the target decides; RFC 9113 section 8.3.1.
pub(super) fn effective(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse(StatusCode::BAD_REQUEST, "multiple_hosts");
    }
    if version == Version::HTTP_2 {
        let authority = match (uri.authority(), host) {
            (Some(authority), Some(host)) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
                return refuse(StatusCode::BAD_REQUEST, "authority_differs_from_host");
            }
            (Some(authority), _) => authority.as_str().as_bytes(),
            (None, Some(host)) => host.as_bytes(),
            (None, None) => return refuse(StatusCode::BAD_REQUEST, "missing_authority"),
        };
        return checked(authority);
    }
    let Some(host) = host else { return refuse(StatusCode::BAD_REQUEST, "missing_host") };
    if let Some(scheme) = uri.scheme_str() {
        if scheme != "http" && scheme != "https" {
            return refuse(StatusCode::BAD_REQUEST, "bad_scheme");
        }
    } else if uri.authority().is_some() {
        // authority-form is for CONNECT only
        return refuse(StatusCode::BAD_REQUEST, "bad_request_target");
    }
    if uri.path() == "*" {
        return refuse(StatusCode::BAD_REQUEST, "bad_request_target");
    }
    if let Some(authority) = uri.authority() {
        // absolute-form: a Host that says otherwise is an attempt to be two requests at once
        if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) {
            return refuse(StatusCode::BAD_REQUEST, "host_differs_from_target");
        }
    }
    if is_valid(host.as_bytes()) { Ok(host.clone()) } else { refuse(StatusCode::BAD_REQUEST, "bad_host") }
}

fn checked(authority: &[u8]) -> Result<HeaderValue, Refusal> {
    match HeaderValue::from_bytes(authority) {
        Ok(value) if is_valid(authority) => Ok(value),
        _ => refuse(StatusCode::BAD_REQUEST, "bad_authority"),
    }
}

/// `name`, `name:port`, `[v6]`, `[v6]:port`. No user information, no spaces, no second port, no path.
fn is_valid(text: &[u8]) -> bool {
    if text.is_empty() || text.len() > MAX_BYTES {
        return false;
    }
    if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', rest) else { return false };
        let (address, rest) = rest.split_at(end);
        let v6 = std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        return v6 && is_port_suffix(rest.get(1..).unwrap_or_default());
    }
    let end = memchr::memchr(b':', text).unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    !name.is_empty() && name.iter().all(|byte| is_name_byte(*byte)) && is_port_suffix(port)
}

/// Letters, digits and what registered names use in practice; underscores because services have them.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_port_suffix(text: &[u8]) -> bool {
    match text.strip_prefix(b":") {
        None => text.is_empty(),
        Some(digits) => {
            digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn grammar() {
        for good in ["a", "a.b", "a:80", "A-b_c.test:65535", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        let long = "a".repeat(256);
        for bad in [
            "", ":80", "a:", "a:x", "a:65536", "a:99999x", "a:1:2", "u@a", "u:p@a", "a b", " a", "a/b", "a?b", "a#b",
            "a,b", "[::1", "[x]", "[::1]x", "a%00", "a\\b", "http://a", &long,
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
