//! Where a request goes when nobody can take it, and what the access log says of it.

use std::time::Duration;

use sidegate_tests::{Request, Sidegate};

use crate::setup::{fine, standard_filters};

const PATIENCE: Duration = Duration::from_secs(10);

fn start(http: &str, rest: &str) -> (Sidegate, sidegate_tests::Origin) {
    let origin = fine();
    let sidegate = Sidegate::start(&format!(
        "{}\
listeners:
- name: inbound
  address: $inbound
  filters:
  - plugin: telemetry
    config: {{accessLogging: [{{format: \"%RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:PATH)%\\n\"}}]}}
  - plugin: router
    config: {{virtualServices: [{{hosts: [\"a.test\"], http: [{http}]}}]}}
{rest}
clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}], subsets: [{{name: none, labels: {{version: v9}}}}]}}]
",
        standard_filters()
    ));
    (sidegate, origin)
}

fn ask(sidegate: &Sidegate, host: &str, path: &str) -> (u16, String) {
    let status = sidegate.send(&Request::get(path).with_header("host", host)).status;
    (status, sidegate.stdout().line_with(path, PATIENCE).unwrap())
}

#[test]
fn what_nobody_takes_is_answered_with_its_flag() {
    let routes = "{match: [{uri: {prefix: /app}}], route: [{destination: {host: app}}]}, \
                  {match: [{uri: {prefix: /ghost}}], route: [{destination: {host: ghost}}]}, \
                  {match: [{uri: {prefix: /empty}}], route: [{destination: {host: app, subset: none}}]}";
    let (sidegate, origin) = start(routes, "");
    assert_eq!(ask(&sidegate, "a.test", "/app"), (200, "200 - /app".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/nothing"), (404, "404 NR /nothing".to_owned()));
    assert_eq!(ask(&sidegate, "b.test", "/app/b"), (404, "404 NR /app/b".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/ghost"), (503, "503 NC /ghost".to_owned()));
    assert_eq!(ask(&sidegate, "a.test", "/empty"), (503, "503 UH /empty".to_owned()));
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn our_answers_do_not_tell_how_we_are_built() {
    let (sidegate, _origin) = start("{route: [{destination: {host: ghost}}]}", "");
    for host in ["a.test", "b.test"] {
        let answer = sidegate.send(&Request::get("/").with_header("host", host));
        assert_eq!(answer.header("server"), None);
        let text = String::from_utf8_lossy(&answer.raw).to_lowercase();
        for word in ["sidegate", "wasm", "ghost", "panic"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}
