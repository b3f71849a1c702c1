//! Two versions of one small service, which tell what they received.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde_json::{Map, Value, json};
use sidegate_tests::{Answer, Origin, Request};

use crate::command::Failure;

/// Ports of examples/quickstart/sidegate.yaml, with the version that answers there.
const VERSIONS: [(u16, &str); 2] = [(9001, "v1"), (9002, "v2")];

/// The running services; they end with this value.
pub(crate) struct Services {
    _origins: Vec<Origin>,
}

impl Services {
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut origins = Vec::new();
        for (port, version) in VERSIONS {
            let origin = Origin::answering_on(address(port), move |request| answer(version, request));
            origins.push(origin.map_err(|error| taken_from(port, version, &error))?);
        }
        Ok(Self { _origins: origins })
    }
}

/// Fails when something else listens where the services will.
pub(crate) fn demand_addresses() -> Result<(), Failure> {
    for (port, version) in VERSIONS {
        TcpListener::bind(address(port)).map_err(|error| taken_from(port, version, &error))?;
    }
    Ok(())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn taken_from(port: u16, version: &str, error: &io::Error) -> Failure {
    taken(address(port), &format!("the service reviews {version}"), error)
}

/// Says who needs an address that cannot be bound.
pub(crate) fn taken(address: SocketAddr, by: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{by} needs {address}: {error}; stop what listens there, or see it with `ss -ltnp`"))
}

fn answer(version: &str, request: &Request) -> Answer {
    let headers: Map<String, Value> =
        request.headers.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({
        "service": "reviews",
        "version": version,
        "method": request.method,
        "path": request.target,
        "headers": headers,
    });
    Answer::ok(format!("{body:#}\n")).with_header("content-type", "application/json")
}
