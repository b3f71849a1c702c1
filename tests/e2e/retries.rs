//! Requests that are tried again, and those that are not.

use std::sync::atomic::{AtomicUsize, Ordering};

use sidegate_tests::port::FreePort;
use sidegate_tests::{Answer, Origin, Request, Sidegate};

use crate::setup::router;

/// One route to all of `endpoints`, with `retries` as the router writes them.
fn config(retries: &str, endpoints: &[String]) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|address| format!("{{address: \"{address}\"}}")).collect();
    let endpoints = endpoints.join(", ");
    let router = router("*", &format!("{{route: [{{destination: {{host: app}}}}]{retries}}}"));
    format!(
        "workers: 1\n\
         listeners: [{{name: inbound, address: $inbound, filters: [{router}]}}]\n\
         clusters: [{{name: app, endpoints: [{endpoints}], trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}}}]\n"
    )
}

/// Answers 503 as often as said, then 200.
fn failing(times: usize) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::answering(move |request| {
        let failed = count.fetch_add(1, Ordering::Relaxed) < times;
        if failed { Answer::status(503) } else { Answer::ok(format!("{} bytes", request.body.len())) }
    })
}

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let nobody = FreePort::claim().unwrap();
    let origin = Origin::answering(|request| Answer::ok(request.text().into_owned()));
    let sidegate = Sidegate::start(&config("", &[nobody.address().to_string(), origin.address().to_string()]));
    for turn in 0..8 {
        let body = format!("body {turn}");
        let answer = sidegate.send(&Request::post("/", body.clone()));
        assert_eq!((answer.status, answer.text().into_owned()), (200, body));
    }
}

#[test]
fn a_bad_answer_is_tried_again_as_often_as_the_policy_says() {
    let retries = ", retries: {attempts: 2, retryOn: 5xx}";
    for (failures, status, requests) in [(1, 200, 2), (2, 200, 3), (3, 503, 3)] {
        let origin = failing(failures);
        let sidegate = Sidegate::start(&config(retries, &[origin.address().to_string()]));
        assert_eq!(sidegate.get("/").status, status, "{failures} failures");
        assert_eq!(origin.request_count(), requests, "{failures} failures");
    }
}

#[test]
fn without_a_policy_an_answer_is_an_answer() {
    let origin = failing(1);
    let sidegate = Sidegate::start(&config("", &[origin.address().to_string()]));
    assert_eq!(sidegate.get("/").status, 503);
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn what_is_not_idempotent_is_not_repeated_unless_its_status_is_named() {
    for (retry_on, requests) in [("5xx", 1), ("\"503\"", 2)] {
        let origin = failing(1);
        let retries = format!(", retries: {{attempts: 2, retryOn: {retry_on}}}");
        let sidegate = Sidegate::start(&config(&retries, &[origin.address().to_string()]));
        sidegate.send(&Request::post("/", ""));
        assert_eq!(origin.request_count(), requests, "{retry_on}");
    }
}

#[test]
fn the_time_of_one_try_is_not_the_time_of_all() {
    let slow_once = AtomicUsize::new(0);
    let origin = Origin::answering(move |_| {
        let first = slow_once.fetch_add(1, Ordering::Relaxed) == 0;
        if first { Answer::ok("late").after(std::time::Duration::from_secs(5)) } else { Answer::ok("soon") }
    });
    let retries = ", timeout: 4s, retries: {attempts: 1, perTryTimeout: 0.3s, retryOn: 5xx}";
    let sidegate = Sidegate::start(&config(retries, &[origin.address().to_string()]));
    assert_eq!(sidegate.get("/").text(), "soon");
}

#[test]
fn a_routes_timeout_holds_over_all_tries() {
    let origin = Origin::answering(|_| Answer::ok("late").after(std::time::Duration::from_secs(5)));
    let retries = ", timeout: 0.5s, retries: {attempts: 9, perTryTimeout: 0.2s, retryOn: 5xx}";
    let sidegate = Sidegate::start(&config(retries, &[origin.address().to_string()]));
    let begun = std::time::Instant::now();
    assert_eq!(sidegate.get("/").status, 504);
    assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_grpc_client_s_time_holds_up_to_the_routes() {
    for (route, header) in [("", "300m"), (", timeout: 4s", "300m"), (", timeout: 0.3s", "4S")] {
        let origin = Origin::answering(|_| Answer::ok("late").after(std::time::Duration::from_secs(5)));
        let sidegate = Sidegate::start(&config(route, &[origin.address().to_string()]));
        let call = Request::post("/a.B/C", "")
            .with_header("content-type", "application/grpc")
            .with_header("grpc-timeout", header);
        let begun = std::time::Instant::now();
        let answer = sidegate.send(&call);
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")), "{route} {header}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(3), "{route} {header}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_routes_timeout_holds_for_the_whole_response() {
    let origin = Origin::answering(|_| Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").staying_open());
    let sidegate = Sidegate::start(&config(", timeout: 0.5s", &[origin.address().to_string()]));
    let mut client = sidegate.connect();
    let begun = std::time::Instant::now();
    assert!(client.get("/").is_err(), "the response is cut");
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}
