//! Where a service is, how long it is waited for, what it is told of bodies, and what follows when it does not answer.

use std::time::Duration;

use sidegate_sdk::parse_duration;

use super::body::BodyInCheck;
use super::place::Place;
use crate::config::{StatusOnError, Words};
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
    pub(crate) body: Option<BodyInCheck>,
}

/// What is done when there is no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnError {
    pub(crate) is_open: bool,
    pub(crate) status: u16,
}

impl Target {
    /// Checks and compiles; problems are told at their `place`.
    pub(crate) fn compile(written: &Words<'_>, of: &Surroundings, place: &mut Place<'_>) -> Self {
        let timeout = match written.timeout.map_or(Ok(TIMEOUT), parse_duration) {
            Ok(timeout) if timeout >= Duration::from_millis(1) => timeout,
            other => {
                let problem = other.err().unwrap_or_else(|| "a timeout has at least 1ms".to_owned());
                place.error("timeout", &problem);
                TIMEOUT
            }
        };
        let status = status(written.status_on_error).unwrap_or_else(|| {
            place.error("statusOnError", "a status of an error lies between 400 and 599");
            STATUS
        });
        let on_error = OnError { is_open: written.fail_open, status };
        let body = written.body.map(|written| BodyInCheck::compile(written, of, place));
        Self { cluster: cluster(written, of, place), timeout, on_error, body }
    }
}

fn cluster(written: &Words<'_>, of: &Surroundings, place: &mut Place<'_>) -> String {
    // Istio allows `namespace/host`.
    let host = written.service.rsplit('/').next().unwrap_or_default();
    if host.is_empty() {
        place.error("service", "a service is needed: a cluster's name or one of its hosts");
    }
    of.cluster_of(host, written.port).unwrap_or_else(|| {
        if !host.is_empty() {
            place.warning("service", &format!("no cluster has `{host}` as its name or among its hosts"));
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
