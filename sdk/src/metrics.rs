//! Counters, gauges and histograms. They are defined once, in `configure`, and used through their handle.
//!
//! ```
//! use sidegate_sdk::{Filter, LogView, Result, Setup, config, filter, metrics::Counter, testing};
//!
//! #[config]
//! struct Settings {}
//!
//! struct Count { requests: Counter }
//!
//! #[filter]
//! impl Filter for Count {
//!     type Config = Settings;
//!     fn configure(_: Settings, _: &mut Setup) -> Result<Self> {
//!         Ok(Self { requests: Counter::define("shop_requests_total", &[("side", "in")])? })
//!     }
//!     fn log(&self, _: &LogView<'_>) {
//!         self.requests.add(1);
//!     }
//! }
//!
//! let filter = testing::Filter::<Count>::configure("{}").unwrap();
//! filter.get("/").run();
//! assert_eq!(filter.metric(r#"shop_requests_total{side="in"}"#), Some(1));
//! ```

use crate::error::Result;
use crate::host;

/// A number that only grows.
#[derive(Debug, Clone, Copy)]
pub struct Counter(u32);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(u32);

/// A distribution of values.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(u32);

impl Counter {
    /// Defines the series `name{labels}`; the same series again gives a handle to the same numbers.
    ///
    /// # Errors
    /// If the host refuses. Over its limit of series Sidegate gives one that is named `overflow`.
    pub fn define(name: &str, labels: &[(&str, &str)]) -> Result<Self> {
        host::define_metric(0, &series(name, labels)).map(Self)
    }

    /// Adds.
    pub fn add(&self, amount: u32) {
        // A counter that the host lost is no reason to fail an exchange.
        let _ = host::increment_metric(self.0, i64::from(amount));
    }
}

impl Gauge {
    /// As [`Counter::define`].
    ///
    /// # Errors
    /// If the host refuses.
    pub fn define(name: &str, labels: &[(&str, &str)]) -> Result<Self> {
        host::define_metric(1, &series(name, labels)).map(Self)
    }

    /// Sets the value.
    pub fn set(&self, value: u64) {
        let _ = host::record_metric(self.0, value);
    }

    /// Adds, or takes away. Hosts do not stop at zero.
    pub fn add(&self, amount: i64) {
        let _ = host::increment_metric(self.0, amount);
    }

    /// The value over all workers; 0 if the host does not say.
    #[must_use]
    pub fn value(&self) -> u64 {
        host::metric(self.0).unwrap_or(0)
    }
}

impl Histogram {
    /// As [`Counter::define`].
    ///
    /// # Errors
    /// If the host refuses.
    pub fn define(name: &str, labels: &[(&str, &str)]) -> Result<Self> {
        host::define_metric(2, &series(name, labels)).map(Self)
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        let _ = host::record_metric(self.0, value);
    }
}

/// The name that carries labels through the ABI: `n{k="v"}`, values escaped as Prometheus wants.
///
/// ```
/// assert_eq!(sidegate_sdk::metrics::series("n", &[("k", "a\"b")]), r#"n{k="a\"b"}"#);
/// ```
#[must_use]
pub fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(name.len() + labels.iter().map(|(k, v)| k.len() + v.len() + 4).sum::<usize>());
    out.push_str(name);
    for (index, (key, value)) in labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.push_str(key);
        out.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    out
}
