//! What is refused, with the place that is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use ratelimit::RateLimit;
use serde_json::{Value, json};
use sidegate_sdk::Severity;
use sidegate_sdk::testing::{Filter, Host};

fn with(mut fields: Value) -> Value {
    if fields.get("tokenBucket").is_none() {
        fields["tokenBucket"] = json!({"maxTokens": 1, "fillInterval": "1s"});
    }
    fields
}

fn service(more: Value) -> Value {
    let mut service = json!({"cluster": "limits", "domain": "shop"});
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"rateLimits": [{"actions": [{"path": {}}]}], "rateLimitService": service})
}

fn bucket(max: u64, fill: u64, interval: &str) -> Value {
    json!({"tokenBucket": {"maxTokens": max, "tokensPerFill": fill, "fillInterval": interval}})
}

#[test]
fn every_rule_names_its_place() {
    let one = || json!({"maxTokens": 1, "fillInterval": "1s"});
    for (config, pointer, word) in [
        (json!({}), "", "nothing is limited"),
        (with(json!({"tokenBuckets": {}})), "/tokenBuckets", "did you mean `tokenBucket`"),
        (json!({"tokenBucket": {"maxTokens": 1}}), "/tokenBucket", "missing field `fillInterval`"),
        (service(json!({"cluster": ""})), "/rateLimitService/cluster", "empty"),
        (service(json!({"domain": ""})), "/rateLimitService/domain", "empty"),
        (service(json!({"timeout": "0s"})), "/rateLimitService/timeout", "at least 1ms"),
        (service(json!({"timeout": "soon"})), "/rateLimitService/timeout", "write for example"),
        (service(json!({"failureModeAllow": true})), "/rateLimitService/failureModeAllow", "did you mean"),
        (json!({"rateLimitService": {"cluster": "limits", "domain": "shop"}}), "/rateLimitService", "rateLimits"),
        (with(json!({"statPrefix": "x".repeat(129)})), "/statPrefix", "longer than 128"),
        (bucket(0, 1, "1s"), "/tokenBucket/maxTokens", "at least 1"),
        (bucket(5, 0, "1s"), "/tokenBucket/tokensPerFill", "at least 1"),
        (bucket(5, 1, "49ms"), "/tokenBucket/fillInterval", "at least 50ms"),
        (bucket(5, 1, "1d"), "/tokenBucket/fillInterval", "write for example"),
        (with(json!({"status": {"code": 200}})), "/status/code", "between 400 and 599"),
        (with(json!({"enableXRatelimitHeaders": "ON"})), "/enableXRatelimitHeaders", "DRAFT_VERSION_03"),
        (with(json!({"match": [{"uri": {"regex": "("}}]})), "/match/0/uri/regex", "unclosed"),
        (
            with(json!({"responseHeadersToAdd": [{"header": {"key": "a b", "value": "x"}}]})),
            "/responseHeadersToAdd/0/header/key",
            "no header name",
        ),
        (
            with(json!({"requestHeadersToAddWhenNotEnforced": [{"header": {"key": "a", "value": "x\ny"}}]})),
            "/requestHeadersToAddWhenNotEnforced/0/header/value",
            "one line",
        ),
        (
            with(json!({"filterEnabled": {"defaultValue": {"numerator": 101}}})),
            "/filterEnabled/defaultValue/numerator",
            "more than all",
        ),
        (
            json!({"descriptors": [{"entries": [{"key": "user"}], "tokenBucket": one()}]}),
            "/descriptors/0/entries/0/key",
            "no action of rateLimits gives",
        ),
        (
            json!({"rateLimits": [{"actions": [{"path": {}}]}], "descriptors": [{"entries": [], "tokenBucket": one()}]}),
            "/descriptors/0/entries",
            "needs an entry",
        ),
        (
            json!({
                "rateLimits": [{"actions": []}, {"actions": [{"path": {}}]}],
                "descriptors": [{"entries": [{"key": "path"}], "tokenBucket": one()}],
            }),
            "/rateLimits/0/actions",
            "needs an action",
        ),
        (
            json!({
                "rateLimits": [{"actions": [{"maskedRemoteAddress": {"v4PrefixMaskLen": 33}}]}],
                "descriptors": [{"entries": [{"key": "masked_remote_address"}], "tokenBucket": one()}],
            }),
            "/rateLimits/0/actions/0/maskedRemoteAddress/v4PrefixMaskLen",
            "only 32 bits",
        ),
    ] {
        let problems = Filter::<RateLimit>::configure(&config.to_string()).unwrap_err();
        let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{config}: {problems:?}");
        assert_eq!(errors[0].pointer, pointer, "{config}");
        assert!(errors[0].text.contains(word), "{config}: {}", errors[0].text);
    }
}

#[test]
fn what_is_odd_is_warned_of() {
    for (config, pointer) in [
        (bucket(1, 2, "1s"), "/tokenBucket/tokensPerFill"),
        (with(json!({"rateLimits": [{"actions": [{"path": {}}]}]})), "/rateLimits"),
    ] {
        let filter = Filter::<RateLimit>::configure(&config.to_string()).unwrap();
        assert_eq!(filter.warnings().iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
    }
}

#[test]
fn a_service_that_nobody_is_is_warned_of() {
    let host = || Host::new().property("sidegate.clusters", r#"[{"name": "limits", "hosts": ["limits.local"]}]"#);
    for (cluster, is_known) in [("limits", true), ("limits.local", true), ("limit", false)] {
        let filter: Filter<RateLimit> = host().configure(&service(json!({"cluster": cluster})).to_string()).unwrap();
        assert_eq!(filter.warnings().is_empty(), is_known, "{cluster}: {:?}", filter.warnings());
    }
}
