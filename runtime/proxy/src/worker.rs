//! What one worker holds. A worker is one thread with its own runtime, VMs, pools and metric cells; nothing in here is
//! shared with another one except through atomics and the locks inside `wasm_host::shared`.

pub mod allowance;
pub mod breaker;
pub mod commit;
pub mod counters;
pub mod env;
pub mod foreign;
pub mod intent;
pub mod node;
pub mod plugins;
pub mod rng;
pub mod thread;
pub mod wishes;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidegate_wasm_host::{StreamKey, Vm};
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use self::counters::Counters;
use self::env::{Env, Process, split_identity};
use self::plugins::background::Lane;
use self::plugins::{Slots, VmHandle, VmSlot};
use crate::downstream::connection::ConnectionState;
use crate::exchange::Exchange;
use crate::exchange::conduct::Watch;
use crate::exchange::head::RequestHead;
use crate::exchange::held::HeldBytes;
use crate::mailbox::{Message, Order, Phase, VmOrder};
use crate::snapshot::plugin::Guest;
use crate::snapshot::rollout::Side;
use crate::snapshot::staging::Before;
use crate::snapshot::{ChainEntry, Listener, PluginModule, PluginUse, Snapshot};
use crate::upstream::pool::Pools;

/// A snapshot as this worker runs it.
pub struct WorkerSnapshot {
    pub shared: Arc<Snapshot>,
    /// Aligned with `Snapshot::plugins`.
    slots: Vec<Rc<VmSlot>>,
}

impl WorkerSnapshot {
    /// The filters of a listener's chain that apply to this request. `chance` decides between versions of a plugin
    /// that is being rolled out; every entry of the plugin gets the same one.
    pub fn chain_for(&self, listener: &Listener, head: &RequestHead, chance: u64) -> SmallVec<[Chosen; 6]> {
        let applies = |entry: &&ChainEntry| {
            entry.matchers.as_ref().is_none_or(|matchers| matchers.iter().any(|matcher| matcher.matches(head)))
        };
        let chosen = |entry: &ChainEntry| {
            let (plugin, watch) = match entry.before {
                None => (entry.plugin, Watch::default()),
                Some(before) => self.version(entry.plugin, before, head, chance)?,
            };
            Some(Chosen { slot: self.slots.get(plugin)?.clone(), watch })
        };
        listener.chain.iter().filter(applies).filter_map(chosen).collect()
    }

    fn version(&self, new: usize, before: Before, head: &RequestHead, chance: u64) -> Option<(usize, Watch)> {
        let rollout = self.shared.rollouts.get(before.rollout)?;
        let sticky = rollout.sticky.as_ref().and_then(|name| head.headers.get(name)).map(|value| value.as_bytes());
        // While the new version has no VM, nobody has to go without: the old one is there.
        let ready = self.slots.get(new).is_some_and(|slot| slot.for_exchange().is_some());
        let side = if ready { rollout.draw(sticky, chance) } else { Side::Old };
        let plugin = if side == Side::New { new } else { before.plugin };
        Some((plugin, Watch::new(rollout.tally.clone(), side)))
    }

    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.shared.listeners.iter().find(|listener| listener.name == name)
    }
}

/// A filter of an exchange.
pub struct Chosen {
    pub slot: Rc<VmSlot>,
    pub watch: Watch,
}

/// One worker.
pub struct Worker {
    pub index: usize,
    pub process: Arc<Process>,
    env: RefCell<Guest>,
    snapshot: RefCell<Rc<WorkerSnapshot>>,
    slots: Slots,
    pub pools: Pools,
    pub counters: Counters,
    pub connections: RefCell<Slab<Rc<ConnectionState>>>,
    /// Those that have not ended, at their keys.
    exchanges: RefCell<Vec<Weak<Exchange>>>,
    /// For hooks that no exchange waits for.
    pub lane: Lane,
    /// What filters keep back of bodies.
    pub held: HeldBytes,
    pub phase: Cell<Phase>,
    /// Copies of requests under way.
    pub mirrors: Cell<usize>,
    orders: mpsc::UnboundedSender<Order>,
    mailboxes: Arc<[mpsc::Sender<Message>]>,
}

impl Worker {
    /// Lends the environment for a moment. Not from inside another loan.
    #[inline]
    pub fn with_env<R>(&self, use_it: impl FnOnce(&mut Env) -> R) -> R {
        use_it(&mut self.env.borrow_mut())
    }

    /// Calls into a VM with the worker's environment.
    #[inline]
    pub fn call<R>(&self, vm: &VmHandle, call: impl FnOnce(&mut Vm<Guest>, &mut Guest) -> R) -> R {
        call(&mut vm.borrow_mut(), &mut self.env.borrow_mut())
    }

    /// Carries out what guests asked for in their hooks.
    #[inline]
    pub fn settle(self: &Rc<Self>) {
        if !self.env.borrow().outbox.is_empty() {
            let intents = self.with_env(|env| std::mem::take(&mut env.outbox));
            self.carry_out(intents);
        }
    }

    /// The snapshot that new exchanges use.
    pub fn snapshot(&self) -> Rc<WorkerSnapshot> {
        self.snapshot.borrow().clone()
    }

    fn slot(&self, tag: u64) -> Option<Rc<VmSlot>> {
        self.slots.borrow().get(&tag).cloned()
    }

    /// Tells every root that the worker ends.
    fn leave(self: &Rc<Self>) {
        let slots: Vec<_> = self.slots.borrow().values().cloned().collect();
        slots.iter().for_each(|slot| slot.leave(self));
    }

    /// A retired slot has said farewell.
    fn forget(&self, slot: &Rc<VmSlot>) {
        let mut slots = self.slots.borrow_mut();
        slots.retain(|_, known| !Rc::ptr_eq(known, slot));
        let tag = slot.plugin.spec.tag;
        let has_successor = slots.contains_key(&tag);
        drop(slots);
        if !has_successor {
            self.with_env(|env| env.forget(tag));
            self.process.data.disown_queues(env::identity(self.index, tag));
        }
        slot.add_contexts(self, 0);
    }

    /// Gives a VM that nobody uses any more to the thread that frees it.
    fn free(&self, vm: Vm<Guest>) {
        let _ = self.orders.send(Order::Free(Box::new(vm)));
    }

    /// An exchange has begun: it can be found by its key until it has ended.
    pub fn opened(&self, key: StreamKey, exchange: &Rc<Exchange>) {
        let (at, mut exchanges) = (key as usize, self.exchanges.borrow_mut());
        if exchanges.len() <= at {
            exchanges.resize_with(at + 1, Weak::new);
        }
        if let Some(place) = exchanges.get_mut(at) {
            *place = Rc::downgrade(exchange);
        }
    }

    pub fn closed(&self, key: StreamKey) {
        if let Some(place) = self.exchanges.borrow_mut().get_mut(key as usize) {
            *place = Weak::new();
        }
    }

    /// Ends the exchanges that still use a version which no snapshot does, and its VMs with them.
    fn reset(&self, module: &Arc<PluginModule>) {
        for exchange in self.exchanges.borrow().iter().filter_map(Weak::upgrade) {
            let chain = exchange.chain.borrow();
            if chain.slots().any(|slot| slot.is_retired() && Arc::ptr_eq(&slot.plugin.module, module)) {
                exchange.close();
            }
        }
    }

    /// Ends all exchanges.
    fn cut(&self) {
        let exchanges: Vec<_> = self.exchanges.borrow().iter().filter_map(Weak::upgrade).collect();
        exchanges.iter().for_each(|exchange| exchange.close());
    }

    /// Shows how many contexts guests have open.
    fn show_contexts(&self) {
        for slot in self.slots.borrow().values() {
            slot.show_contexts(self);
        }
    }

    /// Asks the control side for a VM; it comes as a message.
    fn request_vm(&self, plugin: &Arc<PluginUse>) {
        let (clusters, node) = self.with_env(|env| (env.clusters.clone(), env.node.clone()));
        let order = VmOrder { worker: self.index, plugin: plugin.clone(), clusters, node };
        let _ = self.orders.send(Order::Make(order));
    }

    /// Tells the owner of a queue, on whichever worker it lives. A full mailbox loses the notice, not the item.
    fn send_queue_ready(self: &Rc<Self>, owner: u64, queue: u32) {
        let (worker, tag) = split_identity(owner);
        if worker == self.index {
            self.queue_ready(tag, queue);
        } else if let Some(mailbox) = self.mailboxes.get(worker) {
            let _ = mailbox.try_send(Message::QueueReady { tag, queue });
        }
    }

    /// Closes upstream connections that idle for too long or belong to nobody.
    fn sweep_pools(&self, now: Instant) {
        let snapshot = self.snapshot();
        let known: HashMap<usize, Duration> = snapshot
            .shared
            .clusters
            .by_name
            .values()
            .flat_map(|cluster| cluster.endpoints.iter().map(|endpoint| (endpoint.id, cluster.limits.idle_timeout)))
            .collect();
        self.pools.sweep(&known, now);
    }
}
