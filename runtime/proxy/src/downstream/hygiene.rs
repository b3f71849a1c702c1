//! What a request must be before any filter sees it: one authority, one normalised path, no hop-by-hop fields, no
//! identity that only a proxy may state. Pure functions; RFC 9110 to 9113 are the judge.

mod authority;
mod path;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};

use crate::exchange::head::RequestHead;
use crate::exchange::head::edits::Edits;
use crate::exchange::head::joined::{self, Part};
use crate::exchange::hop;
use crate::exchange::peer::Introduction;
use crate::snapshot::PathNormalization;

/// Bytes of a method: the longest registered one has 17.
const METHOD_BYTES: usize = 32;
/// Fields of a request head.
pub const MAX_FIELDS: usize = 100;

/// Why a request is refused, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// Snake-case text for `%RESPONSE_CODE_DETAILS%`.
    pub details: &'static str,
}

const fn refuse<T>(status: StatusCode, details: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, details })
}

/// What the listener wants.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub normalization: PathNormalization,
    /// Proxies before us whose `x-forwarded-*` is believed; 0: nobody's.
    pub trusted_proxies: usize,
    pub max_headers: usize,
    pub websocket: bool,
}

/// A clean head, and what was taken out of it that still matters.
#[derive(Debug)]
pub struct Admitted {
    pub head: RequestHead,
    /// The client asked for a WebSocket and the listener allows it.
    pub upgrade: bool,
    /// `te: trailers` was sent: the client can take trailers over HTTP/1.1, and gRPC wants it passed on.
    pub trailers: bool,
    /// What the client's proxy said of itself; it goes no further in the request.
    pub introduction: Option<Box<Introduction>>,
}

/// Checks and cleans the head of a request.
pub fn admit(parts: http::request::Parts, rules: Rules) -> Result<Admitted, Refusal> {
    let http::request::Parts { method, uri, version, mut headers, .. } = parts;
    check_method(&method)?;
    check_sizes(&headers, &uri, rules.max_headers)?;
    check_framing(&headers, version)?;
    let authority = authority::effective(&uri, &headers, version)?;
    let path = match uri.path_and_query() {
        // An absolute target without a path: `http://host?query`.
        Some(path) if path.as_str().starts_with('?') => {
            let rooted = PathAndQuery::try_from(format!("/{path}"));
            rooted.map_err(|_| Refusal { status: StatusCode::BAD_REQUEST, details: "bad_path" })?
        }
        Some(path) => path.clone(),
        None => PathAndQuery::from_static("/"),
    };
    let path = path::normalize(path, rules.normalization)?;
    headers.remove(header::HOST);
    let malformed = Refusal { status: StatusCode::BAD_REQUEST, details: "bad_connection_header" };
    let hop = hop::strip(&mut headers).map_err(|hop::Malformed| malformed)?;
    if version == Version::HTTP_2 {
        join_cookies(&mut headers);
    }
    check_expectation(&mut headers)?;
    let introduction = strip_claims(&mut headers, rules.trusted_proxies);
    joined::join(&mut headers, Part::Request);
    let scheme = HeaderValue::from_static("http");
    let head = RequestHead {
        method: Some(method),
        scheme: Some(scheme),
        authority: Some(authority),
        path: Some(path),
        headers,
        edits: Edits::default(),
    };
    Ok(Admitted { head, upgrade: hop.websocket && rules.websocket, trailers: hop.trailers, introduction })
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    // CONNECT would open a tunnel and TRACE would echo credentials: neither is offered.
    if *method == Method::CONNECT || *method == Method::TRACE {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    }
    if method.as_str().len() > METHOD_BYTES {
        return refuse(StatusCode::BAD_REQUEST, "method_too_long");
    }
    Ok(())
}

fn check_sizes(headers: &HeaderMap, uri: &http::Uri, max: usize) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if target > max {
        return refuse(StatusCode::URI_TOO_LONG, "path_too_long");
    }
    if headers.len() > MAX_FIELDS {
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers");
    }
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if fields + target > max {
        return refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large");
    }
    Ok(())
}

//= RFC 9112 section 6.1: a transfer coding other than one final "chunked" is an attack or a mistake; neither is passed.
fn check_framing(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let single = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !single || version != Version::HTTP_11 {
            return refuse(StatusCode::BAD_REQUEST, "bad_transfer_encoding");
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() {
            return refuse(StatusCode::BAD_REQUEST, "bad_content_length");
        }
    }
    Ok(())
}

//= RFC 9113 section 8.2.3: cookie crumbs are joined before they leave HTTP/2.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let mut joined = Vec::new();
    for crumb in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

//= RFC 9110 section 10.1.1: we answer 100-continue ourselves when the body is wanted; another expectation fails.
fn check_expectation(headers: &mut HeaderMap) -> Result<(), Refusal> {
    match headers.remove(header::EXPECT) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            refuse(StatusCode::EXPECTATION_FAILED, "unknown_expectation")
        }
        _ => Ok(()),
    }
}

/// Removes what only a proxy may say, when the client is not a trusted one. What a proxy says of its workload is taken
/// off every request.
fn strip_claims(headers: &mut HeaderMap, trusted_proxies: usize) -> Option<Box<Introduction>> {
    let believed =
        |name: &str| trusted_proxies > 0 && name != "x-forwarded-client-cert" && !Introduction::is_part(name);
    // Faults are asked for by whoever tests, and only where a fault filter listens (`headerControl`).
    let envoy = |name: &str| name.starts_with("x-envoy-") && !name.starts_with("x-envoy-fault-");
    let claim = |name: &str| name.starts_with("x-forwarded-") || envoy(name);
    // Rarely any: one look at the names allocates nothing.
    let mut introduction = None;
    while let Some(name) = headers.keys().find(|name| claim(name.as_str()) && !believed(name.as_str())) {
        if Introduction::is_part(name.as_str()) {
            introduction = Introduction::take(headers).map(Box::new);
        } else {
            let name = name.clone();
            headers.remove(name);
        }
    }
    introduction
}

#[cfg(test)]
mod tests;
