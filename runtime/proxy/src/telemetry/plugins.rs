//! What is counted of a plugin by the workers that run it.

use std::sync::Arc;

use super::metrics::{Kind, Registry, Series, SeriesName};

/// Exchanges that a plugin took part in, by plugin and version.
pub const REQUESTS: &str = "sidegate_plugin_requests_total";

/// The series of one version of a plugin. Looking them up takes a lock, so that is done before a worker needs them.
#[derive(Clone)]
pub struct PluginSeries {
    pub requests: Arc<Series>,
    /// Contexts that guests of all versions have open.
    pub contexts: Arc<Series>,
    /// Workers and configurations that have a VM, those of older versions included until they are gone.
    pub vms: Arc<Series>,
}

impl PluginSeries {
    pub fn new(registry: &Registry, plugin: &str, version: &str) -> Self {
        let gauge = |name| registry.series(Kind::Gauge, &SeriesName::new(name, &[("plugin", plugin)]));
        let labels = [("plugin", plugin), ("version", version)];
        Self {
            requests: registry.series(Kind::Counter, &SeriesName::new(REQUESTS, &labels)),
            contexts: gauge("sidegate_plugin_contexts"),
            vms: gauge("sidegate_plugin_vms"),
        }
    }
}
