//! Where a service is, how long it is waited for, and what follows when it does not answer.

use std::time::Duration;

use sidegate_sdk::{Setup, parse_duration};

use crate::config::StatusOnError;
use crate::surroundings::Surroundings;

/// How long an answer may take, where nothing is written: Envoy's default.
const TIMEOUT: Duration = Duration::from_millis(200);
/// What clients get then, where nothing is written.
const STATUS: u16 = 403;

/// A compiled service, however it is asked.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) cluster: String,
    pub(crate) timeout: Duration,
    pub(crate) on_error: OnError,
}

/// What is done when there is no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnError {
    pub(crate) is_open: bool,
    pub(crate) status: u16,
}

/// The words that every way of asking has.
pub(crate) struct Written<'w> {
    pub(crate) service: &'w str,
    pub(crate) port: Option<u16>,
    pub(crate) timeout: Option<&'w str>,
    pub(crate) fail_open: bool,
    pub(crate) status_on_error: Option<&'w StatusOnError>,
}

impl Target {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &Written<'_>, pointer: &str, of: &Surroundings, setup: &mut Setup) -> Self {
        let timeout = match written.timeout.map_or(Ok(TIMEOUT), parse_duration) {
            Ok(timeout) if timeout >= Duration::from_millis(1) => timeout,
            other => {
                let problem = other.err().unwrap_or_else(|| "a timeout has at least 1ms".to_owned());
                setup.error(format!("{pointer}/timeout"), problem);
                TIMEOUT
            }
        };
        let status = status(written.status_on_error).unwrap_or_else(|| {
            setup.error(format!("{pointer}/statusOnError"), "a status of an error lies between 400 and 599");
            STATUS
        });
        let on_error = OnError { is_open: written.fail_open, status };
        Self { cluster: cluster(written, pointer, of, setup), timeout, on_error }
    }
}

fn cluster(written: &Written<'_>, pointer: &str, of: &Surroundings, setup: &mut Setup) -> String {
    // Istio allows `namespace/host`.
    let host = written.service.rsplit('/').next().unwrap_or_default();
    if host.is_empty() {
        setup.error(format!("{pointer}/service"), "a service is needed: a cluster's name or one of its hosts");
    }
    of.cluster_of(host, written.port).unwrap_or_else(|| {
        if !host.is_empty() {
            let text = format!("no cluster has `{host}` as its name or among its hosts");
            setup.warning(format!("{pointer}/service"), text);
        }
        host.to_owned()
    })
}

fn status(written: Option<&StatusOnError>) -> Option<u16> {
    let status = match written {
        None => Some(STATUS),
        Some(StatusOnError::Number(status)) => Some(*status),
        Some(StatusOnError::Text(text)) => text.parse().ok(),
    };
    status.filter(|status| (400..=599).contains(status))
}
