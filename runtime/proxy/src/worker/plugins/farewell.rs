//! The end of a slot: its root is told, gets time to finish, and its VM is given up.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{VmHandle, VmSlot};
use crate::worker::Worker;

/// How long a VM may go on before `proxy_done` is no longer waited for.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long the answers to a root's last calls are waited for: time to send them.
const LAST_CALLS: Duration = Duration::from_millis(500);
/// How often is looked whether a root has finished.
const LOOK: Duration = Duration::from_millis(20);

impl VmSlot {
    /// The worker ends: whatever still uses the slot, its root is told.
    pub(in crate::worker) fn leave(self: &Rc<Self>, worker: &Rc<Worker>) {
        self.retire();
        self.spare.take().into_iter().for_each(|vm| worker.free(vm));
        self.farewell(worker);
    }

    /// `on_done` of the root, time for it to finish (ticks and callouts go on), `on_delete`.
    pub(super) fn farewell(self: &Rc<Self>, worker: &Rc<Worker>) {
        if self.leaving.replace(true) {
            return;
        }
        let (slot, worker) = (self.clone(), worker.clone());
        tokio::task::spawn_local(async move {
            if let Some(vm) = slot.current() {
                slot.finish(&worker, &vm).await;
                slot.end_tasks();
                let _ = worker.call(&vm, |vm, env| vm.delete_root(env));
                slot.current.take();
                // What was ended lets go of the VM in its own time.
                tokio::task::yield_now().await;
                if let Ok(vm) = Rc::try_unwrap(vm) {
                    worker.free(vm.into_inner());
                }
            }
            worker.forget(&slot);
            slot.series.vms.add(worker.index, -1);
            slot.serving.take();
        });
    }

    async fn finish(self: &Rc<Self>, worker: &Rc<Worker>, vm: &VmHandle) {
        let finished = match worker.call(vm, |vm, env| vm.finish(env)) {
            Ok(finished) => finished,
            // No successor needs protection from it: it says nothing about the breaker.
            Err(fault) => return self.report(worker, &fault),
        };
        worker.settle();
        if !finished {
            until(FAREWELL, || vm.borrow().is_finished() || vm.borrow().is_dead()).await;
        }
        until(LAST_CALLS, || !vm.borrow().awaits_answers() || vm.borrow().is_dead()).await;
    }
}

async fn until(limit: Duration, over: impl Fn() -> bool) {
    let end = Instant::now() + limit;
    while !over() && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
}
