//! What the administration interface shows, as text and JSON.

mod plugins;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use sidegate_config::Config;

use super::Status;
use crate::snapshot::{Cluster, PluginUse, Snapshot};
use crate::telemetry::metrics::{Series, SeriesName};
use crate::telemetry::plugins::{CPU_SECONDS, FAULTS, REQUESTS};

pub(super) const HELP: &str = "\
GET  /ready                  200 LIVE, or 503 with the reason
GET  /stats                  metrics as text; ?format=json, ?format=prometheus
GET  /stats/prometheus       metrics for Prometheus
GET  /metrics                the same
GET  /config_dump            what is configured, secrets left out
GET  /clusters               endpoints and their load; ?format=json
GET  /listeners              addresses; ?format=json
GET  /plugins                plugins, versions, faults
GET  /server_info            version and state
GET  /certs                  certificates in use
GET  /help                   this
PUT  /plugins/NAME/module    serve this module in place of what the plugin's source has; ?rollout=5,50&hold=60s
POST /plugins/NAME/rollback  serve the version before
POST /plugins/NAME/rollout   ?action=pause, resume or abort
PUT  /config                 serve this document in place of the configuration files
POST /logging                how much is logged; ?level=LEVEL
POST /reopen_logs            open access logs anew, after they were moved
POST /drain_listeners        close inbound listeners; ?graceful tells clients first
POST /healthcheck/fail       /ready says DRAINING
POST /healthcheck/ok         it does not any more
POST /quitquitquit           exit
";

/// The configuration as an operator may see it. Bytes given to filters may hold secrets: only their size is shown.
pub(super) fn config(config: &Config) -> Value {
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| {
            let filters: Vec<_> = listener
                .filters
                .iter()
                .map(|entry| {
                    let bytes = entry.config.bytes().map_or(0, |bytes| bytes.len());
                    json!({"name": entry.name, "plugin": entry.plugin, "match": entry.matches.len(), "configBytes": bytes})
                })
                .collect();
            json!({
                "name": listener.name,
                "address": listener.address.to_string(),
                "direction": listener.direction.as_str(),
                "filters": filters,
                "cluster": listener.cluster,
            })
        })
        .collect();
    let clusters: Vec<_> = config
        .clusters
        .iter()
        .map(|cluster| {
            let endpoints: Vec<_> = cluster
                .endpoints
                .iter()
                .map(|endpoint| json!({"address": endpoint.address.to_string(), "labels": endpoint.labels, "weight": endpoint.weight}))
                .collect();
            json!({"name": cluster.name, "hosts": cluster.hosts, "endpoints": endpoints})
        })
        .collect();
    let plugins: Vec<_> =
        config.plugins.iter().map(|plugin| json!({"name": plugin.name, "url": format!("{:?}", plugin.url)})).collect();
    json!({"listeners": listeners, "clusters": clusters, "plugins": plugins})
}

pub(super) fn config_dump(status: &Status) -> Value {
    let number = status.snapshot().map_or(0, |snapshot| snapshot.number);
    json!({
        "snapshot": number,
        "lastRefusal": status.last_refusal(),
        "node": status.shown().node,
        "config": status.shown().config,
    })
}

fn sorted(snapshot: &Snapshot) -> BTreeMap<&str, &Cluster> {
    snapshot.clusters.by_name.iter().map(|(name, cluster)| (name.as_str(), &**cluster)).collect()
}

/// Envoy's `cluster::address::key::value` lines.
pub(super) fn clusters(status: &Status) -> String {
    let mut out = String::new();
    let Some(snapshot) = status.snapshot() else { return out };
    for (name, cluster) in sorted(&snapshot) {
        let limits = &cluster.limits;
        let _ = writeln!(out, "{name}::default_priority::max_connections::{}", limits.max_connections);
        let _ = writeln!(out, "{name}::default_priority::max_pending_requests::{}", limits.max_pending);
        let _ = writeln!(out, "{name}::default_priority::max_requests::{}", limits.max_requests);
        let _ = writeln!(out, "{name}::default_priority::max_retries::{}", limits.max_retries);
        let _ = writeln!(out, "{name}::cx_active::{}", cluster.load.connections.load(Ordering::Relaxed));
        let _ = writeln!(out, "{name}::rq_active::{}", cluster.load.requests.load(Ordering::Relaxed));
        for endpoint in &cluster.endpoints {
            let address = &endpoint.text;
            let _ = writeln!(out, "{name}::{address}::rq_active::{}", endpoint.active.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}::{address}::weight::{}", endpoint.weight);
            let _ = writeln!(out, "{name}::{address}::health_flags::healthy");
            let _ = writeln!(out, "{name}::{address}::locality::{}", endpoint.locality);
        }
    }
    out
}

pub(super) fn clusters_json(status: &Status) -> Value {
    let Some(snapshot) = status.snapshot() else { return json!({"cluster_statuses": []}) };
    let statuses: Vec<_> = sorted(&snapshot)
        .into_iter()
        .map(|(name, cluster)| {
            let hosts: Vec<_> = cluster
                .endpoints
                .iter()
                .map(|endpoint| {
                    json!({
                        "address": endpoint.text,
                        "labels": endpoint.labels,
                        "weight": endpoint.weight,
                        "locality": endpoint.locality,
                        "rq_active": endpoint.active.load(Ordering::Relaxed),
                        "health_status": {"eds_health_status": "HEALTHY"},
                    })
                })
                .collect();
            json!({"name": name, "host_statuses": hosts})
        })
        .collect();
    json!({"cluster_statuses": statuses})
}

pub(super) fn listeners(status: &Status) -> String {
    let Some(snapshot) = status.snapshot() else { return String::new() };
    snapshot.listeners.iter().map(|listener| format!("{}::{}\n", listener.name, listener.address)).collect()
}

pub(super) fn listeners_json(status: &Status) -> Value {
    let listeners = status.snapshot().map(|snapshot| {
        let listener = |listener: &std::sync::Arc<crate::snapshot::Listener>| {
            json!({"name": listener.name, "local_address": listener.address.to_string()})
        };
        snapshot.listeners.iter().map(listener).collect::<Vec<_>>()
    });
    json!({"listener_statuses": listeners.unwrap_or_default()})
}

pub(super) fn server_info(status: &Status) -> Value {
    json!({
        "version": crate::VERSION,
        "state": status.readiness().1,
        "uptime_current_epoch": format!("{}s", status.started.elapsed().as_secs()),
        "node": status.shown().node,
    })
}

/// Every plugin in use, with what its versions did.
pub(super) fn plugins(status: &Status) -> Value {
    let mut used: BTreeMap<&str, Vec<&PluginUse>> = BTreeMap::new();
    let snapshot = status.snapshot();
    for plugin in snapshot.iter().flat_map(|snapshot| &snapshot.plugins) {
        used.entry(&plugin.name).or_default().push(plugin);
    }
    let list: Vec<_> = used.into_iter().map(|(name, uses)| plugin(status, name, &uses)).collect();
    json!({ "plugins": list, "events": plugins::events(status) })
}

fn plugin(status: &Status, name: &str, uses: &[&PluginUse]) -> Value {
    let live = plugins::live(status, name);
    let of_live = uses.iter().find(|plugin| Some(plugin.module.version) == live);
    let Some(module) = of_live.or(uses.first()).map(|plugin| &plugin.module) else { return Value::Null };
    let rejected = status.rejected(name);
    let rollout = plugins::rollout(status, name);
    let state = match (&rejected, &rollout) {
        (Some(_), _) => "REJECTED",
        (None, Some(_)) => "ROLLING_OUT",
        (None, None) => "LIVE",
    };
    let mut entries: Vec<_> = uses.iter().flat_map(|plugin| &plugin.entries).collect();
    entries.sort();
    entries.dedup();
    json!({
        "name": name,
        "version": module.version,
        "digest": module.digest,
        "state": state,
        "rollout": rollout,
        "since": plugins::since(status, name, module.version),
        "lastError": rejected.clone().or_else(|| plugins::last_error(status, name)),
        "requests": total(status, name, REQUESTS),
        "faults": faults(status, name),
        "cpuSeconds": cpu_seconds(status, name),
        "instances": entries,
        "versions": plugins::versions(status, name),
    })
}

/// The sum of a counter over all versions of a plugin.
fn total(status: &Status, plugin: &str, metric: &str) -> u64 {
    of_plugin(status, plugin, metric).map(|(_, series)| series.value()).sum()
}

/// `{hook: seconds}` over all versions of a plugin.
fn cpu_seconds(status: &Status, plugin: &str) -> Value {
    let mut hooks: BTreeMap<String, f64> = BTreeMap::new();
    for (labels, series) in of_plugin(status, plugin, CPU_SECONDS) {
        if let Some(hook) = label(&labels, "hook") {
            *hooks.entry(hook).or_default() += series.value() as f64 / 1e9;
        }
    }
    json!(hooks)
}

/// The series of a metric that carry a plugin's name: their labels, and they themselves.
fn of_plugin<'s>(
    status: &'s Status,
    plugin: &str,
    metric: &'s str,
) -> impl Iterator<Item = (String, Arc<Series>)> + use<'s> {
    let wanted = SeriesName::new("", &[("plugin", plugin)]).labels;
    status
        .process
        .metrics
        .all()
        .into_iter()
        .filter(move |(name, _)| name.name == metric && name.labels.contains(&wanted))
        .map(|(name, series)| (name.labels, series))
}

/// `{hook: {reason: count}}` from the fault counters.
fn faults(status: &Status, plugin: &str) -> Value {
    let mut hooks: Map<String, Value> = Map::new();
    for (labels, series) in of_plugin(status, plugin, FAULTS) {
        let (Some(hook), Some(reason)) = (label(&labels, "hook"), label(&labels, "reason")) else { continue };
        let reasons = hooks.entry(hook).or_insert_with(|| json!({}));
        if let Some(reasons) = reasons.as_object_mut() {
            let before = reasons.get(&reason).and_then(Value::as_u64).unwrap_or_default();
            reasons.insert(reason, json!(before + series.value()));
        }
    }
    Value::Object(hooks)
}

fn label(labels: &str, name: &str) -> Option<String> {
    let (_, rest) = labels.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}
