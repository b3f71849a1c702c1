//! How busy a client connection is: exchanges whose response has not ended, and since when there has been none.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::upstream::io::Activity;

/// What a connection and its exchanges share.
pub struct Occupancy {
    pub activity: Arc<Activity>,
    active: Cell<u32>,
    served: Cell<bool>,
    idle_since: Cell<Instant>,
    idle_bytes: Cell<u64>,
    /// Responses that gave a piece of their body and have not been asked for the next one.
    offered: Cell<u32>,
    /// Counts how often any response was asked for a piece.
    asked: Cell<u64>,
}

impl Occupancy {
    pub fn new(activity: Arc<Activity>) -> Self {
        Self {
            activity,
            active: Cell::new(0),
            served: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
            idle_bytes: Cell::new(0),
            offered: Cell::new(0),
            asked: Cell::new(0),
        }
    }

    /// When every response has something to give and none is asked for it, the client does not read: the count of
    /// questions so far, which stands still as long as that lasts.
    pub fn unread(&self) -> Option<u64> {
        (self.active.get() > 0 && self.offered.get() == self.active.get()).then(|| self.asked.get())
    }

    pub fn is_busy(&self) -> bool {
        self.active.get() > 0
    }

    /// Whether it ever had an exchange.
    pub fn has_served(&self) -> bool {
        self.served.get()
    }

    /// When it last became idle: connected, or ended its last exchange.
    pub fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// Whether bytes have come since it became idle: the beginning of a head.
    pub fn has_new_bytes(&self) -> bool {
        self.activity.bytes_read() > self.idle_bytes.get()
    }
}

/// Keeps a connection busy until dropped.
pub struct Busy {
    occupancy: Rc<Occupancy>,
    offering: bool,
}

impl Busy {
    pub fn new(occupancy: &Rc<Occupancy>) -> Self {
        occupancy.active.set(occupancy.active.get() + 1);
        occupancy.served.set(true);
        Self { occupancy: occupancy.clone(), offering: false }
    }

    /// The response was asked for a piece of its body.
    pub fn asked(&mut self) {
        self.occupancy.asked.set(self.occupancy.asked.get().wrapping_add(1));
        self.set_offering(false);
    }

    /// It gave one.
    pub fn offered(&mut self) {
        self.set_offering(true);
    }

    fn set_offering(&mut self, offering: bool) {
        let offered = &self.occupancy.offered;
        match (std::mem::replace(&mut self.offering, offering), offering) {
            (false, true) => offered.set(offered.get() + 1),
            (true, false) => offered.set(offered.get().saturating_sub(1)),
            _ => {}
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.set_offering(false);
        let occupancy = &self.occupancy;
        occupancy.active.set(occupancy.active.get().saturating_sub(1));
        if occupancy.active.get() == 0 {
            occupancy.idle_since.set(Instant::now());
            occupancy.idle_bytes.set(occupancy.activity.bytes_read());
        }
    }
}
