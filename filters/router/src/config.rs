//! The written form: `VirtualService.spec` with Istio's names.

mod action;
mod policy;

use std::collections::BTreeMap;

use sidegate_sdk::config;
use sidegate_sdk::matching::HttpMatchRequest;
use sidegate_sdk::serde_json::Value;

pub use action::{DerivePort, HttpBody, HttpDirectResponse, HttpRedirect, HttpRewrite, RegexRewrite};
pub use policy::{
    CorsPolicy, Fault, FaultAbort, FaultDelay, HttpMirrorPolicy, HttpRetry, Percent, UnmatchedPreflights,
};

/// The configuration of `builtin:router`.
#[config]
#[derive(Default)]
pub struct RouterConfig {
    /// Virtual services; those with the same host are one, in this order.
    #[serde(default)]
    pub virtual_services: Vec<VirtualService>,
}

/// Routes for some hosts, or, without hosts, routes that others delegate to.
#[config]
#[derive(Debug, Clone, Default)]
pub struct VirtualService {
    /// Its name, which Istio has in `metadata`. Needed only by those that are delegated to.
    pub name: Option<String>,
    /// Its namespace, which Istio has in `metadata`. Default: that of the workload.
    pub namespace: Option<String>,
    /// Authorities without port: a name, `*.example.com`, or `*`. The longest that fits a request is used.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Gateways this is for; `mesh` is every sidecar. Default: `mesh`.
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

/// One route. It has exactly one of `route`, `redirect`, `directResponse` and `delegate`.
#[config]
#[derive(Debug, Clone, Default)]
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
    /// Leaves the routes to a virtual service without hosts.
    pub delegate: Option<Box<Delegate>>,
    /// Changes path or host before sending.
    pub rewrite: Option<Box<HttpRewrite>>,
    /// For the whole request with retries. Absent or `0s`: none.
    pub timeout: Option<String>,
    /// When and how often to try again.
    pub retries: Option<Box<HttpRetry>>,
    /// Delays or ends requests on purpose.
    pub fault: Option<Box<Fault>>,
    /// A destination that gets copies of the requests.
    pub mirror: Option<Box<Destination>>,
    /// Several of them, each with its share.
    #[serde(default)]
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Share of the requests that `mirror` gets. Default: all.
    pub mirror_percentage: Option<Percent>,
    /// The same as a whole number; `mirrorPercentage` wins.
    pub mirror_percent: Option<u32>,
    /// What browsers are told about requests from other origins.
    pub cors_policy: Option<Box<CorsPolicy>>,
    /// Header operations.
    pub headers: Option<Box<Headers>>,
}

/// The virtual service without hosts whose routes are used.
#[config]
#[derive(Debug, Clone)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace. Default: that of the virtual service that delegates.
    pub namespace: Option<String>,
}

/// A destination and its share.
#[config]
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct PortSelector {
    /// 1 to 65535.
    pub number: u16,
}

/// Header operations of the two directions.
#[config]
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// Before sending.
    pub request: Option<HeaderOperations>,
    /// Before answering.
    pub response: Option<HeaderOperations>,
}

/// `remove` runs before `set`, `set` before `add`. Values may use `%REQ(name)%`; `%%` is a percent sign.
#[config]
#[derive(Debug, Clone, Default)]
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
