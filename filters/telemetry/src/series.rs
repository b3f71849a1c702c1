//! The metrics of each set of labels, defined once and looked up by a few bytes afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use sidegate_sdk::metrics::{Counter, Histogram};
use sidegate_sdk::warn;

use crate::labels::{Facts, Workload};

/// Sets that are remembered. Hosts and principals are the client's words, so there may be more; those are defined
/// anew each time, and the host, which knows all series, says when it is enough.
const REMEMBERED: usize = 1000;

#[derive(Default)]
pub(crate) struct Series {
    known: RefCell<HashMap<Box<[u8]>, Metrics, BuildHasherDefault<Fnv>>>,
    /// The memory of the last key.
    key: Cell<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Metrics {
    requests: Counter,
    duration: Histogram,
}

impl Series {
    pub(crate) fn count(&self, facts: &Facts<'_>, own: &Workload, duration: Duration) {
        let mut key = self.key.take();
        facts.key(&mut key);
        let known = self.known.borrow().get(key.as_slice()).copied();
        let metrics = known.or_else(|| self.define(&key, facts, own));
        self.key.set(key);
        if let Some(metrics) = metrics {
            metrics.requests.add(1);
            metrics.duration.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        }
    }

    fn define(&self, key: &[u8], facts: &Facts<'_>, own: &Workload) -> Option<Metrics> {
        let labels = facts.labels(own);
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
        let requests = Counter::define("istio_requests_total", &labels);
        let duration = Histogram::define("istio_request_duration_milliseconds", &labels);
        let metrics = match (requests, duration) {
            (Ok(requests), Ok(duration)) => Metrics { requests, duration },
            (Err(problem), _) | (_, Err(problem)) => {
                warn!("a request is not counted: {problem}");
                return None;
            }
        };
        let mut known = self.known.borrow_mut();
        if known.len() < REMEMBERED {
            known.insert(key.into(), metrics);
        }
        Some(metrics)
    }
}

/// FNV-1a. The table is small and bounded, so keys chosen to collide cost at most a walk through it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 << 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
