//! `builtin:telemetry`: Istio's request metrics, and access logs where they are asked for.
//!
//! All work is done when an exchange is over: no request or response hook is exported. [`config`] is the written form,
//! [`labels`] says what an exchange is counted under as plain Rust, `series` keeps the metrics, `access_log` asks the
//! host to write lines. A host without `sidegate_access_log` gets the metrics only.
#![forbid(unsafe_code)]

mod access_log;
pub mod config;
mod flags;
pub mod labels;
mod series;

use sidegate_sdk::{Filter, LogView, Result, Setup, filter};

use crate::access_log::AccessLog;
use crate::config::TelemetryConfig;
use crate::labels::{Direction, Facts, Workload};
use crate::series::Series;

/// The filter: who we are, what was counted, and the logs.
pub struct Telemetry {
    workload: Workload,
    series: Series,
    logs: Vec<AccessLog>,
}

#[filter]
impl Filter for Telemetry {
    type Config = TelemetryConfig;

    fn configure(config: TelemetryConfig, setup: &mut Setup) -> Result<Self> {
        config.refuse_unsupported(setup);
        let logs = AccessLog::open_all(&config.access_logging, setup);
        Ok(Self { workload: Workload::of_host(), series: Series::default(), logs })
    }

    fn log(&self, view: &LogView<'_>) {
        self.count(view);
        self.logs.iter().for_each(AccessLog::write_line);
    }
}

impl Telemetry {
    fn count(&self, view: &LogView<'_>) {
        let direction = Direction::from_property(view.int("xds\0listener_direction"));
        let authority = view.request_header(":authority");
        let content_type = view.request_header("content-type");
        let is_grpc = content_type.is_some_and(|value| value.starts_with("application/grpc"));
        let is_mtls = match direction {
            Direction::Inbound => view.bool("connection\0mtls"),
            Direction::Outbound => None,
        };
        let (peer, own) = match direction {
            // Without mutual TLS there is no peer certificate to ask for.
            Direction::Inbound if is_mtls != Some(true) => (None, None),
            Direction::Inbound => {
                (view.text("connection\0uri_san_peer_certificate"), view.text("connection\0uri_san_local_certificate"))
            }
            Direction::Outbound => {
                (view.text("upstream\0uri_san_peer_certificate"), view.text("upstream\0uri_san_local_certificate"))
            }
        };
        let flag = view.text("sidegate.response_flag").filter(|flag| !flag.is_empty());
        let flags = flag.unwrap_or_else(|| flags::text(view.int("response\0flags").unwrap_or(0)));
        let facts = Facts {
            direction,
            authority: authority.as_deref().unwrap_or_default(),
            status: view.status(),
            grpc_status: is_grpc.then(|| view.int("response\0grpc_status")),
            flags: &flags,
            is_mtls,
            peer_principal: peer.as_deref().unwrap_or_default(),
            own_principal: own.as_deref().unwrap_or_default(),
        };
        self.series.count(&facts, &self.workload, view.duration());
    }
}
