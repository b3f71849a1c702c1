//! What a route does besides sending: injected faults and answers to browsers.

use std::time::{Duration, Instant};

use sidegate_tests::{Origin, Request, Sidegate};

use crate::setup::{fine, logged, router, with_filter};

const PATIENCE: Duration = Duration::from_secs(10);

fn start(http: &str) -> (Sidegate, Origin) {
    let origin = fine();
    let text = with_filter(&logged("", &origin, ""), &router("*", http), "");
    (Sidegate::start(&text), origin)
}

#[test]
fn a_delay_holds_and_an_abort_ends_and_the_log_says_so() {
    let always = "percentage: {value: 100}";
    let route = "route: [{destination: {host: app}}]";
    let (sidegate, origin) = start(&format!(
        "{{match: [{{uri: {{prefix: /slow}}}}], timeout: 0.2s, fault: {{delay: {{fixedDelay: 0.7s, {always}}}}}, {route}}}, \
         {{match: [{{uri: {{prefix: /broken}}}}], fault: {{abort: {{httpStatus: 418, {always}}}}}, {route}}}, \
         {{match: [{{uri: {{prefix: /grpc}}}}], fault: {{abort: {{grpcStatus: NOT_FOUND, {always}}}}}, {route}}}, {{{route}}}"
    ));
    let log = |path: &str| sidegate.stdout().line_with(path, PATIENCE).unwrap();
    let begun = Instant::now();
    assert_eq!(sidegate.get("/slow").text(), "fine");
    assert!(begun.elapsed() >= Duration::from_millis(700));
    assert_eq!(log("/slow"), "200 DI via_upstream GET /slow");

    let answer = sidegate.get("/broken");
    assert_eq!((answer.status, answer.text().into_owned()), (418, "fault filter abort".to_owned()));
    assert_eq!(log("/broken"), "418 FI fault_filter_abort GET /broken");

    assert_eq!(sidegate.get("/grpc").status, 404);
    let call = Request::post("/grpc/Call", "").with_header("content-type", "application/grpc");
    let answer = sidegate.send(&call);
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("5")));
    assert_eq!(sidegate.get("/").status, 200);
    assert_eq!(origin.request_count(), 2);
}

/// Filters may hold a request for 5 s; where it is their work, nobody has to say that it takes longer.
#[test]
fn a_delay_may_be_longer_than_filters_usually_hold() {
    let (sidegate, _origin) =
        start("{fault: {delay: {fixedDelay: 5.3s, percentage: {value: 100}}}, route: [{destination: {host: app}}]}");
    let begun = Instant::now();
    assert_eq!(sidegate.get("/").status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(5300));
}

#[test]
fn browsers_get_their_answers() {
    let (sidegate, origin) = start(
        "{corsPolicy: {allowOrigins: [{prefix: \"https://shop.\"}], allowMethods: [GET], maxAge: 60s}, \
         route: [{destination: {host: app}}]}",
    );
    let preflight = Request::new("OPTIONS", "/asked")
        .with_header("origin", "https://shop.test")
        .with_header("access-control-request-method", "GET");
    let answer = sidegate.send(&preflight);
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, Some("GET")));
    assert_eq!(answer.header("access-control-max-age"), Some("60"));
    assert_eq!(origin.request_count(), 0);
    let answer = sidegate.send(&Request::get("/").with_header("origin", "https://shop.test"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.test"));
    let answer = sidegate.send(&Request::get("/").with_header("origin", "https://evil.test"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}
