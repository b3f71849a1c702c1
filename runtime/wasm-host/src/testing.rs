//! Fakes of the proxy side, for tests of this crate and of filters: a worker without network whose clocks, logs,
//! timers and callouts a test sets and reads, and exchanges that are plain lists.
//!
//! ```
//! use sidegate_wasm_host::testing::{FakeHost, FakeStream};
//! let host = FakeHost::new().with_stream(1, FakeStream::get("/hello").request_header("x-user", "ada"));
//! assert!(host.logs.is_empty());
//! ```

mod stream;

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::abi::{LogLevel, MetricKind, Status};
use crate::event::Event;
use crate::grpc::{GrpcCallout, GrpcStep};
use crate::host::{Callout, ForeignCall, Host, Stream, StreamKey};
use crate::shared::Shared;
use crate::vm::VmSpec;

pub use stream::{FakeHeaders, FakeStream};

/// A worker as a guest sees it. One pointer wide, as the proxy's own is: it is swapped into the store for every hook.
pub struct FakeHost(Box<World>);

/// What a [`FakeHost`] offers and records.
pub struct World {
    pub streams: HashMap<StreamKey, FakeStream>,
    /// Time since the Unix epoch. Stands still until a test moves it; default 1,000 s.
    pub wall: Duration,
    /// Stands still until a test moves it; default 50 s.
    pub monotonic: Duration,
    /// CPU time of the thread; `None`, the default, reads the real clock, which deadlines need.
    pub cpu: Option<Duration>,
    /// What `random_get` fills in.
    pub random: u8,
    pub logs: Vec<LogLine>,
    /// Default `Info`. Lines below it are recorded all the same.
    pub log_level: LogLevel,
    /// Every period that was asked for, in order.
    pub ticks: Vec<Option<Duration>>,
    /// Clusters that callouts may name.
    pub clusters: Vec<String>,
    pub callouts: Vec<Dispatched>,
    /// gRPC calls that were begun: id, exchange, call.
    pub grpc_calls: Vec<(u32, Option<StreamKey>, GrpcCallout)>,
    /// What was done with them. A message takes up room in its stream's queue as long as it stands here.
    pub grpc_steps: Vec<(u32, GrpcStep)>,
    /// By handle.
    pub metrics: Vec<Metric>,
    /// Series that may exist; one more is answered with "internal failure". Default 1,000.
    pub max_metrics: usize,
    pub shared: Arc<Shared>,
    /// Owner and id of queues that got an item.
    pub queues_ready: Vec<(u64, u32)>,
    /// The owner that queues of this VM are registered under. Default 1.
    pub identity: u64,
    /// Properties outside of exchanges, by path; segments are joined by NUL.
    pub properties: HashMap<Vec<u8>, Vec<u8>>,
    pub functions: HashMap<String, ForeignFunction>,
    /// Foreign calls that were made: exchange, name, argument.
    pub foreign_calls: Vec<(Option<StreamKey>, String, Vec<u8>)>,
    /// Whether every hook and hostcall is to be seen; default no.
    pub watches: bool,
    /// What was seen: hook, then the hostcall with its status or what the hook returned.
    pub events: Vec<String>,
    /// A hostcall that logs these bytes meets a bug of ours.
    pub panic_on_log: Option<Vec<u8>>,
}

/// A foreign function: reads its argument, appends its result.
pub type ForeignFunction = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Status + Send>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub stream: Option<StreamKey>,
    pub level: LogLevel,
    pub text: Vec<u8>,
}

/// A callout that a guest asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatched {
    pub id: u32,
    pub stream: Option<StreamKey>,
    pub call: Callout,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub kind: MetricKind,
    pub name: String,
    /// The value of a counter or gauge.
    pub value: u64,
    /// What a histogram was given.
    pub records: Vec<u64>,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self(Box::new(World {
            streams: HashMap::new(),
            wall: Duration::from_secs(1000),
            monotonic: Duration::from_secs(50),
            cpu: None,
            random: 7,
            logs: Vec::new(),
            log_level: LogLevel::Info,
            ticks: Vec::new(),
            clusters: Vec::new(),
            callouts: Vec::new(),
            grpc_calls: Vec::new(),
            grpc_steps: Vec::new(),
            metrics: Vec::new(),
            max_metrics: 1000,
            shared: Arc::default(),
            queues_ready: Vec::new(),
            identity: 1,
            properties: HashMap::new(),
            functions: HashMap::new(),
            foreign_calls: Vec::new(),
            watches: false,
            events: Vec::new(),
            panic_on_log: None,
        }))
    }
}

impl FakeHost {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_stream(mut self, key: StreamKey, stream: FakeStream) -> Self {
        self.streams.insert(key, stream);
        self
    }

    /// Lets callouts go to this cluster.
    pub fn with_cluster(mut self, name: &str) -> Self {
        self.clusters.push(name.into());
        self
    }

    pub fn with_function(
        mut self,
        name: &str,
        function: impl FnMut(&[u8], &mut Vec<u8>) -> Status + Send + 'static,
    ) -> Self {
        self.functions.insert(name.into(), Box::new(function));
        self
    }

    /// A property outside of exchanges; a dot in `path` separates segments.
    pub fn with_property(mut self, path: &str, value: impl Into<Vec<u8>>) -> Self {
        self.properties.insert(segments(path), value.into());
        self
    }

    /// The text of all log lines, in order.
    pub fn log_texts(&self) -> Vec<String> {
        self.logs.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
    }
}

impl Deref for FakeHost {
    type Target = World;
    fn deref(&self) -> &World {
        &self.0
    }
}

impl DerefMut for FakeHost {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0
    }
}

impl Host for FakeHost {
    fn stream(&mut self, key: StreamKey) -> Option<&mut dyn Stream> {
        self.streams.get_mut(&key).map(|stream| stream as &mut dyn Stream)
    }

    fn wall_clock(&self) -> Duration {
        self.wall
    }
    fn monotonic_clock(&self) -> Duration {
        self.monotonic
    }
    fn thread_cpu(&self) -> Duration {
        self.cpu.unwrap_or_else(thread_cpu)
    }
    fn watches(&self) -> bool {
        self.watches
    }

    fn observe(&mut self, _spec: &VmSpec, stream: Option<StreamKey>, event: Event<'_>) {
        let on = stream.map_or("root".to_owned(), |key| key.to_string());
        self.events.push(match event {
            Event::Hostcall(call) => {
                let subject = String::from_utf8_lossy(call.subject).replace('\0', ".");
                format!("{on} {} {} {:?} {subject} -> {}", call.hook, call.name, call.arguments, call.status)
            }
            Event::Hook(run) => {
                let outcome = run.fault.map_or(format!("{:?}", run.returned), |fault| fault.reason.to_string());
                format!("{on} {} = {outcome}", run.hook)
            }
        });
    }

    fn random(&mut self, out: &mut [u8]) {
        out.fill(self.random);
    }

    #[expect(clippy::panic, reason = "the bug of ours that a test asks for")]
    fn log(&mut self, _spec: &VmSpec, stream: Option<StreamKey>, level: LogLevel, text: &[u8]) {
        if self.panic_on_log.as_deref() == Some(text) {
            panic!("a bug in a hostcall");
        }
        self.logs.push(LogLine { stream, level, text: text.to_vec() });
    }
    fn log_level(&self) -> LogLevel {
        self.log_level
    }

    fn tick(&mut self, _spec: &VmSpec, period: Option<Duration>) {
        self.ticks.push(period);
    }
    fn dispatch(&mut self, _spec: &VmSpec, id: u32, stream: Option<StreamKey>, call: Callout) -> Result<(), Status> {
        if !self.clusters.contains(&call.cluster) {
            return Err(Status::BadArgument);
        }
        self.callouts.push(Dispatched { id, stream, call });
        Ok(())
    }
    fn dispatch_grpc(
        &mut self,
        _spec: &VmSpec,
        id: u32,
        stream: Option<StreamKey>,
        call: GrpcCallout,
    ) -> Result<(), Status> {
        if !self.clusters.contains(&call.cluster) {
            return Err(Status::ParseFailure);
        }
        self.grpc_calls.push((id, stream, call));
        Ok(())
    }
    fn steer_grpc(&mut self, _spec: &VmSpec, id: u32, step: GrpcStep) {
        self.grpc_steps.push((id, step));
    }

    fn metric(&mut self, _spec: &VmSpec, kind: MetricKind, name: &str) -> Result<u32, Status> {
        let known = self.metrics.iter().position(|metric| metric.kind == kind && metric.name == name);
        if known.is_none() && self.metrics.len() >= self.max_metrics {
            return Err(Status::InternalFailure);
        }
        let handle = known.unwrap_or_else(|| {
            self.metrics.push(Metric { kind, name: name.into(), value: 0, records: Vec::new() });
            self.metrics.len() - 1
        });
        Ok(handle as u32)
    }
    fn metric_add(&mut self, handle: u32, delta: i64) {
        let Some(metric) = self.metrics.get_mut(handle as usize) else { return };
        match metric.kind {
            MetricKind::Histogram => metric.records.push(delta.cast_unsigned()),
            MetricKind::Counter | MetricKind::Gauge => metric.value = metric.value.wrapping_add_signed(delta),
        }
    }
    fn metric_set(&mut self, handle: u32, value: u64) {
        if let Some(metric) = self.metrics.get_mut(handle as usize) {
            metric.value = value;
        }
    }
    fn metric_value(&self, handle: u32) -> u64 {
        self.metrics.get(handle as usize).map_or(0, |metric| metric.value)
    }

    fn shared(&self) -> &Shared {
        &self.shared
    }
    fn queue_ready(&mut self, owner: u64, queue: u32) {
        self.queues_ready.push((owner, queue));
    }
    fn vm_identity(&self, _spec: &VmSpec) -> u64 {
        self.identity
    }

    fn property(&mut self, _spec: &VmSpec, path: &[u8], out: &mut Vec<u8>) -> Status {
        match self.properties.get(path) {
            Some(value) => {
                out.extend_from_slice(value);
                Status::Ok
            }
            None if path == b"xds" => Status::SerializationFailure,
            None => Status::NotFound,
        }
    }
    fn foreign(&mut self, call: ForeignCall<'_>, out: &mut Vec<u8>) -> Option<Status> {
        self.foreign_calls.push((call.stream.map(|(key, _)| key), call.name.into(), call.argument.to_vec()));
        self.functions.get_mut(call.name).map(|function| function(call.argument, out))
    }
}

/// CPU time used by the calling thread.
pub fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// `request.path` as a guest writes it.
fn segments(path: &str) -> Vec<u8> {
    path.replace('.', "\0").into_bytes()
}
