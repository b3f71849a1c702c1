//! What surrounds the filter while it is configured: the workload and the clusters of its proxy.

use sidegate_sdk::serde::Deserialize;
use sidegate_sdk::{properties, serde_json};

use crate::config::Selector;

/// What a configuration is compiled for.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Namespace of the workload.
    pub namespace: Option<String>,
    /// The name of `extAuthz`, if it is configured.
    pub provider: Option<String>,
    /// Clusters; `None` if the host does not say.
    pub clusters: Option<Vec<Cluster>>,
}

/// An entry of the property `sidegate.clusters`.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "sidegate_sdk::serde", default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Further names.
    pub hosts: Vec<String>,
}

impl Surroundings {
    /// Asks the host.
    #[must_use]
    pub fn of_host(provider: Option<String>) -> Self {
        let clusters = properties::bytes("sidegate.clusters").and_then(|json| serde_json::from_slice(&json).ok());
        Self { namespace: properties::text(["xds", "node", "metadata", "NAMESPACE"]), provider, clusters }
    }

    /// Whether something is for this workload. A host that tells no labels at all speaks against nothing.
    pub(crate) fn selects(&self, selector: Option<&Selector>) -> bool {
        let Some(selector) = selector else { return true };
        if properties::bytes(["xds", "node", "metadata", "LABELS"]).is_none() {
            return true;
        }
        let own = |key: &str| properties::text(["xds", "node", "metadata", "LABELS", key]);
        selector.match_labels.iter().all(|(key, wanted)| own(key).as_ref() == Some(wanted))
    }

    /// The cluster that a host is reached through. Where the host of the filter does not tell its clusters, the name is
    /// the cluster's.
    pub(crate) fn cluster_of(&self, host: &str, port: Option<u16>) -> Option<String> {
        let Some(clusters) = &self.clusters else { return Some(host.to_owned()) };
        let with_port = port.map(|port| format!("{host}:{port}"));
        let has = |cluster: &&Cluster, name: &str| {
            cluster.name.eq_ignore_ascii_case(name) || cluster.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        let find = |name: &str| clusters.iter().find(|cluster| has(cluster, name));
        let found = with_port.as_deref().and_then(find).or_else(|| find(host));
        found.map(|cluster| cluster.name.clone())
    }
}
