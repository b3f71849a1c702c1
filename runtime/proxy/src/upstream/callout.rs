//! Requests that guests ask for: sent like any other, with Envoy's shapes of failure.

pub mod grpc;
pub mod http;
pub mod outgoing;

use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName, HeaderValue};

/// When the guest sets no limit: a callout must not outlive its exchange for ever.
const MAX_TIME: Duration = Duration::from_secs(300);

/// A list of fields as guests see it.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs(headers: &HeaderMap) -> Pairs {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Adds what a guest gave, unless it cannot be a field.
fn append(headers: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        let _ = headers.try_append(name, value);
    }
}
