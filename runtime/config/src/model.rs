//! The whole configuration, as the operator writes it.
//!
//! Keys are the field names in camelCase; defaults stand behind `=`.

pub(crate) mod address;
mod cluster;
mod filter_config;
mod listener;
mod plugin;
mod provider;
mod rollout;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

pub use address::Address;
pub use cluster::{
    Cluster, ClusterProtocol, ConnectionPool, Endpoint, HttpSettings, LoadBalancer, Resolution, SimpleLb, Subset,
    TcpSettings, TrafficPolicy,
};
pub use filter_config::{ConfigBytes, FilterConfig};
pub use listener::{Direction, FilterEntry, Listener, PathNormalization, Protocol, RequestTimeouts};
pub use plugin::{EnvVar, FailStrategy, Plugin, PluginLimits, PluginUrl, Signature, ValueFrom, VmConfig};
pub use provider::{
    ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider, FileAccessLog, LogFormat, OpenTelemetry, OtlpHeader, OtlpHttp,
    RequestBodyInCheck, Told,
};
pub use rollout::{AbortOn, Rollout, RolloutStep, StickyBy};

use crate::{
    cursor::Cursor,
    read::{section, words},
    units::Percent,
};

section! {
    /// The configuration of a Sidegate proxy.
    pub struct Config: Default {
        /// The version of this language, `sidegate.io/v1alpha1`. May be left out.
        pub api_version: Option<ApiVersion> = None,
        /// Who this proxy is.
        pub node: Node = Node::default(),
        /// The administration interface.
        pub admin: Admin = Admin::default(),
        /// Worker threads. Default: the CPUs this process may use. A change needs a restart.
        pub workers: Option<NonZeroUsize> = None,
        /// A folder for pushed modules, compiled artifacts and the last good configuration; made with mode 0700 if it
        /// is missing. Without it nothing is kept over a restart. A change needs a restart.
        pub state_dir: Option<PathBuf> = None,
        /// How the proxy goes away.
        pub drain: Drain = Drain::default(),
        /// When the proxy refuses work to protect itself.
        pub overload: Overload = Overload::default(),
        /// What filters refer to by name: access log files, collectors of spans, services that decide.
        pub extension_providers: Vec<ExtensionProvider> = Vec::new(),
        /// What happens to requests for hosts that no cluster knows.
        pub outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy::default(),
        /// Every module that a filter chain may use.
        pub plugins: Vec<Plugin> = Vec::new(),
        /// Where connections are accepted.
        pub listeners: Vec<Listener> = Vec::new(),
        /// Where requests may go.
        pub clusters: Vec<Cluster> = Vec::new(),
    }
}

words! {
    /// A version of the configuration language.
    pub enum ApiVersion {
        /// The first one.
        V1Alpha1 = "sidegate.io/v1alpha1",
    }
}

section! {
    /// Who this proxy is, for telemetry, peers and filters.
    pub struct Node: Default {
        /// The name of this proxy. Default: empty.
        pub id: String = String::new(),
        /// The service it stands beside. Default: empty.
        pub cluster: String = String::new(),
        /// Where it runs, as `region/zone/subzone`. Default: empty.
        pub locality: String = String::new(),
        /// What else is known of it: Istio's keys such as WORKLOAD_NAME, NAMESPACE and LABELS.
        pub metadata: serde_json::Map<String, serde_json::Value> = serde_json::Map::new(),
    }
}

section! {
    /// The administration interface.
    pub struct Admin: Default {
        /// Where it listens. Default: 127.0.0.1:15000. A change needs a restart.
        pub address: Address = Address::ADMIN,
        /// A file with the bearer token that every change must carry, read again when it changes. Without it changes
        /// are refused; reads work.
        pub token_file: Option<PathBuf> = None,
        /// A second address that serves only `/ready` and `/stats/prometheus`, for probes from outside.
        pub probe_address: Option<Address> = None,
    }
}

section! {
    /// How the proxy goes away.
    pub struct Drain: Default {
        /// How long new connections are still taken after the drain began. Default: 5s.
        pub minimum: Duration = Duration::from_secs(5),
        /// When the process exits even if requests are running. Default: 25s.
        pub timeout: Duration = Duration::from_secs(25),
    }
    then minimum_within_timeout
}

fn minimum_within_timeout(drain: Drain, at: &Cursor<'_>) -> Option<Drain> {
    if drain.minimum <= drain.timeout {
        return Some(drain);
    }
    let at = at.key("minimum").or_else(|| at.key("timeout")).unwrap_or_else(|| at.clone());
    at.error(format!("minimum {:?} is longer than timeout {:?}", drain.minimum, drain.timeout), None);
    None
}

section! {
    /// When the proxy refuses work to protect itself, with 503 and the response flag OM.
    pub struct Overload: Default {
        /// Downstream connections at a time. Default: 0, which means half of the limit of open files.
        pub max_connections: u32 = 0,
        /// The share of the memory limit of this process from which new requests are refused. Default: 90%.
        pub memory: Percent = Percent(90),
    }
}

section! {
    /// What happens to requests for hosts that no cluster knows.
    pub struct OutboundTrafficPolicy: Default {
        /// Default: ALLOW_ANY.
        pub mode: OutboundMode = OutboundMode::AllowAny,
    }
}

words! {
    /// Which unknown hosts may be reached.
    pub enum OutboundMode {
        /// Every one.
        AllowAny = "ALLOW_ANY",
        /// None.
        RegistryOnly = "REGISTRY_ONLY",
    }
}
