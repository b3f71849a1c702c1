//! Faults that a route injects.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use router::Router;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Outcome};

fn faulty(fault: Value) -> Filter<Router> {
    let http = json!([{"timeout": "3s", "retries": {"attempts": 2, "retryOn": "5xx"}, "fault": fault,
        "headers": {"response": {"set": {"x-route": "1"}}}, "route": [{"destination": {"host": "app"}}]}]);
    Filter::configure(&json!({"virtualServices": [{"hosts": ["*"], "http": http}]}).to_string()).unwrap()
}

fn flag(outcome: &Outcome) -> Option<String> {
    outcome.property("sidegate.response_flag")
}

#[test]
fn a_delay_holds_the_request_and_switches_its_time_limits_off() {
    let filter = faulty(json!({"delay": {"fixedDelay": "2.5s", "percentage": {"value": 100}}}));
    let outcome = filter.get("/").run();
    assert_eq!((outcome.waited(), flag(&outcome).as_deref()), (Duration::from_millis(2500), Some("DI")));
    assert_eq!((outcome.status(), outcome.header("x-route")), (200, Some("1")));
    assert_eq!(outcome.property("sidegate.upstream.cluster").as_deref(), Some("app"));
    assert_eq!(outcome.property("sidegate.upstream.timeout"), None);
    assert_eq!(outcome.property("sidegate.upstream.retries").as_deref(), Some(r#"{"attempts":0}"#));
}

#[test]
fn an_abort_answers_in_the_route_s_name() {
    let filter = faulty(json!({"abort": {"httpStatus": 418, "percentage": {"value": 100}}}));
    let outcome = filter.get("/").run();
    let reply = outcome.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str(), reply.grpc_status), (418, "fault_filter_abort", -1));
    assert_eq!((reply.message.text().as_str(), reply.message.header("x-route")), ("fault filter abort", Some("1")));
    assert_eq!(flag(&outcome).as_deref(), Some("FI"));
    assert!(outcome.request().is_none());
}

#[test]
fn a_grpc_abort_has_its_status_and_the_http_status_that_belongs_to_it() {
    for (name, grpc, status) in
        [("UNAVAILABLE", 14, 503), ("NOT_FOUND", 5, 404), ("UNAUTHENTICATED", 16, 401), ("OK", 0, 200)]
    {
        let filter = faulty(json!({"abort": {"grpcStatus": name, "percentage": {"value": 100}}}));
        let outcome = filter.post("/").run();
        let reply = outcome.local_reply().unwrap();
        assert_eq!((reply.grpc_status, reply.status), (grpc, status), "{name}");
    }
}

#[test]
fn the_delay_comes_before_the_abort() {
    let outcome = faulty(json!({
        "delay": {"fixedDelay": "1s", "percentage": {"value": 100}},
        "abort": {"httpStatus": 503, "percentage": {"value": 100}},
    }));
    let outcome = outcome.get("/").run();
    assert_eq!((outcome.waited(), outcome.status()), (Duration::from_secs(1), 503));
}

#[test]
fn shares_are_drawn_each_on_its_own_and_none_is_the_default() {
    let filter = faulty(json!({
        "delay": {"fixedDelay": "1s", "percent": 25},
        "abort": {"httpStatus": 503, "percentage": {"value": 50.0}},
    }));
    let (mut delayed, mut aborted, mut both) = (0, 0, 0);
    for _ in 0..4000 {
        let outcome = filter.get("/").run();
        let (is_delayed, is_aborted) = (!outcome.waited().is_zero(), outcome.status() == 503);
        delayed += u32::from(is_delayed);
        aborted += u32::from(is_aborted);
        both += u32::from(is_delayed && is_aborted);
        // Who is not delayed keeps what the route says.
        if !is_delayed && !is_aborted {
            assert_eq!(outcome.property("sidegate.upstream.timeout").as_deref(), Some("3s"));
        }
    }
    assert!((850..1150).contains(&delayed), "{delayed} of 4000 with 25 %");
    assert!((1850..2150).contains(&aborted), "{aborted} of 4000 with 50 %");
    assert!((400..600).contains(&both), "{both} of 4000 with 12.5 %");

    let never = faulty(json!({"delay": {"fixedDelay": "1s"}, "abort": {"httpStatus": 503}}));
    assert_eq!(never.warnings().len(), 2);
    let outcome = never.get("/").run();
    assert_eq!((outcome.status(), outcome.waited()), (200, Duration::ZERO));
}
