//! What becomes of an exchange when the VM of one of its filters ends, or when there is none.

use std::rc::Rc;

use sidegate_wasm_host::abi::Direction;
use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::{Fault, FaultReason};

use super::{Chain, Step};
use crate::exchange::reply::{Failure, Reply};
use crate::snapshot::FailStrategy;
use crate::worker::Worker;

impl Chain {
    /// A VM of this chain ended in somebody else's hook. Filters that have no hook left do not matter any more.
    pub(super) fn lost(&mut self, worker: &Worker, index: usize, direction: Direction) -> Option<Step> {
        let mut step = None;
        for (at, link) in self.links.iter_mut().enumerate() {
            let dead = link.vm.as_ref().is_some_and(|vm| vm.borrow().is_dead());
            if !dead || link.skipped || link.context.is_none() {
                continue;
            }
            link.skipped = true;
            link.watch.faulted();
            let (needed, hook) = match direction {
                // Its context is open: it has seen the request's head, unless it is the one that holds it.
                Direction::Request => {
                    let more = link.slot.has(Hook::RequestBody) || link.slot.has(Hook::RequestTrailers);
                    (at == index || more || link.slot.has_response_hooks(), Hook::RequestHeaders)
                }
                Direction::Response => (link.slot.has_response_hooks(), Hook::ResponseHeaders),
            };
            if needed {
                link.slot.count(worker, &Fault::lost(hook));
            }
            if needed && link.slot.plugin.fail_strategy != FailStrategy::Open {
                step = Some(Step::Reply(Box::new(Reply::failure(Failure::FilterFault, self.grpc))));
            }
        }
        step
    }

    /// No VM of this plugin was ready when the exchange began.
    pub(super) fn no_vm(&mut self, worker: &Rc<Worker>, index: usize) -> Step {
        let Some(link) = self.links.get_mut(index) else { return Step::Continue };
        if link.slot.plugin.fail_strategy == FailStrategy::Open {
            link.skipped = true;
            return Step::Continue;
        }
        link.slot.wants_vm(worker);
        link.watch.faulted();
        Step::Reply(Box::new(Reply::failure(Failure::FilterFault, self.grpc)))
    }

    /// A hook of this exchange ended its VM: the fail strategy decides. `end`: what the hook was told.
    pub(super) fn fault(
        &mut self,
        worker: &Rc<Worker>,
        index: usize,
        direction: Direction,
        end: bool,
        fault: &Fault,
    ) -> Step {
        let Some(link) = self.links.get_mut(index) else { return Step::Continue };
        if fault.reason == FaultReason::VmLost {
            link.slot.count(worker, fault);
        } else if let Some(vm) = &link.vm {
            link.slot.clone().faulted(worker, vm, fault);
        }
        link.watch.faulted();
        // What the hook asked for before it failed is not asked any more.
        worker.with_env(|env| {
            if let Some(view) = env.view(self.key) {
                view.asked.reply = None;
                view.asked.close = false;
            }
        });
        // A callout may have had effects: the hook is then not run again.
        let called_out = worker.with_env(|env| env.view(self.key).is_some_and(|view| view.asked.called_out));
        let first_hook = fault.hook == Hook::RequestHeaders || fault.hook == Hook::ContextCreate;
        match link.slot.plugin.fail_strategy {
            FailStrategy::Open => {
                link.skipped = true;
                worker.with_env(|env| env.view(self.key).map(|view| view.roll_back()));
                Step::Continue
            }
            FailStrategy::Reload if first_hook && !link.reloaded && !called_out => {
                link.reloaded = true;
                link.context = None;
                link.vm = link.slot.for_exchange();
                worker.with_env(|env| env.view(self.key).map(|view| view.roll_back()));
                if link.vm.is_some() {
                    return self.headers(worker, index, direction, end);
                }
                link.skipped = true;
                Step::Reply(Box::new(Reply::failure(Failure::FilterFault, self.grpc)))
            }
            FailStrategy::Close | FailStrategy::Reload => {
                link.skipped = true;
                Step::Reply(Box::new(Reply::failure(Failure::FilterFault, self.grpc)))
            }
        }
    }
}
