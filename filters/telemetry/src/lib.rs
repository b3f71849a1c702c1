//! `builtin:telemetry`: Istio's request metrics, access logs where they are asked for, and how requests are traced.
//!
//! All work is done when an exchange is over: no request or response hook is exported. [`config`] is the written form,
//! [`labels`] says what an exchange is counted under as plain Rust, `overrides` what an operator changed of that,
//! `series` keeps the metrics; `access_log` and `tracing` tell the host what to write and to draw. A host without our
//! foreign functions gets the metrics only.
#![forbid(unsafe_code)]

mod access_log;
pub mod config;
pub mod direction;
mod expression;
mod flags;
pub mod labels;
mod overrides;
mod providers;
mod series;
mod tracing;

use std::borrow::Cow;

use sidegate_sdk::{Filter, LogView, Result, Setup, filter, foreign, properties};

use crate::access_log::AccessLogs;
use crate::config::TelemetryConfig;
use crate::direction::{BySide, Direction};
use crate::labels::{Facts, Workload};
use crate::overrides::Plan;
use crate::providers::Providers;
use crate::series::{Measured, Series};

/// The filter: who we are, what was counted, and the logs.
pub struct Telemetry {
    workload: Workload,
    plans: BySide<Plan>,
    series: Series,
    logs: AccessLogs,
    /// Whether the host keeps the flags that filters give, in `response.flags`.
    keeps_flags: bool,
}

#[filter]
impl Filter for Telemetry {
    type Config = TelemetryConfig;

    fn configure(config: TelemetryConfig, setup: &mut Setup) -> Result<Self> {
        let providers = Providers::of_host();
        let logs = AccessLogs::open(&config.access_logging, &providers, setup);
        tracing::define(&config.tracing, &providers, setup);
        if !config.peer_metadata.disabled {
            // Elsewhere a filter of the host's own does it, or nobody.
            let _ = foreign("sidegate_peer_metadata", b"");
        }
        let plans = Plan::compile(&config.metrics, setup);
        let keeps_flags = properties::bytes("sidegate.clusters").is_some();
        Ok(Self { workload: Workload::of_host(), plans, series: Series::new(), logs, keeps_flags })
    }

    fn log(&self, view: &LogView<'_>) {
        let direction = Direction::from_property(view.int("xds\0listener_direction"));
        self.count(view, direction);
        self.logs.write(direction);
    }
}

impl Telemetry {
    fn count(&self, view: &LogView<'_>, direction: Direction) {
        let authority = view.request_header(":authority");
        let content_type = view.request_header("content-type");
        let is_grpc = content_type.is_some_and(|value| value.starts_with("application/grpc"));
        let is_mtls = match direction {
            Direction::Inbound => view.bool("connection\0mtls"),
            Direction::Outbound => None,
        };
        let (peer_principal, own_principal) = match direction {
            // Without mutual TLS there is no peer certificate to ask for.
            Direction::Inbound if is_mtls != Some(true) => (None, None),
            Direction::Inbound => {
                (view.text("connection\0uri_san_peer_certificate"), view.text("connection\0uri_san_local_certificate"))
            }
            Direction::Outbound => {
                (view.text("upstream\0uri_san_peer_certificate"), view.text("upstream\0uri_san_local_certificate"))
            }
        };
        let peer = match direction {
            Direction::Inbound => view.text("filter_state\0downstream_peer"),
            Direction::Outbound => view.text("filter_state\0upstream_peer"),
        };
        let plan = self.plans.of(direction);
        let values = plan.values.iter().map(|value| value.text(view).unwrap_or(Cow::Borrowed("unknown")));
        let values: Vec<Cow<'_, str>> = values.collect();
        // Elsewhere our other filters can still tell us theirs.
        let flag = if self.keeps_flags { None } else { view.text("sidegate.response_flag") };
        let flag = flag.filter(|flag| !flag.is_empty());
        let flags = flag.unwrap_or_else(|| flags::text(view.int("response\0flags").unwrap_or(0)));
        let facts = Facts {
            direction,
            authority: authority.as_deref().unwrap_or_default(),
            status: view.status(),
            grpc_status: is_grpc.then(|| view.int("response\0grpc_status")),
            flags: &flags,
            is_mtls,
            peer_principal: peer_principal.as_deref().unwrap_or_default(),
            own_principal: own_principal.as_deref().unwrap_or_default(),
            peer: peer.as_deref().unwrap_or_default(),
            values: &values,
        };
        let number = |path: &str| view.int(path).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let measured = Measured {
            duration: view.duration(),
            request_bytes: number("request\0total_size"),
            response_bytes: number("response\0total_size"),
            messages: is_grpc.then(|| messages(view)),
        };
        self.series.count(&facts, &self.workload, plan, &measured);
    }
}

/// Messages of a gRPC request and its response, as Envoy's `grpc_stats` and Sidegate itself tell them: `1,2`.
fn messages(view: &LogView<'_>) -> (u64, u64) {
    let told = view.text("filter_state\0envoy.filters.http.grpc_stats").unwrap_or_default();
    let (request, response) = told.split_once(',').unwrap_or_default();
    (request.parse().unwrap_or(0), response.parse().unwrap_or(0))
}
