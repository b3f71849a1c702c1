//! What a worker counts itself, with Envoy's names. Series are looked up once and kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::snapshot::Cluster;
use crate::telemetry::metrics::{Kind, Registry, Series, SeriesName};

/// Requests of one cluster with one status, and all of them.
type Upstream = [Arc<Series>; 2];

/// The counters of one worker.
pub struct Counters {
    pub requests: Arc<Series>,
    pub active: Arc<Series>,
    pub connections: Arc<Series>,
    pub connections_active: Arc<Series>,
    pub refused: Arc<Series>,
    /// Connections and requests that were turned away to protect the process.
    pub overloaded: Arc<Series>,
    /// Exchanges that ended because a filter wrote a header with a line break.
    pub broken_by_filter: Arc<Series>,
    classes: [Arc<Series>; 5],
    times: Arc<Series>,
    swaps: Arc<Series>,
    upstream: RefCell<HashMap<(usize, u16), Upstream>>,
    process: Arc<crate::worker::env::Process>,
}

impl Counters {
    pub fn new(process: &Arc<crate::worker::env::Process>) -> Self {
        let registry: &Registry = &process.metrics;
        let plain = |kind, name| registry.series(kind, &SeriesName::new(name, &[]));
        let class = |class| {
            let name = SeriesName::new("envoy_http_downstream_rq_xx", &[("envoy_response_code_class", class)]);
            registry.series(Kind::Counter, &name)
        };
        Self {
            requests: plain(Kind::Counter, "envoy_http_downstream_rq_total"),
            active: plain(Kind::Gauge, "envoy_http_downstream_rq_active"),
            connections: plain(Kind::Counter, "envoy_http_downstream_cx_total"),
            connections_active: plain(Kind::Gauge, "envoy_http_downstream_cx_active"),
            refused: plain(Kind::Counter, "envoy_http_downstream_cx_protocol_error"),
            broken_by_filter: plain(Kind::Counter, "sidegate_invalid_headers_total"),
            overloaded: plain(Kind::Counter, "envoy_http_downstream_cx_overload_reject"),
            classes: ["1", "2", "3", "4", "5"].map(class),
            times: plain(Kind::Histogram, "envoy_http_downstream_rq_time"),
            swaps: plain(Kind::ShortTimes, "sidegate_swap_pause_seconds"),
            upstream: RefCell::default(),
            process: process.clone(),
        }
    }

    /// A bug of ours ended a connection.
    pub fn panicked(&self, worker: usize) {
        self.process.metrics.series(Kind::Counter, &SeriesName::new("sidegate_panics_total", &[])).add(worker, 1);
    }

    /// A snapshot took the place of another; nothing else happened on this worker for so long.
    pub fn swapped(&self, worker: usize, pause: Duration) {
        self.swaps.add(worker, i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX));
    }

    /// An exchange has ended.
    pub fn ended(&self, worker: usize, status: Option<StatusCode>, duration: Duration) {
        self.active.add(worker, -1);
        self.times.add(worker, i64::try_from(duration.as_millis()).unwrap_or(i64::MAX));
        let class = status.map(|status| usize::from(status.as_u16() / 100));
        if let Some(series) = class.and_then(|class| self.classes.get(class.checked_sub(1)?)) {
            series.add(worker, 1);
        }
    }

    /// A breaker of the cluster refused a request.
    pub fn overflow(&self, worker: usize, cluster: &Cluster) {
        let name =
            SeriesName::new("envoy_cluster_upstream_rq_pending_overflow", &[("envoy_cluster_name", &cluster.name)]);
        self.process.metrics.series(Kind::Counter, &name).add(worker, 1);
    }

    /// A copy of a request was not begun, or given up because it fell behind.
    pub fn mirror_dropped(&self, worker: usize, cluster: &Cluster) {
        let name = SeriesName::new("sidegate_mirrors_dropped_total", &[("envoy_cluster_name", &cluster.name)]);
        self.process.metrics.series(Kind::Counter, &name).add(worker, 1);
    }

    /// A request went to a cluster; `None`: no response came.
    pub fn upstream(&self, worker: usize, cluster: &Cluster, status: Option<StatusCode>) {
        let code = status.map_or(503, |status| status.as_u16());
        let mut known = self.upstream.borrow_mut();
        let series = known.entry((cluster.id, code)).or_insert_with(|| {
            let code = code.to_string();
            let name = ("envoy_cluster_name", cluster.name.as_str());
            let by_code = SeriesName::new("envoy_cluster_upstream_rq", &[name, ("envoy_response_code", &code)]);
            let total = SeriesName::new("envoy_cluster_upstream_rq_total", &[name]);
            [by_code, total].map(|name| self.process.metrics.series(Kind::Counter, &name))
        });
        for series in series {
            series.add(worker, 1);
        }
    }
}
