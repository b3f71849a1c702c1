//! The page of metrics, as Prometheus itself reads it.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sidegate_tests::output::Output;
use sidegate_tests::port::FreePort;
use sidegate_tests::{Client, Origin, Request, Sidegate, eventually};
use tempfile::TempDir;

use crate::installed::installed;
use crate::proxies::origin;

/// How long Prometheus may take to start, to scrape and to have counted.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy with all standard filters that has had requests of every kind, and how many.
fn busy(origin: &Origin) -> (Sidegate, usize) {
    let bucket = json!({"maxTokens": 2, "fillInterval": "1h"});
    let always = json!({"value": 100});
    let router = json!([{"match": [{"uri": {"prefix": "/bytes"}, "statPrefix": "bytes"}],
                         "route": [{"destination": {"host": "app"}}]},
                        {"route": [{"destination": {"host": "app"}}]}]);
    let filters = json!([
        {"plugin": "telemetry", "config": {"metrics": [{"overrides": [{"tagOverrides": {
            "agent": {"value": "request.headers['user-agent']"}}}]}]}},
        {"plugin": "auth", "config": {"authorizationPolicies": [
            {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]}]}},
        {"plugin": "ratelimit", "config": {"tokenBucket": bucket, "match": [{"uri": {"prefix": "/few"}}]}},
        {"plugin": "fault", "config": {"rules": [{"match": [{"uri": {"prefix": "/fail"}}],
            "fault": {"abort": {"httpStatus": 503, "percentage": always}}}]}},
        {"plugin": "router", "config": {"virtualServices": [{"hosts": ["*"], "http": router}]}},
    ]);
    let config = json!({
        "node": {"id": "sidecar~1", "metadata": {"WORKLOAD_NAME": "shop-v1", "NAMESPACE": "prod"}},
        "listeners": [{"name": "in", "address": "$inbound", "cluster": "app", "filters": filters}],
        "clusters": [{"name": "app", "endpoints": [{"address": origin.to_string()}]},
                     {"name": "odd\"name\"\\", "endpoints": [{"address": "127.0.0.1:1"}]}],
    });
    let sidegate = Sidegate::start(&config.to_string());
    let mut requests: Vec<Request> =
        ["/answer", "/204", "/teapot", "/admin", "/few", "/few", "/few", "/fail", "/bytes/1"].map(Request::get).into();
    requests.push(Request::get("/").with_header("user-agent", "\"quoted\\\" \u{e9}"));
    requests.push(Request::post("/answer", "body").with_header("content-type", "application/grpc"));
    requests.iter().for_each(|request| drop(sidegate.send(request)));
    let count = requests.len();
    sidegate.metric("istio_requests_total", &[], |seen| seen >= count as f64);
    (sidegate, count)
}

#[test]
fn promtool_reads_the_page_and_minds_only_names_of_others() {
    let origin = origin();
    let (sidegate, _) = busy(&origin);
    let page = sidegate.ask_admin(&Request::get("/metrics"));
    let mut promtool = Command::new(installed("SIDEGATE_PROMETHEUS").join("promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(&page.body).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // 3: it minds words. 1: it cannot read the page.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    let of_ours: Vec<&str> = said.lines().filter(|line| line.starts_with("sidegate_")).collect();
    assert!(of_ours.is_empty(), "{of_ours:#?}");
}

#[test]
fn prometheus_scrapes_counts_and_draws_the_graph() {
    let origin = origin();
    let (sidegate, count) = busy(&origin);
    let prometheus = Prometheus::scraping(&sidegate);
    let all = prometheus.until("sum(istio_requests_total)", |value| value >= count as f64);
    assert_eq!(all, count as f64);
    assert_eq!(prometheus.until("up", |value| value >= 1.0), 1.0);
    let healthy = &prometheus.ask("/api/v1/targets")["activeTargets"][0];
    assert_eq!((&healthy["health"], &healthy["lastError"]), (&json!("up"), &json!("")));
    let by = |label: &str, value: &str| format!("sum(istio_requests_total{{{label}=\"{value}\"}})");
    for (label, value, wanted) in [
        ("response_code", "429", 1.0),
        ("response_code", "403", 1.0),
        ("response_flags", "FI", 1.0),
        ("request_protocol", "grpc", 1.0),
        ("destination_workload", "shop-v1", count as f64),
    ] {
        assert_eq!(prometheus.until(&by(label, value), |_| true), wanted, "{label}={value}");
    }
    let sorts = prometheus.ask("/api/v1/metadata?limit=1000");
    for (name, sort) in [
        ("istio_requests_total", "counter"),
        ("istio_request_duration_milliseconds", "histogram"),
        ("sidegate_plugin_cpu_seconds_total", "counter"),
        ("sidegate_snapshot_version", "gauge"),
    ] {
        assert_eq!(sorts[name][0]["type"], sort, "{name}");
    }
    let quantile = "histogram_quantile(0.99,sum by(le)(istio_request_duration_milliseconds_bucket))";
    assert!(prometheus.until(quantile, |_| true) > 0.0);
}

struct Prometheus {
    child: Child,
    port: FreePort,
    output: Output,
    _folder: TempDir,
}

impl Prometheus {
    fn scraping(sidegate: &Sidegate) -> Self {
        let (folder, port) = (TempDir::new().unwrap(), FreePort::claim().unwrap());
        let config = json!({"scrape_configs": [{
            "job_name": "sidegate", "scrape_interval": "200ms", "scrape_timeout": "200ms",
            "static_configs": [{"targets": [sidegate.admin().to_string()]}],
        }]});
        let file = folder.path().join("prometheus.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(installed("SIDEGATE_PROMETHEUS").join("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={}", port.address()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stderr.take().map(Output::capture).unwrap_or_default();
        Self { child, port, output, _folder: folder }
    }

    /// The `data` of an answer; null while it is starting.
    fn ask(&self, path: &str) -> Value {
        let answer = Client::get_once(self.port.address(), path).ok();
        let json = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        json.map(|json| json["data"].clone()).unwrap_or_default()
    }

    /// The value of a query once there is one that will do.
    fn until(&self, query: &str, will_do: impl Fn(f64) -> bool) -> f64 {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let mut last = Value::Null;
        let seen = eventually(PATIENCE, || {
            last = self.ask(&format!("/api/v1/query?query={encoded}"));
            let value = last["result"][0]["value"][1].as_str()?.parse::<f64>().ok()?;
            will_do(value).then_some(value)
        });
        seen.unwrap_or_else(|| panic!("{query}: {last}\n{}", self.output.lines().join("\n")))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
