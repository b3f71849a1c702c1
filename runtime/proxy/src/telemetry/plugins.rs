//! What is counted of a plugin by the workers that run it.

use std::collections::HashSet;
use std::sync::Arc;

use super::metrics::{Kind, Registry, Series, SeriesName};

/// Exchanges that a plugin took part in, by plugin and version.
pub const REQUESTS: &str = "sidegate_plugin_requests_total";
/// CPU time of guests by plugin, version and hook.
pub const CPU_SECONDS: &str = "sidegate_plugin_cpu_seconds_total";
/// VMs that ended, by plugin, version, hook and reason.
pub const FAULTS: &str = "sidegate_plugin_faults_total";
/// What stands in the label `version` for all versions that are gone.
const EARLIER: &str = "earlier";

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

/// Versions of plugins whose series are kept.
#[derive(Default)]
pub struct KeptVersions(HashSet<String>);

impl KeptVersions {
    pub fn keep(&mut self, plugin: &str, version: u32) {
        self.0.insert(SeriesName::new("", &[("plugin", plugin), ("version", &version.to_string())]).labels);
    }

    /// Drops the series of all other versions. What they counted goes on in one series for all of them, so that sums over
    /// versions never go back.
    pub fn drop_others(&self, registry: &Registry) {
        for metric in [REQUESTS, CPU_SECONDS, FAULTS] {
            registry.fold(metric, |labels| self.earlier(labels));
        }
    }

    /// The labels that take what was counted under these; `None`: they stay.
    fn earlier(&self, labels: &str) -> Option<String> {
        // A quote inside a plugin's name has a backslash before it, also the one after `=`.
        let (plugin, of_version) = labels.split_once("\",version=\"")?;
        let (version, rest) = of_version.split_once('"')?;
        let known = labels.strip_suffix(rest).is_some_and(|labels| self.0.contains(labels));
        (!known && version != EARLIER).then(|| format!("{plugin}\",version=\"{EARLIER}\"{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_gone_are_one() {
        let registry = Registry::new(1);
        let count = |plugin, version, hook, count| {
            let labels = [("plugin", plugin), ("version", version), ("hook", hook)];
            registry.series(Kind::Counter, &SeriesName::new(FAULTS, &labels)).add_shared(count);
        };
        let odd = "p\",version=\"9";
        for (version, hook) in [("1", "a"), ("2", "a"), ("2", "b"), ("12", "a")] {
            count("p", version, hook, 1);
            count(odd, version, hook, 10);
        }
        let mut kept = KeptVersions::default();
        kept.keep("p", 12);
        kept.keep(odd, 2);
        for _ in 0..2 {
            kept.drop_others(&registry);
            let seen: Vec<_> =
                registry.all().iter().map(|(name, series)| (name.labels.clone(), series.value())).collect();
            let line = |plugin: &str, version: &str, hook: &str, count| {
                (format!("plugin=\"{plugin}\",version=\"{version}\",hook=\"{hook}\""), count)
            };
            let odd = "p\\\",version=\\\"9";
            let mut wanted = vec![
                line("p", "12", "a", 1),
                line("p", "earlier", "a", 2),
                line("p", "earlier", "b", 1),
                line(odd, "2", "a", 10),
                line(odd, "2", "b", 10),
                line(odd, "earlier", "a", 20),
            ];
            wanted.sort();
            assert_eq!(seen, wanted);
        }
    }
}
