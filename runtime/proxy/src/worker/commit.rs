//! How a worker takes over a snapshot, in three turns of its loop between which requests are served: new VMs are put in
//! place, the snapshot is switched, and what is over is cleared. The switch is the pause that
//! `sidegate_swap_pause_seconds` shows; unless listeners change, nothing in it allocates or frees, for a lock of the
//! allocator may be held by the thread that prepares.

use std::rc::Rc;
use std::sync::Arc;

use sidegate_wasm_host::Vm;

use super::env::AccessLogs;
use super::plugins::VmSlot;
use super::{Worker, WorkerSnapshot};
use crate::mailbox::Seat;
use crate::snapshot::plugin::Guest;
use crate::snapshot::{PluginUse, Snapshot};

/// A snapshot whose VMs are in place on this worker, before exchanges use it.
pub struct Seated {
    next: Rc<WorkerSnapshot>,
    came: Came,
    /// What this snapshot does not use.
    over: Vec<Rc<VmSlot>>,
}

impl Seated {
    pub fn snapshot(&self) -> &Snapshot {
        &self.next.shared
    }
}

/// What a switch left behind.
pub struct Replaced {
    last: Rc<WorkerSnapshot>,
    access_logs: AccessLogs,
    came: Came,
    over: Vec<Rc<VmSlot>>,
}

/// What a snapshot brought. What VMs asked for when they were configured waits until it is served: it may name clusters
/// that are new.
#[derive(Default)]
struct Came {
    fresh: Vec<Rc<VmSlot>>,
    /// Of slots that had none so far.
    vms: Vec<(Rc<VmSlot>, Vm<Guest>)>,
}

impl Worker {
    /// Puts the VMs of a snapshot in place. Those of unchanged plugins stay; a plugin that comes back while its old VM
    /// still serves gets that one.
    pub fn seat(self: &Rc<Self>, snapshot: Arc<Snapshot>, seats: Vec<Seat>) -> Seated {
        let (mut came, mut kept) = (Came::default(), Vec::with_capacity(seats.len()));
        for (plugin, seat) in snapshot.plugins.iter().zip(seats) {
            let tag = plugin.spec.tag;
            let known = self.slot(tag).filter(|known| !known.is_leaving());
            let slot = match known.or_else(|| self.returning(plugin)) {
                Some(known) => {
                    known.keep();
                    came.vms.extend(seat.vms.into_iter().map(|vm| (known.clone(), vm)));
                    known
                }
                None => {
                    let slot = VmSlot::new(self.index, plugin.clone(), seat);
                    came.fresh.push(slot.clone());
                    slot
                }
            };
            self.slots.borrow_mut().insert(tag, slot.clone());
            kept.push(slot);
        }
        let mut over: Vec<_> = self.slots.borrow().values().cloned().collect();
        over.retain(|known| !known.is_retired() && !kept.iter().any(|slot| Rc::ptr_eq(slot, known)));
        Seated { next: Rc::new(WorkerSnapshot { shared: snapshot, slots: kept }), came, over }
    }

    /// Puts the snapshot in the place of the present one: exchanges that begin from now on use it.
    pub fn switch(&self, seated: Seated) -> Replaced {
        let Seated { next, came, over } = seated;
        over.iter().for_each(|slot| slot.retire());
        let access_logs = self.with_env(|env| env.use_snapshot(&next.shared));
        Replaced { last: self.snapshot.replace(next), access_logs, came, over }
    }

    /// Does what new VMs asked for when they were configured, and lets go of what is over.
    pub fn clear(self: &Rc<Self>, replaced: Replaced) {
        let Replaced { last, access_logs, came, over } = replaced;
        came.fresh.iter().for_each(|slot| slot.activate(self));
        for (slot, vm) in came.vms {
            slot.take(self, vm);
        }
        over.iter().for_each(|slot| slot.clear(self));
        drop((last, access_logs));
    }

    /// A retired slot of the same code and configuration that has not said farewell.
    fn returning(&self, plugin: &PluginUse) -> Option<Rc<VmSlot>> {
        self.slots.borrow().values().find(|slot| slot.may_return_as(plugin)).cloned()
    }
}
