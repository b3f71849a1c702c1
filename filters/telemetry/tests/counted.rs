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
    let metrics: Vec<_> = filter.metrics().into_iter().filter(|series| series.contains('{')).collect();
    let names: Vec<_> = metrics.iter().filter_map(|series| Some(series.split_once('{')?.0)).collect();
    let wanted =
        ["istio_requests_total", "istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"];
    assert_eq!(names, wanted);
    assert!(metrics.iter().all(|series| filter.metric(series) == Some(3)), "{metrics:?}");
}

#[test]
fn peers_are_named_by_what_their_proxies_say() {
    let told = "workload=front-v2,namespace=web,app=front,version=v2,service=front,revision=v2,cluster=us";
    let filter: Filter<Telemetry> = workload(Host::new()).configure("").unwrap();
    let get = || filter.get("/").header(":authority", "cart");
    get().property(["filter_state", "downstream_peer"], told).run();
    has(
        &counted(&filter)[0],
        &[
            ("source_workload", "front-v2"),
            ("source_workload_namespace", "web"),
            ("source_app", "front"),
            ("source_version", "v2"),
            ("source_canonical_service", "front"),
            ("source_cluster", "us"),
            ("destination_workload", "shop-v1"),
        ],
    );
    get().property(["filter_state", "upstream_peer"], told).property(["xds", "listener_direction"], 2).run();
    let outbound =
        [("destination_workload", "front-v2"), ("destination_service_namespace", "web"), ("reporter", "source")];
    has(&counted(&filter)[1], &outbound);
}

#[test]
fn grpc_messages_are_counted() {
    let filter = Filter::<Telemetry>::configure("{}").unwrap();
    filter
        .post("/s/m")
        .header("content-type", "application/grpc")
        .property(["filter_state", "envoy.filters.http.grpc_stats"], "2,5")
        .run();
    let value = |name: &str| {
        let all = filter.metrics();
        all.iter().find(|series| series.starts_with(name)).and_then(|series| filter.metric(series))
    };
    assert_eq!(value("istio_request_messages_total{"), Some(2));
    assert_eq!(value("istio_response_messages_total{"), Some(5));
}

#[test]
fn labels_and_metrics_are_what_overrides_say() {
    let config = r#"{"metrics": [{"providers": [{"name": "prometheus"}], "overrides": [
        {"tagOverrides": {"source_principal": {"operation": "REMOVE"}, "method": {"value": "request.method"},
                          "response_code": {"value": "\"hidden\""}}},
        {"match": {"metric": "REQUEST_SIZE"}, "disabled": true},
        {"match": {"metric": "REQUEST_COUNT", "mode": "CLIENT"}, "disabled": true}]}]}"#;
    let filter = Filter::<Telemetry>::configure(config).unwrap();
    filter.get("/").run();
    has(&counted(&filter)[0], &[("method", "GET"), ("response_code", "hidden"), ("destination_principal", "unknown")]);
    assert!(!counted(&filter)[0].contains("source_principal"));
    assert!(!filter.metrics().iter().any(|series| series.starts_with("istio_request_bytes")));
    filter.get("/").property(["xds", "listener_direction"], 2).run();
    assert_eq!(counted(&filter).len(), 1, "requests are not counted for clients");
}

#[test]
fn more_labels_than_the_host_takes_become_unknown() {
    let filter: Filter<Telemetry> = workload(Host::new()).property("sidegate.limits.series", 80).configure("").unwrap();
    for number in 0..100 {
        filter.get("/").header(":authority", &format!("host-{number}")).run();
    }
    let series = counted(&filter);
    assert_eq!(series.len(), 19, "18 hosts and one for all others");
    has(series.last().unwrap(), &[("destination_service", "unknown"), ("destination_workload", "shop-v1")]);
    assert_eq!(filter.metric("istio_telemetry_collapsed_total"), Some(82));
    let total: u64 = series.iter().filter_map(|labels| filter.metric(&format!("istio_requests_total{{{labels}"))).sum();
    assert_eq!(total, 100, "every request is counted");
}

#[test]
fn what_is_wrong_is_refused_at_its_place() {
    let config = r#"{"metrics": [{"overrides": [{"tagOverrides": {"a-b": {"value": "\"x\""}, "c": {},
                                                                   "d": {"value": "1 + 1"}}}]}],
        "tracing": [{"randomSamplingPercentage": 101, "providers": [{"name": "none"}], "customTags": {"a/b": {}}}],
        "accessLogging": [{"filter": {"expression": "true"}}, {"providers": [{"name": "none"}]}]}"#;
    let problems = Filter::<Telemetry>::configure(config).unwrap_err();
    let mut places: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    places.sort_unstable();
    let overrides = "/metrics/0/overrides/0/tagOverrides";
    let wanted = [
        "/accessLogging/0/filter/expression".to_owned(),
        "/accessLogging/1/providers/0/name".to_owned(),
        format!("{overrides}/a-b"),
        format!("{overrides}/c"),
        format!("{overrides}/d/value"),
        "/tracing/0/customTags/a~1b".to_owned(),
        "/tracing/0/providers/0/name".to_owned(),
        "/tracing/0/randomSamplingPercentage".to_owned(),
    ];
    assert_eq!(places, wanted);
}
