//! The environment of a worker's guests: implements `wasm_host::Host`. It is lent to a VM for the length of a hook, so
//! everything in it can be sent between threads; what guests ask for is queued in `outbox`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sidegate_wasm_host::abi::{LogLevel, MetricKind, Status};
use sidegate_wasm_host::event::HookRun;
use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::shared::Shared;
use sidegate_wasm_host::{
    Callout, Event, ForeignCall, GrpcCallout, GrpcStep, Host, Kept, Stream, StreamKey, VmSpec, limits,
};
use slab::Slab;

use crate::exchange::access_log::AccessLog;
use crate::exchange::peer::Peers;
use crate::exchange::view::View;
use crate::snapshot::{Clusters, Node, Snapshot};
use crate::telemetry::guest_log::{self, LineRate};
use crate::telemetry::log_files::LogFiles;
use crate::telemetry::metrics::{Kind, Registry, Series, SeriesName};
use crate::telemetry::plugins::CPU_SECONDS;
use crate::telemetry::spans::Spans;
use crate::upstream::callout;
use crate::worker::allowance::Allowance;
use crate::worker::breaker::Health;
use crate::worker::intent::Intent;
pub use crate::worker::rng::Rng;
use crate::worker::wishes::WishList;
use crate::worker::{foreign, node};

/// Problems that one `on_configure` may report; more are dropped.
pub const MAX_CONFIG_PROBLEMS: usize = 256;
/// What was over the timers of a VM.
pub const INTENTS_DROPPED: &str = "sidegate_plugin_intents_dropped_total";
/// What guests may ask for in one hook to happen after it: each costs the worker about a microsecond that no budget
/// counts. As many as a queue holds items.
const INTENTS: usize = 1024;

/// What guests of one thread share.
pub struct Env {
    /// Index of the worker; the last cell of every series belongs to the threads that are none.
    pub worker: usize,
    pub views: Slab<View>,
    pub outbox: Vec<Intent>,
    /// How many views carry a trace.
    traced: usize,
    /// CPU time of hooks by plugin use, as far as any was measured.
    cpu: HashMap<(u64, Hook), Arc<Series>>,
    pub shared: Arc<Process>,
    /// The clusters that callouts may use: those of the newest snapshot.
    pub clusters: Arc<Clusters>,
    pub node: Arc<Node>,
    /// Series by the process-wide handle that guests hold, as far as this thread has met them.
    metrics: Vec<Option<Arc<Series>>>,
    metric_handles: HashMap<(Kind, SeriesName), u32>,
    log_rates: HashMap<u64, LineRate>,
    log_level: LogLevel,
    pub rng: Rng,
    started: Instant,
    /// Access logs by handle, compiled when this worker first writes to them.
    pub(super) access_logs: AccessLogs,
    /// Workloads that other proxies spoke of, and our own.
    pub peers: Peers,
    /// What `on_configure` said about the configuration. Shared with whoever prepares a VM: of one that fails, nothing
    /// else remains.
    pub(super) reports: ProblemReports,
}

/// Access logs by handle.
pub type AccessLogs = Vec<Option<AccessLog>>;

/// A problem in a filter's own configuration: severity, pointer into it, text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    pub warning: bool,
    pub pointer: String,
    pub text: String,
}

/// Problems of a filter's own configuration.
#[derive(Clone, Default)]
pub struct ProblemReports(Arc<std::sync::Mutex<Vec<ConfigProblem>>>);

impl ProblemReports {
    pub(super) fn push(&self, problem: ConfigProblem) {
        let mut list = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if list.len() < MAX_CONFIG_PROBLEMS {
            list.push(problem);
        }
    }

    pub fn take(&self) -> Vec<ConfigProblem> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// What is one per process.
pub struct Process {
    pub data: Shared,
    pub metrics: Registry,
    pub quotas: Quotas,
    pub log_files: LogFiles,
    pub health: Health,
    /// The zero of the clock that all workers share.
    pub started: Instant,
    /// What plugins asked for when they were configured.
    pub wishes: WishList,
    pub spans: Spans,
    /// Ids of timers: unique in the process, since a VM may ask for one on one thread and get it on another.
    pub timers: AtomicU32,
    /// The process uses more memory than it should: new requests are turned away.
    pub overloaded: AtomicBool,
    pub allowance: Allowance,
}

impl Process {
    pub fn new(workers: usize) -> Self {
        Self {
            data: Shared::default(),
            metrics: Registry::new(workers),
            quotas: Quotas::default(),
            log_files: LogFiles::default(),
            health: Health::default(),
            started: Instant::now(),
            wishes: WishList::default(),
            spans: Spans::default(),
            timers: AtomicU32::new(1),
            overloaded: AtomicBool::new(false),
            allowance: Allowance::new(workers),
        }
    }
}

/// Series per plugin, counted over all workers.
#[derive(Default)]
pub struct Quotas {
    series: std::sync::Mutex<HashMap<String, std::collections::HashSet<SeriesName>>>,
}

impl Quotas {
    /// Whether the plugin may use this series under its limit.
    fn admit(&self, plugin: &str, name: &SeriesName, limit: usize) -> bool {
        let mut all = self.series.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let series = all.entry(plugin.to_owned()).or_default();
        series.contains(name) || (series.len() < limit && series.insert(name.clone()))
    }
}

impl Env {
    pub fn new(worker: usize, shared: Arc<Process>, clusters: Arc<Clusters>, node: Arc<Node>) -> Self {
        Self {
            worker,
            views: Slab::new(),
            outbox: Vec::new(),
            traced: 0,
            cpu: HashMap::new(),
            shared,
            clusters,
            node,
            metrics: Vec::new(),
            metric_handles: HashMap::new(),
            log_rates: HashMap::new(),
            log_level: guest_log::level(),
            rng: Rng::from_entropy(),
            started: Instant::now(),
            access_logs: Vec::new(),
            peers: Peers::default(),
            reports: ProblemReports::default(),
        }
    }

    /// The level of the log may have changed.
    pub fn refresh_log_level(&mut self) {
        self.log_level = guest_log::level();
    }

    /// What this worker runs from now on. Gives back the access logs of before: a provider may have become another
    /// file or another format.
    pub fn use_snapshot(&mut self, snapshot: &Snapshot) -> AccessLogs {
        self.clusters = snapshot.clusters.clone();
        if !Arc::ptr_eq(&self.node, &snapshot.node) {
            self.node = snapshot.node.clone();
            self.peers.introduce(&snapshot.node);
        }
        std::mem::take(&mut self.access_logs)
    }

    /// What guests prepared in this environment say about their configuration.
    pub fn problem_reports(&self) -> ProblemReports {
        self.reports.clone()
    }

    /// A series by its handle. The VM that holds the handle may have got it on another thread.
    fn series(&mut self, handle: u32) -> Option<&Series> {
        let at = handle as usize;
        if self.metrics.get(at).is_none_or(Option::is_none) {
            let series = self.shared.metrics.by_handle(handle)?;
            if self.metrics.len() <= at {
                self.metrics.resize_with(at + 1, || None);
            }
            *self.metrics.get_mut(at)? = Some(series);
        }
        self.metrics.get(at)?.as_deref()
    }

    pub fn view(&mut self, key: StreamKey) -> Option<&mut View> {
        self.views.get_mut(key as usize)
    }

    /// Begins a trace of this exchange.
    pub fn trace(&mut self, key: StreamKey) {
        if let Some(view) = self.views.get_mut(key as usize) {
            view.trace = Some(Box::default());
            self.traced += 1;
        }
    }

    /// The end of an exchange.
    pub fn close_view(&mut self, key: StreamKey) -> Option<View> {
        let view = self.views.try_remove(key as usize)?;
        self.traced -= usize::from(view.trace.is_some());
        Some(view)
    }

    /// A plugin use is gone.
    pub fn forget(&mut self, tag: u64) {
        self.cpu.retain(|(known, _), _| *known != tag);
        self.log_rates.remove(&tag);
    }

    /// Counts CPU time of a hook. VMs are prepared on other threads, which own no cell.
    fn count_cpu(&mut self, spec: &VmSpec, run: &HookRun<'_>) {
        let series = self.cpu.entry((spec.tag, run.hook)).or_insert_with(|| {
            let labels = [("plugin", spec.plugin.as_str()), ("version", &spec.version), ("hook", run.hook.as_str())];
            self.shared.metrics.series(Kind::Seconds, &SeriesName::new(CPU_SECONDS, &labels))
        });
        let nanoseconds = run.cpu.saturating_mul(run.weight).as_nanos();
        series.add_shared(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    }

    /// Whether one more intent may be recorded; else "internal failure", the answer over any quota of callouts.
    pub fn has_room(&self) -> Result<(), Status> {
        if self.outbox.len() < INTENTS { Ok(()) } else { Err(Status::InternalFailure) }
    }

    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub fn count(&self, name: &str, plugin: &str) {
        let series = self.shared.metrics.series(Kind::Counter, &SeriesName::new(name, &[("plugin", plugin)]));
        series.add_shared(1);
    }
}

impl Host for Box<Env> {
    fn stream(&mut self, key: StreamKey) -> Option<&mut dyn Stream> {
        self.views.get_mut(key as usize).map(|view| view as &mut dyn Stream)
    }

    fn wall_clock(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic_clock(&self) -> Duration {
        self.started.elapsed()
    }

    fn thread_cpu(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn watches(&self) -> bool {
        self.traced > 0
    }

    fn observe(&mut self, spec: &VmSpec, stream: Option<StreamKey>, event: Event<'_>) {
        if let Event::Hook(run) = &event
            && run.weight > 0
        {
            self.count_cpu(spec, run);
        }
        if let Some(trace) = stream.and_then(|key| self.view(key)).and_then(|view| view.trace.as_mut()) {
            trace.observe(spec, &event);
        }
    }

    fn random(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.rng.draw().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }

    fn log(&mut self, spec: &VmSpec, _stream: Option<StreamKey>, level: LogLevel, text: &[u8]) {
        if level < self.log_level {
            return;
        }
        let now = self.started.elapsed();
        let rate = self.log_rates.entry(spec.tag).or_insert_with(|| LineRate::new(spec.log_rate));
        if text.len() > limits::LOG_BYTES || !rate.admit(now) {
            self.count("sidegate_plugin_log_dropped_total", &spec.plugin);
            return;
        }
        guest_log::write(spec, level, text);
    }

    fn log_level(&self) -> LogLevel {
        self.log_level
    }

    fn tick(&mut self, spec: &VmSpec, period: Option<Duration>) {
        let last = self.outbox.iter_mut().rev().find(|intent| intent.tag() == Some(spec.tag));
        match last {
            // The last word counts, and a guest may say it a thousand times.
            Some(Intent::Tick { period: asked, .. }) => *asked = period,
            _ => self.outbox.push(Intent::Tick { tag: spec.tag, period }),
        }
    }

    fn dispatch(&mut self, spec: &VmSpec, id: u32, stream: Option<StreamKey>, mut call: Callout) -> Result<(), Status> {
        if self.clusters.find(&call.cluster).is_none() {
            return Err(Status::BadArgument);
        }
        if !callout::http::is_sendable(&call) {
            return Err(Status::InternalFailure);
        }
        self.has_room()?;
        let drawn = self.rng.draw() | 1;
        let mut told = None;
        if let Some(view) = stream.and_then(|key| self.view(key)) {
            view.asked.called_out = true;
            if let Some(span) = &view.span {
                told = span.callout(drawn, &call.cluster, &mut call.headers);
            }
        }
        self.outbox.push(Intent::Callout { tag: spec.tag, id, call, span: told, of_root: stream.is_none() });
        Ok(())
    }

    fn dispatch_grpc(
        &mut self,
        spec: &VmSpec,
        id: u32,
        stream: Option<StreamKey>,
        mut call: GrpcCallout,
    ) -> Result<(), Status> {
        if self.clusters.find(&call.cluster).is_none() {
            return Err(Status::ParseFailure);
        }
        self.has_room()?;
        let drawn = self.rng.draw() | 1;
        let mut told = None;
        if let Some(view) = stream.and_then(|key| self.view(key)) {
            view.asked.called_out = true;
            match &view.span {
                Some(span) if call.message.is_some() => {
                    told = span.callout(drawn, &call.cluster, &mut call.metadata);
                }
                // A stream may outlive its exchange: it belongs to the exchange's own span.
                Some(span) => span.pass_on(&mut call.metadata),
                None => {}
            }
        }
        self.outbox.push(Intent::Grpc {
            tag: spec.tag,
            id,
            call: Box::new(call),
            span: told,
            of_root: stream.is_none(),
        });
        Ok(())
    }

    fn steer_grpc(&mut self, spec: &VmSpec, id: u32, step: GrpcStep) {
        self.outbox.push(Intent::GrpcStep { tag: spec.tag, id, step });
    }

    fn metric(&mut self, spec: &VmSpec, kind: MetricKind, name: &str) -> Result<u32, Status> {
        let kind = match kind {
            MetricKind::Counter => Kind::Counter,
            MetricKind::Gauge => Kind::Gauge,
            MetricKind::Histogram => Kind::Histogram,
        };
        let sound = name.len() <= limits::SERIES_NAME_BYTES;
        let mut key = (kind, if sound { SeriesName::from_guest(name) } else { SeriesName::new("", &[]) });
        if let Some(handle) = self.metric_handles.get(&key) {
            return Ok(*handle);
        }
        if !sound || !self.shared.quotas.admit(&spec.plugin, &key.1, spec.series) {
            self.count("sidegate_plugin_series_refused_total", &spec.plugin);
            key.1 = overflow(kind, &spec.plugin);
            if let Some(handle) = self.metric_handles.get(&key) {
                return Ok(*handle);
            }
        }
        let mut name = key.1.clone();
        if self.shared.metrics.series(kind, &name).kind() != kind {
            // The name is taken by another kind: a name of its own keeps the exposition sound.
            let suffix = match kind {
                Kind::Counter | Kind::Seconds => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram | Kind::ShortTimes => "histogram",
            };
            name.name = format!("{}_{suffix}", name.name);
        }
        let handle = self.shared.metrics.handle(kind, &name);
        self.metric_handles.insert(key, handle);
        Ok(handle)
    }

    fn metric_add(&mut self, handle: u32, delta: i64) {
        let worker = self.worker;
        if let Some(series) = self.series(handle) {
            series.add(worker, delta);
        }
    }

    fn metric_set(&mut self, handle: u32, value: u64) {
        if let Some(series) = self.series(handle) {
            series.set(value);
        }
    }

    fn metric_value(&self, handle: u32) -> u64 {
        self.shared.metrics.by_handle(handle).map_or(0, |series| series.value())
    }

    fn shared(&self) -> &Shared {
        &self.shared.data
    }

    fn queue_ready(&mut self, owner: u64, queue: u32) {
        // Without room the notice is lost, not the item, as when a worker's mailbox is full.
        if self.has_room().is_ok() {
            self.outbox.push(Intent::QueueReady { owner, queue });
        }
    }

    fn vm_identity(&self, spec: &VmSpec) -> u64 {
        identity(self.worker, spec.tag)
    }

    fn property(&mut self, spec: &VmSpec, path: &[u8], out: &mut Vec<u8>) -> Status {
        if path == b"sidegate.limits.series" {
            out.extend_from_slice(&(spec.series as u64).to_le_bytes());
            return Status::Ok;
        }
        if path == b"sidegate.limits.body" {
            out.extend_from_slice(&(spec.limits.body as u64).to_le_bytes());
            return Status::Ok;
        }
        if path == b"sidegate.extensionProviders" {
            out.extend_from_slice(self.clusters.providers_told(spec.configuration.as_deref()).as_bytes());
            return Status::Ok;
        }
        node::property(&self.node, &self.clusters, path, out)
    }

    fn set_property(&mut self, kept: &mut Kept, stream: StreamKey, path: &[u8], value: &[u8]) -> Status {
        let declared = kept.value::<foreign::Guest>().map(|guest| guest.declarations.of(path)).unwrap_or_default();
        self.view(stream).map_or(Status::NotFound, |view| view.store(path, value, declared))
    }

    fn foreign(&mut self, call: ForeignCall<'_>, out: &mut Vec<u8>) -> Option<Status> {
        foreign::call(self, call, out)
    }
}

/// The series that takes what is over a plugin's quota.
fn overflow(kind: Kind, plugin: &str) -> SeriesName {
    let name = match kind {
        Kind::Counter | Kind::Seconds => "sidegate_plugin_overflow_total",
        Kind::Gauge => "sidegate_plugin_overflow",
        Kind::Histogram | Kind::ShortTimes => "sidegate_plugin_overflow_values",
    };
    SeriesName::new(name, &[("plugin", plugin)])
}

/// A VM among all of the process: its worker and its plugin use.
pub fn identity(worker: usize, tag: u64) -> u64 {
    ((worker as u64) << 48) | (tag & 0xffff_ffff_ffff)
}

/// The inverse of [`identity`].
pub fn split_identity(identity: u64) -> (usize, u64) {
    ((identity >> 48) as usize, identity & 0xffff_ffff_ffff)
}
