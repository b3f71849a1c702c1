//! Hooks that no exchange waits for: ticks, timers, items of queues, answers to HTTP and unary gRPC callouts of the
//! root. Thousands may become due together, so they take turns.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sidegate_wasm_host::{Fault, Vm};
use tokio::sync::Semaphore;

use super::{VmHandle, VmSlot};
use crate::snapshot::plugin::Guest;
use crate::worker::Worker;
use crate::worker::env::INTENTS_DROPPED;

/// How long such hooks may run before sockets are looked at.
const LANE: Duration = Duration::from_micros(500);
/// Timers that one VM may have running.
const TIMERS_PER_VM: usize = 1024;

/// Where hooks that no exchange waits for queue: one of them runs at a time, and not for long before others have a go.
pub struct Lane {
    turn: Semaphore,
    /// What they have taken since sockets were last looked at.
    taken: Cell<Duration>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), taken: Cell::default() }
    }
}

impl Lane {
    async fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        let _turn = self.turn.acquire().await;
        if self.taken.get() >= LANE {
            // Sockets are looked at first, and whoever is ready by then.
            self.taken.set(Duration::ZERO);
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        let done = run();
        self.taken.set(self.taken.get() + begun.elapsed());
        done
    }
}

impl VmSlot {
    /// Runs a hook that no exchange waits for when it is its turn: thousands may become due together. Each plugin has
    /// one place in the worker's queue, however much it wants.
    pub(super) async fn in_turn<R>(&self, worker: &Worker, run: impl FnOnce() -> R) -> R {
        let _turn = self.turn.acquire().await;
        worker.lane.run(run).await
    }

    pub(super) fn set_tick(self: &Rc<Self>, worker: &Rc<Worker>, period: Option<Duration>) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.tick_asked = true;
        if let Some(tick) = tasks.tick.take() {
            tick.abort();
        }
        let (Some(period), Some(vm)) = (period, self.current()) else { return };
        let (slot, worker) = (self.clone(), worker.clone());
        let task = tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(period).await;
                let ticked = slot.in_turn(&worker, || worker.call(&vm, |vm, env| vm.tick(env))).await;
                if let Err(fault) = ticked {
                    slot.clone().faulted(&worker, &vm, &fault);
                    return;
                }
                worker.settle();
            }
        });
        tasks.tick = Some(task.abort_handle());
    }

    pub(super) fn set_timer(self: &Rc<Self>, worker: &Rc<Worker>, id: u32, delay: Duration) {
        let Some(vm) = self.current() else { return };
        let mut tasks = self.tasks.borrow_mut();
        while tasks.timers.try_join_next().is_some() {}
        if tasks.timers.len() >= TIMERS_PER_VM {
            // No line: a guest may ask for thousands in one hook.
            worker.with_env(|env| env.count(INTENTS_DROPPED, &self.plugin.name));
            return;
        }
        let (slot, worker) = (self.clone(), worker.clone());
        tasks.timers.spawn_local(async move {
            tokio::time::sleep(delay).await;
            let data = id.to_le_bytes().to_vec();
            let rung = |vm: &mut Vm<Guest>, env: &mut Guest| {
                vm.foreign_function(env, crate::worker::foreign::TIMER_FUNCTION, data)
            };
            let result = slot.in_turn(&worker, || worker.call(&vm, rung)).await;
            slot.after(&worker, &vm, result);
        });
    }

    /// Ends a call that no exchange made.
    pub(super) fn after(self: &Rc<Self>, worker: &Rc<Worker>, vm: &VmHandle, result: Result<(), Fault>) {
        match result {
            Ok(()) => worker.settle(),
            Err(fault) => self.clone().faulted(worker, vm, &fault),
        }
    }

    pub(super) async fn queue_ready(self: Rc<Self>, worker: &Rc<Worker>, queue: u32) {
        let told = || {
            let vm = self.current()?;
            let result = worker.call(&vm, |vm, env| vm.queue_ready(env, queue));
            Some((vm, result))
        };
        let told = self.in_turn(worker, told).await;
        self.notices.set(self.notices.get() - 1);
        if let Some((vm, result)) = told {
            self.after(worker, &vm, result);
        }
    }
}
