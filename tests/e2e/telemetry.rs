//! What is told of requests: Istio's metrics as Prometheus reads them, and access logs.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sidegate_tests::h2::Http2Client;
use sidegate_tests::prometheus::sum;
use sidegate_tests::{Answer, Origin, Request, Sidegate, eventually};

use crate::h2_origin;
use crate::setup::{fine, standard_filters};

const PATIENCE: Duration = Duration::from_secs(10);
const NODE: &str = "node: {id: sidecar~1, metadata: {WORKLOAD_NAME: shop-v1, NAMESPACE: prod, CLUSTER_ID: eu, \
                    LABELS: {app: shop, version: v1}}}\n";

fn config(origin: impl std::fmt::Display, telemetry: &str) -> String {
    standard_filters()
        + NODE
        + &format!(
            "listeners:\n\
             - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: telemetry, config: {{{telemetry}}}}}]}}\n\
             - {{name: outbound, address: $outbound, direction: OUTBOUND, cluster: app, \
             filters: [{{plugin: telemetry, config: {{{telemetry}}}}}]}}\n\
             clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
        )
}

fn page(sidegate: &Sidegate) -> String {
    sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned()
}

#[test]
fn requests_have_istio_s_metrics_with_every_label_and_bucket() {
    let origin = fine();
    let sidegate = Sidegate::start(&config(&origin, ""));
    let request = Request::get("/").with_header("host", "shop.prod.svc.cluster.local:8080");
    assert_eq!(sidegate.send(&request).status, 200);
    sidegate.metric("istio_requests_total", &[("response_code", "200")], |count| count >= 1.0);
    let page = page(&sidegate);
    let line = page.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
    for label in [
        "reporter=\"destination\"",
        "source_workload=\"unknown\"",
        "source_canonical_service=\"unknown\"",
        "source_canonical_revision=\"unknown\"",
        "source_workload_namespace=\"unknown\"",
        "source_principal=\"unknown\"",
        "source_app=\"unknown\"",
        "source_version=\"unknown\"",
        "source_cluster=\"unknown\"",
        "destination_workload=\"shop-v1\"",
        "destination_workload_namespace=\"prod\"",
        "destination_principal=\"unknown\"",
        "destination_app=\"shop\"",
        "destination_version=\"v1\"",
        "destination_service=\"shop.prod.svc.cluster.local\"",
        "destination_canonical_service=\"shop\"",
        "destination_canonical_revision=\"v1\"",
        "destination_service_name=\"shop\"",
        "destination_service_namespace=\"prod\"",
        "destination_cluster=\"eu\"",
        "request_protocol=\"http\"",
        "response_code=\"200\"",
        "grpc_response_status=\"\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"none\"",
    ] {
        assert!(line.contains(label), "{label} in {line}");
    }
    assert_eq!(line.matches("=\"").count(), 25, "no other label: {line}");
    for name in ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"] {
        assert_eq!(sum(&page, &format!("{name}_count"), &[]), Some(1.0), "{name}");
        for bucket in
            ["0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "3600000", "+Inf"]
        {
            assert!(sum(&page, &format!("{name}_bucket"), &[("le", bucket)]).is_some(), "{name} le={bucket}");
        }
    }
    assert!(sum(&page, "istio_response_bytes_sum", &[]).unwrap() >= 4.0);
}

#[test]
fn two_proxies_tell_each_other_of_their_workloads_and_nobody_else() {
    let origin = Origin::answering(|request| {
        let told = request.headers.0.iter().filter(|(name, _)| name.starts_with("x-envoy-peer")).count();
        Answer::ok(told.to_string()).with_header("x-own", "1")
    });
    let server = Sidegate::start(&config(&origin, ""));
    let client =
        config(server.address("inbound"), "").replace("shop-v1", "front-v2").replace("app: shop", "app: front");
    let client = Sidegate::start(&client);
    let answer = sidegate_tests::Client::get_once(client.address("outbound"), "/").unwrap();
    assert_eq!(answer.text(), "0", "the service sees nothing of it");
    assert!(!answer.headers.0.iter().any(|(name, _)| name.starts_with("x-envoy-peer")), "{:?}", answer.headers);
    let seen_by_server =
        [("source_workload", "front-v2"), ("source_app", "front"), ("destination_workload", "shop-v1")];
    server.metric("istio_requests_total", &seen_by_server, |count| count >= 1.0);
    let seen_by_client = [("reporter", "source"), ("source_workload", "front-v2"), ("destination_workload", "shop-v1")];
    client.metric("istio_requests_total", &seen_by_client, |count| count >= 1.0);
    // A client that is no proxy gets no introduction.
    assert!(!server.get("/").headers.0.iter().any(|(name, _)| name.starts_with("x-envoy-peer")));
}

#[test]
fn grpc_has_its_status_and_its_messages() {
    let (address, _) = h2_origin::start();
    let text = config(address, "").replace("clusters: [{name: app,", "clusters: [{name: app, protocol: GRPC,");
    let sidegate = Sidegate::start(&text);
    let mut request = Request::get("/service/echo").with_header("content-type", "application/grpc");
    request.method = "POST".to_owned();
    request.body = b"\0\0\0\0\x02ab\0\0\0\0\x01c".to_vec();
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    assert_eq!(client.send(&request).unwrap().status, 200);
    let labels = [("request_protocol", "grpc"), ("grpc_response_status", "0")];
    assert_eq!(sidegate.metric("istio_request_messages_total", &labels, |count| count >= 2.0), 2.0);
    assert_eq!(sidegate.metric("istio_response_messages_total", &labels, |count| count >= 2.0), 2.0);
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_page() {
    let origin = fine();
    let sidegate = Sidegate::start(&config(&origin, ""));
    sidegate.send(&Request::get("/").with_header("host", "a\\b"));
    sidegate.get("/");
    sidegate.metric("istio_requests_total", &[], |count| count >= 1.0);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else {
        eprintln!("skipped: promtool is not installed (Debian: prometheus)");
        return;
    };
    promtool.stdin.take().unwrap().write_all(page(&sidegate).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // 3: it minds help texts, and names that Envoy and Istio have chosen. 1: it cannot read the page.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
}

#[test]
fn labels_are_what_the_operator_says() {
    let origin = fine();
    let overrides = "metrics: [{overrides: [{tagOverrides: {user: {value: \"request.headers['x-user']\"}, \
                     slow: {value: 'response.code >= 500'}, source_app: {operation: REMOVE}}}, \
                     {match: {metric: RESPONSE_SIZE, mode: SERVER}, disabled: true}]}]";
    let sidegate = Sidegate::start(&config(&origin, overrides));
    sidegate.send(&Request::get("/").with_header("x-user", "ada"));
    sidegate.metric("istio_requests_total", &[("user", "ada"), ("slow", "false")], |count| count >= 1.0);
    let page = page(&sidegate);
    assert!(!page.contains("source_app") && !page.contains("istio_response_bytes"), "{page}");
}

#[test]
fn logs_go_where_their_providers_say_for_the_requests_that_match() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/bad" => Answer::status(500),
        _ => Answer::ok("fine"),
    });
    let providers = "extensionProviders:\n\
        - name: errors\n  envoyFileAccessLog: {path: errors.log, logFormat: {text: \"%RESPONSE_CODE% %REQ(:PATH)%\\n\"}}\n\
        - name: json\n  envoyFileAccessLog:\n    path: json.log\n    logFormat:\n      labels:\n\
        \x20       {path: '%REQ(:PATH)%', code: '%RESPONSE_CODE%', took: '%DURATION%', none: '%REQ(X-NO)%', \
        both: '%PROTOCOL% %REQ(X-NO)%', day: '%START_TIME(%Y)%', fixed: true, \
        flags: ['%RESPONSE_FLAGS%'], trace: '%TRACE_ID%', up: '%UPSTREAM_LOCAL_ADDRESS%', \
        cel: \"%CEL(request.path + ' ' + string(response.code >= 400))%\", gone: '%CEL(request.headers.x_no)%'}\n";
    let telemetry = "accessLogging: [{providers: [{name: errors}], filter: {expression: 'response.code >= 400'}}, \
                     {match: {mode: SERVER}, providers: [{name: json}]}]";
    let sidegate = Sidegate::start(&(config(&origin, telemetry) + providers));
    for path in ["/good", "/bad"] {
        sidegate.get(path);
    }
    sidegate_tests::Client::get_once(sidegate.address("outbound"), "/bad").unwrap();
    let read = |name: &str, lines: usize| {
        let path = sidegate.folder().join(name);
        let text = || std::fs::read_to_string(&path).unwrap_or_default();
        eventually(PATIENCE, || (text().lines().count() >= lines).then(text)).unwrap_or_else(text)
    };
    assert_eq!(read("errors.log", 2), "500 /bad\n500 /bad\n");
    let json = read("json.log", 2);
    assert_eq!(json.lines().count(), 2, "not for outbound requests: {json}");
    let line: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&line["code"], &line["none"], &line["fixed"]), (&200.into(), &Value::Null, &true.into()));
    assert_eq!((line["both"].as_str(), &line["flags"][0]), (Some("HTTP/1.1 -"), &"-".into()));
    assert!(line["took"].is_u64() && line["day"].as_str().is_some_and(|year| year.len() == 4), "{line}");
    assert_eq!(line["trace"].as_str().map(str::len), Some(32));
    assert!(line["up"].as_str().is_some_and(|up| up.starts_with("127.0.0.1:") && up != origin.to_string()), "{line}");
    assert_eq!((line["cel"].as_str(), &line["gone"]), (Some("/good false"), &Value::Null));
}

#[test]
fn wrong_words_are_reported_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let text = "extensionProviders: [{name: otel, opentelemetry: {service: nowhere}}]\n\
                listeners: [{name: in, address: 127.0.0.1:1}]\n";
    std::fs::write(folder.path().join("c.yaml"), text).unwrap();
    let output = sidegate_tests::sidegate::run(folder.path(), &["check", "c.yaml"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("c.yaml:1:") && said.contains("no cluster"), "{said}");
}
