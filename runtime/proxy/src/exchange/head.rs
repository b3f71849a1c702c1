//! Heads of messages as the exchange keeps them: one header map, which filters edit in place (`map`, `edits`),
//! with pseudo headers in front (`pseudo`) and one entry of each standard field (`joined`).

pub mod edits;
pub mod joined;
mod map;
pub mod pseudo;

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use sidegate_matching::RequestView;

use self::edits::Edits;
use self::joined::Part;

/// A request's head after hygiene: one authority, one path, no hop-by-hop fields.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `None` once a filter has removed or broken it.
    pub method: Option<Method>,
    /// `None` once a filter has removed it: it goes nowhere.
    pub scheme: Option<HeaderValue>,
    /// In place of the `host` header.
    pub authority: Option<HeaderValue>,
    pub path: Option<PathAndQuery>,
    pub headers: HeaderMap,
    pub edits: Edits,
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// `None` once a filter has removed or broken it.
    pub status: Option<StatusCode>,
    pub headers: HeaderMap,
    pub edits: Edits,
}

/// Trailers of either message.
#[derive(Clone, Debug, Default)]
pub struct Trailers {
    pub fields: HeaderMap,
    pub edits: Edits,
}

impl Trailers {
    /// Trailers as they came.
    pub fn received(mut fields: HeaderMap) -> Self {
        joined::join(&mut fields, Part::Trailers);
        Self { fields, ..Self::default() }
    }
}

impl ResponseHead {
    pub fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self { status: Some(status), headers, edits: Edits::default() }
    }
}

/// Header fields that frame a message or a connection. They are the host's: guests' writes are ignored.
pub fn is_framing(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"te",
        b"trailer",
        b"http2-settings",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// What a chain entry's `match` looks at.
impl RequestView for RequestHead {
    fn path(&self) -> &str {
        self.path.as_ref().map_or("", PathAndQuery::as_str)
    }
    fn method(&self) -> &str {
        self.method.as_ref().map_or("", Method::as_str)
    }
    fn scheme(&self) -> &str {
        self.scheme.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    fn authority(&self) -> &str {
        self.authority.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.headers.get_all(name).iter();
        let first = String::from_utf8_lossy(values.next()?.as_bytes());
        Some(
            values.fold(first, |joined, value| {
                Cow::Owned(format!("{joined},{}", String::from_utf8_lossy(value.as_bytes())))
            }),
        )
    }
}

/// Whether the request speaks gRPC.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value.starts_with(b"application/grpc") && matches!(value.get(16), None | Some(b'+' | b';'))
    })
}
