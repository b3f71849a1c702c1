//! The administration interface: everybody may read, only the token changes anything.

use serde_json::Value;
use sidegate_tests::{Request, Response, Sidegate};

use crate::setup::{config, fine, logged, plain};

const CHANGES: [&str; 4] = ["/drain_listeners", "/healthcheck/fail", "/healthcheck/ok", "/quitquitquit"];

fn json(answer: &Response) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn every_read_is_answered() {
    let origin = fine();
    let sidegate = Sidegate::start(&logged("", &origin, ""));
    assert_eq!(sidegate.get("/").status, 200);
    let read = |path: &str| sidegate.ask_admin(&Request::get(path));
    assert_eq!(read("/ready").text().trim(), "LIVE");
    let stats = read("/stats").text().into_owned();
    assert!(stats.contains("envoy_server_live") && stats.contains("envoy_cluster_membership_total"), "{stats}");
    assert!(json(&read("/stats?format=json")).is_object());
    assert!(read("/clusters").text().contains(&format!("app::{origin}::")));
    assert_eq!(json(&read("/clusters?format=json"))["cluster_statuses"][0]["name"], "app");
    assert!(read("/listeners").text().contains(&format!("inbound::{}", sidegate.address("inbound"))));
    assert_eq!(json(&read("/server_info"))["state"], "LIVE");
    assert!(json(&read("/config_dump")).is_object());
    assert!(json(&read("/certs"))["certificates"].is_array());
    let plugins = json(&read("/plugins"));
    let telemetry = &plugins["plugins"][0];
    assert_eq!((&telemetry["name"], &telemetry["state"]), (&"telemetry".into(), &"LIVE".into()));
    assert_eq!(telemetry["digest"].as_str().unwrap().len(), 64);
    assert_eq!(telemetry["versions"][0]["state"], "LIVE");
    assert_eq!(read("/nothing").status, 404);
}

#[test]
fn no_get_changes_anything() {
    let origin = fine();
    let sidegate = Sidegate::configured(&format!("admin: {{tokenFile: token}}\n{}", config("", &origin, "")))
        .with_file("token", "secret\n")
        .start();
    for path in CHANGES {
        for method in ["GET", "HEAD", "OPTIONS"] {
            let request = Request::new(method, path).with_header("authorization", "Bearer secret");
            assert!(sidegate.ask_admin(&request).status >= 400, "{method} {path}");
        }
    }
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).text().trim(), "LIVE");
    assert_eq!(sidegate.get("/").status, 200);
}

#[test]
fn without_the_token_nothing_changes() {
    let origin = fine();
    let with_token = format!("admin: {{tokenFile: token}}\n{}", config("", &origin, ""));
    let guarded = Sidegate::configured(&with_token).with_file("token", "secret\n").start();
    let without = plain(&origin);
    for sidegate in [&guarded, &without] {
        for path in CHANGES {
            for token in [
                "",
                "Bearer",
                "Bearer ",
                "Bearer wrong",
                "Bearer secre",
                "Bearer secrets",
                "bearer secret",
                "Basic secret",
                "secret",
            ] {
                let mut request = Request::new("POST", path);
                if !token.is_empty() {
                    request = request.with_header("authorization", token);
                }
                assert_eq!(sidegate.ask_admin(&request).status, 401, "{path} {token}");
            }
        }
        assert_eq!(sidegate.ask_admin(&Request::get("/ready")).text().trim(), "LIVE");
    }
}

#[test]
fn the_token_changes_and_is_read_again() {
    let origin = fine();
    let mut sidegate = Sidegate::configured(&format!("admin: {{tokenFile: token}}\n{}", config("", &origin, "")))
        .with_file("token", "first\n")
        .start();
    let post = |sidegate: &Sidegate, path: &str, token: &str| {
        let request = Request::new("POST", path).with_header("authorization", &format!("Bearer {token}"));
        sidegate.ask_admin(&request).status
    };
    assert_eq!(post(&sidegate, "/healthcheck/fail", "first"), 200);
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 503);
    assert_eq!(sidegate.get("/").status, 200, "traffic is not touched");
    std::fs::write(sidegate.folder().join("token"), "second").unwrap();
    assert_eq!(post(&sidegate, "/healthcheck/ok", "first"), 401);
    assert_eq!(post(&sidegate, "/healthcheck/ok", "second"), 200);
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 200);
    assert_eq!(post(&sidegate, "/quitquitquit", "second"), 200);
    sidegate.exit();
}

#[test]
fn the_probe_address_tells_health_and_metrics_and_nothing_else() {
    let origin = fine();
    let sidegate = Sidegate::start(&format!("admin: {{probeAddress: $probe}}\n{}", config("", &origin, "")));
    let ask = |path: &str| sidegate_tests::Client::get_once(sidegate.address("probe"), path).unwrap().status;
    assert_eq!((ask("/ready"), ask("/stats/prometheus")), (200, 200));
    for path in ["/config_dump", "/plugins", "/clusters", "/stats", "/server_info", "/quitquitquit", "/"] {
        assert_eq!(ask(path), 404, "{path}");
    }
}

#[test]
fn no_secret_is_in_the_dump() {
    let origin = fine();
    let chain = ", filters: [{plugin: router, config: {virtualServices: [{hosts: [\"*\"], http: [{headers: {request: {set: {authorization: hunter2}}}, route: [{destination: {host: app}}]}]}]}}]";
    let text = format!("{}{}", crate::setup::standard_filters(), config(chain, &origin, ""));
    let sidegate = Sidegate::start(&text);
    let dump = sidegate.ask_admin(&Request::get("/config_dump")).text().into_owned();
    assert!(!dump.contains("hunter2"), "{dump}");
}

#[test]
fn the_metrics_page_is_well_formed() {
    let origin = fine();
    let sidegate = Sidegate::start(&logged("", &origin, ""));
    for n in 0..5 {
        assert_eq!(sidegate.send(&Request::get("/").with_header("host", &format!("h{n}"))).status, 200);
    }
    sidegate.metric("istio_requests_total", &[], |count| count >= 5.0);
    let answer = sidegate.ask_admin(&Request::get("/stats/prometheus"));
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let page = answer.text().into_owned();
    assert!(page.ends_with('\n'));
    let mut types = std::collections::HashMap::new();
    let mut series = std::collections::HashSet::new();
    for line in page.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is declared twice");
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(name.to_owned()), "{name} stands there twice");
        let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
        assert!(labels.ends_with('}'), "{line}");
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end).filter(|base| types.contains_key(*base)));
        assert!(types.contains_key(base.unwrap_or(name)), "{name} has no type");
    }
    assert!(types.keys().any(|name| name == "istio_request_duration_milliseconds"));
}

#[test]
fn slow_readers_of_the_admin_address_are_in_nobodys_way() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut slow: Vec<_> = (0..50).map(|_| sidegate_tests::Client::connect(sidegate.admin()).unwrap()).collect();
    for client in &mut slow {
        client.write(b"GET /re").unwrap();
    }
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 200);
    assert_eq!(sidegate.get("/").status, 200);
}

#[test]
fn a_flood_of_silent_clients_at_the_admin_address_passes_and_traffic_does_not_notice() {
    let origin = fine();
    let sidegate = plain(&origin);
    let mut silent: Vec<_> = (0..150).map(|_| sidegate_tests::Client::connect(sidegate.admin()).unwrap()).collect();
    for client in &mut silent {
        client.write(b"GET /re").unwrap();
    }
    for _ in 0..20 {
        assert_eq!(sidegate.get("/").status, 200);
    }
    // They hold every place until their heads are overdue; whoever waits has an answer then.
    drop(silent.split_off(60));
    assert_eq!(sidegate.ask_admin(&Request::get("/ready")).status, 200);
}
