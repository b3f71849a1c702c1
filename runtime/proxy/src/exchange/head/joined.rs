//! Standard fields of which a head has one entry. Repeated ones become one list, as in Envoy: whoever reads "the" value
//! reads all that the next reader gets. Of two `authorization` a filter that looks at the first would else let the
//! second pass unseen.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Of which message: each has its own list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Request,
    Response,
    Trailers,
}

/// Fields of requests. `cookie` is not among them: its crumbs have a separator of their own.
const REQUEST: [&str; 51] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "cdn-loop",
    "content-encoding",
    "content-type",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "origin",
    "pragma",
    "proxy-status",
    "referer",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-force-trace",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-is-timeout-retry",
    "x-envoy-max-retries",
    "x-envoy-original-host",
    "x-envoy-original-path",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-retry-grpc-on",
    "x-envoy-retry-on",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// Fields of responses. `set-cookie` is not among them: no reader could take a list of cookies apart again.
const RESPONSE: [&str; 27] = [
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "last-modified",
    "location",
    "proxy-status",
    "server",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-canary",
    "x-envoy-upstream-healthchecked-cluster",
    "x-envoy-upstream-service-time",
    "x-request-id",
];

const TRAILERS: [&str; 2] = ["grpc-message", "grpc-status"];

impl Part {
    /// Whether there is one entry of this field.
    pub fn keeps_one(self, name: &[u8]) -> bool {
        let names: &[&str] = match self {
            Self::Request => &REQUEST,
            Self::Response => &RESPONSE,
            Self::Trailers => &TRAILERS,
        };
        names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    }
}

/// Joins what came repeatedly, in its order, in the place of the first. Costs nothing where no field repeats. A list is
/// no longer than its fields were with their names: limits that those kept still hold.
pub fn join(headers: &mut HeaderMap, part: Part) {
    while headers.len() != headers.keys_len()
        && let Some(name) = repeated(headers, part)
    {
        let list = headers.get_all(&name).iter().fold(Vec::new(), |list, value| appended(list, value.as_bytes()));
        let Ok(mut list) = HeaderValue::from_bytes(&list) else { return };
        // What a client never wants in a table of HPACK is not put into one of ours.
        list.set_sensitive(headers.get_all(&name).iter().any(HeaderValue::is_sensitive));
        headers.insert(name, list);
    }
}

/// A list with one more value.
pub fn appended(mut list: Vec<u8>, value: &[u8]) -> Vec<u8> {
    if !list.is_empty() && !value.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(value);
    list
}

fn repeated(headers: &HeaderMap, part: Part) -> Option<HeaderName> {
    // The map gives values of one name one after the other.
    let mut last = None;
    let mut names = headers.iter().map(|(name, _)| name);
    names.find(|name| last.replace(*name) == Some(*name) && part.keeps_one(name.as_str().as_bytes())).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(part: Part, fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        join(&mut headers, part);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn standard_fields_become_lists_and_others_stay() {
        let fields = [("via", "a"), ("x-a", "1"), ("via", "b"), ("cookie", "a=1"), ("x-a", "2"), ("cookie", "b=2")];
        let both = [("via", "a,b"), ("x-a", "1"), ("x-a", "2"), ("cookie", "a=1"), ("cookie", "b=2")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(joined(Part::Request, &fields), both);
        assert_eq!(joined(Part::Response, &fields), both);
        assert_eq!(joined(Part::Trailers, &fields).len(), 6);
        let credentials = [("authorization", "Bearer good"), ("authorization", "Bearer bad"), ("accept", "x")];
        let list = ("authorization".to_owned(), "Bearer good,Bearer bad".to_owned());
        assert_eq!(joined(Part::Request, &credentials), [list, ("accept".to_owned(), "x".to_owned())]);
        assert_eq!(joined(Part::Response, &credentials).len(), 3, "a response has no credentials");
        let cookies = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("vary", "a"), ("vary", ""), ("vary", "b")];
        assert_eq!(joined(Part::Response, &cookies).len(), 3);
        assert_eq!(joined(Part::Response, &cookies)[2].1, "a,b", "an empty value adds nothing");
    }
}
