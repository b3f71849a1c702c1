//! What a rate limit service is asked, and what its answer does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use ratelimit::RateLimit;
use serde_json::{Value, json};
use sidegate_sdk::grpc::{DEADLINE_EXCEEDED, GrpcError};
use sidegate_sdk::protobuf::{Malformed, Value as Field, Writer, fields};
use sidegate_sdk::testing::{Filter, Outcome};

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

/// A filter that describes requests by path, and by user where they have one.
fn filter(service: Value, more: Value) -> Filter<RateLimit> {
    let mut config = json!({
        "enableXRatelimitHeaders": "DRAFT_VERSION_03",
        "rateLimits": [
            {"actions": [{"path": {}}, {"genericKey": {"descriptorValue": "all"}}]},
            {"actions": [{"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}}]},
        ],
        "rateLimitService": {"cluster": "limits", "domain": "shop"},
    });
    config["rateLimitService"].as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Filter::configure(&config.to_string()).unwrap()
}

fn plain(service: Value) -> Filter<RateLimit> {
    filter(service, json!({}))
}

/// An answer with this code and whatever `more` adds.
fn answering(filter: &Filter<RateLimit>, code: u64, more: impl FnOnce(&mut Writer)) {
    let mut answer = Writer::new();
    answer.number(1, code);
    more(&mut answer);
    let bytes = answer.into_bytes();
    filter.answer_grpc("limits", move |_| Ok(bytes.clone()));
}

/// A `DescriptorStatus`.
fn status(answer: &mut Writer, requests: u64, unit: u64, name: &str, remaining: u64, reset: u64) {
    answer.message(2, |status| {
        status.number(1, OK).message(2, |limit| {
            limit.number(1, requests).number(2, unit).bytes(3, name);
        });
        status.number(3, remaining).message(4, |duration| {
            duration.number(1, reset);
        });
    });
}

fn counted(filter: &Filter<RateLimit>, name: &str) -> u64 {
    filter.metric(&format!("envoy_cluster_ratelimit_{name}{{envoy_cluster_name=\"limits\"}}")).unwrap_or_default()
}

fn told(outcome: &Outcome) -> [Option<&str>; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| outcome.header(name))
}

/// The domain and the descriptors of a `RateLimitRequest`.
fn read(question: &[u8]) -> (String, Vec<Vec<(String, String)>>) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let inside = |message: &[u8]| -> Vec<(u32, Vec<u8>)> {
        let field = |field: Result<(u32, Field<'_>), Malformed>| match field.unwrap() {
            (number, Field::Bytes(bytes)) => (number, bytes.to_vec()),
            other => panic!("{other:?}"),
        };
        fields(message).map(field).collect()
    };
    let entry = |(_, entry): (u32, Vec<u8>)| match &inside(&entry)[..] {
        [(1, key), (2, value)] => (text(key), text(value)),
        other => panic!("{other:?}"),
    };
    let mut all = inside(question).into_iter();
    let domain = all.next().unwrap().1;
    (text(&domain), all.map(|(_, descriptor)| inside(&descriptor).into_iter().map(entry).collect()).collect())
}

#[test]
fn it_is_asked_about_every_description() {
    let filter = plain(json!({"timeout": "50ms"}));
    answering(&filter, OK, |_| {});
    let outcome = filter.get("/a?b").header("x-user", "ann").run();
    assert_eq!(outcome.status(), 200);
    let [sent] = outcome.grpc_callouts() else { panic!("one question") };
    assert_eq!(
        (sent.service.as_str(), sent.method.as_str()),
        ("envoy.service.ratelimit.v3.RateLimitService", "ShouldRateLimit")
    );
    assert_eq!(sent.timeout, Duration::from_millis(50));
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let descriptors = vec![vec![entry("path", "/a"), entry("generic_key", "all")], vec![entry("user", "ann")]];
    assert_eq!(read(&sent.message), ("shop".to_owned(), descriptors));
    assert_eq!(counted(&filter, "ok"), 1);
}

#[test]
fn who_is_not_described_or_over_a_bucket_is_not_asked_about() {
    let by_user = json!([{"actions": [{"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}}]}]);
    let filter =
        filter(json!({}), json!({"rateLimits": by_user, "tokenBucket": {"maxTokens": 2, "fillInterval": "1h"}}));
    answering(&filter, OK, |_| {});
    let asked = |outcome: &Outcome| outcome.grpc_callouts().len();
    assert_eq!(asked(&filter.get("/").run()), 0, "no description");
    assert_eq!(asked(&filter.get("/").header("x-user", "ann").run()), 1);
    let over = filter.get("/").header("x-user", "ann").run();
    assert_eq!((over.status(), asked(&over)), (429, 0), "the bucket is empty");
}

#[test]
fn over_the_limit_the_client_gets_the_refusal_of_the_service() {
    let filter = filter(json!({}), json!({"responseHeadersToAdd": [{"header": {"key": "x-own", "value": "o"}}]}));
    answering(&filter, OVER_LIMIT, |answer| {
        status(answer, 100, 2, "per \"ip", 7, 30);
        status(answer, 10, 4, "daily", 0, 4000);
        answer.entry(3, "x-plan", "free").entry(3, "bad name", "x").entry(3, "x-bad", "a\r\nb").entry(4, "x-up", "u");
        answer.bytes(5, "come back tomorrow");
    });
    let outcome = filter.get("/").run();
    let reply = outcome.local_reply().unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (429, "request_rate_limited"));
    assert_eq!(reply.message.text(), "come back tomorrow");
    assert_eq!(told(&outcome), [Some("10, 100;w=60, 10;w=86400;name=\"daily\""), Some("0"), Some("4000")]);
    let headers = ["x-envoy-ratelimited", "x-plan", "x-own", "bad name", "x-bad", "x-up"];
    let values = headers.map(|name| outcome.header(name));
    assert_eq!(values, [Some("true"), Some("free"), Some("o"), None, None, None]);
    assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("RL"));
    assert_eq!((counted(&filter, "ok"), counted(&filter, "over_limit")), (0, 1));
}

#[test]
fn within_it_both_sides_get_their_headers() {
    let filter = plain(json!({}));
    answering(&filter, OK, |answer| {
        status(answer, 10, 1, "", 9, 1);
        answer.entry(3, "x-plan", "gold").entry(4, "x-quota", "9").entry(4, ":path", "/other");
    });
    let outcome = filter.get("/").header("x-quota", "mine").run();
    let request = outcome.request().unwrap();
    assert_eq!((request.all("x-quota"), request.header(":path")), (vec!["mine", "9"], Some("/")));
    assert_eq!((outcome.header("x-plan"), outcome.header("x-quota")), (Some("gold"), None));
    assert_eq!(told(&outcome), [Some("10, 10;w=1"), Some("9"), Some("1")]);
}

#[test]
fn a_refusal_that_is_not_enforced_marks_the_request() {
    let filter = filter(
        json!({}),
        json!({"filterEnforced": {"defaultValue": {"numerator": 0}},
               "requestHeadersToAddWhenNotEnforced": [{"header": {"key": "x-over", "value": "yes"}}]}),
    );
    answering(&filter, OVER_LIMIT, |answer| {
        answer.entry(4, "x-up", "u");
    });
    let outcome = filter.get("/").run();
    let request = outcome.request().unwrap();
    assert_eq!((request.all("x-over"), request.header("x-up")), (vec!["yes"], Some("u")));
}

#[test]
fn without_an_answer_requests_pass_unless_it_is_said() {
    for (deny, status, flag) in [(false, 200, None), (true, 500, Some("RLSE"))] {
        let filter = plain(json!({"failureModeDeny": deny}));
        for number in 1..=3 {
            match number {
                1 => {}
                2 => filter
                    .answer_grpc("limits", |_| Err(GrpcError { status: DEADLINE_EXCEEDED, message: "late".into() })),
                _ => filter.answer_grpc("limits", |_| Ok(vec![0xff])),
            }
            let outcome = filter.get("/").run();
            assert_eq!(outcome.status(), status);
            assert_eq!(outcome.property("sidegate.response_flag").as_deref(), flag);
            assert_eq!(
                (counted(&filter, "error"), counted(&filter, "failure_mode_allowed")),
                (number, if deny { 0 } else { number })
            );
        }
        let reply = filter.get("/").run().local_reply().map(|reply| reply.details.clone());
        assert_eq!(reply.as_deref(), deny.then_some("rate_limiter_error"));
    }
}
