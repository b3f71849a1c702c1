//! The data of a store: what hostcalls work on while a hook runs.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Memory, ResourceLimiter, TypedFunc};

use crate::bodies::Bodies;
use crate::calls::Calls;
use crate::context::Contexts;
use crate::engine::Ticks;
use crate::event::{Event, Recent, Sampler};
use crate::hooks::Hook;
use crate::host::{Host, Kept};
use crate::limits;
use crate::vm::VmSpec;

/// Everything in here belongs to one VM, except `host`: during a hook it is the worker's environment, swapped in
/// and out as one pointer; at rest, and while the VM is prepared, it is the VM's own.
pub(crate) struct State<H> {
    pub(crate) host: H,
    pub(crate) spec: Arc<VmSpec>,
    pub(crate) contexts: Contexts,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) scratch: Scratch,
    pub(crate) gate: Gate,
    /// Hostcalls outside the plugin's capabilities, as bits of `Call`.
    pub(crate) denied: u64,
    pub(crate) hook: Hook,
    pub(crate) delivery: Delivery,
    pub(crate) metrics: Metrics,
    pub(crate) budget: Budget,
    pub(crate) ticks: Ticks,
    pub(crate) growth: Growth,
    /// Somebody sees every hostcall of the running hook.
    pub(crate) watched: bool,
    pub(crate) recent: Recent,
    pub(crate) sampler: Sampler,
    pub(crate) calls: Calls,
    /// What the proxy keeps for this VM.
    pub(crate) kept: Kept,
    /// Which bodies the guest takes, as far as it has said so.
    pub(crate) bodies: Bodies,
    /// Queues that were registered while the VM was prepared: they are its own once it serves.
    pub(crate) queues: Vec<u32>,
    /// Text that the guest wrote to stdout and stderr without a line end so far, and whether there is any.
    pub(crate) stdio: [Vec<u8>; 2],
    pub(crate) stdio_pending: bool,
    /// Whether the root waits for `proxy_done`.
    pub(crate) root_pending_done: bool,
    pub(crate) root_done: bool,
    /// A reusable buffer for values on their way into guest memory.
    pub(crate) copy: Vec<u8>,
    /// Status of the last callout, for `proxy_get_status`.
    pub(crate) last_status: (u32, String),
}

/// What a guest may call right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `_initialize` or `_start`: only log, clocks, random and environment.
    Starting,
    Open,
    /// The guest's allocator runs on our behalf: nothing.
    Allocating,
}

/// Memory the module lends for returned strings, so that no allocation callback is needed. Emptied at every hook.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) begin: u32,
    pub(crate) size: u32,
    pub(crate) used: u32,
}

impl Scratch {
    /// Reserves `len` bytes, aligned to eight; `None` when they do not fit.
    pub(crate) fn take(&mut self, len: usize) -> Option<u32> {
        let rounded = u32::try_from(len.checked_next_multiple_of(8)?).ok()?;
        let end = self.used.checked_add(rounded)?;
        if end > self.size {
            return None;
        }
        let at = self.begin.checked_add(self.used)?;
        self.used = end;
        Some(at)
    }
}

/// What the running hook brings along: readable only inside it.
#[derive(Debug, Default)]
pub(crate) enum Delivery {
    #[default]
    Nothing,
    VmConfiguration,
    PluginConfiguration,
    Callout(CalloutAnswer),
    GrpcInitial(Vec<(Vec<u8>, Vec<u8>)>),
    GrpcMessage(Vec<u8>),
    GrpcTrailing(Vec<(Vec<u8>, Vec<u8>)>),
    Foreign(Vec<u8>),
}

/// An answer to a callout.
#[derive(Clone, Debug, Default)]
pub struct CalloutAnswer {
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Metric ids of this VM: the low two bits are the kind, the rest counts from one.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) counters: Vec<u32>,
    pub(crate) gauges: Vec<u32>,
    pub(crate) histograms: Vec<u32>,
}

/// CPU time left to the running hook.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    pub(crate) allowed: Duration,
    /// Thread CPU time and monotonic time at the first tick inside the hook.
    pub(crate) since: Option<(Duration, Duration)>,
    pub(crate) exhausted: bool,
}

/// The limiter of memories and tables of this store.
#[derive(Debug)]
pub(crate) struct Growth {
    pub(crate) memory_limit: usize,
    pub(crate) memory: usize,
    pub(crate) table_elements: usize,
    /// Set when growth was refused; turns a following trap into a memory fault.
    pub(crate) refused: bool,
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.memory_limit;
        if allowed {
            self.memory = desired;
        }
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements.saturating_add(desired.saturating_sub(current));
        let allowed = total <= limits::TABLE_ELEMENTS;
        if allowed {
            self.table_elements = total;
        }
        self.refused |= !allowed;
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        1
    }
    fn memories(&self) -> usize {
        1
    }
}

impl<H: Host> State<H> {
    pub(crate) fn new(spec: Arc<VmSpec>, host: H) -> Self {
        let sampler = Sampler::new(host.vm_identity(&spec));
        Self {
            growth: Growth { memory_limit: spec.limits.memory, memory: 0, table_elements: 0, refused: false },
            host,
            spec,
            contexts: Contexts::new(),
            memory: None,
            allocate: None,
            scratch: Scratch::default(),
            gate: Gate::Starting,
            denied: 0,
            hook: Hook::Start,
            delivery: Delivery::Nothing,
            metrics: Metrics::default(),
            budget: Budget::default(),
            ticks: Ticks::default(),
            watched: false,
            recent: Recent::new(),
            sampler,
            calls: Calls::default(),
            kept: Kept::default(),
            bodies: Bodies::default(),
            queues: Vec::new(),
            stdio: [Vec::new(), Vec::new()],
            stdio_pending: false,
            root_pending_done: false,
            root_done: false,
            copy: Vec::new(),
            last_status: (0, String::new()),
        }
    }

    /// Tells the host what passed the boundary.
    pub(crate) fn tell(&mut self, event: Event<'_>) {
        let stream = self.contexts.acting_stream().map(|context| context.stream);
        let Self { host, spec, .. } = self;
        host.observe(spec, stream, event);
    }

    /// After a hostcall: code without loops is not interrupted by the clock, and may be one long list of calls.
    #[inline]
    pub(crate) fn pay(&mut self) -> wasmtime::Result<()> {
        if self.ticks.passed() && !self.may_continue() {
            return Err(wasmtime::Error::msg("no time is left for the hook"));
        }
        Ok(())
    }

    /// The tick of the epoch clock inside a hook: whether it may go on.
    pub(crate) fn may_continue(&mut self) -> bool {
        let now = (self.host.thread_cpu(), self.host.monotonic_clock());
        let (cpu, wall) = *self.budget.since.get_or_insert(now);
        let spent = now.0.saturating_sub(cpu) >= self.budget.allowed;
        self.budget.exhausted = spent || now.1.saturating_sub(wall) >= limits::HOOK_WALL.max(self.budget.allowed);
        !self.budget.exhausted
    }
}
