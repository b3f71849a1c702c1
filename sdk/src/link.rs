//! The state that an exchange's future and its hooks share.

use std::cell::Cell;
use std::rc::Rc;

use crate::body::{Chunk, Mode};
use crate::error::{Error, Result};
use crate::host::{self, Buffer, Hook};
use crate::settle::{HOLD, PAUSE};

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

pub(crate) type Mapper = Box<dyn FnMut(&mut Chunk<'_>) -> Result<()>>;

/// One direction's body.
#[derive(Default)]
pub(crate) struct BodyState {
    pub(crate) mode: Cell<Mode>,
    /// The last byte has arrived.
    pub(crate) complete: Cell<bool>,
    /// Bytes that the host holds.
    pub(crate) held: Cell<usize>,
    /// How many bytes the future waits for.
    pub(crate) wanted: Cell<Option<usize>>,
    /// What the host holds and does not show in the next hook: it was kept while nobody waited for it.
    pub(crate) unshown: Cell<Unshown>,
    pub(crate) mapper: Cell<Option<Mapper>>,
}

/// What a hook does not show of the body before its own piece.
#[derive(Default)]
pub(crate) enum Unshown {
    /// It shows everything.
    #[default]
    Nothing,
    /// All that came before, which was not looked at.
    Unread,
    /// Likewise, but here it is.
    Read(Vec<u8>),
}

impl BodyState {
    fn open(&self, mode: Mode) {
        self.mode.set(mode);
        self.complete.set(false);
        self.held.set(0);
        self.wanted.set(None);
        self.unshown.take();
        self.mapper.set(None);
    }

    /// Notes a piece of a body, or with `None` the trailers behind it; returns whether the future has what it waits for.
    pub(crate) fn arrived(&self, length: Option<usize>, is_last: bool) -> bool {
        let unshown = self.unshown.take();
        match (&unshown, length) {
            (Unshown::Nothing, Some(length)) => self.held.set(length),
            (_, Some(length)) => self.held.set(self.held.get().saturating_add(length)),
            (_, None) => {}
        }
        // Trailers come with all of the body in view.
        if length.is_some() {
            self.unshown.set(unshown);
        }
        self.complete.set(is_last);
        let is_enough = self.wanted.get().is_some_and(|wanted| is_last || self.held.get() >= wanted);
        if is_enough {
            self.wanted.set(None);
        }
        is_enough
    }

    /// What a body hook answers while the future waits: collect, or come back with the next piece alone.
    pub(crate) fn pause(&self) -> u32 {
        let is_wanted = self.wanted.get().is_some();
        self.unshown.set(if is_wanted { Unshown::Nothing } else { Unshown::Unread });
        if is_wanted { PAUSE } else { HOLD }
    }

    /// The first `most` bytes of what the host holds.
    pub(crate) fn bytes(&self, buffer: Buffer, most: usize) -> Result<Vec<u8>> {
        let mut bytes = match self.unshown.take() {
            Unshown::Read(before) => before,
            // Outside of a body hook the host shows everything.
            Unshown::Nothing | Unshown::Unread => Vec::new(),
        };
        if self.held.get() > bytes.len() {
            let hook = Hook::running();
            bytes.extend_from_slice(&host::buffer(&hook, buffer, 0, most.saturating_sub(bytes.len()))?);
        }
        bytes.truncate(most);
        Ok(bytes)
    }

    /// The future begins to wait for more than the host holds. What was kept while nobody looked is read now: the next
    /// hook shows its own piece only.
    pub(crate) fn want(&self, buffer: Buffer, enough: usize) -> Result<()> {
        self.wanted.set(Some(enough));
        match self.unshown.take() {
            Unshown::Unread => self.bytes(buffer, enough).map(|before| self.unshown.set(Unshown::Read(before))),
            other => {
                self.unshown.set(other);
                Ok(())
            }
        }
    }

    pub(crate) fn has_mapper(&self) -> bool {
        let mapper = self.mapper.take();
        let is_there = mapper.is_some();
        self.mapper.set(mapper);
        is_there
    }
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

    pub(crate) fn open(&self, id: u32, request: Mode, response: Mode) {
        self.id.set(id);
        self.phase.set(Phase::Request);
        self.request.open(request);
        self.response.open(response);
    }

    pub(crate) fn close(&self) {
        self.id.set(0);
        self.phase.set(Phase::Done);
        for body in [&self.request, &self.response] {
            body.mapper.set(None);
            body.unshown.take();
        }
    }

    /// A handle may only be used by its own exchange, in the phase it belongs to.
    pub(crate) fn check(&self, phase: Phase) -> Result<()> {
        if self.phase.get() == phase && self.id.get() == current() { Ok(()) } else { Err(Error::Gone) }
    }
}
