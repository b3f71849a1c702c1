//! A worker with one exchange of fifteen headers: as little work behind the door as a real proxy could do.

use std::hint::black_box;
use std::time::Duration;

use sidegate_wasm_host::abi::{Direction, LogLevel, MapType, MetricKind, Status};
use sidegate_wasm_host::shared::Shared;
use sidegate_wasm_host::testing::thread_cpu;
use sidegate_wasm_host::{
    Callout, Event, ForeignCall, GrpcCallout, GrpcStep, Headers, Host, LocalReply, Open, Stream, StreamKey, VmSpec,
};

pub(crate) const STREAM: StreamKey = 1;

pub(crate) struct Worker(Box<Exchange>);

struct Exchange {
    headers: List,
    counter: i64,
    shared: Shared,
}

struct List(Vec<(Vec<u8>, Vec<u8>)>);

impl Worker {
    pub(crate) fn new() -> Self {
        let names = [
            ":authority",
            ":path",
            ":method",
            ":scheme",
            "user-agent",
            "accept",
            "accept-encoding",
            "x-forwarded-for",
            "x-request-id",
            "x-user-id",
            "cookie",
            "referer",
            "cache-control",
            "traceparent",
            "authorization",
        ];
        let headers = names.iter().map(|name| (name.as_bytes().to_vec(), b"0123456789".to_vec())).collect();
        Self(Box::new(Exchange { headers: List(headers), counter: 0, shared: Shared::default() }))
    }
}

/// What the lookup of a header costs without a guest.
pub(crate) fn native_lookup(minimum: fn(u32, u32, &mut dyn FnMut()) -> f64) -> f64 {
    let mut worker = Worker::new();
    minimum(1000, 1, &mut || {
        let headers = worker.stream(black_box(STREAM)).and_then(|stream| stream.headers(MapType::RequestHeaders));
        black_box(headers.and_then(|headers| headers.first(black_box(b"x-user-id")).map(<[u8]>::len)));
    })
}

impl Host for Worker {
    fn watches(&self) -> bool {
        false
    }
    fn observe(&mut self, _spec: &VmSpec, _stream: Option<StreamKey>, _event: Event<'_>) {}

    fn stream(&mut self, key: StreamKey) -> Option<&mut dyn Stream> {
        (key == STREAM).then_some(&mut *self.0 as &mut dyn Stream)
    }
    fn wall_clock(&self) -> Duration {
        Duration::from_nanos(1)
    }
    fn monotonic_clock(&self) -> Duration {
        Duration::from_nanos(1)
    }
    fn thread_cpu(&self) -> Duration {
        thread_cpu()
    }
    fn random(&mut self, _out: &mut [u8]) {}
    fn log(&mut self, _spec: &VmSpec, _stream: Option<StreamKey>, _level: LogLevel, _text: &[u8]) {}
    fn log_level(&self) -> LogLevel {
        LogLevel::Info
    }
    fn tick(&mut self, _spec: &VmSpec, _period: Option<Duration>) {}
    fn dispatch(&mut self, _spec: &VmSpec, _id: u32, _stream: Option<StreamKey>, _call: Callout) -> Result<(), Status> {
        Err(Status::BadArgument)
    }
    fn dispatch_grpc(&mut self, _: &VmSpec, _: u32, _: Option<StreamKey>, _: GrpcCallout) -> Result<(), Status> {
        Err(Status::ParseFailure)
    }
    fn steer_grpc(&mut self, _: &VmSpec, _: u32, _: GrpcStep) {}

    fn metric(&mut self, _spec: &VmSpec, _kind: MetricKind, _name: &str) -> Result<u32, Status> {
        Ok(0)
    }
    fn metric_add(&mut self, _handle: u32, delta: i64) {
        self.0.counter += delta;
    }
    fn metric_set(&mut self, _handle: u32, _value: u64) {}
    fn metric_value(&self, _handle: u32) -> u64 {
        self.0.counter.cast_unsigned()
    }
    fn shared(&self) -> &Shared {
        &self.0.shared
    }
    fn queue_ready(&mut self, _owner: u64, _queue: u32) {}
    fn vm_identity(&self, _spec: &VmSpec) -> u64 {
        1
    }
    fn property(&mut self, _spec: &VmSpec, _path: &[u8], _out: &mut Vec<u8>) -> Status {
        Status::NotFound
    }
    fn foreign(&mut self, _call: ForeignCall<'_>, _out: &mut Vec<u8>) -> Option<Status> {
        None
    }
}

impl Stream for Exchange {
    fn headers(&mut self, map: MapType) -> Option<&mut dyn Headers> {
        (map == MapType::RequestHeaders).then_some(&mut self.headers as &mut dyn Headers)
    }
    fn body(&mut self, _direction: Direction) -> Option<&mut Vec<u8>> {
        None
    }
    fn property(&mut self, path: &[u8], _open: Open, out: &mut Vec<u8>) -> Status {
        if path != b"request\0path" {
            return Status::NotFound;
        }
        out.extend_from_slice(b"/index.html");
        Status::Ok
    }
    fn set_property(&mut self, _path: &[u8], _value: &[u8]) -> Status {
        Status::Ok
    }
    fn local_reply(&mut self, _reply: LocalReply) {}
    fn resume(&mut self, _direction: Direction) {}
    fn close(&mut self) {}
    fn overflow(&mut self) {}
}

impl Headers for List {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn byte_size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.0 {
            each(name, value);
        }
    }
    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(entry, _)| entry == name).map(|(_, value)| value.as_slice())
    }
    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }
    fn replace(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }
    fn remove(&mut self, name: &[u8]) {
        self.0.retain(|(entry, _)| entry != name);
    }
    fn replace_all(&mut self, _pairs: &[(&[u8], &[u8])]) {}
}
