//! Moments when the machine stood still: a virtual one is stopped by its host for milliseconds at a time, which no
//! proxy can help.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sidegate_tests::traffic::beside;

/// How long the witness sleeps.
const NAP: Duration = Duration::from_millis(1);
/// One that sleeps so much longer was stopped with the machine: it is longer than three time slices of others.
const LATE: Duration = Duration::from_millis(5);

/// When it stood still, in order.
pub(crate) struct Hiccups(Vec<(Instant, Instant)>);

impl Hiccups {
    /// Looks out for them beside some work.
    pub(crate) fn during<R>(work: impl FnOnce() -> R) -> (R, Self) {
        let seen = Mutex::new(Vec::new());
        let witness = |stop: &AtomicBool| {
            while !stop.load(Ordering::SeqCst) {
                let begun = Instant::now();
                thread::sleep(NAP);
                let woken = Instant::now();
                if woken - begun > NAP + LATE {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push((begun, woken));
                }
            }
        };
        let done = beside(1, witness, work);
        (done, Self(seen.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether the machine stood still at some moment between these.
    pub(crate) fn meet(&self, from: Instant, to: Instant) -> bool {
        let later = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(later).is_some_and(|(begin, _)| *begin <= to)
    }
}
