//! The VMs of one worker: which one serves, what takes its place after a fault, and what guests asked for that happens
//! outside of exchanges (ticks, timers, callouts, queues).

pub mod background;
mod callouts;
mod farewell;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sidegate_wasm_host::hooks::{Hook, HookSet};
use sidegate_wasm_host::{Fault, FaultReason, Vm, limits};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::Worker;
use super::breaker::Verdict;
use super::intent::Intent;
use super::wishes::Wishes;
use crate::mailbox::Seat;
use crate::snapshot::plugin::Guest;
use crate::snapshot::{PluginModule, PluginUse};
use crate::telemetry::metrics::{Kind, SeriesName};
use crate::telemetry::plugins::{FAULTS, PluginSeries};

pub type VmHandle = Rc<RefCell<Vm<Guest>>>;

/// One plugin with one configuration on one worker.
pub struct VmSlot {
    pub plugin: Arc<PluginUse>,
    current: RefCell<Option<VmHandle>>,
    spare: RefCell<Option<Vm<Guest>>>,
    /// What is called of the VM that serves.
    hooks: Cell<HookSet>,
    /// A VM was asked for and has not come yet.
    waiting: Cell<bool>,
    /// No snapshot uses this slot any more.
    retired: Cell<bool>,
    /// Exchanges that may still use it.
    users: Cell<usize>,
    /// What the plugin asked for when it was configured.
    wishes: RefCell<Option<Arc<Wishes>>>,
    series: PluginSeries,
    /// What this slot has added to the open contexts.
    shown_contexts: Cell<i64>,
    /// The last exchange is gone: the root is told to finish. There is no way back.
    leaving: Cell<bool>,
    tasks: RefCell<Tasks>,
    /// Held while a hook runs that no exchange waits for.
    turn: Semaphore,
    /// Items of queues that it is going to be told of.
    notices: Cell<usize>,
    /// Counts among those that serve its version.
    serving: RefCell<Option<Serving>>,
}

/// One that serves a version, until dropped.
struct Serving(Arc<PluginModule>);

impl Serving {
    fn new(module: &Arc<PluginModule>) -> Self {
        module.serving.fetch_add(1, Ordering::AcqRel);
        Self(module.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Default)]
struct Tasks {
    tick: Option<AbortHandle>,
    /// The VM that serves has asked for ticks, or for none.
    tick_asked: bool,
    timers: JoinSet<()>,
    /// gRPC calls of the VM that serves, by id.
    grpc: HashMap<u32, callouts::Open>,
}

impl VmSlot {
    /// A slot with the VMs that were prepared for it; the first serves, another waits as its spare.
    pub fn new(worker: usize, plugin: Arc<PluginUse>, seat: Seat) -> Rc<Self> {
        let Seat { vms, series, wishes } = seat;
        series.vms.add(worker, 1);
        let mut vms = vms.into_iter();
        let current = vms.next();
        let hooks = current.as_ref().map(Vm::hooks).unwrap_or_default();
        let serving = Serving::new(&plugin.module);
        Rc::new(Self {
            plugin,
            current: RefCell::new(current.map(|vm| Rc::new(RefCell::new(vm)))),
            spare: RefCell::new(vms.next()),
            hooks: Cell::new(hooks),
            waiting: Cell::new(false),
            retired: Cell::new(false),
            users: Cell::new(0),
            wishes: RefCell::new(wishes),
            series,
            shown_contexts: Cell::new(0),
            leaving: Cell::new(false),
            tasks: RefCell::default(),
            turn: Semaphore::new(1),
            notices: Cell::default(),
            serving: RefCell::new(Some(serving)),
        })
    }

    /// What exchanges are given because of this plugin.
    pub fn wishes(&self) -> Option<Arc<Wishes>> {
        self.wishes.borrow().clone()
    }

    /// The VM for a new exchange; none while this version's breaker is open.
    pub fn for_exchange(&self) -> Option<VmHandle> {
        if self.plugin.module.breaker.is_open() { None } else { self.current() }
    }

    /// The VM that serves.
    pub fn current(&self) -> Option<VmHandle> {
        self.current.borrow().clone()
    }

    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.get().has(hook)
    }

    /// Whether its constructor must run even where no hook would.
    pub fn creates_contexts(&self) -> bool {
        self.has(Hook::ContextCreate)
    }

    /// Whether it is told of an exchange only when that is over: its context is then opened for the end alone.
    pub fn only_ends(&self) -> bool {
        let before = Hook::SKIPPABLE.iter().any(|hook| *hook != Hook::Done && self.has(*hook));
        !before && (self.has(Hook::Done) || self.has(Hook::Delete))
    }

    pub fn has_response_hooks(&self) -> bool {
        self.has(Hook::ResponseHeaders) || self.has(Hook::ResponseBody) || self.has(Hook::ResponseTrailers)
    }

    /// Brings `sidegate_plugin_contexts` up to date with the VM that serves. Done by the slow sweep, so that requests
    /// pay nothing for it.
    pub(super) fn show_contexts(&self, worker: &Worker) {
        let open = self.current().map_or(0, |vm| vm.borrow().contexts());
        self.add_contexts(worker, i64::try_from(open).unwrap_or(i64::MAX));
    }

    pub(super) fn add_contexts(&self, worker: &Worker, open: i64) {
        self.series.contexts.add(worker.index, open - self.shown_contexts.replace(open));
    }

    /// Carries out what the VM asked for while it was prepared.
    pub fn activate(self: &Rc<Self>, worker: &Rc<Worker>) {
        if let Some(vm) = self.current() {
            vm.borrow_mut().own_queues();
            let mut recorded = std::mem::take(&mut vm.borrow_mut().own_host().outbox);
            // A request that came before this may have asked for another period already.
            recorded.retain(|intent| !matches!(intent, Intent::Tick { .. }) || !self.tasks.borrow().tick_asked);
            worker.carry_out(recorded);
        }
    }

    /// Counts a fault.
    pub fn count(&self, worker: &Worker, fault: &Fault) {
        let spec = &self.plugin.spec;
        let labels = [
            ("plugin", spec.plugin.as_str()),
            ("version", &spec.version),
            ("hook", fault.hook.as_str()),
            ("reason", fault.reason.as_str()),
        ];
        let name = SeriesName::new(FAULTS, &labels);
        worker.process.metrics.series(Kind::Counter, &name).add_shared(1);
    }

    /// Tells people of a VM that has ended, or could not be made.
    fn report(&self, worker: &Worker, fault: &Fault) {
        self.count(worker, fault);
        let spec = &self.plugin.spec;
        tracing::error!(plugin = spec.plugin, version = spec.version, hook = %fault.hook, reason = %fault.reason, "{}", fault.detail);
        worker.process.health.note(&spec.plugin, &fault.to_string());
    }

    /// A VM has ended: reports it, tells the exchanges that were in it, and puts the spare in its place.
    pub fn faulted(self: Rc<Self>, worker: &Rc<Worker>, vm: &VmHandle, fault: &Fault) {
        if fault.reason == FaultReason::VmLost {
            return;
        }
        self.report(worker, fault);
        // Others with an open context learn it where they wait, or at their next hook.
        let lost: Vec<_> = vm.borrow().streams().collect();
        worker.with_env(|env| {
            for key in lost {
                if let Some(view) = env.view(key) {
                    view.asked.vm_lost = true;
                    view.asked.wake();
                }
            }
        });
        if !self.serves(vm) {
            return;
        }
        self.end_tasks();
        // What it asked for last must not be done in the name of its successor.
        let tag = self.plugin.spec.tag;
        worker.with_env(|env| env.outbox.retain(|intent| intent.tag() != Some(tag)));
        let now = Instant::now();
        let verdict = worker.process.health.fault(&self.plugin.spec.plugin, &self.plugin.module.digest, now);
        if let Verdict::Open(time) = verdict {
            self.plugin.module.breaker.open(now, time);
        }
        let spare = self.spare.borrow_mut().take();
        // An open breaker means that this version gets no VM, not even the one that is ready.
        let spare = spare.filter(|_| !matches!(verdict, Verdict::Open(_)));
        *self.current.borrow_mut() = spare.map(|vm| Rc::new(RefCell::new(vm)));
        self.activate(worker);
        self.request(worker, verdict.delay());
    }

    /// Asks for a VM when there is none and none is on its way.
    pub fn wants_vm(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.current.borrow().is_none() && !self.waiting.get() {
            let delay =
                worker.process.health.delay(&self.plugin.spec.plugin, &self.plugin.module.digest, Instant::now());
            self.request(worker, delay);
        }
    }

    fn request(self: &Rc<Self>, worker: &Rc<Worker>, delay: Duration) {
        if self.retired.get() || self.waiting.replace(true) {
            return;
        }
        let (slot, worker) = (self.clone(), worker.clone());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            worker.request_vm(&slot.plugin);
        });
    }

    /// A VM that was asked for is here, or could not be made.
    pub fn arrived(self: &Rc<Self>, worker: &Rc<Worker>, vm: Result<Vm<Guest>, Fault>) {
        self.waiting.set(false);
        if self.retired.get() {
            vm.into_iter().for_each(|vm| worker.free(vm));
            return;
        }
        match vm {
            Ok(vm) => {
                self.take(worker, vm);
                if self.spare.borrow().is_none() {
                    self.request(worker, Duration::ZERO);
                }
            }
            Err(fault) => {
                self.report(worker, &fault);
                let digest = &self.plugin.module.digest;
                let verdict = worker.process.health.fault(&self.plugin.spec.plugin, digest, Instant::now());
                self.request(worker, verdict.delay());
            }
        }
    }

    /// A VM serves from now on, or is the spare of the one that does.
    pub fn take(self: &Rc<Self>, worker: &Rc<Worker>, vm: Vm<Guest>) {
        if self.current.borrow().is_some() {
            return self.spare.replace(Some(vm)).into_iter().for_each(|vm| worker.free(vm));
        }
        self.hooks.set(vm.hooks());
        *self.wishes.borrow_mut() = worker.process.wishes.of(self.plugin.spec.tag);
        *self.current.borrow_mut() = Some(Rc::new(RefCell::new(vm)));
        self.activate(worker);
    }

    /// An exchange begins that may use this slot to its end.
    pub fn entered(&self, worker: usize) {
        self.series.requests.add(worker, 1);
        self.users.set(self.users.get() + 1);
    }

    /// It has ended: a retired slot without exchanges says farewell.
    pub fn left(self: &Rc<Self>, worker: &Rc<Worker>) {
        self.users.set(self.users.get().saturating_sub(1));
        if self.retired.get() && self.users.get() == 0 {
            self.farewell(worker);
        }
    }

    /// No new exchange comes here any more. [`VmSlot::clear`] does what follows.
    pub fn retire(&self) {
        self.retired.set(true);
    }

    /// Its root has been told that it ends: it serves no more.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// No snapshot uses it.
    pub fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Gives up what a retired slot does not need. One that a snapshot uses again meanwhile is left alone.
    pub fn clear(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.retired.get() {
            self.spare.take().into_iter().for_each(|vm| worker.free(vm));
            if self.users.get() == 0 {
                self.farewell(worker);
            }
        }
    }

    /// A snapshot uses it, perhaps again.
    pub fn keep(&self) {
        if !self.leaving.get() {
            self.retired.set(false);
        }
    }

    /// Whether it was retired and can still be what this plugin use asks for.
    pub fn may_return_as(&self, plugin: &PluginUse) -> bool {
        self.retired.get()
            && !self.leaving.get()
            && self.plugin.fingerprint == plugin.fingerprint
            && self.current.borrow().as_ref().is_some_and(|vm| !vm.borrow().is_dead())
    }

    /// Whether this is the VM that serves.
    fn serves(&self, vm: &VmHandle) -> bool {
        self.current.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, vm))
    }

    /// Ends what goes on for a VM that has ended.
    fn end_tasks(&self) {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(tick) = tasks.tick.take() {
            tick.abort();
        }
        tasks.tick_asked = false;
        // Dropping ends them.
        tasks.timers = JoinSet::new();
        tasks.grpc.clear();
    }
}

/// All slots of a worker by tag, also those of older snapshots that still serve.
pub type Slots = RefCell<HashMap<u64, Rc<VmSlot>>>;

impl Worker {
    /// Does what guests asked for. `settle` calls this when there is anything.
    pub(super) fn carry_out(self: &Rc<Self>, intents: Vec<Intent>) {
        for intent in intents {
            match intent {
                Intent::Tick { tag, period } => {
                    if let Some(slot) = self.slot(tag) {
                        slot.set_tick(self, period);
                    }
                }
                Intent::Timer { tag, id, delay } => {
                    if let Some(slot) = self.slot(tag) {
                        slot.set_timer(self, id, delay);
                    }
                }
                Intent::Callout { tag, id, call, span, of_root } => {
                    if let Some(slot) = self.slot(tag) {
                        slot.callout(self, id, call, span, of_root);
                    }
                }
                Intent::Grpc { tag, id, call, span, of_root } => {
                    if let Some(slot) = self.slot(tag) {
                        slot.grpc(self, id, *call, span, of_root);
                    }
                }
                Intent::GrpcStep { tag, id, step } => {
                    if let Some(slot) = self.slot(tag) {
                        slot.grpc_step(id, step);
                    }
                }
                Intent::QueueReady { owner, queue } => self.send_queue_ready(owner, queue),
            }
        }
    }

    /// A queue of a VM on this worker has an item.
    pub fn queue_ready(self: &Rc<Self>, tag: u64, queue: u32) {
        // So many are told already that the queue is read.
        if let Some(slot) = self.slot(tag).filter(|slot| slot.notices.get() < limits::QUEUE_ITEMS) {
            slot.notices.set(slot.notices.get() + 1);
            let worker = self.clone();
            // A task of its own: the item may have come from inside a hook.
            tokio::task::spawn_local(async move { slot.queue_ready(&worker, queue).await });
        }
    }
}
