//! What a person learns about filters: the way of a marked request, what hooks cost, how often a plugin ran.

use std::time::Duration;

use serde_json::Value;
use sidegate_tests::prometheus::sum;
use sidegate_tests::{Answer, Origin, Request, Sidegate};

use crate::guest::guest;
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(5);

fn config(origin: &Origin) -> String {
    format!(
        "admin: {{tokenFile: token}}\n\
         plugins: [{{name: guest, url: file:guest.wasm}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: guest}}]}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    )
}

fn stamping(origin: &Origin) -> Sidegate {
    let hooks = [
        ("request_headers", "(drop (call $set_header #0 <x-user> <ada>)) (drop (call $remove_header #0 <x-gone>))"),
        ("response_headers", "(drop (call $add_header #2 <x-seen> <yes>))"),
    ];
    Sidegate::configured(&config(origin)).with_file("guest.wasm", guest(&hooks)).with_file("token", "secret\n").start()
}

#[test]
fn a_marked_request_logs_its_way() {
    let origin = fine();
    let sidegate = stamping(&origin);
    let marked =
        |token: &str| Request::get("/").with_header("x-sidegate-trace", token).with_header("x-request-id", "r-1");
    assert_eq!(sidegate.connect().send(&marked("secret")).unwrap().status, 200);
    let line = sidegate.log().line_with("set request header x-user", PATIENCE).expect("a step is logged");
    for part in ["r-1", "guest", "on_request_headers", "microseconds", "removed request header x-gone", "continue"] {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
    assert!(!line.contains("ada"), "values stay out of logs: {line}");
    assert!(sidegate.log().line_with("added response header x-seen", PATIENCE).is_some());
}

#[test]
fn without_the_token_nobody_sees_anything_and_the_mark_goes_no_further() {
    let origin = Origin::answering(|request| Answer::ok(format!("{:?}", request.header("x-sidegate-trace"))));
    let sidegate = stamping(&origin);
    for token in ["wrong", "", "secret secret"] {
        let request = Request::get("/").with_header("x-sidegate-trace", token);
        assert_eq!(sidegate.connect().send(&request).unwrap().text(), "None");
    }
    let request = Request::get("/last").with_header("x-sidegate-trace", "secret").with_header("x-request-id", "last");
    assert_eq!(sidegate.connect().send(&request).unwrap().text(), "None");
    assert!(sidegate.log().line_with("request_id=\"last\"", PATIENCE).is_some(), "{:?}", sidegate.log().lines());
    let lines = sidegate.log().lines();
    assert_eq!(
        lines.iter().filter(|line| line.contains("filter_trace") && line.contains("on_request_headers")).count(),
        1
    );
}

#[test]
fn plugins_show_what_they_cost() {
    let origin = fine();
    let sidegate = stamping(&origin);
    let mut client = sidegate.connect();
    for _ in 0..2000 {
        assert_eq!(client.send(&Request::get("/")).unwrap().status, 200);
    }
    let plugins: Value = serde_json::from_slice(&sidegate.ask_admin(&Request::get("/plugins")).body).unwrap();
    let plugin = &plugins["plugins"][0];
    assert_eq!(plugin["requests"], 2000, "{plugin}");
    for hook in ["_initialize", "on_request_headers", "on_response_headers"] {
        let seconds = plugin["cpuSeconds"][hook].as_f64().unwrap_or_default();
        assert!(seconds > 0.0 && seconds < 2.0, "{hook}: {plugin}");
    }
    let page = sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned();
    let labels = [("plugin", "guest"), ("version", "1"), ("hook", "on_request_headers")];
    assert!(sum(&page, "sidegate_plugin_cpu_seconds_total", &labels).is_some_and(|seconds| seconds > 0.0), "{page}");
}
