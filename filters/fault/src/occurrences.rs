//! Faults that happened and that are happening, in Envoy's metrics.

use std::cell::Cell;

use sidegate_sdk::metrics::{Counter, Gauge};
use sidegate_sdk::{LogView, Random, Result, debug, properties};

pub(crate) struct Occurrences {
    pub(crate) delays: Counter,
    pub(crate) aborts: Counter,
    pub(crate) limited: Counter,
    overflows: Counter,
    active: Gauge,
    /// Requests with a fault at a time, over all workers.
    most: Option<u32>,
    /// Requests of this VM that have one now.
    here: Cell<u32>,
    /// The property that marks such a request. Each VM has its own: a chain may hold several fault filters.
    mark: String,
}

impl Occurrences {
    pub(crate) fn define(most: Option<u32>, chance: &Random) -> Result<Self> {
        let counter = |name: &str| Counter::define(&format!("envoy_http_fault_{name}"), &[]);
        Ok(Self {
            delays: counter("delays_injected")?,
            aborts: counter("aborts_injected")?,
            limited: counter("response_rl_injected")?,
            overflows: counter("faults_overflow")?,
            active: Gauge::define("envoy_http_fault_active_faults", &[])?,
            most,
            here: Cell::new(0),
            mark: format!("fault.active.{:08x}", chance.below(u32::MAX)),
        })
    }

    /// Whether the request may have a fault; it counts as one that has until it is over.
    pub(crate) fn admit(&self) -> bool {
        if self.here.get() > 0 && properties::text(self.mark.as_str()).is_some() {
            return true;
        }
        if self.most.is_some_and(|most| self.active.value() >= u64::from(most)) {
            self.overflows.add(1);
            return false;
        }
        match properties::set(&self.mark, "1") {
            Ok(()) => {
                self.here.set(self.here.get() + 1);
                self.active.add(1);
            }
            Err(problem) => debug!("a fault is not counted as active: {problem}"),
        }
        true
    }

    /// The request is over.
    pub(crate) fn end(&self, view: &LogView<'_>) {
        let here = self.here.get();
        if here > 0 && view.text(self.mark.as_str()).is_some() {
            self.here.set(here - 1);
            self.active.add(-1);
        }
    }
}
