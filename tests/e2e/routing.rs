//! Where a request goes when nobody can take it, and what the access log says of it.

use std::time::Duration;

use sidegate_tests::{Origin, Request, Sidegate};

use crate::setup::{fine, logged, router, with_filter};

const PATIENCE: Duration = Duration::from_secs(10);

fn start(http: &str) -> (Sidegate, Origin) {
    let origin = fine();
    let subsets = ", subsets: [{name: none, labels: {version: v9}}]";
    let text = with_filter(&logged("", &origin, subsets), &router("a.test", http), "");
    (Sidegate::start(&text), origin)
}

/// The status, and the flags in the access log.
fn ask(sidegate: &Sidegate, host: &str, path: &str) -> (u16, String) {
    let status = sidegate.send(&Request::get(path).with_header("host", host)).status;
    let line = sidegate.stdout().line_with(path, PATIENCE).unwrap();
    let (logged, rest) = line.split_once(' ').unwrap();
    assert_eq!(logged, status.to_string(), "{line}");
    (status, rest.split(' ').next().unwrap().to_owned())
}

#[test]
fn what_nobody_takes_is_answered_with_its_flag() {
    let routes = "{match: [{uri: {prefix: /app}}], route: [{destination: {host: app}}]}, \
                  {match: [{uri: {prefix: /ghost}}], route: [{destination: {host: ghost}}]}, \
                  {match: [{uri: {prefix: /empty}}], route: [{destination: {host: app, subset: none}}]}";
    let (sidegate, origin) = start(routes);
    assert_eq!(ask(&sidegate, "a.test", "/app"), (200, "-".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/nothing"), (404, "NR".to_owned()));
    assert_eq!(ask(&sidegate, "b.test", "/app/b"), (404, "NR".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/ghost"), (503, "NC".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/empty"), (503, "UH".to_owned()));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn our_answers_do_not_tell_how_we_are_built() {
    let (sidegate, _origin) = start("{route: [{destination: {host: ghost}}]}");
    for host in ["a.test", "b.test"] {
        let answer = sidegate.send(&Request::get("/").with_header("host", host));
        assert_eq!(answer.header("server"), None);
        let text = String::from_utf8_lossy(&answer.raw).to_lowercase();
        for word in ["sidegate", "wasm", "ghost", "panic"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}
