//! What surrounds the filter while it is configured: the workload and the clusters of its proxy.

use sidegate_sdk::{Clusters, properties};

use crate::config::Selector;

/// What a configuration is compiled for.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Namespace of the workload.
    pub namespace: Option<String>,
    /// Bytes of a body that a filter may hold; `None` if the host does not say.
    pub body_limit: Option<usize>,
    /// Clusters; `None` if the host does not say.
    pub clusters: Option<Clusters>,
}

impl Surroundings {
    /// Asks the host.
    #[must_use]
    pub fn of_host() -> Self {
        let namespace = properties::text(["xds", "node", "metadata", "NAMESPACE"]);
        let body_limit = properties::int("sidegate.limits.body").and_then(|bytes| usize::try_from(bytes).ok());
        Self { namespace, body_limit, clusters: Clusters::of_host() }
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
        match &self.clusters {
            None => Some(host.to_owned()),
            Some(clusters) => clusters.reach(host, port).map(|cluster| cluster.name.clone()),
        }
    }
}
