//! What our own metrics mean, for the `# HELP` of the page. Names that Envoy and Istio have chosen are explained there.

/// One line about a metric; `None` for one of others.
pub(super) fn help(name: &str) -> Option<&'static str> {
    HELP.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

const HELP: [(&str, &str); 22] = [
    ("sidegate_access_log_dropped", "Lines of access logs that were dropped because the file was too slow."),
    ("sidegate_auth_allowed_total", "Requests that the auth filter let pass."),
    ("sidegate_auth_audited_total", "Requests that an AUDIT policy matched."),
    ("sidegate_auth_denied_total", "Requests that the auth filter refused, by reason."),
    ("sidegate_invalid_headers_total", "Exchanges that ended because a filter wrote what no head may hold."),
    ("sidegate_mirrors_dropped_total", "Mirrors that were not begun, or fell too far behind."),
    ("sidegate_panics_total", "Connections that ended by a panic of the proxy; more than none is a bug."),
    ("sidegate_plugin_contexts", "Contexts that guests of the plugin have open, all versions."),
    ("sidegate_plugin_cpu_seconds_total", "CPU time inside the guest, by hook; most hooks are sampled."),
    ("sidegate_plugin_faults_total", "Traps, deadlines and other faults of the plugin, by hook and reason."),
    ("sidegate_plugin_intents_dropped_total", "Timers of the plugin beyond those that a VM may have running."),
    ("sidegate_plugin_log_dropped_total", "Log lines of the plugin beyond its rate or size."),
    ("sidegate_plugin_overflow", "Gauges of the plugin beyond its limit of series."),
    ("sidegate_plugin_overflow_total", "Counters of the plugin beyond its limit of series."),
    ("sidegate_plugin_overflow_values", "Histograms of the plugin beyond its limit of series."),
    ("sidegate_plugin_requests_total", "Exchanges that had the plugin in their chain."),
    ("sidegate_plugin_series_refused_total", "Series of the plugin beyond its limit."),
    ("sidegate_plugin_swaps_total", "Changes of the plugin's module or configuration, by result."),
    ("sidegate_plugin_vms", "Workers with a VM of the plugin, all versions."),
    ("sidegate_snapshot_version", "Number of the configuration that serves."),
    ("sidegate_swap_pause_seconds", "How long a worker did nothing but switch to a new configuration."),
    ("sidegate_updates_refused_total", "Changes that were refused; what served before went on."),
];
