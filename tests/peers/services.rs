//! What the proxy says to services outside, as gRPC's own server and the published definitions understand it:
//! the scripts below `services`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidegate_tests::output::Output;
use sidegate_tests::{Origin, Request, Response, Sidegate, eventually};

use crate::installed::installed;
use crate::proxies::origin;

/// How long the interpreter may take to load its libraries, and a span to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

struct Services {
    child: Child,
    output: Output,
    port: String,
}

impl Services {
    /// Runs the script of this name in the environment that is made for it.
    fn start(name: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/services/{name}.py"));
        let mut command = Command::new(installed("SIDEGATE_PEERS_PYTHON").join(name).join("bin/python"));
        let mut child = command.arg("-B").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().map(Output::capture).unwrap_or_default();
        let port = eventually(PATIENCE, || output.lines().first().cloned()).expect("the script tells its port");
        Self { child, output, port }
    }

    /// The messages of this method once there are so many.
    fn told(&self, method: &str, count: usize) -> Vec<Value> {
        let told = || {
            let calls = self.output.lines().into_iter().skip(1);
            let calls = calls.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            calls.filter(|call| call["method"] == method).map(|call| call["message"].clone()).collect::<Vec<_>>()
        };
        eventually(PATIENCE, || Some(told()).filter(|calls| calls.len() >= count)).unwrap_or_else(told)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy with this filter, to which `services` is the cluster of all services outside.
fn guarded(origin: &Origin, services: &Services, filter: &Value) -> Sidegate {
    let config = json!({
        "node": {"id": "sidecar~1", "cluster": "shop", "metadata": {"WORKLOAD_NAME": "shop-v1", "NAMESPACE": "prod"}},
        "extensionProviders": [{"name": "otel", "opentelemetry": {"service": "services", "port": 4317}}],
        "listeners": [{"name": "in", "address": "$inbound", "cluster": "app", "filters": [filter]}],
        "clusters": [
            {"name": "app", "endpoints": [{"address": origin.to_string()}]},
            {"name": "services", "endpoints": [{"address": format!("127.0.0.1:{}", services.port)}]},
        ],
    });
    Sidegate::start(&config.to_string())
}

#[test]
fn a_collector_of_open_telemetry_gets_spans() {
    let (origin, services) = (origin(), Services::start("collector"));
    let tracing = json!([{"providers": [{"name": "otel"}], "randomSamplingPercentage": 100,
                          "customTags": {"tenant": {"header": {"name": "x-tenant"}}}}]);
    let sidegate = guarded(&origin, &services, &json!({"plugin": "telemetry", "config": {"tracing": tracing}}));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let request = Request::get("/answer").with_header("traceparent", &parent).with_header("x-tenant", "ada");
    assert_eq!(sidegate.send(&request).status, 200);
    let calls = services.told("Export", 1);
    let resource = &calls[0]["resourceSpans"][0];
    assert_eq!(text(&resource["resource"]["attributes"], "service.name"), "shop-v1.prod");
    let mut spans: Vec<Value> = calls
        .iter()
        .flat_map(|call| call["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone())
        .collect();
    spans.sort_by_key(|span| span["startTimeUnixNano"].as_str().unwrap_or_default().to_owned());
    let [server, attempt] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&server["kind"], &attempt["kind"]), (&json!("SPAN_KIND_SERVER"), &json!("SPAN_KIND_CLIENT")));
    assert_eq!((&server["traceId"], &attempt["traceId"]), (&json!(base64(trace)), &json!(base64(trace))));
    assert_eq!(server["parentSpanId"], base64("00f067aa0ba902b7"));
    assert_eq!(attempt["parentSpanId"], server["spanId"]);
    assert_eq!(text(&server["attributes"], "tenant"), "ada");
    assert_eq!(text(&attempt["attributes"], "upstream_cluster.name"), "app");
}

#[test]
fn a_rate_limit_service_is_asked_and_obeyed() {
    let (origin, services) = (origin(), Services::start("deciders"));
    let config = json!({
        "enableXRatelimitHeaders": "DRAFT_VERSION_03",
        "rateLimits": [{"actions": [
            {"genericKey": {"descriptorValue": "web"}},
            {"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}},
        ]}],
        "rateLimitService": {"cluster": "services", "domain": "shop", "timeout": "10s", "failureModeDeny": true},
    });
    let sidegate = guarded(&origin, &services, &json!({"plugin": "ratelimit", "config": config}));
    let ask = |user: &str| sidegate.send(&Request::get("/answer").with_header("x-user", user));
    let seen = |answer: Response| (answer.status, answer.header("x-ratelimit-remaining").unwrap_or("").to_owned());
    let answers: Vec<(u16, String)> = ["ann", "ann", "ann", "bob"].into_iter().map(|user| seen(ask(user))).collect();
    let wanted = [(200, "1"), (200, "0"), (429, "0"), (200, "1")];
    assert_eq!(answers, wanted.map(|(status, left)| (status, left.to_owned())));
    assert_eq!(ask("eve").header("x-for-client"), Some("yes"));
    assert_eq!(origin.requests()[0].header("x-for-app"), Some("yes"));
    let entry = |key: &str, value: &str| json!({"key": key, "value": value});
    let question = &services.told("ShouldRateLimit", 5)[0];
    assert_eq!(question["domain"], "shop");
    assert_eq!(question["descriptors"], json!([{"entries": [entry("generic_key", "web"), entry("user", "ann")]}]));
}

#[test]
fn an_authorization_service_is_asked_and_obeyed() {
    let (origin, services) = (origin(), Services::start("deciders"));
    let service = json!({"service": "services", "timeout": "10s", "contextExtensions": {"tenant": "shop"}});
    let config = json!({"extAuthz": {"envoyExtAuthzGrpc": service}});
    let sidegate = guarded(&origin, &services, &json!({"plugin": "auth", "config": config}));
    let by = |user: &str| {
        let request = Request::get("/answer?q=1").with_header("authorization", user);
        sidegate.send(&request.with_header("x-user", "root").with_header("x-old", "1").with_header("x-a", "b"))
    };
    let passed = by("ann");
    assert!(passed.status == 200 && passed.headers.all("set-cookie").any(|value| value == "s=1"), "{passed:?}");
    let seen = &origin.requests()[0];
    assert_eq!((seen.headers.all("x-user").collect::<Vec<_>>(), seen.header("x-old")), (vec!["ann"], None));
    let refused = by("eve");
    assert_eq!((refused.status, refused.text().as_ref()), (401, "who?"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    assert_eq!(origin.request_count(), 1);
    let attributes = &services.told("Check", 2)[0]["attributes"];
    assert_eq!(attributes["contextExtensions"], json!({"tenant": "shop"}));
    let port = json!(sidegate.address("inbound").port());
    assert_eq!(attributes["destination"]["address"]["socketAddress"]["portValue"], port);
    assert_eq!(attributes["source"]["address"]["socketAddress"]["address"], "127.0.0.1");
    let http = &attributes["request"]["http"];
    assert_eq!((&http["method"], &http["path"]), (&json!("GET"), &json!("/answer?q=1")));
    assert_eq!((&http["protocol"], &http["headers"]["x-a"]), (&json!("HTTP/1.1"), &json!("b")));
}

/// The text of an attribute.
fn text<'a>(attributes: &'a Value, key: &str) -> &'a str {
    let found = attributes.as_array().and_then(|list| list.iter().find(|attribute| attribute["key"] == key));
    found.and_then(|attribute| attribute["value"]["stringValue"].as_str()).unwrap_or_default()
}

/// Bytes written in hexadecimal, as JSON of protobuf has them.
fn base64(hex: &str) -> String {
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    STANDARD.encode(bytes)
}
