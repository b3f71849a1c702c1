//! Body bytes that filters keep back, over all exchanges of a worker, and those of answers to their callouts: what each
//! of them may hold is its plugin's `limits.body`; that many of them cannot fill the memory together is this bound.

use std::cell::Cell;
use std::rc::Rc;

use crate::worker::Worker;

/// Bytes of bodies that all filters of one worker may keep back together. Sixty-four filters that each hold the
/// default `limits.body` of 1 MiB fit; beyond, exchanges end with 503 and flag OM instead of the process with no memory.
pub const HELD_PER_WORKER: usize = 64 << 20;

/// The sum of a worker.
#[derive(Debug, Default)]
pub struct HeldBytes(Cell<usize>);

/// The share of one body; given back when it is dropped.
pub struct Share {
    worker: Rc<Worker>,
    bytes: usize,
}

impl Share {
    pub fn new(worker: &Rc<Worker>) -> Self {
        Self { worker: worker.clone(), bytes: 0 }
    }

    /// Changes the share to what is held now; whether all shares together are still within the bound.
    pub fn set(&mut self, bytes: usize) -> bool {
        let sum = &self.worker.held.0;
        sum.set((sum.get() + bytes).saturating_sub(self.bytes));
        let grows = bytes > self.bytes;
        self.bytes = bytes;
        !grows || sum.get() <= HELD_PER_WORKER
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
