//! One VM: a store with its instance, for one plugin with one configuration on one worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Instance, Store, TypedFunc, UpdateDeadline, WasmBacktrace, WasmParams, WasmResults};

use crate::abi::AbiVersion;
use crate::backtrace;
use crate::bodies::BodyUse;
use crate::context::{ContextId, ROOT};
use crate::event::{Begun, Event, HookRun, Returned};
use crate::fault::{Fault, FaultReason, cut, harmless};
use crate::hooks::{Hook, HookSet};
use crate::host::{Host, StreamKey};
use crate::hostcalls::{Call, wasi};
use crate::limits::Limits;
use crate::module::{Module, Outline};
use crate::state::{Delivery, Gate, Scratch, State};

/// Everything about a VM that does not change while it lives.
#[derive(Clone, Debug, Default)]
pub struct VmSpec {
    /// The plugin's name as the operator wrote it.
    pub plugin: String,
    /// The version label of metrics and logs.
    pub version: String,
    pub root_id: String,
    /// The namespace of shared data and queues.
    pub vm_id: String,
    pub vm_configuration: Vec<u8>,
    /// `None`: no configuration was given.
    pub configuration: Option<Vec<u8>>,
    /// The environment that WASI shows.
    pub environment: Vec<(String, String)>,
    pub limits: Limits,
    /// Quota of shared data in bytes.
    pub shared_data: usize,
    /// Log lines per second, and metric series, that the plugin may write.
    pub log_rate: u32,
    pub series: usize,
    /// Hostcalls that this plugin may make, and `steer`; empty: all.
    pub capabilities: Vec<String>,
    /// The operator's word that the module has only these hooks; empty: all that it exports.
    pub hooks: Vec<String>,
    /// Envoy's `allow_on_headers_stop_iteration`: a pause in headers holds the headers only, body hooks run.
    pub allow_on_headers_stop_iteration: bool,
    /// The proxy's own number for this plugin and configuration.
    pub tag: u64,
}

impl VmSpec {
    /// Whether the plugin may write `sidegate.*` properties, which decide where requests go.
    pub fn may_steer(&self) -> bool {
        self.capabilities.is_empty() || self.capabilities.iter().any(|capability| capability == "steer")
    }
}

/// A guest, started and configured. Calls are synchronous and happen on the thread that owns it.
pub struct Vm<H: Host> {
    pub(crate) core: Core<H>,
    pub(crate) exports: Box<Exports>,
    pub(crate) hooks: HookSet,
}

/// The store and whether it may still be entered; apart from the exports so that both can be borrowed at once.
pub(crate) struct Core<H: Host> {
    engine: crate::Engine<H>,
    pub(crate) store: Store<State<H>>,
    dead: bool,
}

impl<H: Host> Vm<H> {
    /// Instantiates, starts and configures a VM. `host` is the environment it sees while it is prepared and owns
    /// afterwards; a trap, a refusal or the end of `limits.configure` is a fault.
    pub fn prepare(module: &Module<H>, spec: Arc<VmSpec>, host: H) -> Result<Self, Fault> {
        let mut store = Store::new(module.engine.wasmtime(), State::new(spec.clone(), host));
        store.limiter(|state| &mut state.growth);
        let engine = module.engine.clone();
        store.epoch_deadline_callback(move |mut caller| {
            // A long hook keeps the clock awake: it would rest and stretch the deadline otherwise.
            engine.entered();
            Ok(if caller.data_mut().may_continue() { UpdateDeadline::Continue(1) } else { UpdateDeadline::Interrupt })
        });
        store.data_mut().ticks = module.engine.ticks();
        store.data_mut().denied = Call::denied(&spec.capabilities);
        let mut core = Core { engine: module.engine.clone(), store, dead: false };
        let instance = core.enter_own(Hook::Start, |store| module.pre.instantiate(store))?;
        let exports = core
            .bind(&instance, &module.outline, &spec)
            .map_err(|error| Fault::new(Hook::Start, FaultReason::Trap, format_args!("{error:#}")))?;
        let mut vm = Self { core, exports: Box::new(exports), hooks: HookSet::default() };
        vm.start(&instance, &module.outline)?;
        vm.configure()?;
        vm.hooks = Hook::ALL.into_iter().filter(|hook| vm.exports.has(*hook)).collect();
        Ok(vm)
    }

    fn start(&mut self, instance: &Instance, outline: &Outline) -> Result<(), Fault> {
        let core = &mut self.core;
        if outline.exports.contains("_initialize") {
            core.call_start(instance, "_initialize")?;
            if outline.exports.contains("main") {
                core.enter_own(Hook::Start, |store| {
                    let main = instance.get_typed_func::<(u32, u32), u32>(&mut *store, "main")?;
                    main.call(store, (0, 0)).map(drop)
                })?;
            } else if outline.exports.contains("__main_void") {
                core.enter_own(Hook::Start, |store| {
                    let main = instance.get_typed_func::<(), u32>(&mut *store, "__main_void")?;
                    main.call(store, ()).map(drop)
                })?;
            }
        } else if outline.exports.contains("_start") {
            core.call_start(instance, "_start")?;
        }
        if outline.exports.contains("sidegate_scratch_begin") && outline.exports.contains("sidegate_scratch_size") {
            let (begin, size) = core.enter_own(Hook::Start, |store| {
                let begin = instance.get_typed_func::<(), u32>(&mut *store, "sidegate_scratch_begin")?;
                let size = instance.get_typed_func::<(), u32>(&mut *store, "sidegate_scratch_size")?;
                Ok((begin.call(&mut *store, ())?, size.call(&mut *store, ())?))
            })?;
            core.store.data_mut().scratch = Scratch { begin, size, used: 0 };
        }
        core.store.data_mut().gate = Gate::Open;
        Ok(())
    }

    fn configure(&mut self) -> Result<(), Fault> {
        let Self { core, exports, .. } = self;
        if let Some(create) = &exports.context_create {
            core.enter_own(Hook::ContextCreate, |store| create.call(store, (ROOT.0, 0)))?;
        }
        let spec = core.store.data().spec.clone();
        let deliveries = [
            (Hook::VmStart, &exports.vm_start, Delivery::VmConfiguration, spec.vm_configuration.len()),
            (
                Hook::Configure,
                &exports.configure,
                Delivery::PluginConfiguration,
                spec.configuration.as_ref().map_or(0, Vec::len),
            ),
        ];
        for (hook, function, delivery, len) in deliveries {
            let Some(function) = function else { continue };
            core.store.data_mut().delivery = delivery;
            let accepted = core.enter_own(hook, |store| function.call(store, (ROOT.0, len as u32)))?;
            core.store.data_mut().delivery = Delivery::Nothing;
            if accepted == 0 {
                return Err(Fault::new(hook, FaultReason::Refused, "the module returned false"));
            }
        }
        let state = core.store.data_mut();
        state.budget.allowed = state.spec.limits.cpu_per_call;
        if state.bodies.request == BodyUse::None {
            (exports.request_body, exports.request_trailers) = (None, None);
        }
        if state.bodies.response == BodyUse::None {
            (exports.response_body, exports.response_trailers) = (None, None);
        }
        Ok(())
    }

    pub fn spec(&self) -> &Arc<VmSpec> {
        &self.core.store.data().spec
    }

    /// The environment that the VM was prepared with: what it recorded there is the proxy's to carry out.
    pub fn own_host(&mut self) -> &mut H {
        &mut self.core.store.data_mut().host
    }

    /// The VM begins to serve: the queues that it registered while it was prepared become its own.
    pub fn own_queues(&mut self) {
        let state = self.core.store.data_mut();
        let owner = state.host.vm_identity(&state.spec);
        for id in std::mem::take(&mut state.queues) {
            state.host.shared().own_queue(id, owner);
        }
    }

    /// Whether a fault has ended this VM.
    pub fn is_dead(&self) -> bool {
        self.core.dead
    }

    /// Open stream contexts.
    pub fn contexts(&self) -> usize {
        self.core.store.data().contexts.len()
    }

    /// Whether a call that has one answer has none yet.
    pub fn awaits_answers(&self) -> bool {
        self.core.store.data().calls.await_answers()
    }

    /// The exchanges with an open context: who is concerned by a fault.
    pub fn streams(&self) -> impl Iterator<Item = StreamKey> {
        self.core.store.data().contexts.streams()
    }

    /// Linear memory in bytes.
    pub fn memory(&self) -> usize {
        self.core.store.data().growth.memory
    }
}

impl<H: Host> Core<H> {
    /// Runs guest code with the worker's environment in place of the VM's own. Every call into a guest passes here:
    /// budgets are set, panics and traps become a fault, and after one nothing enters again.
    #[inline]
    pub(crate) fn enter<R: Returned>(
        &mut self,
        host: &mut H,
        hook: Hook,
        context: ContextId,
        call: impl FnOnce(&mut Store<State<H>>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        self.alive(hook)?;
        std::mem::swap(&mut self.store.data_mut().host, host);
        let result = self.run(hook, context, call);
        std::mem::swap(&mut self.store.data_mut().host, host);
        result
    }

    /// Refuses every entry after a fault.
    #[inline]
    pub(crate) fn alive(&self, hook: Hook) -> Result<(), Fault> {
        if self.dead { Err(Fault::lost(hook)) } else { Ok(()) }
    }

    /// The same with the VM's own environment, while it is prepared.
    fn enter_own<R: Returned>(
        &mut self,
        hook: Hook,
        call: impl FnOnce(&mut Store<State<H>>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let state = self.store.data_mut();
        let before = state.host.thread_cpu();
        let configure = state.spec.limits.configure;
        // Start, on_vm_start and on_configure share one budget: what is left of it is in `budget.allowed`.
        state.budget.allowed = if hook == Hook::Start && state.memory.is_none() {
            configure
        } else {
            state.budget.allowed.max(Duration::from_millis(1))
        };
        let result = self.run(hook, ROOT, call);
        let state = self.store.data_mut();
        let spent = state.host.thread_cpu().saturating_sub(before);
        state.budget.allowed = state.budget.allowed.saturating_sub(spent);
        result
    }

    #[inline]
    fn run<R: Returned>(
        &mut self,
        hook: Hook,
        context: ContextId,
        call: impl FnOnce(&mut Store<State<H>>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let state = self.store.data_mut();
        state.hook = hook;
        state.contexts.current = context.0;
        state.contexts.effective = 0;
        state.scratch.used = 0;
        state.budget.since = None;
        state.growth.refused = false;
        state.recent.clear();
        state.watched = state.host.watches();
        let weight = if hook.prepares() { 1 } else { state.sampler.weigh() };
        let exact = state.watched || hook.prepares();
        let begun = (weight > 0 || exact).then(|| state.sampler.begin(hook, &state.host, exact));
        self.engine.entered();
        self.store.set_epoch_deadline(1);
        // A panic of ours inside a hostcall must cost this VM, not the worker.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = call(&mut self.store);
            let state = self.store.data_mut();
            if state.stdio_pending {
                wasi::flush(state);
            }
            result
        }));
        let result = match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.trapped(hook, &error)),
            Err(_) => Err(self.panicked(hook)),
        };
        if begun.is_some() || result.is_err() {
            let (returned, fault) = match &result {
                Ok(value) => (value.returned(), None),
                Err(fault) => (None, Some(fault)),
            };
            self.report(hook, returned, begun, weight, fault);
        }
        result
    }

    #[cold]
    fn report(&mut self, hook: Hook, returned: Option<u32>, begun: Option<Begun>, weight: u32, fault: Option<&Fault>) {
        let state = self.store.data_mut();
        let cpu = begun.and_then(|begun| state.sampler.end(hook, &state.host, begun));
        let weight = if cpu.is_some() { weight } else { 0 };
        let cpu = cpu.unwrap_or_default();
        if weight > 0 || state.watched || fault.is_some() {
            state.tell(Event::Hook(HookRun { hook, returned, cpu, weight, fault }));
        }
    }

    #[cold]
    fn panicked(&mut self, hook: Hook) -> Fault {
        self.dead = true;
        let fault = Fault::new(hook, FaultReason::Host, "a hostcall panicked");
        Fault { calls: self.store.data().recent.to_string(), ..fault }
    }

    #[cold]
    fn trapped(&mut self, hook: Hook, error: &wasmtime::Error) -> Fault {
        self.dead = true;
        let state = self.store.data();
        let reason = if state.budget.exhausted {
            FaultReason::Deadline
        } else if state.growth.refused {
            FaultReason::Memory
        } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            FaultReason::Host
        } else {
            FaultReason::Trap
        };
        // Not the error's own long form: with RUST_BACKTRACE it resolves the symbols of the host, which takes a tenth of
        // a second of everybody's time.
        let way = error.downcast_ref::<WasmBacktrace>().map(backtrace::text);
        let told = usize::from(way.is_some());
        let causes = way.into_iter().chain(error.chain().skip(told).map(|cause| cut(cause.to_string())));
        let causes: Vec<String> = causes.map(|cause| harmless(&cause)).collect();
        let fault = Fault::new(hook, reason, causes.join("\n\nCaused by:\n    "));
        Fault { calls: state.recent.to_string(), ..fault }
    }

    fn call_start(&mut self, instance: &Instance, name: &str) -> Result<(), Fault> {
        self.enter_own(Hook::Start, |store| instance.get_typed_func::<(), ()>(&mut *store, name)?.call(store, ()))
    }

    /// Resolves every export once.
    fn bind(&mut self, instance: &Instance, outline: &Outline, spec: &VmSpec) -> wasmtime::Result<Exports> {
        let store = &mut self.store;
        let memory = instance.get_memory(&mut *store, "memory");
        let allocator = ["malloc", "proxy_on_memory_allocate"].into_iter().find(|name| outline.exports.contains(*name));
        let allocate = allocator.map(|name| instance.get_typed_func(&mut *store, name)).transpose()?;
        let state = store.data_mut();
        state.memory = memory;
        state.allocate = allocate;
        let mut bind = Binder { store, instance, outline, spec };
        Ok(Exports {
            context_create: bind.hook(Hook::ContextCreate)?,
            vm_start: bind.hook(Hook::VmStart)?,
            configure: bind.hook(Hook::Configure)?,
            request_headers: bind.headers(Hook::RequestHeaders)?,
            request_body: bind.hook(Hook::RequestBody)?,
            request_trailers: bind.hook(Hook::RequestTrailers)?,
            response_headers: bind.headers(Hook::ResponseHeaders)?,
            response_body: bind.hook(Hook::ResponseBody)?,
            response_trailers: bind.hook(Hook::ResponseTrailers)?,
            callout_response: bind.hook(Hook::CalloutResponse)?,
            grpc_initial_metadata: bind.hook(Hook::GrpcInitialMetadata)?,
            grpc_receive: bind.hook(Hook::GrpcReceive)?,
            grpc_trailing_metadata: bind.hook(Hook::GrpcTrailingMetadata)?,
            grpc_close: bind.hook(Hook::GrpcClose)?,
            foreign_function: bind.hook(Hook::ForeignFunction)?,
            queue_ready: bind.hook(Hook::QueueReady)?,
            tick: bind.hook(Hook::Tick)?,
            log: bind.hook(Hook::Log)?,
            done: bind.hook(Hook::Done)?,
            delete: bind.hook(Hook::Delete)?,
        })
    }
}

/// The hooks of a VM. `None`: absent, without effect, or ruled out by the operator; it is never called.
pub(crate) struct Exports {
    pub(crate) context_create: Option<TypedFunc<(u32, u32), ()>>,
    vm_start: Option<TypedFunc<(u32, u32), u32>>,
    configure: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) request_headers: Option<HeadersFunc>,
    pub(crate) request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) response_headers: Option<HeadersFunc>,
    pub(crate) response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) callout_response: Option<CalloutFunc>,
    pub(crate) grpc_initial_metadata: Option<GrpcFunc>,
    pub(crate) grpc_receive: Option<GrpcFunc>,
    pub(crate) grpc_trailing_metadata: Option<GrpcFunc>,
    pub(crate) grpc_close: Option<GrpcFunc>,
    pub(crate) foreign_function: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) tick: Option<TypedFunc<u32, ()>>,
    pub(crate) log: Option<TypedFunc<u32, ()>>,
    pub(crate) done: Option<TypedFunc<u32, u32>>,
    pub(crate) delete: Option<TypedFunc<u32, ()>>,
}

impl Exports {
    fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::RequestHeaders => self.request_headers.is_some(),
            Hook::RequestBody => self.request_body.is_some(),
            Hook::RequestTrailers => self.request_trailers.is_some(),
            Hook::ResponseHeaders => self.response_headers.is_some(),
            Hook::ResponseBody => self.response_body.is_some(),
            Hook::ResponseTrailers => self.response_trailers.is_some(),
            Hook::Log => self.log.is_some(),
            Hook::Done => self.done.is_some(),
            Hook::Delete => self.delete.is_some(),
            Hook::Tick => self.tick.is_some(),
            Hook::QueueReady => self.queue_ready.is_some(),
            Hook::CalloutResponse => self.callout_response.is_some(),
            Hook::GrpcInitialMetadata => self.grpc_initial_metadata.is_some(),
            Hook::GrpcReceive => self.grpc_receive.is_some(),
            Hook::GrpcTrailingMetadata => self.grpc_trailing_metadata.is_some(),
            Hook::GrpcClose => self.grpc_close.is_some(),
            Hook::ForeignFunction => self.foreign_function.is_some(),
            Hook::ContextCreate => self.context_create.is_some(),
            Hook::Start | Hook::VmStart | Hook::Configure => true,
        }
    }
}

/// Root, callout, and the sizes of headers, body and trailers.
type CalloutFunc = TypedFunc<(u32, u32, u32, u32, u32), ()>;

/// Root, call, and a size, a count or a status.
type GrpcFunc = TypedFunc<(u32, u32, u32), ()>;

/// Header hooks got their end-of-stream flag with ABI 0.2.0.
pub(crate) enum HeadersFunc {
    WithoutEnd(TypedFunc<(u32, u32), u32>),
    WithEnd(TypedFunc<(u32, u32, u32), u32>),
}

struct Binder<'a, H: Host> {
    store: &'a mut Store<State<H>>,
    instance: &'a Instance,
    outline: &'a Outline,
    spec: &'a VmSpec,
}

impl<H: Host> Binder<'_, H> {
    fn wanted(&self, hook: Hook) -> bool {
        let ruled_out = hook.may_be_skipped()
            && !self.spec.hooks.is_empty()
            && !self.spec.hooks.iter().any(|name| hook.is_named(name));
        !ruled_out && self.outline.acts(hook)
    }

    fn hook<P: WasmParams, R: WasmResults>(&mut self, hook: Hook) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
        if !self.wanted(hook) {
            return Ok(None);
        }
        self.instance.get_typed_func(&mut *self.store, hook.export()).map(Some)
    }

    fn headers(&mut self, hook: Hook) -> wasmtime::Result<Option<HeadersFunc>> {
        Ok(match self.outline.abi {
            AbiVersion::V0_1_0 => self.hook(hook)?.map(HeadersFunc::WithoutEnd),
            AbiVersion::V0_2_0 | AbiVersion::V0_2_1 => self.hook(hook)?.map(HeadersFunc::WithEnd),
        })
    }
}
