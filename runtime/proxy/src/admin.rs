//! The administration interface: Envoy's paths and words. Reads are for everybody who reaches the address; changes
//! need the token.

mod changes;
pub mod server;
mod upload;
pub mod views;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use sidegate_config::{Config, Drain, FailStrategy, Problems};

use crate::control::actor::Observer;
use crate::control::history::History;
use crate::control::update::Committed;
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{Kind, SeriesName};
use crate::worker::env::Process;

pub use server::start;

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close inbound listeners: at once, or gracefully, which tells clients first and waits for `drain.minimum`. The
    /// process stays.
    Drain {
        graceful: bool,
    },
    Quit,
    /// The level of the log has changed.
    LogLevel,
}

/// The state of the process, as the administration interface shows it.
pub struct Status {
    pub process: Arc<Process>,
    config: RwLock<Arc<Shown>>,
    pub history: Arc<Mutex<History>>,
    pub started: Instant,
    pub draining: AtomicBool,
    pub failed: AtomicBool,
    snapshot: RwLock<Option<Arc<Snapshot>>>,
    rejected: Mutex<HashMap<String, String>>,
    last_refusal: Mutex<Option<String>>,
    /// A plugin without which requests fail has no VM.
    missing: AtomicBool,
}

/// What of the configuration is looked at here.
pub struct Shown {
    pub config: serde_json::Value,
    pub node: serde_json::Value,
    pub drain: Drain,
    token_file: Option<PathBuf>,
}

impl Shown {
    fn new(config: &Config) -> Self {
        let node = &config.node;
        Self {
            config: views::config(config),
            node: serde_json::json!({"id": node.id, "cluster": node.cluster, "locality": node.locality, "metadata": node.metadata}),
            drain: config.drain.clone(),
            token_file: config.admin.token_file.clone(),
        }
    }
}

impl Status {
    pub fn new(process: &Arc<Process>, config: &Config, started: Instant) -> Self {
        Self {
            process: process.clone(),
            config: RwLock::new(Arc::new(Shown::new(config))),
            history: Arc::default(),
            started,
            draining: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            snapshot: RwLock::new(None),
            rejected: Mutex::default(),
            last_refusal: Mutex::default(),
            missing: AtomicBool::new(false),
        }
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

    /// What is configured at present.
    pub fn shown(&self) -> Arc<Shown> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The file with the token that changes need.
    pub fn token_file(&self) -> Option<PathBuf> {
        self.shown().token_file.clone()
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
        use Ordering::Relaxed;
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

impl Observer for Arc<Status> {
    fn committed(&self, committed: &Committed) {
        let Committed { config, snapshot, refusals } = committed;
        let metrics = &self.process.metrics;
        metrics.series(Kind::Gauge, &SeriesName::new("sidegate_snapshot_version", &[])).set(snapshot.number);
        metrics.series(Kind::Gauge, &SeriesName::new("envoy_server_live", &[])).set(1);
        let missing = refusals.iter().any(|refusal| refusal.plugin.fail_strategy != FailStrategy::Open);
        self.missing.store(missing, Ordering::Relaxed);
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        rejected.clear();
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for refusal in refusals {
            rejected.insert(refusal.plugin.name.clone(), refusal.reason.clone());
        }
        drop(rejected);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Shown::new(config));
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
        self.process.allowance.set(config.overload.max_connections, config.overload.memory.0);
    }

    fn refused(&self, problems: &Problems) {
        let metrics = &self.process.metrics;
        metrics.series(Kind::Counter, &SeriesName::new("sidegate_updates_refused_total", &[])).add_shared(1);
        *self.last_refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(problems.to_string());
    }
}
