//! The written form: `Telemetry.spec` with Istio's names.

use std::collections::BTreeMap;

use sidegate_sdk::config;

/// The configuration of `builtin:telemetry`. Nothing written: every request metric, spans passed on, no access log.
#[config]
#[derive(Default)]
pub struct TelemetryConfig {
    /// Access logs; an entry without words is Envoy's format on stdout.
    #[serde(default)]
    pub access_logging: Vec<AccessLogging>,
    /// Changes to the metrics; later entries win.
    #[serde(default)]
    pub metrics: Vec<Metrics>,
    /// How requests are drawn and told of; the last entry for a side wins.
    #[serde(default)]
    pub tracing: Vec<Tracing>,
    /// What proxies of a mesh tell each other of their workloads.
    #[serde(default)]
    pub peer_metadata: PeerMetadata,
}

/// One access log.
#[config]
#[derive(Default)]
pub struct AccessLogging {
    /// On which side it applies.
    #[serde(rename = "match", default)]
    pub matches: Selector,
    /// Extension providers of the kind `envoyFileAccessLog`. `envoy` is stdout in Envoy's format unless the
    /// configuration defines it, and so is no provider.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Whether this entry switches off what earlier ones switched on. Default false.
    #[serde(default)]
    pub disabled: bool,
    /// Which requests are logged. Default: all.
    pub filter: Option<LogFilter>,
    /// Envoy's operators in a line, in place of the provider's format.
    pub format: Option<String>,
}

/// Which requests are logged.
#[config]
pub struct LogFilter {
    /// An expression in CEL over Envoy's attributes, such as `response.code >= 400`.
    pub expression: String,
}

/// A side.
#[config]
#[derive(Default)]
pub struct Selector {
    /// Default: both.
    #[serde(default)]
    pub mode: Mode,
}

/// On which side of a request the workload stands.
#[config]
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    #[default]
    #[serde(rename = "CLIENT_AND_SERVER")]
    ClientAndServer,
    /// Requests that leave the workload: outbound listeners.
    #[serde(rename = "CLIENT")]
    Client,
    /// Requests that come to it: inbound listeners.
    #[serde(rename = "SERVER")]
    Server,
}

/// Changes to metrics.
#[config]
#[derive(Default)]
pub struct Metrics {
    /// Only `prometheus`; an entry that names only others says nothing here.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// In order.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// A change to some metrics.
#[config]
#[derive(Default)]
pub struct Override {
    /// Which ones. Default: all, on both sides.
    #[serde(rename = "match", default)]
    pub matches: MetricSelector,
    /// Whether they are switched off, or on again. Default: as before.
    pub disabled: Option<bool>,
    /// Labels by name.
    #[serde(default)]
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Which metrics.
#[config]
#[derive(Default)]
pub struct MetricSelector {
    /// Default: all.
    #[serde(default)]
    pub metric: MetricName,
    /// Default: both.
    #[serde(default)]
    pub mode: Mode,
}

/// Istio's metrics.
#[config]
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum MetricName {
    /// Every one.
    #[default]
    #[serde(rename = "ALL_METRICS")]
    AllMetrics,
    /// `istio_requests_total`
    #[serde(rename = "REQUEST_COUNT")]
    RequestCount,
    /// `istio_request_duration_milliseconds`
    #[serde(rename = "REQUEST_DURATION")]
    RequestDuration,
    /// `istio_request_bytes`
    #[serde(rename = "REQUEST_SIZE")]
    RequestSize,
    /// `istio_response_bytes`
    #[serde(rename = "RESPONSE_SIZE")]
    ResponseSize,
    /// `istio_request_messages_total`
    #[serde(rename = "GRPC_REQUEST_MESSAGES")]
    GrpcRequestMessages,
    /// `istio_response_messages_total`
    #[serde(rename = "GRPC_RESPONSE_MESSAGES")]
    GrpcResponseMessages,
}

/// What becomes of a label.
#[config]
#[derive(Default)]
pub struct TagOverride {
    /// Default: UPSERT.
    #[serde(default)]
    pub operation: Operation,
    /// The value for UPSERT: an expression over Envoy's attributes, such as `request.host` or `"literal"`.
    pub value: Option<String>,
}

/// What becomes of a label.
#[config]
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is added, or gets another value.
    #[default]
    #[serde(rename = "UPSERT")]
    Upsert,
    /// It is left out.
    #[serde(rename = "REMOVE")]
    Remove,
}

/// How requests are drawn and told of.
#[config]
#[derive(Default)]
pub struct Tracing {
    /// On which side it applies.
    #[serde(rename = "match", default)]
    pub matches: Selector,
    /// One extension provider of the kind `opentelemetry`. Default: spans are passed on and told to nobody.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Of the requests whose client has not decided, this many percent are drawn. Default: 1.
    pub random_sampling_percentage: Option<f64>,
    /// Whether spans are passed on and told to nobody, whatever the provider. Default: false.
    #[serde(default)]
    pub disable_span_reporting: bool,
    /// Further tags by name.
    #[serde(default)]
    pub custom_tags: BTreeMap<String, CustomTag>,
}

/// Where the value of a tag comes from: exactly one of these.
#[config]
#[derive(Default)]
pub struct CustomTag {
    /// The value itself.
    pub literal: Option<Literal>,
    /// A variable of the proxy's environment.
    pub environment: Option<Named>,
    /// A request header.
    pub header: Option<Named>,
}

/// A value.
#[config]
pub struct Literal {
    /// It.
    pub value: String,
}

/// Something with a name that may be missing.
#[config]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The value where it is missing. Default: no tag.
    pub default_value: Option<String>,
}

/// What proxies of a mesh tell each other of their workloads.
#[config]
#[derive(Default)]
pub struct PeerMetadata {
    /// Whether this one says and hears nothing. Default: false.
    #[serde(default)]
    pub disabled: bool,
}

/// A provider by name.
#[config]
pub struct Provider {
    /// Its name.
    pub name: String,
}
