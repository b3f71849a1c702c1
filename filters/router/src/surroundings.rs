//! What a table is compiled for: the workload, the gateways it is, and the clusters that exist.

use sidegate_sdk::matching::HttpMatchRequest;
use sidegate_sdk::{Clusters, Setup, properties};

use crate::config::Destination;

/// The gateway that every sidecar is.
const MESH: &str = "mesh";

/// The workload and the clusters that exist.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Labels of the workload; `None` if the host does not say.
    pub labels: Option<Vec<(String, String)>>,
    /// Namespace of the workload.
    pub namespace: Option<String>,
    /// Gateways that this proxy is; none means `mesh`.
    pub gateways: Vec<String>,
    /// Names and hosts of clusters, each with subsets; `None` if the host does not say.
    pub clusters: Option<Clusters>,
}

impl Surroundings {
    /// Asks the host: `node.metadata` has `NAMESPACE`, `LABELS`, and `GATEWAYS` as names separated by commas.
    #[must_use]
    pub fn of_host() -> Self {
        let gateways = properties::text(["xds", "node", "metadata", "GATEWAYS"]).unwrap_or_default();
        Self {
            labels: None,
            namespace: properties::text(["xds", "node", "metadata", "NAMESPACE"]),
            gateways: gateways.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            clusters: Clusters::of_host(),
        }
    }

    /// Whether this proxy is one of these gateways; none named means `mesh`.
    pub(crate) fn is_one_of(&self, gateways: &[String]) -> bool {
        if gateways.is_empty() {
            return self.is_gateway(MESH);
        }
        gateways.iter().any(|name| self.is_gateway(name))
    }

    /// Whether an entry is for this workload. What the host does not say speaks against nothing.
    pub(crate) fn selects(&self, entry: &HttpMatchRequest) -> bool {
        let namespace = match (&entry.source_namespace, &self.namespace) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        };
        namespace
            && (entry.gateways.is_empty() || self.is_one_of(&entry.gateways))
            && entry.source_labels.iter().all(|(key, wanted)| self.may_have_label(key, wanted))
    }

    /// Warns of a destination that requests cannot reach; an empty one is an error.
    pub(crate) fn check(&self, destination: &Destination, pointer: &str, setup: &mut Setup) {
        if destination.host.is_empty() {
            setup.error(format!("{pointer}/host"), "a destination needs a host");
            return;
        }
        let Some(clusters) = &self.clusters else { return };
        match (clusters.find(&destination.host), &destination.subset) {
            (None, _) => setup.warning(
                format!("{pointer}/host"),
                format!("there is no cluster `{}`; requests for it get 503", destination.host),
            ),
            (Some(cluster), Some(subset)) if !subset.is_empty() && !cluster.subsets.contains(subset) => setup.warning(
                format!("{pointer}/subset"),
                format!("cluster `{}` has no subset `{subset}`; requests for it get 503", cluster.name),
            ),
            _ => {}
        }
    }

    fn is_gateway(&self, name: &str) -> bool {
        if self.gateways.is_empty() { name == MESH } else { self.gateways.iter().any(|own| own == name) }
    }

    fn may_have_label(&self, key: &str, wanted: &str) -> bool {
        if let Some(labels) = &self.labels {
            return labels.iter().any(|(name, value)| name == key && value == wanted);
        }
        let labels = ["xds", "node", "metadata", "LABELS"];
        match properties::text(["xds", "node", "metadata", "LABELS", key]) {
            Some(own) => own == wanted,
            None => properties::bytes(labels).is_none(),
        }
    }
}

/// Warns of conditions on the sender where no sidecar is meant.
pub(crate) fn warn_of_source(entry: &HttpMatchRequest, service: &[String], pointer: &str, setup: &mut Setup) {
    let gateways = if entry.gateways.is_empty() { service } else { &entry.gateways };
    let has_mesh = gateways.is_empty() || gateways.iter().any(|name| name == MESH);
    for (key, is_there) in
        [("sourceLabels", !entry.source_labels.is_empty()), ("sourceNamespace", entry.source_namespace.is_some())]
    {
        if is_there && !has_mesh {
            setup.warning(format!("{pointer}/{key}"), "only sidecars have it: add `mesh` to gateways");
        }
    }
}
