//! What workers run: the configuration compiled, immutable and numbered. No text to resolve, no serde.

pub mod cluster;
pub mod compile;
pub mod plugin;
pub mod provider;
pub mod rollout;
pub mod staging;

use std::collections::HashMap;
use std::sync::Arc;

use sidegate_matching::Matcher;

use self::provider::{Collector, Provider, ProviderKind};
use self::staging::Before;
pub use cluster::{Cluster, Endpoint};
pub use plugin::{PluginModule, PluginUse};
pub use rollout::Rollout;
pub use sidegate_config::{Address, Direction, FailStrategy, PathNormalization, RequestTimeouts};

/// One consistent state of everything. Exchanges hold the one they began with.
pub struct Snapshot {
    /// Counts up from 1.
    pub number: u64,
    pub node: Arc<Node>,
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Arc<Clusters>,
    /// Who may ask for a trace of a request; `None`: nobody.
    pub trace_key: Option<TraceKey>,
    /// One entry for each pair of plugin and configuration in use; chains refer to them by index.
    pub plugins: Vec<Arc<PluginUse>>,
    /// Plugins with two versions.
    pub rollouts: Vec<Rollout>,
}

impl Snapshot {
    /// What a worker serves before its first commit: nothing.
    pub fn empty() -> Self {
        Self {
            number: 0,
            node: Arc::default(),
            listeners: Vec::new(),
            clusters: Arc::default(),
            plugins: Vec::new(),
            rollouts: Vec::new(),
            trace_key: None,
        }
    }
}

/// The sha256 of the token that a request must carry to have its way through the filters logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceKey(pub [u8; 32]);

/// Who this proxy is, as filters see it in `xds.node`.
#[derive(Debug, Default, PartialEq)]
pub struct Node {
    pub id: String,
    pub cluster: String,
    pub locality: String,
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// All clusters by name, and by the further host names that destinations may use.
#[derive(Default)]
pub struct Clusters {
    pub by_name: HashMap<String, Arc<Cluster>>,
    pub by_host: HashMap<String, Arc<Cluster>>,
    /// The value of the property `sidegate.clusters`.
    pub listing: String,
    /// What filters refer to by name.
    pub providers: Vec<Provider>,
}

impl Clusters {
    /// The value of the property `sidegate.extensionProviders`, for a plugin with this configuration.
    pub fn providers_told(&self, configuration: Option<&[u8]>) -> String {
        let told = self.providers.iter().map(|provider| provider.told(configuration));
        serde_json::Value::Array(told.collect()).to_string()
    }

    /// A cluster by its name, else by one of its hosts.
    pub fn find(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.by_name.get(name).or_else(|| self.by_host.get(name))
    }

    /// An access log file by the name of its provider.
    pub fn file_log(&self, name: &str) -> Option<&Arc<sidegate_config::FileAccessLog>> {
        self.providers.iter().find(|provider| provider.name == name).and_then(|provider| match &provider.kind {
            ProviderKind::FileLog(log) => Some(log),
            _ => None,
        })
    }

    /// A collector of spans by the name of its provider.
    pub fn collector(&self, name: &str) -> Option<&Arc<Collector>> {
        self.providers.iter().find(|provider| provider.name == name).and_then(|provider| match &provider.kind {
            ProviderKind::Collector(collector) => Some(collector),
            _ => None,
        })
    }
}

/// A listener with its chain.
pub struct Listener {
    pub name: String,
    pub address: Address,
    pub direction: Direction,
    pub trusted_proxies: usize,
    pub websocket: bool,
    pub normalization: PathNormalization,
    pub timeouts: RequestTimeouts,
    /// Bytes of a request head.
    pub max_request_headers: usize,
    pub chain: Vec<ChainEntry>,
    /// Where a request goes that no filter sent elsewhere.
    pub cluster: Option<Arc<Cluster>>,
}

/// One filter of a chain.
pub struct ChainEntry {
    pub name: String,
    /// Index into `Snapshot::plugins`.
    pub plugin: usize,
    /// The old version, while the new one is being rolled out.
    pub before: Option<Before>,
    /// `None`: every request.
    pub matchers: Option<Vec<Matcher>>,
}
