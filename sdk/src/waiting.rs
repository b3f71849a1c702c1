//! What a future waits in until a hook brings its value.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use crate::link::current;

/// A place for one value, filled by a hook and emptied by a future.
pub(crate) struct Slot<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self { value: Cell::new(None), waker: Cell::new(None) }
    }

    pub(crate) fn fill(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<T> {
        match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                // The dispatcher polls on its own; combinators that poll selectively need to be woken.
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Futures that wait for the answer to a call, by the call's token.
pub(crate) struct Waiters<T>(RefCell<Vec<Waiter<T>>>);

struct Waiter<T> {
    token: u32,
    owner: u32,
    slot: Weak<Slot<T>>,
}

impl<T> Waiters<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Registers the running context; the call is given up by dropping the slot.
    pub(crate) fn wait(&self, token: u32) -> Rc<Slot<T>> {
        let slot = Rc::new(Slot::new());
        let mut waiters = self.0.borrow_mut();
        waiters.retain(|waiter| waiter.slot.strong_count() > 0);
        waiters.push(Waiter { token, owner: current(), slot: Rc::downgrade(&slot) });
        slot
    }

    /// Who waits for this call, and where; nobody, if it was given up.
    pub(crate) fn take(&self, token: u32) -> Option<(u32, Rc<Slot<T>>)> {
        let mut waiters = self.0.borrow_mut();
        let index = waiters.iter().position(|waiter| waiter.token == token)?;
        let waiter = waiters.swap_remove(index);
        Some((waiter.owner, waiter.slot.upgrade()?))
    }
}
