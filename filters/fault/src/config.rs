//! The written form: rules around Istio's `HTTPFaultInjection`, and Envoy's words for what Istio has none.

use sidegate_sdk::config;
use sidegate_sdk::matching::HttpMatchRequest;
use sidegate_sdk::serde_json::Value;

/// The configuration of `builtin:fault`.
#[config]
#[derive(Default)]
pub struct FaultConfig {
    /// Which requests get which faults; the first rule that matches is used, and no other.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How fast bodies of responses leave, one by one. Default: as they come.
    pub response_rate_limit: Option<ResponseRateLimit>,
    /// Whether requests may ask for faults by `x-envoy-fault-*` headers. Not for clients that are not trusted. Default
    /// false.
    #[serde(default)]
    pub header_control: bool,
    /// Requests that may have a fault at a time, over all workers; beyond it they have none. Default: any number.
    pub max_active_faults: Option<u32>,
}

/// Faults for some requests.
#[config]
#[derive(Default)]
pub struct Rule {
    /// Which requests; one entry has to match. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// What happens to them.
    pub fault: HttpFaultInjection,
}

/// Faults, each drawn for itself; a request that gets both is delayed, then aborted.
#[config]
#[derive(Default)]
pub struct HttpFaultInjection {
    /// Holds the request for a while.
    pub delay: Option<Delay>,
    /// Answers in place of the service.
    pub abort: Option<Abort>,
}

/// A delay of some requests.
#[config]
#[derive(Default)]
pub struct Delay {
    /// How long, at least `1ms`. Over `limits.pause` of the plugin (10m) the request ends with 504.
    pub fixed_delay: Option<String>,
    /// How many. Absent: none.
    pub percentage: Option<Percent>,
    /// Not supported, neither here nor in Istio.
    pub exponential_delay: Option<Value>,
}

/// An abort of some requests, with one of `httpStatus` and `grpcStatus`.
#[config]
#[derive(Default)]
pub struct Abort {
    /// 200 to 599. gRPC clients get the gRPC status that stands for it.
    pub http_status: Option<u16>,
    /// A gRPC status by name, such as `UNAVAILABLE`. Other clients get the HTTP status that stands for it.
    pub grpc_status: Option<String>,
    /// Not supported, neither here nor in Istio.
    pub http2_error: Option<Value>,
    /// How many. Absent: none.
    pub percentage: Option<Percent>,
}

/// A share of requests.
#[config]
pub struct Percent {
    /// 0, or from 0.0001 to 100.
    pub value: f64,
}

/// A limit for each response's body.
#[config]
pub struct ResponseRateLimit {
    /// At least 1.
    pub bytes_per_second: u64,
    /// For how many responses. Absent: all.
    pub percentage: Option<Percent>,
}
