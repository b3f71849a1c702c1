//! Responses that are made here: by a filter, or because something went wrong. One table maps what went wrong to
//! status, response flag and details.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sidegate_wasm_host::LocalReply;

use super::head::joined::{self, Part};
use super::head::{ResponseHead, is_framing};
use crate::telemetry::flags::Flags;

/// A response without an upstream.
#[derive(Clone, Debug)]
pub struct Reply {
    pub head: ResponseHead,
    pub body: Bytes,
    pub flags: Flags,
    pub details: Cow<'static, str>,
    /// What went wrong; `None`: a filter wanted this reply.
    pub failure: Option<Failure>,
}

/// What can go wrong with an exchange on our side of the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    NoRoute,
    NoCluster,
    NoEndpoint,
    Overflow,
    ConnectFailure,
    ConnectTimeout,
    UpstreamReset,
    UpstreamTerminated,
    UpstreamProtocol,
    ResponseTimeout,
    RouteTimeout,
    FilterFault,
    FilterPause,
    FilterBrokeRequest,
    FilterBrokeResponse,
    BodyTooLarge,
    BodyTimeout,
    RequestBroken,
    /// Memory is short.
    Overload,
}

impl Failure {
    fn row(self) -> (StatusCode, Flags, &'static str) {
        use StatusCode as S;
        match self {
            Self::NoRoute => (S::NOT_FOUND, Flags::NO_ROUTE, "route_not_found"),
            Self::NoCluster => (S::SERVICE_UNAVAILABLE, Flags::NO_CLUSTER, "cluster_not_found"),
            Self::NoEndpoint => (S::SERVICE_UNAVAILABLE, Flags::NO_HEALTHY_UPSTREAM, "no_healthy_upstream"),
            Self::Overflow => (S::SERVICE_UNAVAILABLE, Flags::UPSTREAM_OVERFLOW, "upstream_overflow"),
            Self::ConnectFailure => {
                (S::SERVICE_UNAVAILABLE, Flags::UPSTREAM_CONNECTION_FAILURE, "upstream_connection_failure")
            }
            Self::ConnectTimeout => {
                (S::SERVICE_UNAVAILABLE, Flags::UPSTREAM_CONNECTION_FAILURE, "upstream_connection_timeout")
            }
            Self::UpstreamReset => (S::SERVICE_UNAVAILABLE, Flags::UPSTREAM_RESET, "upstream_reset_before_response"),
            Self::UpstreamTerminated => (
                S::SERVICE_UNAVAILABLE,
                Flags::UPSTREAM_CONNECTION_TERMINATION,
                "upstream_reset_before_response_started{connection_termination}",
            ),
            Self::UpstreamProtocol => (
                S::BAD_GATEWAY,
                Flags::UPSTREAM_PROTOCOL_ERROR,
                "upstream_reset_before_response_started{protocol_error}",
            ),
            Self::ResponseTimeout | Self::RouteTimeout => {
                (S::GATEWAY_TIMEOUT, Flags::UPSTREAM_TIMEOUT, "upstream_response_timeout")
            }
            Self::FilterFault => (S::SERVICE_UNAVAILABLE, Flags::default(), "wasm_fail_stream"),
            Self::FilterPause => (S::GATEWAY_TIMEOUT, Flags::default(), "filter_pause_timeout"),
            Self::FilterBrokeRequest => (S::SERVICE_UNAVAILABLE, Flags::default(), "filter_wrote_invalid_header"),
            Self::FilterBrokeResponse => (S::BAD_GATEWAY, Flags::default(), "filter_wrote_invalid_header"),
            Self::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, Flags::default(), "request_payload_too_large"),
            Self::BodyTimeout => (S::REQUEST_TIMEOUT, Flags::STREAM_IDLE_TIMEOUT, "request_body_timeout"),
            Self::Overload => (S::SERVICE_UNAVAILABLE, Flags::OVERLOAD, "overload"),
            Self::RequestBroken => (S::BAD_REQUEST, Flags::DOWNSTREAM_PROTOCOL_ERROR, "request_body_malformed"),
        }
    }
}

impl Reply {
    /// The answer to a failure. `grpc`: the client expects gRPC's form.
    pub fn failure(failure: Failure, grpc: bool) -> Self {
        let (status, flags, details) = failure.row();
        let body = match failure {
            Failure::NoRoute | Failure::FilterFault => Bytes::new(),
            _ => Bytes::from(details.replace('_', " ")),
        };
        let reply = Self::build(status, HeaderMap::new(), body, details.into(), None, grpc, flags);
        Self { failure: Some(failure), ..reply }
    }

    /// A refusal before there is an exchange; no details reach the client.
    pub fn refusal(status: StatusCode) -> ResponseHead {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        ResponseHead::new(status, headers)
    }

    /// A filter's own response. A status that cannot be sent becomes 502; framing headers are made anew.
    pub fn from_filter(reply: LocalReply, grpc: bool) -> Self {
        let status = u16::try_from(reply.status).ok().filter(|status| (200..=599).contains(status));
        let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut headers = HeaderMap::new();
        let mut poisoned = false;
        for (name, value) in &reply.headers {
            if name.is_empty() || name.starts_with(b":") || is_framing(name) {
                continue;
            }
            match (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
                (Ok(name), Ok(value)) => poisoned |= headers.try_append(name, value).is_err(),
                _ => poisoned = true,
            }
        }
        joined::join(&mut headers, Part::Response);
        if poisoned {
            return Self::failure(Failure::FilterBrokeResponse, grpc);
        }
        let grpc_status = (0..=16).contains(&reply.grpc_status).then_some(reply.grpc_status.unsigned_abs());
        Self::build(status, headers, Bytes::from(reply.body), reply.details.into(), grpc_status, grpc, Flags::default())
    }

    fn build(
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
        details: Cow<'static, str>,
        grpc_status: Option<u32>,
        grpc: bool,
        flags: Flags,
    ) -> Self {
        if grpc {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            // What the filter's own headers say stands before its number, and that before its status.
            if headers.get("grpc-status").is_none_or(HeaderValue::is_empty) {
                let code = grpc_status.unwrap_or_else(|| grpc_status_of(status.as_u16()));
                headers.insert("grpc-status", HeaderValue::from(code));
            }
            if let Ok(message) = HeaderValue::from_str(&percent_encode(&body))
                && !body.is_empty()
            {
                headers.insert("grpc-message", message);
            }
            return Self {
                head: ResponseHead::new(StatusCode::OK, headers),
                body: Bytes::new(),
                flags,
                details,
                failure: None,
            };
        }
        let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let body = if bodiless { Bytes::new() } else { body };
        if body.is_empty() {
            // Nothing has no type. That its length is 0 is said as the head leaves: response hooks do not see it.
            headers.remove(header::CONTENT_TYPE);
        } else {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain"));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Self { head: ResponseHead::new(status, headers), body, flags, details, failure: None }
    }
}

/// gRPC's status for an HTTP status.
pub fn grpc_status_of(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// gRPC's percent encoding of messages: printable ASCII but `%` stays.
fn percent_encode(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(status: u32, headers: &[(&str, &str)], body: &str, grpc: bool) -> Reply {
        let headers =
            headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        let reply = LocalReply { status, headers, body: body.into(), grpc_status: -1, ..LocalReply::default() };
        Reply::from_filter(reply, grpc)
    }

    #[test]
    fn a_filters_reply() {
        let reply = filter(
            403,
            &[("X-A", "1"), ("x-a", "2"), ("content-length", "99"), ("transfer-encoding", "x")],
            "no",
            false,
        );
        let head = &reply.head;
        assert_eq!(head.status, Some(StatusCode::FORBIDDEN));
        assert_eq!(head.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(head.headers.get("content-length").unwrap(), "2");
        assert_eq!(head.headers.get("content-type").unwrap(), "text/plain");
        assert!(!head.headers.contains_key("transfer-encoding"));
    }

    #[test]
    fn unsendable_statuses_and_headers() {
        for status in [0, 100, 199, 600, 1000, 70000] {
            assert_eq!(filter(status, &[], "", false).head.status, Some(StatusCode::BAD_GATEWAY), "{status}");
        }
        assert_eq!(filter(200, &[("x", "a\r\nb")], "", false).head.status, Some(StatusCode::BAD_GATEWAY));
        let nothing = filter(403, &[("", "ignored"), ("content-type", "text/html")], "", false);
        assert!(nothing.head.headers.is_empty() && nothing.details.is_empty());
        let empty = filter(204, &[], "body", false);
        assert!(empty.body.is_empty() && !empty.head.headers.contains_key("content-length"));
    }

    #[test]
    fn grpc_form() {
        let reply = filter(403, &[], "100% no", true);
        assert_eq!(reply.head.status, Some(StatusCode::OK));
        assert_eq!(reply.head.headers.get("grpc-status").unwrap(), "7");
        assert_eq!(reply.head.headers.get("grpc-message").unwrap(), "100%25 no");
        assert!(reply.body.is_empty());
        let own = filter(200, &[("grpc-status", "3"), ("grpc-message", "mine")], "", true);
        assert_eq!(own.head.headers.get("grpc-status").unwrap(), "3");
        assert_eq!(own.head.headers.get("grpc-message").unwrap(), "mine");
    }
}
