//! Which requests pass, and what the others get. Everything holds in a Sidegate host and in a foreign one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use std::time::Duration;

use ratelimit::RateLimit;
use serde_json::{Value, json};
use sidegate_sdk::testing::{Exchange, Filter, Host, Outcome};

/// The same filter in both kinds of hosts.
fn filters(config: &Value) -> [Filter<RateLimit>; 2] {
    [Host::new(), Host::foreign()].map(|host| host.configure(&config.to_string()).unwrap())
}

fn bucket(max: u64, fill: u64, interval: &str) -> Value {
    json!({"maxTokens": max, "tokensPerFill": fill, "fillInterval": interval})
}

fn passed<'f>(count: usize, request: impl Fn() -> Exchange<'f, RateLimit>) -> usize {
    (0..count).filter(|_| request().run().status() == 200).count()
}

fn told(outcome: &Outcome) -> [Option<&str>; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| outcome.header(name))
}

#[test]
fn as_many_pass_as_there_are_tokens() {
    for filter in filters(&json!({"tokenBucket": bucket(5, 2, "1s")})) {
        assert_eq!(passed(20, || filter.get("/")), 5);
        filter.advance(Duration::from_millis(999));
        assert_eq!(passed(20, || filter.get("/")), 0);
        filter.advance(Duration::from_millis(1));
        assert_eq!(passed(20, || filter.get("/")), 2);
        filter.advance(Duration::from_secs(3600));
        assert_eq!(passed(20, || filter.get("/")), 5);
    }
}

#[test]
fn a_refusal_says_so() {
    for filter in filters(&json!({"tokenBucket": bucket(1, 1, "60s")})) {
        assert!(filter.get("/").run().local_reply().is_none());
        let outcome = filter.get("/").run();
        let reply = outcome.local_reply().unwrap();
        assert_eq!((reply.status, reply.details.as_str(), reply.grpc_status), (429, "local_rate_limited", -1));
        assert_eq!(reply.message.text(), "local_rate_limited");
        assert_eq!(outcome.header("x-envoy-ratelimited"), Some("true"));
        assert_eq!(outcome.property("sidegate.response_flag").as_deref(), Some("RL"));
        assert_eq!(told(&outcome), [None, None, None]);
        for (name, value) in [("enabled", 2), ("ok", 1), ("rate_limited", 1), ("enforced", 1), ("unanswered", 0)] {
            let series = format!(
                "envoy_http_local_rate_limit_{name}{{envoy_local_http_ratelimit_prefix=\"http_local_rate_limiter\"}}"
            );
            assert_eq!(filter.metric(&series), Some(value), "{name}");
        }
    }
}

#[test]
fn the_refusal_is_as_it_is_written() {
    let config = json!({
        "tokenBucket": bucket(1, 1, "60s"), "status": {"code": 503}, "rateLimitedAsResourceExhausted": true,
        "responseHeadersToAdd": [
            {"header": {"key": "x-why", "value": "a"}},
            {"header": {"key": "x-why", "value": "b"}},
            {"header": {"key": "x-one", "value": "a"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
        ],
    });
    for filter in filters(&config) {
        filter.get("/").run();
        let outcome = filter.get("/").run();
        assert_eq!((outcome.status(), outcome.local_reply().unwrap().grpc_status), (503, 8));
        assert_eq!((outcome.response().all("x-why"), outcome.header("x-one")), (vec!["a", "b"], Some("a")));
    }
}

#[test]
fn responses_tell_of_the_bucket() {
    let config = json!({"tokenBucket": bucket(2, 1, "10s"), "enableXRatelimitHeaders": "DRAFT_VERSION_03"});
    for filter in filters(&config) {
        assert_eq!(told(&filter.get("/").run()), [Some("2"), Some("1"), Some("10")]);
        filter.advance(Duration::from_millis(2500));
        assert_eq!(told(&filter.get("/").run()), [Some("2"), Some("0"), Some("8")]);
        let outcome = filter.get("/").run();
        assert_eq!((outcome.status(), told(&outcome)), (429, [Some("2"), Some("0"), Some("8")]));
    }
}

#[test]
fn only_what_matches_is_limited() {
    let config = json!({"match": [{"uri": {"prefix": "/a"}}, {"method": {"exact": "POST"}}], "tokenBucket": bucket(1, 1, "60s")});
    for filter in filters(&config) {
        assert_eq!(passed(5, || filter.get("/b")), 5);
        assert_eq!(passed(5, || filter.get("/a")), 1);
        assert_eq!(passed(5, || filter.post("/b")), 0, "one bucket for all that match");
    }
}

#[test]
fn a_quota_for_each_user_by_plan() {
    let config = json!({
        "rateLimits": [{"actions": [{"claim": {"name": "plan"}}, {"claim": {"name": "sub"}}]}],
        "descriptors": [
            {"entries": [{"key": "plan", "value": "gold"}, {"key": "sub"}], "tokenBucket": bucket(10_000, 10_000, "24h")},
            {"entries": [{"key": "plan"}, {"key": "sub"}], "tokenBucket": bucket(3, 3, "24h")},
            {"entries": [{"key": "plan", "value": "gold"}, {"key": "sub", "value": "bob"}], "tokenBucket": bucket(1, 1, "24h")},
        ],
    });
    for filter in filters(&config) {
        let of = |plan: &'static str, sub: &'static str| {
            let claims = json!({"plan": plan, "sub": sub}).to_string();
            let filter = &filter;
            move || filter.get("/").property("sidegate.auth.claims", claims.as_str())
        };
        assert_eq!(passed(10_100, of("gold", "ann")), 10_000);
        assert_eq!(passed(10, of("gold", "eve")), 10, "everybody has an own bucket");
        assert_eq!(passed(10, of("gold", "bob")), 1, "the descriptor that says most");
        assert_eq!(passed(10, of("free", "ann")), 3);
        filter.advance(Duration::from_secs(86_399));
        assert_eq!(passed(10, of("free", "ann")), 0);
        filter.advance(Duration::from_secs(1));
        assert_eq!(passed(10, of("free", "ann")), 3);
        assert_eq!(passed(10, || filter.get("/")), 10, "who has no claims is not described");
    }
}

#[test]
fn requests_are_told_apart_by_every_source() {
    type Change = for<'f> fn(Exchange<'f, RateLimit>) -> Exchange<'f, RateLimit>;
    let same: Change = |request| request;
    for (action, key, one, other) in [
        (
            json!({"requestHeaders": {"headerName": "X-User", "descriptorKey": "user"}}),
            "user",
            (|request| request.header("x-user", "ann")) as Change,
            (|request| request.header("x-user", "bob")) as Change,
        ),
        (json!({"requestHeaders": {"headerName": ":authority", "descriptorKey": "host"}}), "host", same, |request| {
            request.header(":authority", "other.example.com")
        }),
        (
            json!({"remoteAddress": {}}),
            "remote_address",
            |request| request.property(["source", "address"], "10.0.0.1:999"),
            |request| request.property(["source", "address"], "10.0.0.2:999"),
        ),
        (
            json!({"maskedRemoteAddress": {"v4PrefixMaskLen": 24}}),
            "masked_remote_address",
            |request| request.property(["source", "address"], "10.0.0.1:999"),
            |request| request.property(["source", "address"], "10.0.1.1:999"),
        ),
        (
            json!({"claim": {"name": "realm.plan"}}),
            "realm.plan",
            |request| request.property("sidegate.auth.claims", r#"{"realm": {"plan": "a"}}"#),
            |request| request.property("sidegate.auth.claims", r#"{"realm": {"plan": "b"}}"#),
        ),
    ] {
        let config = json!({
            "rateLimits": [{"actions": [action]}],
            "descriptors": [{"entries": [{"key": key}], "tokenBucket": bucket(2, 1, "60s")}],
        });
        for filter in filters(&config) {
            assert_eq!(passed(5, || one(filter.get("/"))), 2, "{key}");
            assert_eq!(passed(5, || other(filter.get("/"))), 2, "{key}");
        }
    }
    for (action, key, one, other) in [
        (json!({"path": {}}), "path", "/a?x=1", "/b?x=1"),
        (json!({"queryParameters": {"queryParameterName": "k", "descriptorKey": "q"}}), "q", "/?k=1", "/?k=2"),
    ] {
        let config = json!({
            "rateLimits": [{"actions": [action, {"genericKey": {"descriptorValue": "all"}}]}],
            "descriptors": [{"entries": [{"key": key}, {"key": "generic_key", "value": "all"}], "tokenBucket": bucket(2, 1, "60s")}],
        });
        for filter in filters(&config) {
            assert_eq!((passed(5, || filter.get(one)), passed(5, || filter.get(other))), (2, 2), "{key}");
        }
    }
}

#[test]
fn what_is_absent_leaves_out_a_part_or_the_description() {
    let config = |skip: bool| {
        let header = json!({"headerName": "x-user", "descriptorKey": "user", "skipIfAbsent": skip});
        json!({
            "rateLimits": [{"actions": [{"path": {}}, {"requestHeaders": header}]}],
            "descriptors": [
                {"entries": [{"key": "path"}], "tokenBucket": bucket(1, 1, "60s")},
                {"entries": [{"key": "path"}, {"key": "user"}], "tokenBucket": bucket(2, 1, "60s")},
            ],
        })
    };
    for (skip, anonymous) in [(true, 1), (false, 5)] {
        for filter in filters(&config(skip)) {
            assert_eq!(passed(5, || filter.get("/")), anonymous);
            assert_eq!(passed(5, || filter.get("/").header("x-user", "ann")), 2);
        }
    }
}

#[test]
fn a_described_request_takes_of_the_default_too_unless_told_otherwise() {
    let config = |always: bool| {
        json!({
            "alwaysConsumeDefaultTokenBucket": always, "tokenBucket": bucket(3, 1, "60s"),
            "enableXRatelimitHeaders": "DRAFT_VERSION_03",
            "rateLimits": [{"actions": [{"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}}]}],
            "descriptors": [{"entries": [{"key": "user"}], "tokenBucket": bucket(2, 1, "60s")}],
        })
    };
    for (always, left) in [(true, 1), (false, 3)] {
        for filter in filters(&config(always)) {
            assert_eq!(told(&filter.get("/").header("x-user", "ann").run())[0], Some("2"), "the description's is told");
            assert_eq!(passed(5, || filter.get("/").header("x-user", "ann")), 1);
            assert_eq!(passed(5, || filter.get("/")), left);
        }
    }
}

#[test]
fn the_slowest_bucket_is_asked_first() {
    let by = |header: &str| json!({"actions": [{"requestHeaders": {"headerName": header, "descriptorKey": header}}]});
    let config = json!({
        "rateLimits": [by("x-fast"), by("x-slow")],
        "descriptors": [
            {"entries": [{"key": "x-fast"}], "tokenBucket": bucket(5, 5, "1s")},
            {"entries": [{"key": "x-slow"}], "tokenBucket": bucket(1, 1, "1h")},
        ],
    });
    for filter in filters(&config) {
        assert_eq!(passed(5, || filter.get("/").header("x-fast", "a").header("x-slow", "a")), 1);
        assert_eq!(passed(9, || filter.get("/").header("x-fast", "a")), 4, "refused requests took nothing of it");
    }
}

#[test]
fn a_limit_that_is_not_enforced_marks_requests() {
    let config = json!({
        "tokenBucket": bucket(1, 1, "60s"), "filterEnforced": {"defaultValue": {"numerator": 0}},
        "requestHeadersToAddWhenNotEnforced": [{"header": {"key": "x-over", "value": "yes"}}],
    });
    for filter in filters(&config) {
        assert_eq!(filter.get("/").run().request().unwrap().header("x-over"), None);
        assert_eq!(filter.get("/").run().request().unwrap().header("x-over"), Some("yes"));
    }
    let off = json!({"tokenBucket": bucket(1, 1, "60s"), "filterEnabled": {"defaultValue": {"numerator": 0}, "runtimeKey": "x"}});
    for filter in filters(&off) {
        assert_eq!(passed(5, || filter.get("/")), 5);
    }
}

#[test]
fn a_flood_of_values_takes_no_bucket_that_stands_alone() {
    let config = json!({
        "tokenBucket": bucket(5000, 1, "1h"),
        "rateLimits": [{"actions": [{"requestHeaders": {"headerName": "x-user", "descriptorKey": "user"}}]}],
        "descriptors": [{"entries": [{"key": "user"}], "tokenBucket": bucket(1, 1, "1h")}],
    });
    let filter = Host::foreign().configure::<RateLimit>(&config.to_string()).unwrap();
    let of = |number: usize| filter.get("/").header("x-user", &number.to_string());
    assert_eq!((0..6000).filter(|number| of(*number).run().status() == 200).count(), 5000);
    assert_eq!(of(5999).run().status(), 429, "the latest are remembered");
}
