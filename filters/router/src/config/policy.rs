//! What accompanies a request on its way: retries, faults, mirrors, and what browsers are told.

use sidegate_sdk::config;
use sidegate_sdk::matching::StringMatch;
use sidegate_sdk::serde_json::Value;

use super::Destination;

/// Istio's HTTPRetry; checked here, acted on by the proxy.
#[config]
#[derive(Debug, Clone, Default)]
pub struct HttpRetry {
    /// Tries after the first. 0: none.
    #[serde(default)]
    pub attempts: u32,
    /// For each try. Default: the route's timeout.
    pub per_try_timeout: Option<String>,
    /// Words separated by commas, and status numbers.
    pub retry_on: Option<String>,
    /// Also tries endpoints of other localities.
    pub retry_remote_localities: Option<bool>,
    /// Skips endpoints that were tried. Default true.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Shortest wait between tries. Default 25ms.
    pub backoff: Option<String>,
}

/// A share of requests: 0, or 0.0001 to 100.
#[config]
#[derive(Debug, Clone, Copy)]
pub struct Percent {
    /// Percent.
    #[serde(default)]
    pub value: f64,
}

/// Faults that are injected on purpose. Delay and abort are drawn each on its own; the delay comes first.
#[config]
#[derive(Debug, Clone, Default)]
pub struct Fault {
    /// Holds requests.
    pub delay: Option<FaultDelay>,
    /// Answers requests with a failure.
    pub abort: Option<FaultAbort>,
}

/// How long requests are held.
#[config]
#[derive(Debug, Clone, Default)]
pub struct FaultDelay {
    /// At least 1ms.
    pub fixed_delay: Option<String>,
    /// Not supported, as in Istio.
    pub exponential_delay: Option<Value>,
    /// Share of the requests. Absent: none.
    pub percentage: Option<Percent>,
    /// The same as a whole number; `percentage` wins.
    pub percent: Option<u32>,
}

/// The failure that requests get: one of `httpStatus` and `grpcStatus`.
#[config]
#[derive(Debug, Clone, Default)]
pub struct FaultAbort {
    /// 200 to 599.
    pub http_status: Option<u16>,
    /// A name such as `UNAVAILABLE`. gRPC clients get it as status, others the HTTP status that belongs to it.
    pub grpc_status: Option<String>,
    /// Not supported, as in Istio.
    pub http2_error: Option<String>,
    /// Share of the requests. Absent: none.
    pub percentage: Option<Percent>,
}

/// One destination of copies.
#[config]
#[derive(Debug, Clone)]
pub struct HttpMirrorPolicy {
    /// Where to.
    pub destination: Destination,
    /// Share of the requests. Default: all.
    pub percentage: Option<Percent>,
}

/// Cross-origin resource sharing.
#[config]
#[derive(Debug, Clone, Default)]
pub struct CorsPolicy {
    /// Origins that may ask; exact `*` is all of them. The answer names the origin that asked.
    #[serde(default)]
    pub allow_origins: Vec<StringMatch>,
    /// The same as exact texts; `allowOrigins` wins.
    #[serde(default)]
    pub allow_origin: Vec<String>,
    /// Methods that preflight answers name.
    #[serde(default)]
    pub allow_methods: Vec<String>,
    /// Request headers that preflight answers name.
    #[serde(default)]
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// How long browsers may remember a preflight answer, in whole seconds.
    pub max_age: Option<String>,
    /// Whether credentials may be sent. Default: not said.
    pub allow_credentials: Option<bool>,
    /// What becomes of a preflight request from another origin. Default: FORWARD.
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

/// What becomes of a preflight request from an origin that is not allowed.
#[config]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmatchedPreflights {
    /// As FORWARD.
    #[serde(rename = "UNSPECIFIED")]
    Unspecified,
    /// It goes on to the service.
    #[serde(rename = "FORWARD")]
    Forward,
    /// It is answered with 200 and no word of CORS.
    #[serde(rename = "IGNORE")]
    Ignore,
}
