//! What is counted and logged, seen from outside.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use sidegate_sdk::testing::{Filter, Host};
use telemetry::Telemetry;

fn workload(host: Host) -> Host {
    host.property(["xds", "node", "metadata", "WORKLOAD_NAME"], "shop-v1")
        .property(["xds", "node", "metadata", "NAMESPACE"], "prod")
        .property(["xds", "node", "metadata", "CLUSTER_ID"], "eu")
        .property(["xds", "node", "metadata", "LABELS", "app"], "shop")
        .property(["xds", "node", "metadata", "LABELS", "version"], "v1")
}

fn counted(filter: &Filter<Telemetry>) -> Vec<String> {
    let all = filter.metrics();
    all.into_iter().filter_map(|name| name.strip_prefix("istio_requests_total{").map(str::to_owned)).collect()
}

fn has(series: &str, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        let label = format!("{name}=\"{value}\"");
        assert!(format!(",{series}").contains(&format!(",{label}")), "{label} in {series}");
    }
}

#[test]
fn inbound_names_the_workload_as_destination_and_the_peer_by_its_certificate() {
    let filter: Filter<Telemetry> = workload(Host::new()).configure("").unwrap();
    let peer = "spiffe://cluster.local/ns/web/sa/front";
    filter
        .get("/")
        .header(":authority", "shop.prod:8080")
        .property(["xds", "listener_direction"], 1)
        .property(["connection", "mtls"], true)
        .property(["connection", "uri_san_peer_certificate"], peer)
        .respond(404, &[], "")
        .run();
    let series = counted(&filter);
    assert_eq!(series.len(), 1);
    has(
        &series[0],
        &[
            ("reporter", "destination"),
            ("source_workload", "unknown"),
            ("source_workload_namespace", "web"),
            ("source_principal", peer),
            ("destination_workload", "shop-v1"),
            ("destination_workload_namespace", "prod"),
            ("destination_app", "shop"),
            ("destination_version", "v1"),
            ("destination_canonical_revision", "v1"),
            ("destination_cluster", "eu"),
            ("destination_service", "shop.prod"),
            ("destination_service_name", "shop"),
            ("destination_service_namespace", "prod"),
            ("request_protocol", "http"),
            ("response_code", "404"),
            ("grpc_response_status", ""),
            ("response_flags", "-"),
            ("connection_security_policy", "mutual_tls"),
        ],
    );
}

#[test]
fn outbound_names_the_workload_as_source() {
    let filter: Filter<Telemetry> = workload(Host::new()).configure("{}").unwrap();
    filter
        .get("/")
        .header(":authority", "cart.prod.svc.cluster.local")
        .property(["xds", "listener_direction"], 2)
        .run();
    has(
        &counted(&filter)[0],
        &[
            ("reporter", "source"),
            ("source_workload", "shop-v1"),
            ("destination_workload", "unknown"),
            ("destination_service", "cart.prod.svc.cluster.local"),
            ("destination_service_name", "cart"),
            ("destination_service_namespace", "prod"),
            ("connection_security_policy", "unknown"),
        ],
    );
}

#[test]
fn grpc_and_flags_have_their_labels() {
    let filter = Filter::<Telemetry>::configure("{}").unwrap();
    let grpc = || filter.post("/s/m").header("content-type", "application/grpc+proto").body("x");
    grpc().property(["response", "grpc_status"], 14).property(["response", "flags"], 1 << 1).run();
    has(
        &counted(&filter)[0],
        &[("request_protocol", "grpc"), ("grpc_response_status", "14"), ("response_flags", "UH")],
    );
    grpc().property("sidegate.response_flag", "NR").property(["response", "flags"], 1 << 1).run();
    has(&counted(&filter)[1], &[("response_flags", "NR"), ("grpc_response_status", "")]);
}

#[test]
fn one_set_of_labels_is_defined_once() {
    let filter = Filter::<Telemetry>::configure("{}").unwrap();
    for _ in 0..3 {
        filter.get("/").run();
    }
    let metrics = filter.metrics();
    assert_eq!(metrics.len(), 2);
    assert!(metrics.iter().all(|series| filter.metric(series) == Some(3)), "{metrics:?}");
}

#[test]
fn access_logs_are_written_where_they_are_on() {
    let config = r#"{"accessLogging": [{}, {"disabled": true}, {"providers": [{"name": "otel"}]},
        {"providers": [{"name": "envoy"}], "format": "%RESPONSE_CODE%\n"}]}"#;
    let filter = Filter::<Telemetry>::configure(config).unwrap();
    assert_eq!(filter.get("/").run().access_logs(), [1, 2]);
    let silent = Filter::<Telemetry>::configure("{}").unwrap();
    assert!(silent.get("/").run().access_logs().is_empty());
}

#[test]
fn a_host_without_access_logs_still_counts() {
    let filter: Filter<Telemetry> = Host::foreign().configure(r#"{"accessLogging": [{}]}"#).unwrap();
    let outcome = filter.get("/").run();
    assert!(outcome.access_logs().is_empty());
    assert_eq!(counted(&filter).len(), 1);
}

#[test]
fn what_is_not_there_yet_is_refused_at_its_place() {
    let config = r#"{"tracing": [], "accessLogging": [{"filter": {"expression": "true"}}]}"#;
    let problems = Filter::<Telemetry>::configure(config).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(places, ["/tracing", "/accessLogging/0/filter"]);
}
