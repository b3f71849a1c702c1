//! The metrics of each set of labels, defined once and looked up by a few bytes afterwards.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use sidegate_sdk::metrics::{Counter, Histogram};
use sidegate_sdk::{properties, warn};

use crate::labels::{Facts, Workload};
use crate::overrides::{METRICS, Plan};

/// Series that the host gives a plugin when it does not say.
const SERIES: i64 = 1000;
/// Series of a request that is not gRPC's.
const SERIES_PER_SET: i64 = 4;
/// Requests counted under labels that were made `unknown`, because there are too many sets of them.
const COLLAPSED: &str = "istio_telemetry_collapsed_total";

pub(crate) struct Series {
    known: RefCell<HashMap<Box<[u8]>, Metrics, BuildHasherDefault<Words>>>,
    /// The memory of the last key.
    key: Cell<Vec<u8>>,
    /// Sets with labels that a client or a peer can choose. Beyond, those labels are `unknown`: the host's limit would
    /// take series as a whole.
    most: usize,
    /// All sets, also those with labels made unknown.
    most_in_all: usize,
    collapsed: Option<Counter>,
}

/// Handles in the order of [`METRICS`]; `None`: switched off, or not of this protocol.
#[derive(Clone, Copy, Default)]
struct Metrics {
    requests: Option<Counter>,
    duration: Option<Histogram>,
    request_bytes: Option<Histogram>,
    response_bytes: Option<Histogram>,
    request_messages: Option<Counter>,
    response_messages: Option<Counter>,
    is_collapsed: bool,
}

/// What is measured of one exchange.
pub(crate) struct Measured {
    pub(crate) duration: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// Of a gRPC request and its response.
    pub(crate) messages: Option<(u64, u64)>,
}

impl Series {
    pub(crate) fn new() -> Self {
        let limit = properties::int("sidegate.limits.series").unwrap_or(SERIES);
        let sets = usize::try_from(limit / SERIES_PER_SET).unwrap_or(0);
        Self {
            known: RefCell::default(),
            key: Cell::default(),
            // A tenth is left for sets whose labels were made unknown.
            most: sets * 9 / 10,
            most_in_all: sets,
            collapsed: Counter::define(COLLAPSED, &[]).ok(),
        }
    }

    pub(crate) fn count(&self, facts: &Facts<'_>, own: &Workload, plan: &Plan, measured: &Measured) {
        let mut key = self.key.take();
        facts.key(&mut key);
        let known = self.known.borrow().get(key.as_slice()).copied();
        let metrics = known.unwrap_or_else(|| self.define(&mut key, facts, own, plan));
        self.key.set(key);
        metrics.count(measured);
        if let (true, Some(collapsed)) = (metrics.is_collapsed, &self.collapsed) {
            collapsed.add(1);
        }
    }

    fn define(&self, key: &mut Vec<u8>, facts: &Facts<'_>, own: &Workload, plan: &Plan) -> Metrics {
        if self.known.borrow().len() < self.most {
            let metrics = Metrics::define(facts, own, plan);
            self.known.borrow_mut().insert(key.as_slice().into(), metrics);
            return metrics;
        }
        let facts = facts.collapsed();
        facts.key(key);
        // The key of what was collapsed must not be met by a request that came so.
        key.push(1);
        if let Some(known) = self.known.borrow().get(key.as_slice()) {
            return *known;
        }
        if self.known.borrow().len() >= self.most_in_all {
            return Metrics { is_collapsed: true, ..Metrics::default() };
        }
        let metrics = Metrics { is_collapsed: true, ..Metrics::define(&facts, own, plan) };
        self.known.borrow_mut().insert(key.as_slice().into(), metrics);
        metrics
    }
}

impl Metrics {
    fn define(facts: &Facts<'_>, own: &Workload, plan: &Plan) -> Self {
        let base = facts.labels(own);
        let is_grpc = facts.grpc_status.is_some();
        let labels = |metric: usize| plan.labels(metric, &base, facts.values);
        let counter = |metric: usize| {
            let (_, name) = METRICS.get(metric)?;
            Counter::define(name, &labels(metric)?)
                .inspect_err(|problem| warn!("{name} is not counted: {problem}"))
                .ok()
        };
        let histogram = |metric: usize| {
            let (_, name) = METRICS.get(metric)?;
            let defined = Histogram::define(name, &labels(metric)?);
            defined.inspect_err(|problem| warn!("{name} is not counted: {problem}")).ok()
        };
        Self {
            requests: counter(0),
            duration: histogram(1),
            request_bytes: histogram(2),
            response_bytes: histogram(3),
            request_messages: if is_grpc { counter(4) } else { None },
            response_messages: if is_grpc { counter(5) } else { None },
            is_collapsed: false,
        }
    }

    fn count(&self, measured: &Measured) {
        if let Some(requests) = &self.requests {
            requests.add(1);
        }
        if let Some(duration) = &self.duration {
            duration.record(u64::try_from(measured.duration.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some(bytes) = &self.request_bytes {
            bytes.record(measured.request_bytes);
        }
        if let Some(bytes) = &self.response_bytes {
            bytes.record(measured.response_bytes);
        }
        if let Some((request, response)) = measured.messages {
            for (counter, count) in [(&self.request_messages, request), (&self.response_messages, response)] {
                if let (Some(counter), 1..) = (counter, count) {
                    counter.add(u32::try_from(count).unwrap_or(u32::MAX));
                }
            }
        }
    }
}

/// Eight bytes at a time, mixed by a multiplication. The table is small and bounded, so keys chosen to collide cost at
/// most a walk through it.
#[derive(Default)]
struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut mix = |word: u64| {
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        };
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }
}
