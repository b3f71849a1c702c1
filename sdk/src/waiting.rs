//! What a future waits in until a hook brings its value.

use std::cell::Cell;
use std::task::{Context, Poll, Waker};

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
