//! Every bound of the host in one place: unit and reason. What an operator may set is in [`Limits`]; the rest is fixed.

use std::time::Duration;

/// What the operator sets per plugin (`plugins[].limits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of the thread that one hook may use. Default 10 ms: a hundred times what a heavy filter needs.
    pub cpu_per_call: Duration,
    /// CPU time of start, `on_vm_start` and `on_configure` together. Default 1 s.
    pub configure: Duration,
    /// Linear memory in bytes. Default 32 MiB.
    pub memory: usize,
    /// Callouts one VM may have under way for one exchange. Default 8.
    pub callouts: u32,
    /// Bytes that a guest may make of a body, or give to a local reply. Default 1 MiB. A larger body that it was given
    /// may keep its size.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_per_call: Duration::from_millis(10),
            configure: Duration::from_secs(1),
            memory: 32 << 20,
            callouts: 8,
            body: 1 << 20,
        }
    }
}

/// A module file in bytes: 32 MiB holds the largest known Go filters several times over.
pub const MODULE_BYTES: usize = 32 << 20;
/// Functions of a module: the largest known Go filters have some 20,000. Each costs memory as long as the code lives.
pub const FUNCTIONS: usize = 200_000;
/// Bytes of one function: compiling it takes more than in proportion. Generated tables and parsers stay far below.
pub const FUNCTION_BYTES: usize = 1 << 20;
/// Bytes of a function's name: a fault copies those of its frames.
pub const FUNCTION_NAME: usize = 64 << 10;
/// Elements that a module lists for its tables.
pub const ELEMENTS: usize = 200_000;
/// Table elements in all tables of a VM: function tables of known modules stay below 5,000.
pub const TABLE_ELEMENTS: usize = 10_000;
/// Guest stack in bytes; worker threads have at least four times as much.
pub const STACK_BYTES: usize = 512 << 10;
/// Wall time that a hook may last while its CPU budget is unused (the thread was descheduled).
pub const HOOK_WALL: Duration = Duration::from_secs(1);
/// One epoch tick: the resolution of the CPU limit.
pub const TICK: Duration = Duration::from_millis(1);
/// The smallest period a guest may ask its timer for.
pub const TIMER_MIN: Duration = Duration::from_millis(1);
/// Bytes of one serialized header map from a guest; Envoy's value.
pub const PAIRS_BYTES: usize = 1 << 20;
/// Entries of one serialized header map from a guest; Envoy's value.
pub const PAIRS_COUNT: usize = 1024;
/// Bytes of one `random_get`; Envoy's value.
pub const RANDOM_BYTES: u32 = 64 << 10;
/// Bytes of one log line; longer ones are dropped and counted.
pub const LOG_BYTES: usize = 8 << 10;
/// Bytes of an unfinished line that a guest writes to stdout or stderr piecemeal.
pub const STDIO_BYTES: usize = 8 << 10;
/// Bytes that one `fd_write` takes; the guest learns how many and may write on. No budget ends a hostcall.
pub const WRITE_BYTES: u32 = 64 << 10;
/// Lines that one `fd_write` takes, for the same reason.
pub const WRITE_LINES: u32 = 256;
/// Bytes kept of a property written by a guest.
pub const PROPERTY_BYTES: usize = 64 << 10;
/// Bytes kept of a local reply's details: one word of an access log.
pub const DETAILS_BYTES: usize = 256;
/// Bytes of the name of a cluster, a queue, a vmId, a gRPC service or method; far more than any has.
pub const NAME_BYTES: usize = 1 << 10;
/// Bytes of the name, labels included, that a guest may give a metric.
pub const SERIES_NAME_BYTES: usize = 1 << 10;
/// Bytes of Envoy's `GrpcService` message, metadata included.
pub const GRPC_SERVICE_BYTES: usize = PAIRS_BYTES;
/// Bytes of the host's reusable copy buffer that are kept between hostcalls.
pub const COPY_KEPT: usize = 64 << 10;
/// Callouts of one VM that may be under way at the same time, over all exchanges.
pub const CALLS: usize = 4096;
/// Messages, and their bytes, of one gRPC stream that wait for the upstream; also the bytes of one message that is
/// sent. gRPC's own default for a message.
pub const GRPC_QUEUE_MESSAGES: usize = 256;
pub const GRPC_QUEUE_BYTES: usize = 4 << 20;
/// Metrics that one VM may define, over all kinds; the host's series quota usually bites first.
pub const METRIC_IDS: usize = 1 << 16;
/// Items in one queue, and bytes of one item.
pub const QUEUE_ITEMS: usize = 1024;
pub const QUEUE_ITEM_BYTES: usize = 64 << 10;
/// Queues that one vmId may register.
pub const QUEUES: usize = 64;
/// Bytes in all queues of one vmId: as much as shared data has by default.
pub const QUEUE_BYTES: usize = 1 << 20;
/// Token buckets under one vmId in each of 16 shards: 16,384 clients told apart, about 4 MiB with keys of 200 bytes.
pub const BUCKETS: usize = 1024;
/// Bytes of a token bucket's key.
pub const BUCKET_KEY_BYTES: usize = 1 << 10;
/// How long a full bucket that nobody asks for may stay once its shard meets a new key.
pub const BUCKET_SWEEP: Duration = Duration::from_secs(1);
/// Bytes that the callouts of one VM hold until they have ended: a root may send without an exchange that limits it.
pub const CALLOUT_BYTES: usize = 16 << 20;
/// Keys of shared data under one vmId; bytes are bounded by the operator.
pub const SHARED_KEYS: usize = 16 << 10;
/// Hostcalls shown in the report of a fault.
pub const RECENT_CALLS: usize = 8;
/// Of how many hooks one has its CPU time measured.
pub const SAMPLE_EVERY: u32 = 64;
/// A hook that lasts longer may have lost its CPU in between: the wall clock does not tell its CPU time.
pub const LASTING: Duration = Duration::from_micros(100);
/// Wasm frames shown in a trap's backtrace.
pub const BACKTRACE_FRAMES: usize = 20;
/// Bytes of a fault's description.
pub const FAULT_TEXT: usize = 4 << 10;
