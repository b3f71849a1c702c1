//! The administration interface: Envoy's paths and words. Reads are for everybody who reaches the address; changes
//! need the token.

pub mod server;
pub mod views;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use sidegate_config::{Config, FailStrategy, Problems};

use crate::control::update::Committed;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Kind, SeriesName};
use crate::worker::env::Process;

pub use server::start;

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Announce the end: `/ready` says so, clients are told to go.
    Drain,
    Quit,
}

/// The state of the process, as the administration interface shows it.
pub struct Status {
    pub process: Arc<Process>,
    config: RwLock<serde_json::Value>,
    pub node: serde_json::Value,
    pub started: Instant,
    pub draining: AtomicBool,
    pub failed: AtomicBool,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    rejected: Mutex<HashMap<String, String>>,
    last_refusal: Mutex<Option<String>>,
    /// A plugin without which requests fail has no VM.
    missing: AtomicBool,
}

impl Status {
    pub fn new(process: &Arc<Process>, config: &Config, started: Instant) -> Self {
        let node = &config.node;
        Self {
            process: process.clone(),
            config: RwLock::new(views::config(config)),
            node: serde_json::json!({"id": node.id, "cluster": node.cluster, "locality": node.locality, "metadata": node.metadata}),
            started,
            draining: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            snapshot: RwLock::new(None),
            rejected: Mutex::default(),
            last_refusal: Mutex::default(),
            missing: AtomicBool::new(false),
        }
    }

    /// An update took effect.
    pub fn committed(&self, committed: &Committed) {
        let Committed { config, snapshot, refusals } = committed;
        let metrics = &self.process.metrics;
        metrics.series(Kind::Gauge, &SeriesName::new("sidegate_snapshot_version", &[])).set(snapshot.number);
        metrics.series(Kind::Gauge, &SeriesName::new("envoy_server_live", &[])).set(1);
        let missing = refusals.iter().any(|refusal| refusal.plugin.fail_strategy != FailStrategy::Open);
        self.missing.store(missing, std::sync::atomic::Ordering::Relaxed);
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.clear();
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for refusal in refusals {
            rejected.insert(refusal.plugin.name.clone(), refusal.reason.clone());
        }
        drop(rejected);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = views::config(config);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
    }

    /// An update did not take effect.
    pub fn refused(&self, problems: &Problems) {
        let metrics = &self.process.metrics;
        metrics.series(Kind::Counter, &SeriesName::new("sidegate_updates_refused_total", &[])).add_shared(1);
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(problems.to_string());
    }

    /// Brings the gauges up to date that are kept as state and not as metrics.
    pub fn refresh(&self) {
        let Some(snapshot) = self.snapshot() else { return };
        let gauge = |name: &str, cluster: &str, value: u32| {
            let name = SeriesName::new(name, &[("envoy_cluster_name", cluster)]);
            self.process.metrics.series(Kind::Gauge, &name).set(value.into());
        };
        for (name, cluster) in &snapshot.clusters.by_name {
            let load = |counter: &std::sync::atomic::AtomicU32| counter.load(std::sync::atomic::Ordering::Relaxed);
            gauge("envoy_cluster_upstream_cx_active", name, load(&cluster.load.connections));
            gauge("envoy_cluster_upstream_rq_active", name, load(&cluster.load.requests));
            gauge("envoy_cluster_membership_total", name, u32::try_from(cluster.endpoints.len()).unwrap_or(u32::MAX));
        }
        let dropped = SeriesName::new("sidegate_access_log_dropped", &[]);
        self.process.metrics.series(Kind::Gauge, &dropped).set(self.process.log_files.dropped());
    }

    /// The configuration as it may be shown.
    pub fn config(&self) -> serde_json::Value {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last update was refused, if it was.
    pub fn last_refusal(&self) -> Option<String> {
        self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why a plugin was rejected, if it was.
    pub fn rejected(&self, plugin: &str) -> Option<String> {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).get(plugin).cloned()
    }

    /// Envoy's word for the state, and whether it means ready.
    pub fn readiness(&self) -> (bool, &'static str) {
        use std::sync::atomic::Ordering::Relaxed;
        if self.draining.load(Relaxed) || self.failed.load(Relaxed) {
            (false, "DRAINING")
        } else if self.snapshot().is_none() {
            (false, "PRE_INITIALIZING")
        } else if self.missing.load(Relaxed) {
            (false, "INITIALIZING")
        } else {
            (true, "LIVE")
        }
    }
}
