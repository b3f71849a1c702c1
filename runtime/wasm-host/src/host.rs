//! The only door between guest and proxy: everything a guest may see or ask for. Values only, nothing waits.

use std::any::Any;
use std::time::Duration;

use crate::abi::{Direction, LogLevel, MapType, MetricKind, Status};
use crate::context::Open;
use crate::event::Event;
use crate::grpc::{GrpcCallout, GrpcStep};
use crate::shared::Shared;
use crate::vm::VmSpec;

/// The proxy's own number of a live exchange; the host passes it through and never looks inside.
pub type StreamKey = u32;

/// What a worker offers to the guests it runs. It is lent to the store for the length of one hook.
pub trait Host: Send + 'static {
    /// The exchange behind `key`; `None` once it has ended.
    fn stream(&mut self, key: StreamKey) -> Option<&mut dyn Stream>;

    /// Wall clock since the Unix epoch.
    fn wall_clock(&self) -> Duration;
    /// A clock that never goes back; its zero is arbitrary.
    fn monotonic_clock(&self) -> Duration;
    /// CPU time used by the calling thread.
    fn thread_cpu(&self) -> Duration;
    fn random(&mut self, out: &mut [u8]);

    /// A line of the guest's log. `stream` is the exchange whose context spoke, if any.
    fn log(&mut self, spec: &VmSpec, stream: Option<StreamKey>, level: LogLevel, text: &[u8]);
    /// The lowest level that is written; what guests are told by `proxy_get_log_level`.
    fn log_level(&self) -> LogLevel;

    /// Asks for `on_tick` on this VM's root every `period`; `None` stops.
    fn tick(&mut self, spec: &VmSpec, period: Option<Duration>);
    /// Takes a callout to be sent after the hook. The answer comes back through `Vm::callout_response` under `id`.
    fn dispatch(&mut self, spec: &VmSpec, id: u32, stream: Option<StreamKey>, call: Callout) -> Result<(), Status>;

    /// Takes a gRPC call to be made after the hook; `ParseFailure` for a cluster that is unknown. What it brings comes
    /// back through the `grpc_` hooks of `Vm` under `id`.
    fn dispatch_grpc(
        &mut self,
        spec: &VmSpec,
        id: u32,
        stream: Option<StreamKey>,
        call: GrpcCallout,
    ) -> Result<(), Status>;
    /// Takes what the guest does with a gRPC call that it dispatched.
    fn steer_grpc(&mut self, spec: &VmSpec, id: u32, step: GrpcStep);

    /// Resolves a metric to a handle of this worker; the same name and kind give the same series.
    fn metric(&mut self, spec: &VmSpec, kind: MetricKind, name: &str) -> Result<u32, Status>;
    /// Counters add, gauges add (negative subtracts), histograms record.
    fn metric_add(&mut self, handle: u32, delta: i64);
    /// Sets a gauge.
    fn metric_set(&mut self, handle: u32, value: u64);
    /// The value over all workers.
    fn metric_value(&self, handle: u32) -> u64;

    /// Whether somebody wants to see every hook and hostcall right now. Asked once for each hook.
    fn watches(&self) -> bool;
    /// Something passed the boundary on behalf of `stream`; `None`: of the root.
    fn observe(&mut self, spec: &VmSpec, stream: Option<StreamKey>, event: Event<'_>);

    /// Shared data and queues of the process.
    fn shared(&self) -> &Shared;
    /// A queue of this VM has a new item: call `Vm::queue_ready` of its owner after the hook.
    fn queue_ready(&mut self, owner: u64, queue: u32);
    /// An identity of this VM among all of the process, for the ownership of queues.
    fn vm_identity(&self, spec: &VmSpec) -> u64;

    /// A property that does not depend on an exchange (`xds.node` and the like). Appends to `out`.
    fn property(&mut self, spec: &VmSpec, path: &[u8], out: &mut Vec<u8>) -> Status;
    /// Writes a property of an exchange; what the VM has declared about the name may stand in the way.
    fn set_property(&mut self, _kept: &mut Kept, stream: StreamKey, path: &[u8], value: &[u8]) -> Status {
        self.stream(stream).map_or(Status::NotFound, |stream| stream.set_property(path, value))
    }
    /// `proxy_call_foreign_function`; appends the result to `out`. `None` for names it does not know.
    fn foreign(&mut self, call: ForeignCall<'_>, out: &mut Vec<u8>) -> Option<Status>;
}

/// One call of a foreign function.
#[derive(Debug)]
pub struct ForeignCall<'a> {
    pub spec: &'a VmSpec,
    /// The exchange it acts on, if any, and what the calling context may see of it.
    pub stream: Option<(StreamKey, Open)>,
    /// What the proxy keeps for the calling VM.
    pub kept: &'a mut Kept,
    pub name: &'a str,
    pub argument: &'a [u8],
}

/// What the proxy keeps for one VM from call to call; it ends with the VM. The host never looks inside.
#[derive(Debug, Default)]
pub struct Kept(Option<Box<dyn Any + Send>>);

impl Kept {
    /// The value, made when it is first asked for. A proxy keeps one type: `None` for any other.
    pub fn value<T: Default + Send + 'static>(&mut self) -> Option<&mut T> {
        self.0.get_or_insert_with(|| Box::new(T::default())).downcast_mut()
    }
}

/// What one exchange shows to the filters of its chain.
pub trait Stream {
    /// `None` while this part of the exchange does not exist.
    fn headers(&mut self, map: MapType) -> Option<&mut dyn Headers>;
    /// The body bytes in the hands of the current hook; `None` outside body hooks.
    fn body(&mut self, direction: Direction) -> Option<&mut Vec<u8>>;
    /// Appends the value to `out`. `open` says which maps the asking context may still see.
    fn property(&mut self, path: &[u8], open: Open, out: &mut Vec<u8>) -> Status;
    fn set_property(&mut self, path: &[u8], value: &[u8]) -> Status;
    /// The first local reply of a hook wins; the proxy sends it after the hook.
    fn local_reply(&mut self, reply: LocalReply);
    /// Asks to go on after a pause. Without a pause it has no effect.
    fn resume(&mut self, direction: Direction);
    /// Asks to reset the exchange without an answer.
    fn close(&mut self);
    /// The guest made more of a body than it may: the exchange must end.
    fn overflow(&mut self);
}

/// An ordered header map, pseudo headers first. Names arrive in any case and are kept in lower case.
pub trait Headers {
    fn count(&self) -> usize;
    /// Bytes of all names and values.
    fn byte_size(&self) -> usize;
    fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8]));
    /// The first value under `name`.
    fn first(&self, name: &[u8]) -> Option<&[u8]>;
    fn add(&mut self, name: &[u8], value: &[u8]);
    /// One entry remains.
    fn replace(&mut self, name: &[u8], value: &[u8]);
    fn remove(&mut self, name: &[u8]);
    fn replace_all(&mut self, pairs: &[(&[u8], &[u8])]);
}

/// A response made by a guest. `status` is what the guest gave; the proxy judges whether it can be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u32,
    pub details: String,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Outside 0 to 16: derived from `status`.
    pub grpc_status: i32,
    /// Stands in the place of an earlier one of the same hook. So it is where the hook is not the stream's own; there
    /// the first counts.
    pub replaces: bool,
}

/// An HTTP request that a guest wants sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callout {
    pub cluster: String,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `None`: without a limit of its own.
    pub timeout: Option<Duration>,
}
