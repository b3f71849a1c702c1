//! The written form: `VirtualService.spec` with Istio's names.

use std::collections::BTreeMap;

use sidegate_sdk::config;
use sidegate_sdk::matching::HttpMatchRequest;
use sidegate_sdk::serde_json::Value;

/// The configuration of `builtin:router`.
#[config]
#[derive(Default)]
pub struct RouterConfig {
    /// Virtual services; those with the same host are one, in this order.
    #[serde(default)]
    pub virtual_services: Vec<VirtualService>,
}

/// Routes for some hosts.
#[config]
#[derive(Default)]
pub struct VirtualService {
    /// Authorities without port: a name, `*.example.com`, or `*`. The longest that fits a request is used.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Gateways this is for; accepted, and up to whoever writes this proxy's configuration.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Routes; the first that matches is used.
    #[serde(default)]
    pub http: Vec<HttpRoute>,
    /// Not supported yet.
    pub tls: Option<Value>,
    /// Not supported yet.
    pub tcp: Option<Value>,
    /// Who may see this; accepted without effect.
    #[serde(default)]
    pub export_to: Vec<String>,
}

/// One route. It has exactly one of `route`, `redirect` and `directResponse`.
#[config]
#[derive(Default)]
pub struct HttpRoute {
    /// A name for logs and the property `sidegate.route.name`.
    pub name: Option<String>,
    /// Which requests; one entry has to match. Absent: all.
    #[serde(default, rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Where to, by weight.
    #[serde(default)]
    pub route: Vec<HttpRouteDestination>,
    /// Answers with a redirect.
    pub redirect: Option<Box<HttpRedirect>>,
    /// Answers itself.
    pub direct_response: Option<Box<HttpDirectResponse>>,
    /// Not supported yet.
    pub delegate: Option<Box<Value>>,
    /// Changes path or host before sending.
    pub rewrite: Option<Box<HttpRewrite>>,
    /// For the whole request with retries. Absent or `0s`: none.
    pub timeout: Option<String>,
    /// When and how often to try again.
    pub retries: Option<Box<HttpRetry>>,
    /// Not supported yet; see `builtin:fault`.
    pub fault: Option<Box<Value>>,
    /// Not supported yet.
    pub mirror: Option<Box<Value>>,
    /// Not supported yet.
    pub mirrors: Option<Box<Value>>,
    /// Not supported yet.
    pub mirror_percentage: Option<Box<Value>>,
    /// Not supported yet.
    pub mirror_percent: Option<Box<Value>>,
    /// Not supported yet.
    pub cors_policy: Option<Box<Value>>,
    /// Header operations.
    pub headers: Option<Box<Headers>>,
}

/// A destination and its share.
#[config]
pub struct HttpRouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Share of the sum of all weights; with one destination it gets all. Default 0.
    #[serde(default)]
    pub weight: u32,
    /// Header operations for this destination.
    pub headers: Option<Box<Headers>>,
}

/// A cluster.
#[config]
pub struct Destination {
    /// The name of a cluster or one of its hosts.
    pub host: String,
    /// A subset of it.
    pub subset: Option<String>,
    /// Port of the service; accepted, the cluster's endpoints decide.
    pub port: Option<PortSelector>,
}

/// A port by number.
#[config]
pub struct PortSelector {
    /// 1 to 65535.
    pub number: u16,
}

/// Header operations of the two directions.
#[config]
#[derive(Default)]
pub struct Headers {
    /// Before sending.
    pub request: Option<HeaderOperations>,
    /// Before answering.
    pub response: Option<HeaderOperations>,
}

/// `remove` runs before `set`, `set` before `add`. Values may use `%REQ(name)%`; `%%` is a percent sign.
#[config]
#[derive(Default)]
pub struct HeaderOperations {
    /// Makes a value the only one. `:authority` or `host` in a request rewrites the host.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Adds a further value.
    #[serde(default)]
    pub add: BTreeMap<String, String>,
    /// Removes all values.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// What a request is changed into. The query is kept.
#[config]
#[derive(Default)]
pub struct HttpRewrite {
    /// Replaces the matched prefix; with an exact or regex match the whole path.
    pub uri: Option<String>,
    /// Replaces the host.
    pub authority: Option<String>,
    /// Replaces what an expression finds in the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// RE2 substitution.
#[config]
pub struct RegexRewrite {
    /// What is looked for.
    #[serde(rename = "match")]
    pub pattern: String,
    /// What takes its place; `\1` to `\9` are groups.
    pub rewrite: String,
}

/// A redirect. What is not given stays as in the request.
#[config]
#[derive(Default)]
pub struct HttpRedirect {
    /// The whole path.
    pub uri: Option<String>,
    /// In place of the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// The host.
    pub authority: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Or where it is taken from.
    pub derive_port: Option<DerivePort>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// 301, 302, 303, 307 or 308. Default 301.
    pub redirect_code: Option<u16>,
}

/// Where a redirect's port comes from.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DerivePort {
    /// 80 or 443, by scheme.
    #[serde(rename = "FROM_PROTOCOL_DEFAULT")]
    FromProtocolDefault,
    /// The port of the request.
    #[serde(rename = "FROM_REQUEST_PORT")]
    FromRequestPort,
}

/// An answer without a service.
#[config]
pub struct HttpDirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// The body. Default: none.
    pub body: Option<HttpBody>,
}

/// A body as text or as base64.
#[config]
pub struct HttpBody {
    /// As it is.
    pub string: Option<String>,
    /// Base64.
    pub bytes: Option<String>,
}

/// Istio's HTTPRetry; checked here, acted on by the proxy.
#[config]
#[derive(Default)]
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
