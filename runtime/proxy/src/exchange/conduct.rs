//! How a filter that is being rolled out does in one exchange.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::snapshot::rollout::{Conduct, Side, Tally};

/// What is counted for one filter of one exchange, if its plugin has two versions.
#[derive(Default)]
pub struct Watch(Option<Box<Watched>>);

struct Watched {
    tally: Arc<Tally>,
    side: Side,
    conduct: Conduct,
}

impl Watch {
    pub fn new(tally: Arc<Tally>, side: Side) -> Self {
        Self(Some(Box::new(Watched { tally, side, conduct: Conduct::default() })))
    }

    /// The beginning of a hook or a pause; the clock is read only when somebody counts.
    pub fn begin(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    pub fn end(&mut self, begun: Option<Instant>) {
        if let Some(begun) = begun {
            self.spent(begun.elapsed());
        }
    }

    pub fn spent(&mut self, time: Duration) {
        if let Some(watched) = &mut self.0 {
            watched.conduct.inside += time;
        }
    }

    pub fn faulted(&mut self) {
        if let Some(watched) = &mut self.0 {
            watched.conduct.faulted = true;
        }
    }

    /// The filter answered the exchange itself, or let it run into its limit.
    pub fn answered(&mut self, status: u16) {
        if let Some(watched) = self.0.as_mut().filter(|_| status >= 500) {
            watched.conduct.server_error = true;
        }
    }

    /// The exchange is over.
    pub fn report(&mut self) {
        if let Some(Watched { tally, side, conduct }) = self.0.take().map(|watched| *watched) {
            tally.of(side).note(conduct);
        }
    }
}
