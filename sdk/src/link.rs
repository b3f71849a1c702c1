//! The state that an exchange's future and its hooks share.

use std::cell::Cell;
use std::rc::Rc;

use crate::body::{Bodies, BodyState};
use crate::error::{Error, Result};

/// Where an exchange stands, as far as this filter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The request is held here.
    Request,
    /// The request went on; the response has not come.
    Sent,
    /// The response is held here.
    Response,
    /// The filter has decided; only body mappers may still run.
    Done,
}

pub(crate) struct Link {
    pub(crate) id: Cell<u32>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) request: BodyState,
    pub(crate) response: BodyState,
}

thread_local! {
    /// Context whose future is being polled; 0 outside.
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

/// The context on whose behalf code runs now.
pub(crate) fn current() -> u32 {
    CURRENT.with(Cell::get)
}

/// Sets the running context and returns the one before.
pub(crate) fn set_current(id: u32) -> u32 {
    CURRENT.with(|current| current.replace(id))
}

impl Link {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            id: Cell::new(0),
            phase: Cell::new(Phase::Done),
            request: BodyState::default(),
            response: BodyState::default(),
        })
    }

    /// `can_wait`: the host can hold a body without collecting it.
    pub(crate) fn open(&self, id: u32, bodies: Bodies, can_wait: bool) {
        self.id.set(id);
        self.phase.set(Phase::Request);
        self.request.open(bodies.request, can_wait);
        self.response.open(bodies.response, can_wait);
    }

    pub(crate) fn close(&self) {
        self.id.set(0);
        self.phase.set(Phase::Done);
        self.request.close();
        self.response.close();
    }

    /// A handle may only be used by its own exchange, in the phase it belongs to.
    pub(crate) fn check(&self, phase: Phase) -> Result<()> {
        if self.phase.get() == phase && self.id.get() == current() { Ok(()) } else { Err(Error::Gone) }
    }
}
