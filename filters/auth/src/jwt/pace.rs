//! Costly work in steps: a hook has a bound on its CPU time, and a request may need more than one signature checked.

use std::cell::Cell;
use std::time::Duration;

use sidegate_sdk::sleep;

/// The shortest sleep: it ends this hook, and others get their turn.
const REST: Duration = Duration::from_millis(1);

/// The pace of one request.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    has_begun: Cell<bool>,
}

impl Pace {
    /// Waits before each step but the first, so that one hook does one.
    pub(crate) async fn step(&self) {
        if self.has_begun.replace(true) {
            sleep(REST).await;
        }
    }
}
