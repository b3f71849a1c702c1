//! What is known of one direction's body while the filter waits, for bytes or for something else.
//!
//! A host that holds a body can show it in two ways. One that collects shows all of it, in every hook. One that waits
//! shows a body hook its own piece alone, and all of it to callbacks; it stops reading when it holds much, so this is
//! asked for while nobody wants bytes. A look is the same either way: what the running hook does not show was read
//! before, when the future began to want more.

use std::cell::Cell;

use crate::body::{Chunk, Mode};
use crate::error::{Error, Result};
use crate::host::{self, Buffer, Hook};
use crate::settle::{HOLD, PAUSE};

pub(crate) type Mapper = Box<dyn FnMut(&mut Chunk<'_>) -> Result<()>>;

/// One direction's body.
#[derive(Default)]
pub(crate) struct BodyState {
    pub(crate) mode: Cell<Mode>,
    /// The last byte has arrived.
    pub(crate) complete: Cell<bool>,
    /// Bytes that the host holds, those of the running hook included.
    pub(crate) held: Cell<usize>,
    pub(crate) mapper: Cell<Option<Mapper>>,
    /// How many bytes the future waits for.
    wanted: Cell<Option<usize>>,
    /// The host can wait without collecting, and shows callbacks what it holds meanwhile.
    can_wait: Cell<bool>,
    /// It waits so: the next body hook shows its piece alone.
    is_waiting: Cell<bool>,
    /// Bytes that the host holds and the running hook does not show, all of them in front of its piece.
    hidden: Cell<usize>,
    /// Those bytes, if they were read before the hook.
    front: Cell<Vec<u8>>,
}

impl BodyState {
    pub(crate) fn open(&self, mode: Mode, can_wait: bool) {
        self.close();
        self.mode.set(mode);
        self.complete.set(false);
        self.held.set(0);
        self.can_wait.set(can_wait);
    }

    pub(crate) fn close(&self) {
        self.mapper.set(None);
        self.wanted.set(None);
        self.is_waiting.set(false);
        self.reveal();
    }

    /// A body hook begins, with a piece, or with `None` for the trailers, which come with all of the body in view.
    /// Returns whether the future has what it waits for.
    pub(crate) fn arrived(&self, length: Option<usize>, is_last: bool) -> bool {
        let was_waiting = self.is_waiting.take();
        if let Some(length) = length {
            self.hidden.set(if was_waiting { self.held.get() } else { 0 });
            self.held.set(self.hidden.get().saturating_add(length));
        }
        self.complete.set(is_last);
        let is_enough = self.wanted.get().is_some_and(|wanted| is_last || self.held.get() >= wanted);
        if is_enough {
            self.wanted.set(None);
        }
        is_enough
    }

    /// A body hook ends, and the future waits on: what it answers.
    pub(crate) fn pause(&self) -> u32 {
        self.reveal();
        self.is_waiting.set(self.wanted.get().is_none() && self.can_wait.get());
        if self.is_waiting.get() { HOLD } else { PAUSE }
    }

    /// The first `most` bytes of what the host holds.
    ///
    /// # Errors
    /// If the host shows fewer: a part must not pass for the whole.
    pub(crate) fn bytes(&self, buffer: Buffer, most: usize) -> Result<Vec<u8>> {
        let wanted = most.min(self.held.get());
        let mut bytes = Vec::new();
        if self.hidden.get() > 0 {
            let front = self.front.take();
            bytes.extend_from_slice(front.get(..front.len().min(wanted)).unwrap_or_default());
            self.front.set(front);
        }
        // A piece must not take the place of what is in front of it.
        let has_front = bytes.len() >= wanted.min(self.hidden.get());
        if has_front && bytes.len() < wanted {
            let hook = Hook::running();
            bytes.extend_from_slice(&host::buffer(&hook, buffer, 0, wanted - bytes.len())?);
        }
        if bytes.len() == wanted { Ok(bytes) } else { Err(Error::new("the host shows less of the body than it holds")) }
    }

    /// The future begins to wait for more than the host holds. What the next hook will not show is read now.
    pub(crate) fn want(&self, buffer: Buffer, enough: usize) -> Result<()> {
        self.wanted.set(Some(enough));
        if self.is_waiting.get() {
            self.front.set(self.bytes(buffer, usize::MAX)?);
        }
        Ok(())
    }

    /// Puts another body in the place of what the host holds.
    ///
    /// # Errors
    /// If the host refuses, or the running hook shows a piece alone: what is in front of it would stay.
    pub(crate) fn replace(&self, buffer: Buffer, bytes: &[u8]) -> Result<()> {
        if self.hidden.get() > 0 {
            return Err(Error::new("the body cannot be replaced, a part of it is out of reach"));
        }
        host::set_buffer(buffer, 0, usize::MAX, bytes)?;
        self.held.set(bytes.len());
        if self.is_waiting.get() {
            self.front.set(bytes.to_vec());
        }
        Ok(())
    }

    pub(crate) fn has_mapper(&self) -> bool {
        let mapper = self.mapper.take();
        let is_there = mapper.is_some();
        self.mapper.set(mapper);
        is_there
    }

    /// Nothing is hidden outside of body hooks.
    fn reveal(&self) {
        self.hidden.set(0);
        self.front.take();
    }
}
