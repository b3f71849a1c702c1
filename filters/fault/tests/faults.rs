//! What becomes of requests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use fault::Fault;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Filter, Host, Outcome};

const ALL: f64 = 100.0;

fn filter(config: Value) -> Filter<Fault> {
    Host::new().property("sidegate.clusters", "[]").configure(&config.to_string()).unwrap()
}

fn rule(fault: Value) -> Filter<Fault> {
    filter(json!({"rules": [{"fault": fault}]}))
}

fn abort(percent: f64) -> Value {
    json!({"httpStatus": 503, "percentage": {"value": percent}})
}

fn delay(time: &str, percent: f64) -> Value {
    json!({"fixedDelay": time, "percentage": {"value": percent}})
}

fn milliseconds(outcome: &Outcome) -> u128 {
    outcome.waited().as_millis()
}

#[test]
fn nothing_happens_where_nothing_is_said() {
    for config in
        [json!({}), json!({"rules": [{"fault": {"delay": {"fixedDelay": "5s"}, "abort": {"httpStatus": 500}}}]})]
    {
        let filter = filter(config);
        let outcome = filter.get("/").run();
        assert_eq!((outcome.status(), milliseconds(&outcome), outcome.properties()), (200, 0, 0));
    }
}

#[test]
fn a_delay_holds_the_request_and_lets_it_go() {
    let filter = rule(json!({"delay": delay("2.5s", ALL)}));
    let outcome = filter.get("/").run();
    assert_eq!((outcome.status(), milliseconds(&outcome)), (200, 2500));
    assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("DI"));
    assert!(outcome.request().is_some());
    assert_eq!(filter.metric("envoy_http_fault_delays_injected"), Some(1));
    assert_eq!(filter.metric("envoy_http_fault_active_faults"), Some(0), "it is over");
}

#[test]
fn an_abort_answers_in_place_of_the_service() {
    let filter = rule(json!({"abort": abort(ALL)}));
    let outcome = filter.get("/").run();
    let reply = outcome.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (503, "fault_filter_abort"));
    assert_eq!(reply.message.text(), "fault filter abort");
    assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("FI"));
    assert!(outcome.request().is_none());
    assert_eq!(filter.metric("envoy_http_fault_aborts_injected"), Some(1));
}

#[test]
fn a_grpc_status_is_sent_as_such_and_stands_for_an_http_status() {
    for (name, code, status) in [("UNAVAILABLE", 14, 503), ("OK", 0, 200), ("RESOURCE_EXHAUSTED", 8, 429)] {
        let abort = json!({"grpcStatus": name, "percentage": {"value": 100}});
        let outcome = rule(json!({"abort": abort})).post("/svc/Do").header("content-type", "application/grpc").run();
        let reply = outcome.local_reply().unwrap();
        assert_eq!((reply.grpc_status, reply.status), (code, status), "{name}");
    }
}

#[test]
fn both_faults_are_drawn_apart_and_the_delay_comes_first() {
    let filter = rule(json!({"delay": delay("1s", 50.0), "abort": abort(50.0)}));
    let mut seen = [0; 4];
    for _ in 0..2000 {
        let outcome = filter.get("/").run();
        let delayed = milliseconds(&outcome) == 1000;
        seen[usize::from(delayed) + 2 * usize::from(outcome.status() == 503)] += 1;
    }
    assert!(seen.iter().all(|count| (400..600).contains(count)), "{seen:?}");
}

#[test]
fn the_first_rule_that_matches_is_the_only_one() {
    let filter = filter(json!({"rules": [
        {"match": [{"uri": {"prefix": "/a"}}, {"headers": {"x-user": {"exact": "jason"}}}], "fault": {"delay": delay("1s", ALL)}},
        {"match": [{"uri": {"prefix": "/a/b"}}], "fault": {"abort": abort(ALL)}},
        {"match": [{"method": {"exact": "POST"}}], "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}},
    ]}));
    for (request, status, time) in [
        (filter.get("/a/b"), 200, 1000),
        (filter.post("/a"), 200, 1000),
        (filter.post("/b").header("x-user", "jason"), 200, 1000),
        (filter.post("/b"), 418, 0),
        (filter.get("/b"), 200, 0),
    ] {
        let outcome = request.run();
        assert_eq!((outcome.status(), milliseconds(&outcome)), (status, time));
    }
}

#[test]
fn a_rate_is_told_to_the_proxy() {
    let told =
        |config: Value| filter(config).get("/").run().property("sidegate.response.bytesPerSecond").unwrap_or_default();
    assert_eq!(told(json!({"responseRateLimit": {"bytesPerSecond": 4096}})), "4096");
    assert_eq!(told(json!({"responseRateLimit": {"bytesPerSecond": 4096, "percentage": {"value": 0}}})), "");
}

#[test]
fn a_host_that_cannot_pace_is_told_of() {
    let config = r#"{"responseRateLimit": {"bytesPerSecond": 1}}"#;
    let filter = Host::foreign().configure::<Fault>(config).unwrap();
    assert_eq!(filter.warnings()[0].pointer, "/responseRateLimit");
}

#[test]
fn delays_work_in_hosts_without_our_timer() {
    let config = json!({"rules": [{"fault": {"delay": delay("700ms", ALL)}}]});
    let filter = Host::foreign().configure::<Fault>(&config.to_string()).unwrap();
    assert_eq!(filter.get("/").run().waited(), Duration::from_millis(700));
}

#[test]
fn requests_ask_for_faults_only_where_they_may() {
    let ask = |filter: &Filter<Fault>| filter.get("/").header("x-envoy-fault-abort-request", "429").run().status();
    assert_eq!(ask(&filter(json!({"headerControl": true}))), 429);
    assert_eq!(ask(&filter(json!({"headerControl": false}))), 200);
}

#[test]
fn headers_ask_for_each_fault() {
    let filter = filter(json!({"headerControl": true}));
    for (headers, status, time, rate) in [
        (vec![("x-envoy-fault-delay-request", "1500")], 200, 1500, None),
        (vec![("x-envoy-fault-delay-request", "0")], 200, 0, None),
        (vec![("x-envoy-fault-delay-request", "soon")], 200, 0, None),
        (vec![("x-envoy-fault-abort-request", "199")], 200, 0, None),
        (vec![("x-envoy-fault-abort-grpc-request", "14")], 503, 0, None),
        (vec![("x-envoy-fault-abort-grpc-request", "17")], 200, 0, None),
        (vec![("x-envoy-fault-abort-request", "404"), ("x-envoy-fault-abort-grpc-request", "14")], 404, 0, None),
        (vec![("x-envoy-fault-abort-request", "500"), ("x-envoy-fault-abort-request-percentage", "0")], 200, 0, None),
        (vec![("x-envoy-fault-throughput-response", "2")], 200, 0, Some("2048")),
        (
            vec![("x-envoy-fault-throughput-response", "2"), ("x-envoy-fault-throughput-response-percentage", "0")],
            200,
            0,
            None,
        ),
    ] {
        let request = headers.iter().fold(filter.get("/"), |request, (name, value)| request.header(name, value));
        let outcome = request.run();
        let told = outcome.property("sidegate.response.bytesPerSecond");
        assert_eq!((outcome.status(), milliseconds(&outcome), told.as_deref()), (status, time, rate), "{headers:?}");
    }
}

#[test]
fn what_is_configured_caps_the_share_that_a_header_asks_for() {
    let filter = filter(json!({"headerControl": true, "rules": [{"fault": {"abort": abort(10.0)}}]}));
    let ask = |percent: &str| {
        let request = || filter.get("/").header("x-envoy-fault-abort-request", "418");
        let of = || request().header("x-envoy-fault-abort-request-percentage", percent).run().status();
        (0..2000).filter(|_| of() == 418).count()
    };
    assert!((100..300).contains(&ask("100")));
    assert!((20..100).contains(&ask("3")));
}

#[test]
fn no_more_faults_than_may_be_active() {
    let filter = filter(json!({"maxActiveFaults": 0, "rules": [{"fault": {"abort": abort(ALL)}}]}));
    assert_eq!(filter.get("/").run().status(), 200);
    assert_eq!(filter.metric("envoy_http_fault_faults_overflow"), Some(1));
    let filter = self::filter(
        json!({"maxActiveFaults": 1, "rules": [{"fault": {"delay": delay("1s", ALL), "abort": abort(ALL)}}]}),
    );
    for _ in 0..3 {
        let outcome = filter.get("/").run();
        assert_eq!((outcome.status(), milliseconds(&outcome)), (503, 1000), "a request counts once");
    }
}
