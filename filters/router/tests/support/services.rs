//! Virtual services as tests write them, and where they send a request.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use router::Router;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Outcome};

/// The router of these virtual services.
pub(crate) fn table(services: Value) -> Filter<Router> {
    Filter::configure(&json!({"virtualServices": services}).to_string()).unwrap()
}

/// A `route` to this cluster.
pub(crate) fn to(cluster: &str) -> Value {
    json!([{"destination": {"host": cluster}}])
}

/// The cluster that a request was sent to; empty: to none.
pub(crate) fn cluster(outcome: &Outcome) -> String {
    outcome.property("sidegate.upstream.cluster").unwrap_or_default()
}
