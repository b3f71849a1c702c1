//! What the standard filters count, as Prometheus reads it from both proxies.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::prometheus::sum;
use sidegate_tests::{Client, eventually};

use crate::observe::Facts;
use crate::proxies::Proxy;

/// How long histograms may take to show what was recorded.
const PATIENCE: Duration = Duration::from_secs(10);

/// What names of the filters' metrics begin with.
const OURS: [&str; 5] =
    ["istio_", "envoy_http_fault_", "envoy_http_local_rate_limit_", "envoy_vhost_route_", "sidegate_auth_"];

/// Every label of these metrics. Envoy has to be told them: to it a metric is only a name.
const LABELS: [&str; 31] = [
    "reporter",
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
    "path",
    "user",
    "bad",
    "fixed",
    "reason",
    "envoy_local_http_ratelimit_prefix",
];

/// `stats_config.stats_tags` of Envoy's bootstrap, as docs/filters/telemetry.md shows it.
pub(crate) fn stats_tags() -> Value {
    let tag = |name: &&str| json!({"tag_name": name, "regex": format!("([{{,]{name}=\"([^\"]*)\"[}}]?)")});
    LABELS.iter().map(tag).collect()
}

/// Every series of the filters with its value, and the type of each metric.
pub(crate) fn shown(proxy: &impl Proxy) -> Facts {
    let page = || Client::get_once(proxy.admin(), "/stats/prometheus").unwrap().text().into_owned();
    let is_complete = |page: &String| {
        sum(page, "istio_requests_total", &[]) == sum(page, "istio_request_duration_milliseconds_count", &[])
    };
    let page = eventually(PATIENCE, || Some(page()).filter(is_complete)).unwrap_or_else(page);
    page.lines().filter_map(fact).collect()
}

fn fact(line: &str) -> Option<(String, String)> {
    let is_ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
    if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
        return is_ours(name).then(|| (format!("type of {name}"), kind.to_owned()));
    }
    let (series, value) = line.rsplit_once(' ').filter(|(series, _)| is_ours(series))?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    // No value of a label that is asked for here has a comma.
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    // Times are different each time, sizes have the headers of each proxy, and Envoy's sums are estimates.
    let is_own = name.ends_with("_sum") || name.ends_with("_bucket");
    let value = if is_own { "there" } else { value };
    Some((format!("{name} {}", labels.join(",")), value.to_owned()))
}
