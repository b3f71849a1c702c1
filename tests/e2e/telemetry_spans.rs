//! Traces of requests: what goes on to the upstream, and what a collector gets.

use std::fmt::Display;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use sidegate_tests::{Answer, Origin, Request, Sidegate, eventually, hex};

use crate::collector::{self, attribute, spans};
use crate::grpc_service::{GrpcService, Reply};
use crate::guest::guest;
use crate::setup::{fine, standard_filters};

const PATIENCE: Duration = Duration::from_secs(15);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn config(origin: &Origin, collector: &str, otlp: &str, telemetry: &str, filters: &str) -> String {
    standard_filters()
        + &format!(
            "node: {{id: n-1, metadata: {{NAMESPACE: prod, LABELS: {{app: shop}}}}}}\n\
             extensionProviders: [{{name: otel, opentelemetry: {{service: spans, port: 4317{otlp}}}}}]\n\
             plugins: [{{name: guest, url: file:guest.wasm}}]\n\
             listeners:\n- name: inbound\n  address: $inbound\n  cluster: app\n\
             \x20 filters: [{{plugin: telemetry, config: {{{telemetry}}}}}{filters}]\n\
             clusters:\n- {{name: app, endpoints: [{{address: \"{origin}\"}}]}}\n\
             - {{name: spans, endpoints: [{{address: \"{collector}\"}}]}}\n"
        )
}

fn start(config: &str) -> Sidegate {
    Sidegate::configured(config).with_file("guest.wasm", guest(&[])).start()
}

fn header(origin: &Origin, name: &str) -> Option<String> {
    origin.requests().last().and_then(|request| request.headers.first(name).map(str::to_owned))
}

/// All spans that an HTTP collector has got, once there are enough.
fn told(collector: &Origin, count: usize) -> Vec<Span> {
    let seen = eventually(PATIENCE, || {
        let requests = collector.requests();
        let all = requests.iter().flat_map(|request| {
            assert_eq!(request.target, "/v1/traces");
            assert_eq!(request.headers.first("content-type"), Some("application/x-protobuf"));
            spans(&ExportTraceServiceRequest::decode(&request.body[..]).unwrap())
        });
        let all: Vec<Span> = all.collect();
        (all.len() >= count).then_some(all)
    });
    seen.unwrap_or_else(|| panic!("{count} spans, {} requests came", collector.request_count()))
}

#[test]
fn a_trace_goes_on_although_nobody_collects_it() {
    let origin = fine();
    let sidegate = start(&config(&origin, "127.0.0.1:1", "", "", ""));
    sidegate.get("/");
    let begun = header(&origin, "traceparent").unwrap();
    assert!(begun.starts_with("00-") && begun.ends_with("-00") && begun.len() == 55, "{begun}");
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let request = Request::get("/")
        .with_header("traceparent", &parent)
        .with_header("tracestate", "vendor=x")
        .with_header("x-request-id", "kept");
    sidegate.send(&request);
    let sent = header(&origin, "traceparent").unwrap();
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-01") && sent != parent, "{sent}");
    assert_eq!(header(&origin, "tracestate").as_deref(), Some("vendor=x"));
    assert_eq!(header(&origin, "x-request-id").as_deref(), Some("kept"));
    assert_eq!(header(&origin, "b3"), None);
}

#[test]
fn b3_goes_on_in_the_form_in_which_it_came() {
    let origin = fine();
    let sidegate = start(&config(&origin, "127.0.0.1:1", "", "", ""));
    sidegate.send(&Request::get("/").with_header("b3", &format!("{TRACE}-00f067aa0ba902b7-0")));
    let single = header(&origin, "b3").unwrap();
    assert!(single.starts_with(&format!("{TRACE}-")) && single.ends_with("-0"), "{single}");
    assert!(header(&origin, "traceparent").unwrap().starts_with(&format!("00-{TRACE}-")));
    let multi = Request::get("/")
        .with_header("x-b3-traceid", TRACE)
        .with_header("x-b3-spanid", "00f067aa0ba902b7")
        .with_header("x-b3-sampled", "1");
    sidegate.send(&multi);
    assert_eq!(header(&origin, "x-b3-traceid").as_deref(), Some(TRACE));
    assert_ne!(header(&origin, "x-b3-spanid").as_deref(), Some("00f067aa0ba902b7"));
    assert_eq!(header(&origin, "x-b3-parentspanid").as_deref(), Some("00f067aa0ba902b7"));
    assert!(header(&origin, "traceparent").unwrap().ends_with("-01"));
}

#[test]
fn a_collector_gets_the_request_and_its_attempt_over_http() {
    let (origin, collector) = (fine(), fine());
    let tags = "customTags: {tenant: {header: {name: x-tenant}}, build: {literal: {value: '7'}}}";
    let telemetry = format!("tracing: [{{providers: [{{name: otel}}], randomSamplingPercentage: 100, {tags}}}]");
    let otlp = ", http: {path: /v1/traces, headers: [{name: x-key, value: secret}]}";
    let sidegate = start(&config(&origin, &collector.to_string(), otlp, &telemetry, ""));
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let request = Request::get("/cart?x=1").with_header("traceparent", &parent).with_header("x-tenant", "ada");
    assert_eq!(sidegate.send(&request).status, 200);
    let spans = told(&collector, 2);
    let [server, attempt] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(hex(&server.trace_id), TRACE);
    assert_eq!(hex(&server.parent_span_id), "00f067aa0ba902b7");
    assert_eq!((server.kind, attempt.kind), (2, 3));
    assert_eq!(attempt.parent_span_id, server.span_id);
    let sent = header(&origin, "traceparent").unwrap();
    assert_eq!(sent, format!("00-{TRACE}-{}-01", hex(&attempt.span_id)), "the upstream is below the attempt");
    assert_eq!(attribute(server, "tenant").as_deref(), Some("ada"));
    assert_eq!(attribute(server, "build").as_deref(), Some("7"));
    assert_eq!(attribute(server, "http.status_code").as_deref(), Some("200"));
    assert!(attribute(server, "http.url").unwrap().ends_with("/cart?x=1"));
    assert_eq!(attribute(attempt, "upstream_cluster.name").as_deref(), Some("app"));
    assert_eq!(attribute(attempt, "peer.address"), Some(origin.to_string()));
    assert!(server.start_time_unix_nano <= attempt.start_time_unix_nano);
    assert!(attempt.end_time_unix_nano <= server.end_time_unix_nano);
    let request = &collector.requests()[0];
    assert_eq!(request.headers.first("x-key"), Some("secret"));
    let message = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
    let resource = message.resource_spans[0].resource.clone().unwrap();
    assert!(
        resource
            .attributes
            .iter()
            .any(|known| known.key == "service.name" && format!("{known:?}").contains("shop.prod"))
    );
    assert_eq!(sidegate.metric("envoy_tracing_opentelemetry_spans_sent", &[], |sent| sent >= 2.0), 2.0);
}

#[test]
fn every_attempt_has_a_span() {
    let origin = Origin::answering(|request| match request.headers.first("x-envoy-attempt-count") {
        _ if request.target == "/down" => Answer::status(503),
        _ => Answer::ok("fine"),
    });
    let collector = fine();
    let telemetry = "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100}]";
    let retries = "retries: {attempts: 2, retryOn: '5xx', backoff: 1ms}";
    let router = format!(
        ", {{plugin: router, config: {{virtualServices: [{{hosts: ['*'], http: [{{name: r, route: [{{destination: \
         {{host: app}}}}], {retries}}}]}}]}}}}"
    );
    let sidegate = start(&config(&origin, &collector.to_string(), ", http: {}", telemetry, &router));
    assert_eq!(sidegate.get("/down").status, 503);
    let spans = told(&collector, 4);
    let [server, attempts @ ..] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(server.name, "GET r");
    assert_eq!(attempts.len(), 3);
    let numbers: Vec<_> = attempts.iter().filter_map(|span| attribute(span, "retry.attempt")).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    assert!(attempts.iter().all(|span| span.parent_span_id == server.span_id && span.status.is_some()));
}

/// The span of the callout that `auth` makes for one request to this service, asked with these words; a part of the
/// request's trace.
fn callout_span(side: impl Display, ext_authz: &str) -> Span {
    let (origin, collector) = (fine(), fine());
    let telemetry = "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100}]";
    let auth = format!(", {{plugin: auth, config: {{extAuthz: {{{ext_authz}}}}}}}");
    let text = config(&origin, &collector.to_string(), ", http: {}", telemetry, &auth)
        + &format!("- {{name: side, endpoints: [{{address: \"{side}\"}}]}}\n");
    let sidegate = start(&text);
    assert_eq!(sidegate.get("/").status, 200);
    let spans = told(&collector, 3);
    let callout = spans.iter().find(|span| span.name == "callout side").unwrap();
    let server = spans.iter().find(|span| span.kind == 2).unwrap();
    assert_eq!((&callout.parent_span_id, &callout.trace_id), (&server.span_id, &server.trace_id));
    callout.clone()
}

#[test]
fn a_callout_is_part_of_the_trace() {
    let side = fine();
    let callout = callout_span(&side, "envoyExtAuthzHttp: {service: side}");
    let asked = side.requests()[0].headers.first("traceparent").map(str::to_owned).unwrap();
    assert_eq!(asked, format!("00-{}-{}-01", hex(&callout.trace_id), hex(&callout.span_id)));
}

#[test]
fn a_grpc_callout_is_part_of_the_trace() {
    let side = GrpcService::answering(|_| Reply::Status(16));
    let callout = callout_span(&side, "envoyExtAuthzGrpc: {service: side, timeout: 5s, failOpen: true}");
    assert!(callout.status.as_ref().is_some_and(|status| status.code == 2), "16 is an error");
}

#[test]
fn a_collector_gets_spans_over_grpc() {
    let origin = fine();
    let (address, calls) = collector::start();
    let telemetry = "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100}]";
    let sidegate = start(&config(&origin, &address.to_string(), "", telemetry, ""));
    sidegate.get("/");
    let call = eventually(PATIENCE, || calls.lock().unwrap().first().cloned()).expect("a call");
    assert_eq!(call.0, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!(spans(&call.1).len(), 2);
    sidegate.metric("envoy_tracing_opentelemetry_spans_sent", &[], |sent| sent >= 2.0);
}

#[test]
fn nothing_is_told_of_requests_that_are_not_drawn() {
    let (origin, collector) = (fine(), fine());
    let telemetry = "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 0}]";
    let sidegate = start(&config(&origin, &collector.to_string(), ", http: {}", telemetry, ""));
    sidegate.get("/not-drawn");
    assert!(header(&origin, "traceparent").unwrap().ends_with("-00"));
    sidegate.send(&Request::get("/drawn").with_header("traceparent", &format!("00-{TRACE}-00f067aa0ba902b7-01")));
    let spans = told(&collector, 2);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "the parent's decision alone");
}

#[test]
fn spans_are_dropped_and_counted_when_the_collector_is_away() {
    let origin = fine();
    let telemetry = "tracing: [{providers: [{name: otel}], randomSamplingPercentage: 100}]";
    let sidegate = start(&config(&origin, "127.0.0.1:1", "", telemetry, ""));
    assert_eq!(sidegate.get("/").status, 200);
    assert_eq!(sidegate.metric("envoy_tracing_opentelemetry_spans_dropped", &[], |dropped| dropped >= 2.0), 2.0);
    assert!(sidegate.log().line_with("spans were dropped", PATIENCE).is_some());
}
