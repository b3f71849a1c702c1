//! Counts of one route, where `statPrefix` asks for them, with the names that Envoy gives to `route.PREFIX.*`.

use std::cell::RefCell;

use sidegate_sdk::Result;
use sidegate_sdk::metrics::Counter;

/// The counters of a prefix. Those by status are defined when a status is first met.
#[derive(Debug)]
pub(crate) struct RouteStats {
    host: Box<str>,
    prefix: Box<str>,
    total: Counter,
    completed: Counter,
    /// At most one for each status of HTTP.
    by_status: RefCell<Vec<(u16, [Counter; 2])>>,
}

impl RouteStats {
    /// # Errors
    /// If the host refuses the counters.
    pub(crate) fn define(host: &str, prefix: &str) -> Result<Self> {
        let labels = [("envoy_virtual_host", host), ("envoy_route", prefix)];
        Ok(Self {
            total: Counter::define("envoy_vhost_route_upstream_rq_total", &labels)?,
            completed: Counter::define("envoy_vhost_route_upstream_rq_completed", &labels)?,
            host: host.into(),
            prefix: prefix.into(),
            by_status: RefCell::default(),
        })
    }

    pub(crate) fn sent(&self) {
        self.total.add(1);
    }

    /// # Errors
    /// If the host refuses a counter.
    pub(crate) fn answered(&self, status: u16) -> Result<()> {
        self.completed.add(1);
        let mut known = self.by_status.borrow_mut();
        let counters = match known.iter().find(|(of, _)| *of == status) {
            Some((_, counters)) => *counters,
            None => {
                let counters = self.define_status(status)?;
                known.push((status, counters));
                counters
            }
        };
        counters.iter().for_each(|counter| counter.add(1));
        Ok(())
    }

    fn define_status(&self, status: u16) -> Result<[Counter; 2]> {
        let (code, class) = (status.to_string(), (status / 100).to_string());
        let define = |name: &str, label: &str, value: &str| {
            Counter::define(name, &[("envoy_virtual_host", &self.host), ("envoy_route", &self.prefix), (label, value)])
        };
        Ok([
            define("envoy_vhost_route_upstream_rq", "envoy_response_code", &code)?,
            define("envoy_vhost_route_upstream_rq_xx", "envoy_response_code_class", &class)?,
        ])
    }
}
