//! The written form: Envoy's local rate limit in camelCase.

use sidegate_sdk::config;
use sidegate_sdk::matching::HttpMatchRequest;

/// The configuration of `builtin:ratelimit`.
#[config]
#[derive(Default)]
pub struct RateLimitConfig {
    /// Names this limit in metrics, and keeps its buckets apart from those of limits that are written alike. Default
    /// `http_local_rate_limiter`.
    pub stat_prefix: Option<String>,
    /// Which requests; one entry has to match. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// The bucket of every request.
    pub token_bucket: Option<TokenBucket>,
    /// Buckets of requests that `rateLimits` describe so.
    #[serde(default)]
    pub descriptors: Vec<Descriptor>,
    /// How requests are described; each of these makes one description.
    #[serde(default)]
    pub rate_limits: Vec<RateLimit>,
    /// Whether a request that took a token for its description takes one of `tokenBucket` as well. Default true.
    pub always_consume_default_token_bucket: Option<bool>,
    /// What is answered over the limit. Default 429.
    pub status: Option<HttpStatus>,
    /// Headers of that answer.
    #[serde(default)]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Headers of requests that are over the limit and go on, because `filterEnforced` says so.
    #[serde(default)]
    pub request_headers_to_add_when_not_enforced: Vec<HeaderValueOption>,
    /// Whether responses tell of the bucket in `x-ratelimit-*`. Default `OFF`.
    #[serde(default)]
    pub enable_x_ratelimit_headers: RateLimitHeaders,
    /// Whether gRPC clients get RESOURCE_EXHAUSTED (8) in place of UNAVAILABLE (14). Default false.
    #[serde(default)]
    pub rate_limited_as_resource_exhausted: bool,
    /// For how many requests the limit is asked at all. Default: all.
    pub filter_enabled: Option<RuntimeFractionalPercent>,
    /// How many of those over the limit are refused. Default: all.
    pub filter_enforced: Option<RuntimeFractionalPercent>,
    /// A service that counts for many proxies. It is asked about the descriptions of `rateLimits`, after the buckets.
    pub rate_limit_service: Option<RateLimitService>,
}

/// How many requests pass, and how many anew.
#[config]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// What it holds, and how many may pass at once. At least 1.
    pub max_tokens: u64,
    /// What every fill brings, at least 1. Default 1.
    pub tokens_per_fill: Option<u64>,
    /// How far fills are apart, at least 50ms; `24h` makes a daily quota.
    pub fill_interval: String,
}

/// A bucket, or one for each value, for requests of a description.
#[config]
pub struct Descriptor {
    /// The description: keys in the order of the actions that make them.
    pub entries: Vec<Entry>,
    /// Its bucket.
    pub token_bucket: TokenBucket,
}

/// One part of a description.
#[config]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The key that the action gives.
    pub key: String,
    /// Its value. Absent: any, and each has a bucket of its own.
    pub value: Option<String>,
}

/// A service that speaks `envoy.service.ratelimit.v3.RateLimitService`.
#[config]
pub struct RateLimitService {
    /// Its cluster, or one of that cluster's hosts.
    pub cluster: String,
    /// The domain of its configuration, `shop`.
    pub domain: String,
    /// How long an answer may take, at least 1ms. Default 20ms.
    pub timeout: Option<String>,
    /// Whether a request is refused (500) when there is no answer. Default false: it passes.
    #[serde(default)]
    pub failure_mode_deny: bool,
}

/// One description of a request.
#[config]
pub struct RateLimit {
    /// What it is made of, in order. A request without one of the values has no such description.
    pub actions: Vec<Action>,
}

/// Where one part of a description comes from.
#[config]
pub enum Action {
    /// A header.
    RequestHeaders(RequestHeaders),
    /// A query parameter, undecoded.
    QueryParameters(QueryParameters),
    /// A claim of the verified JWT.
    Claim(Claim),
    /// The path without its query; its key is `path`.
    Path(Nothing),
    /// The client's IP address; its key is `remote_address`.
    RemoteAddress(Nothing),
    /// The client's network; its key is `masked_remote_address`.
    MaskedRemoteAddress(MaskedRemoteAddress),
    /// A constant.
    GenericKey(GenericKey),
}

/// `{}`.
#[config]
pub struct Nothing {}

/// A header as part of a description.
#[config]
pub struct RequestHeaders {
    /// Its name; `:path`, `:method` and `:authority` too. Values of a repeated one are joined by commas.
    pub header_name: String,
    /// The key.
    pub descriptor_key: String,
    /// Whether a request without it is described without this part. Default false: it is not described.
    #[serde(default)]
    pub skip_if_absent: bool,
}

/// A query parameter as part of a description.
#[config]
pub struct QueryParameters {
    /// Its name; the first value counts.
    pub query_parameter_name: String,
    /// The key.
    pub descriptor_key: String,
    /// As of `requestHeaders`.
    #[serde(default)]
    pub skip_if_absent: bool,
}

/// A claim as part of a description: a text, a number or a truth value.
#[config]
pub struct Claim {
    /// Its name; dots lead into claims, `realm.plan`.
    pub name: String,
    /// The key. Default: the name.
    pub descriptor_key: Option<String>,
    /// As of `requestHeaders`.
    #[serde(default)]
    pub skip_if_absent: bool,
}

/// The client's network as part of a description, as `10.1.0.0/16`.
#[config]
pub struct MaskedRemoteAddress {
    /// Bits that count of an IPv4 address. Default 32.
    pub v4_prefix_mask_len: Option<u8>,
    /// Bits that count of an IPv6 address. Default 128.
    pub v6_prefix_mask_len: Option<u8>,
}

/// A constant as part of a description.
#[config]
pub struct GenericKey {
    /// The value.
    pub descriptor_value: String,
    /// The key. Default `generic_key`.
    pub descriptor_key: Option<String>,
}

/// A status by number.
#[config]
pub struct HttpStatus {
    /// 400 to 599.
    pub code: u16,
}

/// A header to add.
#[config]
pub struct HeaderValueOption {
    /// The header.
    pub header: HeaderValue,
    /// What becomes of one that is there already. Default `APPEND_IF_EXISTS_OR_ADD`.
    #[serde(default)]
    pub append_action: AppendAction,
}

/// A header.
#[config]
pub struct HeaderValue {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What becomes of a header that is there already.
#[config]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// It stays beside the new one.
    #[default]
    #[serde(rename = "APPEND_IF_EXISTS_OR_ADD")]
    Append,
    /// It stays, and nothing is added.
    #[serde(rename = "ADD_IF_ABSENT")]
    AddIfAbsent,
    /// The new one takes its place.
    #[serde(rename = "OVERWRITE_IF_EXISTS_OR_ADD")]
    Overwrite,
}

/// The draft whose headers are sent.
#[config]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RateLimitHeaders {
    /// None.
    #[default]
    #[serde(rename = "OFF")]
    Off,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset`, the last in seconds.
    #[serde(rename = "DRAFT_VERSION_03")]
    Draft03,
}

/// A share of requests.
#[config]
#[derive(Default)]
pub struct RuntimeFractionalPercent {
    /// The share.
    pub default_value: FractionalPercent,
    /// Accepted without effect: there is no runtime to ask.
    pub runtime_key: Option<String>,
}

/// A share as a fraction.
#[config]
#[derive(Default)]
pub struct FractionalPercent {
    /// How many of the denominator. Default 0.
    #[serde(default)]
    pub numerator: u32,
    /// Default `HUNDRED`.
    #[serde(default)]
    pub denominator: Denominator,
}

/// What a numerator is a part of.
#[config]
#[derive(Clone, Copy, Default)]
pub enum Denominator {
    /// Percent.
    #[default]
    #[serde(rename = "HUNDRED")]
    Hundred,
    /// Hundredths of a percent.
    #[serde(rename = "TEN_THOUSAND")]
    TenThousand,
    /// Millionths.
    #[serde(rename = "MILLION")]
    Million,
}
