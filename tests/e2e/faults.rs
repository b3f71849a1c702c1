//! Faults on purpose: `builtin:fault` in the whole proxy.

use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Origin, Request, Sidegate};

use crate::setup::{fine, logged};

/// How long a line of the access log may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn with_faults(config: &str, origin: &Origin) -> Sidegate {
    let text = logged("", origin, "");
    let chain = format!("filters: [{{plugin: fault, config: {{{config}}}}}, ");
    Sidegate::start(&text.replace("filters: [", &chain))
}

#[test]
fn a_delay_and_an_abort_are_felt_and_logged() {
    let origin = fine();
    let rules = r#"rules: [
        {match: [{uri: {prefix: /slow}}], fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}},
        {match: [{uri: {prefix: /gone}}], fault: {abort: {httpStatus: 410, percentage: {value: 100}}}}]"#;
    let sidegate = with_faults(rules, &origin);
    let began = Instant::now();
    assert_eq!(sidegate.get("/slow").status, 200);
    assert!(began.elapsed() >= Duration::from_millis(300));
    let answer = sidegate.get("/gone");
    assert_eq!((answer.status, answer.text().into_owned()), (410, "fault filter abort".to_owned()));
    assert_eq!(sidegate.get("/").status, 200);
    assert_eq!(origin.request_count(), 2);
    for line in ["200 DI via_upstream GET /slow", "410 FI fault_filter_abort GET /gone"] {
        assert!(sidegate.stdout().line_with(line, PATIENCE).is_some(), "{line}");
    }
}

#[test]
fn a_client_may_ask_for_a_fault_where_it_is_let() {
    let origin = fine();
    for (config, status) in [("headerControl: true", 418), ("rules: []", 200)] {
        let sidegate = with_faults(config, &origin);
        let request = Request::get("/").with_header("x-envoy-fault-abort-request", "418");
        assert_eq!(sidegate.send(&request).status, status, "{config}");
    }
}

#[test]
fn a_slow_response_is_whole_and_takes_its_time() {
    let origin = Origin::answering(|_| Answer::ok("x".repeat(300_000)));
    let sidegate = with_faults("responseRateLimit: {bytesPerSecond: 400000}", &origin);
    let began = Instant::now();
    let answer = sidegate.get("/");
    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    let took = began.elapsed();
    // An eighth of a second's worth leaves at once.
    assert!(took > Duration::from_millis(600), "{took:?}");
}
