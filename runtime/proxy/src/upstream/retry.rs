//! When a request is tried again: Istio's `HTTPRetry`, as a filter writes it to `sidegate.upstream.retries`.

use std::time::Duration;

use http::header::HeaderMap;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::exchange::reply::Failure;

/// The pause before the first retry of a request that had reached an upstream; doubled at each further one, with full
/// jitter, up to ten times as much.
const BACKOFF: Duration = Duration::from_millis(25);
/// The longest pause, whatever the policy says.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Retries that a policy may ask for.
const MAX_ATTEMPTS: u32 = 10;

/// What to try again, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after the first try.
    pub attempts: u32,
    pub per_try_timeout: Option<Duration>,
    /// A retry goes to an endpoint that was not tried yet, as long as there is one.
    pub skips_tried: bool,
    backoff: Duration,
    on: Conditions,
    statuses: Vec<u16>,
    grpc: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    connect_failure: bool,
    reset: bool,
    server_error: bool,
    gateway_error: bool,
    conflict: bool,
}

/// The JSON of the property.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    attempts: Option<u32>,
    per_try_timeout: Option<String>,
    retry_on: Option<String>,
    backoff: Option<String>,
    retry_ignore_previous_hosts: Option<bool>,
}

impl Default for RetryPolicy {
    /// What can be tried again without anybody noticing: twice, where no upstream has seen the request.
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            skips_tried: true,
            backoff: BACKOFF,
            on: Conditions { connect_failure: true, ..Conditions::default() },
            statuses: Vec::new(),
            grpc: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// One try and no more.
    pub fn never() -> Self {
        Self { attempts: 0, on: Conditions::default(), ..Self::default() }
    }

    /// Reads the property; `None`: it cannot be understood.
    pub fn parse(json: &str, duration: impl Fn(&str) -> Option<Duration>) -> Option<Self> {
        let written: Written = serde_json::from_str(json).ok()?;
        let optional = |text: Option<String>| match text {
            Some(text) => duration(&text).map(Some),
            None => Some(None),
        };
        let mut policy = Self {
            attempts: written.attempts.unwrap_or(2).min(MAX_ATTEMPTS),
            per_try_timeout: optional(written.per_try_timeout)?.filter(|limit| !limit.is_zero()),
            skips_tried: written.retry_ignore_previous_hosts.unwrap_or(true),
            backoff: optional(written.backoff)?.unwrap_or(BACKOFF),
            on: Conditions::default(),
            statuses: Vec::new(),
            grpc: Vec::new(),
        };
        // Istio's default words.
        let words =
            written.retry_on.unwrap_or_else(|| "connect-failure,refused-stream,unavailable,cancelled".to_owned());
        for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            policy.add(word)?;
        }
        Some(policy)
    }

    fn add(&mut self, word: &str) -> Option<()> {
        match word {
            "connect-failure" => self.on.connect_failure = true,
            "refused-stream" | "reset-before-request" | "reset" => {
                self.on.reset = true;
                self.on.connect_failure = true;
            }
            "5xx" => {
                self.on = Conditions {
                    connect_failure: true,
                    reset: true,
                    server_error: true,
                    gateway_error: true,
                    ..self.on
                };
            }
            "gateway-error" => self.on.gateway_error = true,
            "retriable-4xx" => self.on.conflict = true,
            "cancelled" => self.grpc.push(1),
            "deadline-exceeded" => self.grpc.push(4),
            "resource-exhausted" => self.grpc.push(8),
            "internal" => self.grpc.push(13),
            "unavailable" => self.grpc.push(14),
            "retriable-status-codes" | "retriable-headers" | "envoy-ratelimited" | "http3-post-connect-failure" => {}
            status => self.statuses.push(status.parse().ok().filter(|status| (100..600).contains(status))?),
        }
        Some(())
    }

    /// Whether a connection that could not be made is tried elsewhere.
    pub fn wants_reconnect(&self) -> bool {
        self.on.connect_failure
    }

    /// Whether this failure of a request that may have reached an upstream is tried again.
    pub fn wants_failure(&self, failure: Failure, method: &Method) -> bool {
        match failure {
            Failure::UpstreamTerminated | Failure::UpstreamReset => self.on.reset && method.is_idempotent(),
            // The time of one try has passed, not that of the whole request.
            Failure::ResponseTimeout => (self.on.server_error || self.on.gateway_error) && method.is_idempotent(),
            _ => false,
        }
    }

    /// Whether this response is not good enough. A request that is not idempotent is tried again only for statuses
    /// that the policy names as numbers.
    pub fn wants_response(&self, status: StatusCode, headers: &HeaderMap, method: &Method) -> bool {
        let code = status.as_u16();
        if self.statuses.contains(&code) {
            return true;
        }
        let grpc = || headers.get("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        if !self.grpc.is_empty() && grpc().is_some_and(|status| self.grpc.contains(&status)) {
            return true;
        }
        method.is_idempotent()
            && ((self.on.server_error && code >= 500)
                || (self.on.gateway_error && (502..=504).contains(&code))
                || (self.on.conflict && code == 409))
    }

    /// The pause before retry number `retry` (from 1); `random` is a number below its bound.
    pub fn pause(&self, retry: u32, random: impl FnOnce(usize) -> usize) -> Duration {
        let ceiling = self
            .backoff
            .saturating_mul(1 << retry.saturating_sub(1).min(8))
            .min(self.backoff.saturating_mul(10))
            .min(PAUSE_MAX);
        Duration::from_micros(random(usize::try_from(ceiling.as_micros()).unwrap_or(usize::MAX)) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Option<RetryPolicy> {
        RetryPolicy::parse(json, |text| text.strip_suffix('s')?.parse().ok().map(Duration::from_secs))
    }

    #[test]
    fn words() {
        let policy =
            parse(r#"{"attempts":3,"perTryTimeout":"2s","retryOn":"gateway-error, 429,connect-failure"}"#).unwrap();
        assert_eq!((policy.attempts, policy.per_try_timeout), (3, Some(Duration::from_secs(2))));
        let none = HeaderMap::new();
        let wants = |code, method| policy.wants_response(StatusCode::from_u16(code).unwrap(), &none, &method);
        assert!(wants(502, Method::GET) && !wants(500, Method::GET) && !wants(200, Method::GET));
        assert!(!wants(502, Method::POST), "not idempotent");
        assert!(wants(429, Method::POST), "named as a number");
        assert!(policy.wants_reconnect() && !policy.wants_failure(Failure::UpstreamReset, &Method::GET));
        assert_eq!(parse(r#"{"retryOn":"sometimes"}"#), None);
        assert_eq!(parse("no json"), None);
    }

    #[test]
    fn grpc_statuses() {
        let policy = parse(r#"{"retryOn":"unavailable"}"#).unwrap();
        let headers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]);
        assert!(policy.wants_response(StatusCode::OK, &headers, &Method::POST));
    }

    #[test]
    fn pauses_grow_to_ten_times() {
        let policy = RetryPolicy::default();
        let longest = |retry| policy.pause(retry, |bound| bound).as_millis();
        assert_eq!([longest(1), longest(2), longest(3), longest(9)], [25, 50, 100, 250]);
    }
}
